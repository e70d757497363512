"""What lies on disk of a video: a folder of numbered frames, or a file. No picture is opened: a set has millions.

Frames are read in the order of their numbers (`ImageFolder` does), so that a frame that is lost moves all that follow
it. The numbers are kept, and labels, which name frames by them, find their place whatever was lost.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespot.capture.opencv import VideoFile
from livespot.datasets.places import pictures
from livespot.errors import SourceError

NUMBERED = re.compile(r"(.*?)(\d{1,12})\.[^.]+", re.ASCII | re.DOTALL)
"""006_1_0001.jpg is frame 1 of 006_1_."""


@dataclass(frozen=True)
class Footage:
    """The frames of a video, as they will be read."""

    path: Path
    numbers: NDArray[np.int64]
    """(frames,) rising: what the names of a folder's frames end in; 1, 2, 3 ... of a file."""
    holes: str = ""
    """Which frames are missing between others."""
    fps: float | None = None
    """A file's own."""

    @property
    def first(self) -> int:
        """Number of the first frame."""
        return int(self.numbers[0])

    @property
    def last(self) -> int:
        """Number of the last frame."""
        return int(self.numbers[-1])

    def __len__(self) -> int:
        return len(self.numbers)


def look(path: Path) -> Footage:
    """What a folder or a file holds. Raises SourceError where it holds no frames, or they cannot be put in order."""
    return _folder(path) if path.is_dir() else _file(path)


def _file(path: Path) -> Footage:
    with VideoFile(path, path.stem) as source:
        frames, fps = source.frame_count or 0, source.fps
    if not frames:
        raise SourceError(f"{path} does not say how many frames it holds: write it anew, ffmpeg -i {path.name} new.avi")
    return Footage(path, np.arange(1, frames + 1), fps=fps)


def _folder(path: Path) -> Footage:
    numbers: dict[int, str] = {}
    kinds: dict[str, str] = {}
    for name in pictures(path):
        match = NUMBERED.fullmatch(name)
        if match is None:
            raise SourceError(f"{path} holds {name}, whose name does not end in a frame's number: move it elsewhere")
        kinds.setdefault(match[1].lower(), name)
        if len(kinds) > 1:
            raise SourceError(f"{path} holds frames of two kinds, {' and '.join(kinds.values())}: keep one")
        number = int(match[2])
        if number in numbers:
            raise SourceError(f"{path} holds frame {number} twice, {numbers[number]} and {name}: keep one")
        numbers[number] = name
    if not numbers:
        raise SourceError(f"{path} holds no frames: expected pictures such as 0001.jpg")
    found = np.array(sorted(numbers), np.int64)
    return Footage(path, found, _holes(found))


def _holes(numbers: NDArray[np.int64]) -> str:
    before = np.flatnonzero(np.diff(numbers) > 1)
    if not len(before):
        return ""
    after, until = int(numbers[before[0]]), int(numbers[before[0] + 1])
    missing = int(numbers[-1] - numbers[0] + 1 - len(numbers))
    first = f"frame {after + 1} is" if until == after + 2 else f"frames {after + 1} to {until - 1} are"
    lost = until - after - 1
    return f"{first} missing" + (f", and {missing - lost} more after it" if missing > lost else "")
