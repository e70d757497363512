"""One course over time for what regions do together: where it leaves neutral, is highest, and reaches neutral again."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from livespot.motion.regions import EXPRESSIVE, REGIONS
from livespot.motion.search import GRID_HZ, Paths
from livespot.records import Motion

Array = NDArray[np.float64]

LEADING = 0.5
"""Regions with more than this share of the strongest one's evidence carry the course, and are told."""

EDGE = 0.15
"""Share of the peak below which the course is neutral."""
BEYOND = 0.3
"""It began earlier than that by this share of the time from there to its peak, and ended later likewise: a rise that
begins and ends gently, as a raised cosine does, takes so long below the edge."""


def nearest(frames: Sequence[Motion], t_s: float) -> Motion:
    """The frame nearest to a time; `frames` are in order and at least one."""
    after = bisect_left(frames, t_s, key=lambda frame: frame.t_s)
    return min(
        (frames[place] for place in range(max(after - 1, 0), min(after + 1, len(frames)))),
        key=lambda one: abs(one.t_s - t_s),
    )


def direction(moved_iod: Array, evidence: Array) -> Array:
    """(regions, 2) how the leading regions move, weighted by their evidence (regions,); `moved_iod` (regions, 2)."""
    weight = np.where(evidence >= LEADING * evidence.max(), evidence, 0.0)
    unit = moved_iod / np.maximum(np.linalg.norm(moved_iod, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit * (weight / weight.sum())[:, None])


def places(evidence: Array) -> tuple[str, ...]:
    """Places of the leading regions, strongest first."""
    leading = [row for row in np.argsort(-evidence) if evidence[row] >= LEADING * evidence.max()]
    return tuple(dict.fromkeys(EXPRESSIVE[REGIONS[row]].place for row in leading))


def bounds_s(
    paths: Paths, along: Array, first: int, begin: int, end: int, flank: int
) -> tuple[float, float, float] | None:
    """Onset, apex and offset in seconds of a rise along a direction (regions, 2); None where nothing rises.

    Edges of the grid: the course is read from `first` to the newest one; its apex lies between `begin` and `end`, and
    `flank` cells before and after those are neutral. Where nothing comes after, before stands for both.
    """
    course = paths.cells(first, paths.count - 1).reshape(-1, 2 * len(REGIONS)) @ along.ravel()
    begin, end = begin - first, end - first
    before = course[max(begin - flank, 0) : max(begin, 1)].mean()
    after = course[end : end + flank].mean() if end < len(course) else before
    course -= np.interp(np.arange(len(course)) + 0.5, [begin - flank / 2, end + flank / 2], [before, after])
    apex = begin + int(np.argmax(course[begin:end]))
    if course[apex] <= 0:
        return None
    neutral = course <= EDGE * course[apex]
    apex_s = paths.time_s(first + apex) + 0.5 / GRID_HZ
    rise_s, fall_s = (_cells_to_neutral(side) * (1 + BEYOND) / GRID_HZ for side in (neutral[apex::-1], neutral[apex:]))
    return apex_s - rise_s, apex_s, apex_s + fall_s


def _cells_to_neutral(neutral: NDArray[np.bool_]) -> float:
    """From the middle of the first cell to the edge of the first that is neutral."""
    return (int(np.argmax(neutral)) if neutral.any() else len(neutral)) - 0.5
