"""What every source of frames offers, and what sources are called."""

import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from livespot.config import SourceSettings
from livespot.errors import SettingsError
from livespot.records import Frame, ShapesInRepr

WEBCAM = re.compile(r"(?:/dev/video)?(\d+)|/dev/v4l/by-(?:id|path)/([^/]+)")
"""A webcam is named by its index, 0 for the first, by its device file, or by a link that stays when it is plugged in
elsewhere."""

GSTREAMER = "gstreamer:"
"""What follows is a pipeline."""

NAME_LENGTH = 64


@dataclass(frozen=True, repr=False, eq=False)
class Picture(ShapesInRepr):
    """A picture as it came, before it has its place in stream time."""

    image: NDArray[np.uint8]
    """uint8 (H, W, 3), BGR."""
    stamp_s: float | None
    """The source's own time stamp, from any origin; None where it has none."""
    arrival_s: float
    """`time.monotonic()` at which it was in our hands."""


class Source(Protocol):
    """A camera, stream, file or folder. Constructing is not opening: entering opens, leaving closes.

    Entering raises SourceError with the reason and what to try. Iterating yields each frame once, with an image
    that nobody writes to again, until the source ends; it raises SourceError where no picture at all can be read.
    """

    name: str
    live: bool
    """True: never waits for whoever consumes it, so frames may have to be dropped. Known before it is entered."""
    fps: float | None
    """Declared frames per second; None where nothing usable is declared. Known once entered."""
    frame_count: int | None
    """Declared number of frames; None where that is unknown. Known once entered."""
    note: str
    """What the user should be told after the last frame; empty where all went well."""

    def __enter__(self) -> "Source": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


LONGEST_WAIT_S = 1.0
"""For the next frame of a recording that is played as if it were a camera, unless its frames are as far apart."""


def in_real_time(frames: Iterable[Frame], longest_wait_s: float = LONGEST_WAIT_S) -> Iterator[Frame]:
    """The same frames at the times they show, counted from the first: a recording that behaves like a camera.

    What was late is not made up for, or old frames would come in a burst; nor does anybody wait for longer than
    `longest_wait_s` through a hole. Time is counted anew in both cases.
    """
    started_s = -math.inf
    for frame in frames:
        now_s = time.monotonic()
        started_s = min(max(started_s, now_s - frame.t_s), now_s + longest_wait_s - frame.t_s)
        time.sleep(max(0.0, started_s + frame.t_s - now_s))
        yield replace(frame, arrival_s=time.monotonic())


def redact(uri: str) -> str:
    """The address without user, password and query values: safe to print.

    Passwords typed without escapes may hold '/', '?' or '@': everything up to the last '@' is hidden.
    """
    return re.sub(r"=[^&#]*", "=***", re.sub(r"://.*@", "://***@", uri)) if "://" in uri else uri


def without_login(url: str) -> str:
    """The address without user and password. These go up to the last "@", as in `redact`."""
    return re.sub(r"://.*@", "://", url)


def encrypted(url: str) -> bool:
    """Whether the address is one of TLS, where the other side has a certificate."""
    return url.lower().startswith(("rtsps:", "https:"))


def printable(name: str) -> str:
    """A file's name as text: bytes in it that are no UTF-8, which no console takes, become question marks."""
    return name.encode(errors="replace").decode()


def source_name(uri: str) -> str:
    """A name for topics and tables: cam0, the host of an address, or the name of the file without its ending."""
    if (webcam := WEBCAM.fullmatch(uri)) and webcam[1]:
        return f"cam{webcam[1]}"
    if uri.startswith(GSTREAMER):
        return "gstreamer"
    if uri.startswith("demo://"):
        return "demo"
    if "://" in uri:
        stem = re.split(r"[/?#]|:\d+(?=[/?#]|$)", redact(uri).split("://", 1)[1].removeprefix("***@"))[0]
    else:
        stem = re.sub(r"(?<=.)\.[^./]*$", "", uri.rstrip("/").rsplit("/", 1)[-1])
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:NAME_LENGTH] or "source"


def unique_names(sources: Sequence[SourceSettings]) -> tuple[SourceSettings, ...]:
    """The same sources, every one with a name of its own; derived names that meet are numbered: a, a-2, a-3.

    Raises SettingsError where the user gave the same name twice.
    """
    taken = [source.name for source in sources if source.name is not None]
    if twice := {name for name in taken if taken.count(name) > 1}:
        raise SettingsError(f"two sources are named {', '.join(sorted(twice))}: give each a name of its own")
    named = []
    for source in sources:
        name = source.name
        if name is None:
            name = _free_name(source_name(source.uri), taken)
            taken.append(name)
        named.append(source.model_copy(update={"name": name}))
    return tuple(named)


def _free_name(wanted: str, taken: Sequence[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted[: NAME_LENGTH - 5]}-{number}"
    return name
