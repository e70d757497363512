"""Motion -> Event, without training: the patterns of `search`, read as expressions.

The regions that carry a pattern, moving as they do in it, give one course over time. Onset and offset are where that
course leaves neutral and reaches it again, apex where it is highest. Where several readings overlap the strongest wins.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from livespot.config import LIVE_LOOKAHEAD_S, DecodeSettings, MotionSettings
from livespot.motion.course import bounds_s, direction, nearest, places
from livespot.motion.search import KEPT_S, Paths, Pattern, Search, flank_cells, half_cells
from livespot.records import MAX_PAUSE_S, Event, ExpressionType, Gap, Motion, Phase

OVERLAP = 0.2
"""Readings that share more than this part of the shorter one are of one expression."""

LONG_WAIT = 0.6
"""A long expression is not told before this share of its length has passed after it: a reading at the next longer scale
takes so long to be complete."""

_ROUNDING_S = 1e-6


class MotionSpotter:
    """Expressions of one face, from its regional motion.

    An expression is told, all phases at once, `latency_s` after its offset, or `LONG_WAIT` times its length where that
    is longer: in that time a stronger reading may take its place. Where the look-ahead is infinite all is told by
    `flush`, for recordings.
    """

    def __init__(self, settings: MotionSettings, durations: DecodeSettings, source: str, face: int) -> None:
        self._settings, self._durations = settings, durations
        self._source, self._face = source, face
        self._opened = 0
        self.reset()

    @property
    def latency_s(self) -> float:
        """Time from the offset of an expression until it is told, unless it is long."""
        return LIVE_LOOKAHEAD_S if self._settings.lookahead_s is None else self._settings.lookahead_s

    @property
    def strength(self) -> tuple[float, float]:
        """Evidence for a micro- and a macro-expression around `STRENGTH_DELAY_S` ago, [0, 1); at 0.5 it is enough."""
        micro, macro = self._search.strengths
        return _share(micro, self._settings.micro_threshold), _share(macro, self._settings.macro_threshold)

    def push(self, item: Motion | Gap) -> list[Event]:
        """Take the next motion of this face, or a gap in which it was not watched; the events that this decides.

        Raises ValueError where a motion is not later than the one before.
        """
        if isinstance(item, Gap):
            return self.flush()
        events = self.flush() if self._pause_s(item) > MAX_PAUSE_S + _ROUNDING_S else []
        self._remember(item)
        for edge in self._paths.add(item):
            for pattern in self._search.look(self._paths, edge):
                self._weigh(pattern)
        return events + self._decided(item.t_s)

    def flush(self) -> list[Event]:
        """Tell what has ended, and start anew. What is still going on has not returned: nobody knows what it is."""
        events = self._decided(np.inf)
        self.reset()
        return events

    def reset(self) -> None:
        """Forget everything but the number of events told: an id is never used again."""
        self._paths, self._search = Paths(), Search()
        self._frames: deque[Motion] = deque()
        self._pending: list[_Reading] = []
        self._told: list[_Reading] = []

    def _pause_s(self, motion: Motion) -> float:
        if not self._frames:
            return 0.0
        last_s = self._frames[-1].t_s
        if motion.t_s <= last_s:
            raise ValueError(f"motion at {motion.t_s} s came after that at {last_s} s; expected times that increase")
        return motion.t_s - last_s

    def _remember(self, motion: Motion) -> None:
        self._frames.append(motion)
        while self._frames[0].t_s < motion.t_s - KEPT_S:
            self._frames.popleft()

    def _weigh(self, pattern: Pattern) -> None:
        """Keep a pattern that reads as an expression."""
        course = _course(self._paths, pattern)
        if course is None:
            return
        onset, apex, offset = (nearest(self._frames, t_s) for t_s in course)
        lasts_s = offset.t_s - onset.t_s
        durations, settings = self._durations, self._settings
        kind: ExpressionType = "micro" if lasts_s <= durations.micro_max_s + _ROUNDING_S else "macro"
        threshold, least_iod = (
            (settings.micro_threshold, settings.micro_iod)
            if kind == "micro"
            else (settings.macro_threshold, settings.macro_iod)
        )
        if (
            durations.min_s - _ROUNDING_S <= lasts_s <= durations.max_s + _ROUNDING_S
            and pattern.strength >= threshold
            and pattern.size_iod >= least_iod
        ):
            confidence = _share(pattern.strength, threshold)
            reading = _Reading(kind, onset, apex, offset, pattern.strength, confidence, places(pattern.evidence))
            self._pending.append(reading)

    def _decided(self, now_s: float) -> list[Event]:
        """Tell what has been over for long enough, the strongest of what overlaps; in order of onset."""
        if not any(now_s >= self._due_s(one) for one in self._pending):
            return []
        accepted = []
        for reading in sorted(self._pending, key=lambda one: -one.strength):
            if any(reading.is_of(other) for other in self._told):
                self._pending.remove(reading)
            elif now_s >= self._due_s(reading) and not self._has_rival(reading):
                self._pending.remove(reading)
                self._told.append(reading)
                accepted.append(reading)
        self._told = [one for one in self._told if one.offset.t_s > self._frames[-1].t_s - KEPT_S or now_s == np.inf]
        accepted.sort(key=lambda one: one.onset.t_s)
        return [event for reading in accepted for event in self._events(reading)]

    def _has_rival(self, reading: "_Reading") -> bool:
        """Whether a stronger reading of the same is yet to be decided."""
        return any(other.strength > reading.strength and reading.is_of(other) for other in self._pending)

    def _due_s(self, reading: "_Reading") -> float:
        return reading.offset.t_s + self._wait_s(reading) - _ROUNDING_S

    def _wait_s(self, reading: "_Reading") -> float:
        return max(self.latency_s, LONG_WAIT * (reading.offset.t_s - reading.onset.t_s))

    def _events(self, reading: "_Reading") -> list[Event]:
        """All phases of an expression."""
        number, self._opened = self._opened, self._opened + 1
        now = self._frames[-1]

        def told(phase: Phase) -> Event:
            closed = phase == "close"
            return Event(
                f"{self._source}-{self._face}-{number}", phase, reading.type, self._source, self._face,
                reading.onset.t_s, reading.onset.index, reading.apex.t_s, reading.apex.index,
                reading.offset.t_s if closed else None, reading.offset.index if closed else None,
                reading.confidence, now.t_s, now.arrival_s, regions=reading.regions,
            )  # fmt: skip

        return [told("open"), told("update"), told("close")]


@dataclass(frozen=True)
class _Reading:
    """A pattern read as an expression."""

    type: ExpressionType
    onset: Motion
    apex: Motion
    offset: Motion
    strength: float
    confidence: float
    regions: tuple[str, ...]

    def is_of(self, other: "_Reading") -> bool:
        """Whether both are readings of one expression."""
        begin_s, end_s = max(self.onset.t_s, other.onset.t_s), min(self.offset.t_s, other.offset.t_s)
        shorter_s = min(self.offset.t_s - self.onset.t_s, other.offset.t_s - other.onset.t_s)
        return end_s - begin_s > OVERLAP * shorter_s


def _course(paths: Paths, pattern: Pattern) -> tuple[float, float, float] | None:
    """Onset, apex and offset of a pattern in seconds; None where nothing rises."""
    half, flank = half_cells(pattern.scale), flank_cells(pattern.scale)
    middle = pattern.edge - flank - half
    first = max(middle - flank - half - half // 2, paths.first)
    along = direction(pattern.moved_iod, pattern.evidence)
    return bounds_s(paths, along, first, middle - half, middle + half, flank)


def _share(strength: float, threshold: float) -> float:
    return strength / (strength + threshold)
