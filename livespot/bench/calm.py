"""Where a filmed face is calm, told by the shape of its mesh alone, which no method looks at.

A filmed face talks and moves by itself, and nobody wrote down when. Where it is calm, what a method tells beside the
expressions that are put in is its own fault.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from livespot.bench.alignment import Landmarks
from livespot.landmarks import RIGID, RIGID_SHAPE_IOD, apply, similarity
from livespot.motion.regions import EXPRESSIVE

Calm: TypeAlias = NDArray[np.bool_]

CALM_IOD, WINDOW_S = 0.03, 1.0
"""A face is calm where its shape varies by less over a window about the frame."""
SMOOTH_FRAMES = 5
THIRD = -3
"""Two regions may vary by more: the mesh errs."""
SHAPE = tuple(region.landmarks for name, region in EXPRESSIVE.items() if "lid" not in name)
"""Points of the mesh whose means are its shape; lids blink."""

LEAST_S = 0.6
"""The shortest stretch into which an expression is put."""


def calm_frames(meshes: Sequence[Landmarks | None], times_s: Sequence[float]) -> Calm:
    """(T,) for each frame whether the face's own shape hardly varies around it; without a face it is not calm.

    The shape is that of the landmarks (468, 2) of each frame, once a similarity has taken away the head's motion.
    """
    unseen = np.full((len(SHAPE), 2), np.nan)
    shapes_iod = _smooth(np.array([unseen if mesh is None else _shape_iod(mesh) for mesh in meshes]))
    times = np.asarray(times_s)
    begins, ends = (np.searchsorted(times, times + side * WINDOW_S / 2) for side in (-1, 1))
    ranges_iod = (np.ptp(shapes_iod[begin:end], axis=0).max(axis=-1) for begin, end in zip(begins, ends, strict=True))
    return np.array([np.sort(one)[THIRD] < CALM_IOD and not np.isnan(one).any() for one in ranges_iod], np.bool_)


def _shape_iod(landmarks: Landmarks) -> NDArray[np.float64]:
    """(regions, 2) where the head's motion would have them, but for turns in depth: those are not calm either."""
    aligned_iod = apply(similarity(landmarks[list(RIGID)], RIGID_SHAPE_IOD), landmarks)
    return np.array([aligned_iod[list(points)].mean(axis=0) for points in SHAPE])


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running mean over `SMOOTH_FRAMES`; the ends are repeated."""
    side = SMOOTH_FRAMES // 2
    padded = np.pad(values, ((side, side), (0, 0), (0, 0)), "edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, SMOOTH_FRAMES, axis=0).mean(axis=-1))


def stretches_s(calm: Calm, times_s: Sequence[float]) -> list[tuple[float, float]]:
    """Begin and end of each stretch that is calm for at least `LEAST_S`."""
    edges = np.flatnonzero(np.diff(calm, prepend=False, append=False)).tolist()
    found = [(times_s[first], times_s[beyond - 1]) for first, beyond in zip(edges[::2], edges[1::2], strict=True)]
    return [(from_s, to_s) for from_s, to_s in found if to_s - from_s >= LEAST_S]
