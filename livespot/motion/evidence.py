"""What motion says of what a network proposes: how much of it a turning head or a blink explains, and when it was.

A network compares the present face with an earlier one; here the motion between the same two moments is weighed once
against noise and unrest alone, and once against what the head and the lids did as well. The ratio lowers the score.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from livespot.config import DecodeSettings
from livespot.motion.course import bounds_s, direction, nearest, places
from livespot.motion.search import (
    COLUMNS,
    COUNT,
    DRAG,
    GRID_HZ,
    HEAD,
    HEAD_REST_IOD,
    KEPT_S,
    LID_UNLIKE_IOD,
    LIDS,
    MOVED,
    UNLIKE,
    UNREST_IOD,
    Array,
    Paths,
    group_strength,
)
from livespot.records import MAX_PAUSE_S, Event, ExpressionType, Motion

MOMENT_CELLS = 2
"""A moment is a mean over so many cells of the grid."""
CALM, ENOUGH = 2.0, 8.0
"""In standard deviations: a face that moves by less gives motion nothing to say; what is left with this much, when head
and lids are taken for what they are, is movement in its own right, such as a smile during a blink."""
REACH, REACH_S = 0.5, (0.15, 0.5)
"""A boundary is sought this share of an event beyond it, within these bounds."""
ROUNDING_S = 1e-6
SAME_IOU = 0.5
"""Bounds that overlap the proposed ones by less are of another movement."""


class Evidence:
    """The recent motion of one face, and what it says of scores and events."""

    def __init__(self, durations: DecodeSettings, references_s: Sequence[float]) -> None:
        """`references_s` are the network's distances into the past, for micro first, for macro last.

        None where it compares no two moments: then nothing it proposes is explained away, and only events are refined.
        """
        self._durations = durations
        self._references = [max(round(reference_s * GRID_HZ), MOMENT_CELLS) for reference_s in references_s]
        self.reset()

    def push(self, motion: Motion) -> None:
        """Take the motion of the next frame."""
        if self._frames and motion.t_s - self._frames[-1].t_s > MAX_PAUSE_S:
            self.reset()
        self._paths.add(motion)
        self._frames.append(motion)
        while self._frames[0].t_s < motion.t_s - KEPT_S:
            self._frames.popleft()

    def reset(self) -> None:
        """Forget everything."""
        self._paths = Paths()
        self._frames: deque[Motion] = deque()
        self._free_s = -np.inf

    def unexplained(self) -> tuple[float, float]:
        """For micro and macro, the share [0, 1] of the motion since their reference that is no head's and no lid's."""
        if not self._references:
            return 1.0, 1.0
        return self._unexplained(self._references[0]), self._unexplained(self._references[-1])

    def refined(self, event: Event) -> Event:
        """A closed event with the bounds that motion gives it, and the regions that moved.

        One that was cut off keeps its offset: there the face had not come back.
        """
        if event.offset_s is None or not self._frames:
            return event
        refined = self._after_the_last(self._refined(event, event.offset_s))
        self._free_s = event.offset_s if refined.offset_s is None else refined.offset_s
        return refined

    def _refined(self, event: Event, offset_s: float) -> Event:
        long_s = offset_s - event.onset_s
        reach_s = float(np.clip(REACH * long_s, *REACH_S))
        begin, end = (self._edge(t_s) for t_s in (event.onset_s, offset_s))
        first, flank = self._edge(event.onset_s - reach_s), max(round(reach_s * GRID_HZ / 2), 1)
        if end - begin < MOMENT_CELLS or first >= begin:
            return event
        moved, evidence, strength = self._strongest(first, begin, end)
        if strength < CALM:
            return event
        found = bounds_s(self._paths, direction(moved, evidence), first, begin, end, flank)
        event = replace(event, regions=places(evidence))
        return event if found is None else self._within(event, found)

    def _strongest(self, first: int, begin: int, end: int) -> tuple[Array, Array, float]:
        """Where within an event the face is farthest from the neutral around it: displacement (regions, 2), evidence
        (regions,) and strength.
        """
        cells = np.diff(self._paths.at(np.arange(first, self._paths.count)), axis=0) * GRID_HZ
        neutral = np.concatenate([cells[: begin - first], cells[end - first :]]).mean(axis=0)
        moment = max((end - begin) // 4, 1)
        sums = np.concatenate([np.zeros((1, COLUMNS)), np.cumsum(cells[begin - first : end - first] - neutral, axis=0)])
        away = (sums[moment:] - sums[:-moment]) / moment
        moved, variance = self._weighed(away)
        strength = group_strength(moved, 1 / variance)[0].max(axis=1)
        best = int(np.argmax(strength))
        return moved[best], np.linalg.norm(moved[best], axis=1) / np.sqrt(variance[best]), float(strength[best])

    def _within(self, event: Event, bounds: tuple[float, float, float]) -> Event:
        """The event with these bounds, if they are of the same movement, and of the class that the network saw."""
        assert event.offset_s is not None
        onset_s, apex_s, offset_s = max(bounds[0], self._free_s), bounds[1], bounds[2]
        if event.truncated:
            offset_s = event.offset_s
        onset, apex, offset = (nearest(self._frames, t_s) for t_s in (onset_s, apex_s, offset_s))
        if not onset.t_s <= apex.t_s <= offset.t_s:
            return event
        lasts_s = offset.t_s - onset.t_s
        shared_s = min(offset.t_s, event.offset_s) - max(onset.t_s, event.onset_s)
        whole_s = max(offset.t_s, event.offset_s) - min(onset.t_s, event.onset_s)
        within = self._durations.min_s - ROUNDING_S <= lasts_s <= self._durations.max_s + ROUNDING_S
        if not within or shared_s < SAME_IOU * whole_s or self._type(lasts_s) != event.type:
            return event
        return replace(
            event,
            onset_s=onset.t_s,
            onset_frame=onset.index,
            apex_s=apex.t_s,
            apex_frame=apex.index,
            offset_s=offset.t_s,
            offset_frame=offset.index,
        )

    def _after_the_last(self, event: Event) -> Event:
        """The event without what the one before it, whose offset was moved, has taken."""
        assert event.offset_s is not None
        onset = nearest(self._frames, self._free_s)
        if not event.onset_s < onset.t_s <= event.apex_s:
            return event
        kind = self._type(event.offset_s - onset.t_s)
        return replace(event, type=kind, onset_s=onset.t_s, onset_frame=onset.index)

    def _type(self, lasts_s: float) -> ExpressionType:
        return "micro" if lasts_s <= self._durations.micro_max_s + ROUNDING_S else "macro"

    def _edge(self, t_s: float) -> int:
        """The kept edge nearest to a time."""
        return int(np.clip(self._paths.edge(t_s), self._paths.first, self._paths.count - 1))

    def _unexplained(self, back: int) -> float:
        now = self._paths.count - 1
        then = now - back - MOMENT_CELLS
        if then < self._paths.first:
            return 1.0
        ends = self._paths.at(np.array([[now - MOMENT_CELLS, now], [then, then + MOMENT_CELLS]]))
        present, past = (ends[:, 1] - ends[:, 0]) * GRID_HZ / MOMENT_CELLS
        change = (present - past)[None]
        moved, variance = self._weighed(change)
        alone, weighed = (float(group_strength(moved, 1 / one)[0].max()) for one in (self._plain, variance))
        return 1.0 if alone < CALM else min(max(weighed / alone, weighed / ENOUGH), 1.0)

    @property
    def _plain(self) -> Array:
        """(1, regions) variance by noise and unrest alone."""
        return np.asarray(UNREST_IOD**2 + self._frames[-1].noise_iod.astype(np.float64)[None] ** 2)

    def _weighed(self, change: Array) -> tuple[Array, Array]:
        """Displacement (n, regions, 2) in changes of a path (n, columns), and its variance, by head and lids too."""
        moved = change[:, MOVED].reshape(-1, COUNT, 2)
        lids_iod = np.linalg.norm(moved[:, LIDS], axis=2).mean(axis=1) + LID_UNLIKE_IOD * np.abs(
            change[:, UNLIKE][:, 0]
        )
        head = ((HEAD_REST_IOD * change[:, HEAD]) ** 2).sum(axis=1)
        return moved, self._plain + head[:, None] + (DRAG * lids_iod[:, None]) ** 2
