"""Where a filmed face is calm, told by the shape of its mesh alone, and such a stretch played forth and back.

A filmed face talks and moves by itself, and nobody wrote down when. Where it is calm, what a method tells beside the
expressions that are put in is its own fault. Calm stretches are short: played forth, back, and forth again they last
as long as expressions and their pauses need, of real skin, light and noise. What is left of natural motion comes back
in each round, which a method that were trained on it could learn; so this is for measuring.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from types import TracebackType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from livespot.bench.alignment import Landmarks
from livespot.landmarks import RIGID, RIGID_SHAPE_IOD, apply, similarity
from livespot.motion.regions import EXPRESSIVE
from livespot.records import Frame

Calm: TypeAlias = NDArray[np.bool_]

WINDOW_S = 1.0
"""A face is calm where its shape varies little over a window about the frame."""
SMOOTH_FRAMES = 5
THIRD = -3
"""Two regions may vary by more: the mesh errs."""
SHAPE = tuple(region.landmarks for name, region in EXPRESSIVE.items() if "lid" not in name)
"""Points of the mesh whose means are its shape; lids blink."""

LEAST_S, MOST_S = 0.7, 10.0
"""The shortest stretch that is played; of a longer one than this the beginning is."""


def calm_frames(meshes: Sequence[Landmarks | None], times_s: Sequence[float], within_iod: float) -> Calm:
    """(T,) for each frame whether the face's own shape varies by less around it; without a face it is not calm.

    The shape is that of the landmarks (468, 2) of each frame, once a similarity has taken away the head's motion.
    """
    unseen = np.full((len(SHAPE), 2), np.nan)
    shapes_iod = _smooth(np.array([unseen if mesh is None else _shape_iod(mesh) for mesh in meshes]))
    times = np.asarray(times_s)
    begins, ends = (np.searchsorted(times, times + side * WINDOW_S / 2) for side in (-1, 1))
    ranges_iod = (np.ptp(shapes_iod[begin:end], axis=0).max(axis=-1) for begin, end in zip(begins, ends, strict=True))
    return np.array([np.sort(one)[THIRD] < within_iod and not np.isnan(one).any() for one in ranges_iod], np.bool_)


def _shape_iod(landmarks: Landmarks) -> NDArray[np.float64]:
    """(regions, 2) where the head's motion would have them, but for turns in depth: those are not calm either."""
    aligned_iod = apply(similarity(landmarks[list(RIGID)], RIGID_SHAPE_IOD), landmarks)
    return np.array([aligned_iod[list(points)].mean(axis=0) for points in SHAPE])


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running mean over `SMOOTH_FRAMES`; the ends are repeated."""
    side = SMOOTH_FRAMES // 2
    padded = np.pad(values, ((side, side), (0, 0), (0, 0)), "edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, SMOOTH_FRAMES, axis=0).mean(axis=-1))


def stretches(calm: Calm, times_s: Sequence[float]) -> list[range]:
    """Frames of each stretch that is calm for at least `LEAST_S`, up to `MOST_S` of it."""
    edges = np.flatnonzero(np.diff(calm, prepend=False, append=False)).tolist()
    found = [
        range(first, min(beyond, int(np.searchsorted(times_s, times_s[first] + MOST_S))))
        for first, beyond in zip(edges[::2], edges[1::2], strict=True)
    ]
    return [one for one in found if times_s[one[-1]] - times_s[one[0]] >= LEAST_S]


class ForthAndBack:
    """A `Source` that plays a few frames forth and back until `seconds` are over."""

    def __init__(self, frames: Sequence[Frame], fps: float, seconds: float) -> None:
        self.name = frames[0].source
        self.live = False
        self.fps: float | None = fps
        self.frame_count: int | None = round(seconds * fps)
        self.note = ""
        self._frames = frames

    def __enter__(self) -> "ForthAndBack":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was opened."""

    def __iter__(self) -> Iterator[Frame]:
        """Neither end is shown twice in a row: a face that turns round does not stop."""
        assert self.fps is not None
        round_trip = cycle([*self._frames, *self._frames[-2:0:-1]])
        for index, frame in enumerate(islice(round_trip, self.frame_count)):
            t_s = index / self.fps
            yield replace(frame, index=index, t_s=t_s, arrival_s=t_s)
