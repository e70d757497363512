"""What motion says of what a network proposes: how much of it a turning head or a blink explains, and when it was.

A network compares the present face with an earlier one; here the motion between the same two moments is weighed once
against noise and unrest alone, and once against what the head and the lids did as well. The ratio lowers the score.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from livespot.config import DecodeSettings
from livespot.motion.course import bounds_s, direction, places
from livespot.motion.search import (
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
from livespot.records import Event, Motion

MOMENT_CELLS = 2
"""A moment is a mean over so many cells of the grid."""
CALM = 2.0
"""In standard deviations: a face that moves by less gives motion nothing to say."""
REACH, REACH_S = 0.5, (0.15, 0.5)
"""A boundary is sought this share of an event beyond it, within these bounds."""
SAME_IOU = 0.3
"""Bounds that overlap the proposed ones by less are of another movement."""


class Evidence:
    """The recent motion of one face, and what it says of scores and events."""

    def __init__(self, durations: DecodeSettings, references_s: Sequence[float]) -> None:
        """`references_s` are the network's distances into the past, for micro and for macro."""
        self._durations = durations
        self._references = [max(round(reference_s * GRID_HZ), MOMENT_CELLS) for reference_s in references_s]
        self.reset()

    def push(self, motion: Motion) -> None:
        """Take the motion of the next frame."""
        self._paths.add(motion)
        self._frames.append(motion)
        while self._frames[0].t_s < motion.t_s - KEPT_S:
            self._frames.popleft()

    def reset(self) -> None:
        """Forget everything."""
        self._paths = Paths()
        self._frames: deque[Motion] = deque()

    def unexplained(self) -> tuple[float, ...]:
        """For each reference, the share [0, 1] of the motion since then that neither head nor lids explain."""
        return tuple(self._unexplained(back) for back in self._references)

    def refined(self, event: Event) -> Event:
        """A closed event with the bounds that motion gives it, and the regions that moved."""
        if event.offset_s is None or not self._frames:
            return event
        long_s = event.offset_s - event.onset_s
        reach_s = float(np.clip(REACH * long_s, *REACH_S))
        begin, end = (self._edge(t_s) for t_s in (event.onset_s, event.offset_s))
        first, flank = self._edge(event.onset_s - reach_s), max(round(reach_s * GRID_HZ / 2), 1)
        if end - begin < MOMENT_CELLS or first >= begin:
            return event
        cells = self._paths.cells(first, self._paths.count - 1)
        around = np.concatenate([cells[: begin - first], cells[end - first :]])
        apex, quarter = self._edge(event.apex_s) - first, max((end - begin) // 4, 1)
        moved = cells[max(apex - quarter, 0) : apex + quarter].mean(axis=0) - around.mean(axis=0)
        evidence = np.linalg.norm(moved, axis=1) / np.hypot(UNREST_IOD, self._frames[-1].noise_iod)
        found = bounds_s(self._paths, direction(moved, evidence), first, begin, end, flank)
        event = replace(event, regions=places(evidence))
        return event if found is None else self._moved(event, found)

    def _moved(self, event: Event, bounds: tuple[float, float, float]) -> Event:
        assert event.offset_s is not None
        onset, apex, offset = (min(self._frames, key=lambda frame: abs(frame.t_s - t_s)) for t_s in bounds)
        lasts_s = offset.t_s - onset.t_s
        shared_s = min(offset.t_s, event.offset_s) - max(onset.t_s, event.onset_s)
        whole_s = max(offset.t_s, event.offset_s) - min(onset.t_s, event.onset_s)
        if not self._durations.min_s <= lasts_s <= self._durations.max_s or shared_s < SAME_IOU * whole_s:
            return event
        return replace(
            event,
            type="micro" if lasts_s <= self._durations.micro_max_s else "macro",
            onset_s=onset.t_s,
            onset_frame=onset.index,
            apex_s=apex.t_s,
            apex_frame=apex.index,
            offset_s=offset.t_s,
            offset_frame=offset.index,
        )

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
        change = present - past
        moved = change[MOVED].reshape(1, COUNT, 2)
        plain = UNREST_IOD**2 + self._frames[-1].noise_iod.astype(np.float64)[None] ** 2
        lids_iod = float(np.linalg.norm(moved[0, LIDS], axis=1).mean()) + LID_UNLIKE_IOD * abs(float(change[UNLIKE][0]))
        against = ((HEAD_REST_IOD * change[HEAD]) ** 2).sum() + (DRAG * lids_iod) ** 2
        alone, weighed = (self._strength(moved, variance) for variance in (plain, plain + against))
        return 1.0 if alone < CALM else weighed / alone

    @staticmethod
    def _strength(moved: Array, variance: Array) -> float:
        return float(group_strength(moved, 1 / variance)[0].max())
