"""Files that livespot writes: whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from livespot.errors import LivespotError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` on leaving, and vanishes where that fails.

    It keeps the suffix, by which writers choose their format. Raises LivespotError where `path` cannot be written.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise LivespotError(
            f"{path} cannot be written: {error.strerror or error}: give a file in a folder that exists and is yours"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
