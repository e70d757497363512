"""Files that livespot finds in folders, files that it writes, whole or not at all, and folders at which one works."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from livespot.errors import LivespotError, SettingsError, SourceError

PICTURES, VIDEOS = (".jpg", ".jpeg", ".png"), (".mp4", ".mov", ".mkv", ".avi", ".webm")

LOCK = ".lock"
"""What the file is called that a process holds; it stays, since another may be about to hold it."""


def files_in(folder: Path, endings: Sequence[str], what: str) -> list[Path]:
    """Files of a folder by name. Raises SourceError where there are none."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder: give one with at least one {what}")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not found:
        raise SourceError(f"no {what} is in {folder}: expected files that end in {', '.join(endings)}")
    return found


def make_folder(folder: Path, parents: bool = True) -> None:
    """Make it where it is not there yet, and what it lies in too. Raises SettingsError where that cannot be."""
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be made: {error.strerror}: give a folder in one that is yours") from None


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


@contextmanager
def locked(folder: Path, waits: bool = False, by: str = "process") -> Iterator[None]:
    """One process at a time, until it ends, however that is. Raises SettingsError where another is at it."""
    import fcntl  # not everywhere, and whoever only watches needs none

    with _lock(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            raise SettingsError(f"another {by} is at work in {folder}: wait for it, or end it") from None
        yield


def _lock(folder: Path) -> IO[str]:
    try:
        return (folder / LOCK).open("w")
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error.strerror}: give one that is yours") from None
