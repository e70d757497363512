"""What an adapter hands over: what is known of its dataset, what its label file says, where its videos lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from livespot.datasets.expressions import Labelled

BASES: Mapping[str, str] = {
    "0": "frames of the labels count from 0",
    "1": "frames of the labels count from 1",
    "names": "frames of the labels are the numbers in the names of the pictures, from 1 on in a video file",
}
"""What a frame's number in the labels means. In the table frames count from 0, and the offset is the last of all."""


@dataclass(frozen=True)
class Known:
    """What a dataset holds, as its authors say; None where nobody knows."""

    title: str
    fps: float | None = None
    subjects: int | None = None
    videos: int | None = None
    labelled_videos: int | None = None
    micro: int | None = None
    macro: int | None = None
    offset_zero_macro: int | None = None
    onset_zero_macro: int | None = None
    videos_by_fps: Mapping[float, int] | None = None
    """Where a set has several frame rates."""
    roughly: tuple[str, ...] = ()
    """Which of them are rough."""


@dataclass(frozen=True)
class Location:
    """A video of the dataset, and where it lies."""

    name: str
    subject: str
    path: Path | None
    """None where nothing of it lies on disk."""
    fps: float | None = None
    """None: what the dataset has, or else the file says."""


@dataclass(frozen=True)
class Found:
    """What an adapter has read."""

    labels: Sequence[Labelled]
    locations: Mapping[str, Location]
    """By name; all that the labels name are among them."""
    base: str = "names"
    """One of BASES."""
