"""Patterns that leave neutral and return to it, searched in the paths of the regions at several time scales.

At every scale the same filter looks at each path: what it does within, against what it does before and after.

        before         within          after              pattern = mean(within) - (mean(before) + mean(after)) / 2
      |--------|....|----------|....|--------|            unreturned = mean(after) - mean(before)
        flank         half the scale  flank

A drift or a step that stays is no pattern: before and after are not the same. Regions that one muscle moves are
weighed together, each by how well it can be told from what moves it otherwise: noise of the picture, natural unrest,
what the region did lately anyway, and, as evidence against, what the head does (turns and nods leave a rest) and what
the lids do (a blink drags its surroundings along). Nothing is a hard gate.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from livespot.motion.regions import GROUPS, REGIONS, lid_drag
from livespot.records import MOTION_CHANNELS, MOTION_HZ, Motion

Array = NDArray[np.float64]

GRID_HZ = MOTION_HZ
"""Paths are averaged over cells of this rate, so that every frame rate meets the same filters."""

SCALES_S = (0.16, 0.2, 0.26, 0.34, 0.44, 0.58, 0.75, 1.0, 1.3, 1.7, 2.2, 2.9, 3.8)
LONGEST_MICRO_S = 0.5
FLANK, FLANK_S = 0.3, (0.06, 0.3)
"""Length of before and after: this share of the scale, within these bounds."""
PEAK_S = 0.3
"""A pattern is the strongest of its scale for so long before and after, or half the scale where that is less."""

UNREST_IOD, UNREST_POWER = 0.0015, 0.5
"""What calm skin does at a scale of 0.3 s, and the power of the scale with which that grows: from calm clips."""
SHARED_FRAMES = 1.8
"""So many frames share one measurement error."""
HEAD_REST_IOD = np.array([0.02, 0.02, 0.12, 0.06, 0.15, 0.09])
"""Displacement that is left per unit of the head's pattern (shift in IOD, log growth, roll, yaw, pitch)."""
LID_UNLIKE_IOD = 0.04
"""A closing lid looks different before it is seen to move: what is taken for its displacement when it is hidden."""
HABIT_WEIGHT = 2.0
HABIT_BEGIN = 50.0
HABIT_S, HABIT_MOST = 12.0, 3.0
"""What a region does lately is a mean over about so long, of what is at most so many times that mean."""
RETURNED, GONE = 0.5, 1.5
"""A group's pattern counts in full up to this ratio of what is unreturned to it, and not at all from the other."""
LONE = 2.5
"""A group is at most so many times as strong as without its strongest region: hair or a shadow moves one alone."""
STRENGTH_DELAY_S = 0.5
"""How long ago the strengths that are shown belong."""
LEADING_GROUPS = 2
"""The strength of a pattern is that of so many of its strongest groups."""
FAINT = 2.0
"""Weaker patterns are not looked at further."""

KEPT_S = 12.0
"""Paths are kept for so long: longer than the longest filter and what is read around it."""

COUNT = len(REGIONS)
MEMBERS = np.array([[float(name in group) for name in REGIONS] for group in GROUPS])
"""(groups, regions): 1 where a region is in a group."""
OF_GROUP = np.array([np.resize([REGIONS.index(name) for name in group], 4) for group in GROUPS])
"""(groups, 4): the regions of each group, some of them twice."""
LIDS = [REGIONS.index("upper_lid_left"), REGIONS.index("upper_lid_right")]
DRAG = np.array([lid_drag(name) for name in REGIONS])

MOVED, NOISE, HEAD, UNLIKE = slice(0, 2 * COUNT), slice(2 * COUNT, 3 * COUNT), slice(3 * COUNT, -1), slice(-1, None)
"""Columns of a path: displacement (x, y of each region), variance of its error, head, how unlike the lids are."""
COLUMNS = MOTION_CHANNELS


def columns(motion: Motion) -> Array:
    """What a path is at one frame, (columns,)."""
    path = np.empty(COLUMNS)
    path[MOVED], path[NOISE], path[HEAD] = motion.displacement_iod.ravel(), motion.noise_iod**2, motion.head
    path[UNLIKE] = (motion.unlike[LIDS[0]] + motion.unlike[LIDS[1]]) / 2
    return path


class Paths:
    """The recent paths of a face as integrals over time, told at the edges of the grid's cells.

    Between frames a path is a straight line, so means over any cells are exact, whatever the frame rate.
    """

    def __init__(self) -> None:
        self._room = 2 * round(KEPT_S * GRID_HZ)
        self._integrals = np.zeros((self._room, COLUMNS))
        self.first = self.count = 0
        """Number of the first edge kept, and of the next to come."""
        self._last: tuple[float, Array, Array] | None = None
        self._intervals_s: deque[float] = deque(maxlen=31)
        self.frames_s = 0.0
        """Time from frame to frame, lately."""

    def add(self, motion: Motion) -> range:
        """The edges that the path has passed with this motion."""
        values = columns(motion)
        if self._last is None:
            self._begin_s = motion.t_s
            self._last = motion.t_s, values, np.zeros(COLUMNS)
            self._append(np.zeros(COLUMNS))
            return range(1)
        passed = self.count
        last_s, before, integral = self._last
        interval_s = motion.t_s - last_s
        self._intervals_s.append(interval_s)
        self.frames_s = median(self._intervals_s)
        while (edge_s := self.time_s(self.count)) <= motion.t_s:
            part_s = edge_s - last_s
            self._append(integral + part_s * (before + (values - before) * part_s / interval_s / 2))
        self._last = motion.t_s, values, integral + interval_s * (before + values) / 2
        return range(passed, self.count)

    def time_s(self, edge: int) -> float:
        """When an edge is."""
        return self._begin_s + edge / GRID_HZ

    def edge(self, t_s: float) -> int:
        """The edge nearest to a time."""
        return round((t_s - self._begin_s) * GRID_HZ)

    def at(self, edges: NDArray[np.int64]) -> Array:
        """Integrals at edges, (*edges.shape, columns)."""
        return np.asarray(self._integrals[edges - self.first])

    def cells(self, first: int, last: int) -> Array:
        """Displacement (cells, regions, 2) of the cells between two edges."""
        integrals = self._integrals[first - self.first : last - self.first + 1, MOVED]
        return np.diff(integrals, axis=0).reshape(-1, COUNT, 2) * GRID_HZ

    def _append(self, integral: Array) -> None:
        if self.count - self.first == self._room:
            self._integrals[: self._room // 2] = self._integrals[self._room // 2 :]
            self.first += self._room // 2
        self._integrals[self.count - self.first] = integral
        self.count += 1


@dataclass(frozen=True, eq=False)
class Pattern:
    """What was found at one scale."""

    edge: int
    """Where the filter ended."""
    scale: int
    strength: float
    """In standard deviations of what is there without an expression."""
    size_iod: float
    """Displacement of the strongest group, mean over half the scale."""
    moved_iod: Array
    """(regions, 2)."""
    evidence: Array
    """(regions,) displacement in standard deviations."""


@dataclass(frozen=True, eq=False)
class _Look:
    """All scales at one edge."""

    strength: Array
    """(scales,)."""
    size_iod: Array
    moved_iod: Array
    """(scales, regions, 2)."""
    evidence: Array
    """(scales, regions)."""


class Search:
    """Looks for patterns as the paths grow."""

    def __init__(self) -> None:
        self._habit_iod = np.zeros((len(SCALES_S), COUNT))
        self._seen = np.zeros(len(SCALES_S))
        self._looks: deque[_Look] = deque(maxlen=2 * max(_WAIT) + 1)

    @property
    def strengths(self) -> tuple[float, float]:
        """The strongest patterns around `STRENGTH_DELAY_S` ago, among the scales of micro- and of macro-expressions.

        A pattern is known half its reach after its middle: of the longest scales it is the newest that are.
        """
        if not self._looks:
            return 0.0, 0.0
        strength = np.array(
            [self._looks[-min(back, len(self._looks))].strength[scale] for scale, back in enumerate(_BACK)]
        )
        return float(strength[:_MICRO_SCALES].max()), float(strength[_MICRO_SCALES:].max())

    def look(self, paths: Paths, edge: int) -> Iterator[Pattern]:
        """The patterns that turn out to be the strongest of their scale now that the paths reach this edge."""
        known = [scale for scale, reach in enumerate(_REACH) if edge - reach >= paths.first]
        if not known:
            return
        self._looks.append(self._weighed(paths, edge, len(known)))
        strengths = np.array([look.strength for look in self._looks])
        for scale in known:
            wait = _WAIT[scale]
            if len(self._looks) > 2 * wait:
                around = strengths[-2 * wait - 1 :, scale]
                if FAINT <= around[wait] == around.max():
                    yield _pattern(self._looks[-wait - 1], edge - wait, scale)

    def _weighed(self, paths: Paths, edge: int, known: int) -> _Look:
        integrals = paths.at(edge + _EDGES[:known])  # (scales, 6, columns)
        spans_s = _SPANS_S[:known]
        before, within, after = (integrals[:, 1::2] - integrals[:, ::2]).transpose(1, 0, 2) / spans_s.T[..., None]
        pattern, unreturned = within - (before + after) / 2, after - before
        moved = pattern[:, MOVED].reshape(known, COUNT, 2)
        size = _length(moved)
        errors = SHARED_FRAMES * paths.frames_s * (1 / spans_s[:, 1] + 1 / (spans_s[:, 0] + spans_s[:, 2]))
        error = within[:, NOISE] * np.minimum(errors, 1)[:, None]
        head = ((HEAD_REST_IOD * pattern[:, HEAD]) ** 2).sum(axis=1)
        lids = size[:, LIDS].mean(axis=1) + LID_UNLIKE_IOD * np.maximum(pattern[:, UNLIKE], 0)[:, 0]
        against = head[:, None] + (DRAG * lids[:, None]) ** 2
        variance = error + _UNREST_IOD[:known, None] ** 2 + (HABIT_WEIGHT * self._habit_iod[:known]) ** 2 + against
        self._learn(size)
        weight = 1 / variance
        strength, amount_iod, along = group_strength(moved, weight)
        stays = MEMBERS @ (weight[..., None] * unreturned[:, MOVED].reshape(known, COUNT, 2))
        ratio = _length(stays) / np.maximum(along, 1e-12)
        strength *= np.clip((GONE - ratio) / (GONE - RETURNED), 0, 1)
        leading = np.sort(strength, axis=1)[:, -LEADING_GROUPS:]
        strongest = np.zeros(len(SCALES_S))
        strongest[:known] = np.sqrt((leading**2).sum(axis=1) / LEADING_GROUPS)
        size_iod = amount_iod[np.arange(known), strength.argmax(axis=1)]
        return _Look(strongest, size_iod, moved, size / np.sqrt(variance))

    def _learn(self, size_iod: Array) -> None:
        known = len(size_iod)
        habit = self._habit_iod[:known]
        self._seen[:known] += 1
        pace = 1 / np.minimum(self._seen[:known, None] + HABIT_BEGIN, HABIT_S * GRID_HZ)
        habit += (np.minimum(size_iod, HABIT_MOST * np.maximum(habit, UNREST_IOD)) - habit) * pace


def group_strength(moved_iod: Array, weight: Array) -> tuple[Array, Array, Array]:
    """How strongly the groups move, each (n, groups): in standard deviations, in IOD, and as a sum by weight.

    `moved_iod` (n, regions, 2); `weight` (n, regions) is one over the variance. No region counts for a group alone.
    """
    pulls = weight[..., None] * moved_iod
    total = weight @ MEMBERS.T
    pull = MEMBERS @ pulls  # (n, groups, 2)
    amount = _length(pull)
    without = _length(pull[:, :, None] - pulls[:, OF_GROUP])  # (n, groups, members)
    rest = without / np.sqrt(np.maximum(total[..., None] - weight[:, OF_GROUP], 1e-12))
    strength = np.minimum(amount / np.sqrt(total), LONE * rest.min(axis=2))
    return strength, amount / total, amount


def _length(vectors: Array) -> Array:
    """Of two coordinates along the last axis; `numpy.linalg.norm` takes three times as long."""
    x, y = vectors[..., 0], vectors[..., 1]
    return np.asarray(np.sqrt(x * x + y * y))


def _pattern(look: _Look, edge: int, scale: int) -> Pattern:
    return Pattern(
        edge,
        scale,
        float(look.strength[scale]),
        float(look.size_iod[scale]),
        look.moved_iod[scale],
        look.evidence[scale],
    )


def half_cells(scale: int) -> int:
    """Half the length of a scale, in cells."""
    return max(round(SCALES_S[scale] * GRID_HZ / 2), 2)


def flank_cells(scale: int) -> int:
    """Length of before and of after, in cells."""
    return max(round(float(np.clip(FLANK * SCALES_S[scale], *FLANK_S)) * GRID_HZ), 2)


def _edges(scale: int) -> list[int]:
    """Begin and end of before, within and after, from the edge at which after ends."""
    half, flank = half_cells(scale), flank_cells(scale)
    middle, core = -flank - half, max(half // 2, 1)
    return [middle - half - flank, middle - half, middle - core, middle + core, -flank, 0]


_EDGES = np.array([_edges(scale) for scale in range(len(SCALES_S))])
_SPANS_S = (_EDGES[:, 1::2] - _EDGES[:, ::2]) / GRID_HZ
"""(scales, 3): length of before, within, after."""
_REACH = [-int(edges[0]) for edges in _EDGES]
_WAIT = [max(min(round(PEAK_S * GRID_HZ), half_cells(scale) // 2), 1) for scale in range(len(SCALES_S))]
_BACK = [max(round(STRENGTH_DELAY_S * GRID_HZ) - reach // 2, 0) + 1 for reach in _REACH]
_UNREST_IOD = UNREST_IOD * (np.array(SCALES_S) / 0.3) ** UNREST_POWER
_MICRO_SCALES = sum(scale_s <= LONGEST_MICRO_S for scale_s in SCALES_S)
