"""Counts what a run does. The loop alone writes; another thread may read at any time, and holds nobody up.

Whoever reads sees each number as it was at some moment of the reading, not all of the same moment.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import get_args

from livespot.metrics import BUCKETS_S, STAGES, LastHour, SourceMetrics, Spread
from livespot.pipeline import Load, Step
from livespot.records import EXPRESSION_TYPES, Event, ExpressionType, Gap, GapReason, Status

RATE_FRAMES = 120
"""Frames per second of all sources are counted over this many."""

RATE_S, MAX_RATE_FRAMES = 5.0, 2000
"""Those of one source over this time, or so many frames where it is faster."""

LATENCY_FRAMES = 1000
"""Latencies are told of this many frames."""


class Durations:
    """How long something takes, time after time."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0
        self._latest_s: deque[float] = deque(maxlen=LATENCY_FRAMES)

    def push(self, took_s: float) -> None:
        """It took so long this time."""
        self._counts[bisect_left(BUCKETS_S, took_s)] += 1
        self._sum_s += took_s
        self._latest_s.append(took_s)

    def spread(self) -> Spread:
        """What was taken in so far. Quantiles are of the last frames, 0 where there were none."""
        ordered = sorted(self._latest_s.copy())
        return Spread(tuple(self._counts), self._sum_s, *(_quantile(ordered, share) for share in (0.5, 0.95, 0.99)))


@dataclass
class SourceMeter:
    """Counts of one source."""

    status: Status
    """The last that was told."""
    status_s: float
    """Monotonic time since when the source has been in that state."""
    frames: int = 0
    faces: int = 0
    """In view."""
    events: dict[ExpressionType, int] = field(default_factory=lambda: dict.fromkeys(EXPRESSION_TYPES, 0))
    """Closed ones."""
    gaps: dict[GapReason, int] = field(default_factory=lambda: dict.fromkeys(get_args(GapReason), 0))
    gap_s: dict[GapReason, float] = field(default_factory=lambda: dict.fromkeys(get_args(GapReason), 0.0))
    latency: Durations = field(default_factory=Durations)
    stages: tuple[Durations, ...] = field(default_factory=lambda: tuple(Durations() for _ in STAGES))
    _reconnects: LastHour = field(default_factory=LastHour)
    _stalls: LastHour = field(default_factory=LastHour)
    _done_s: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_RATE_FRAMES))

    def count(self, step: Step, now_s: float) -> None:
        """Take in a step that was published at the monotonic time `now_s`."""
        if step.frame is not None:
            self.frames += 1
            self.faces = len(step.faces)
            self._done_s.append(now_s)
            self.latency.push(now_s - step.frame.arrival_s)
            passed_s = (step.frame.arrival_s, *step.passed_s, now_s)
            for stage, (from_s, to_s) in zip(self.stages, pairwise(passed_s), strict=True):
                stage.push(to_s - from_s)
        for told in step.told:
            self._hear(told, now_s)

    def read(self, load: Load, resident_bytes: int | None, now_s: float) -> SourceMetrics:
        """All that was counted, with what waits now."""
        return SourceMetrics(
            state=self.status.state,
            state_s=max(now_s - self.status_s, 0.0),
            detail=self.status.detail,
            frames=self.frames,
            fps=self._fps(now_s),
            faces=self.faces,
            dropped_frames=load.dropped,
            gaps=self.gaps.copy(),
            gap_s=self.gap_s.copy(),
            events=self.events.copy(),
            reconnects=self.status.reconnects,
            stalls=self.status.stalls,
            reconnects_per_hour=self._reconnects.count(now_s),
            stalls_per_hour=self._stalls.count(now_s),
            latency=self.latency.spread(),
            stages={stage: took.spread() for stage, took in zip(STAGES, self.stages, strict=True)},
            queues={"frames": load.frames, "faces": load.faces},
            resident_bytes=resident_bytes,
        )

    def _hear(self, told: Event | Gap | Status, now_s: float) -> None:
        if isinstance(told, Event):
            self.events[told.type] += told.phase == "close"
        elif isinstance(told, Gap):
            self.gaps[told.reason] += 1
            self.gap_s[told.reason] += told.to_s - told.from_s
        else:
            for lately, more in (
                (self._reconnects, told.reconnects - self.status.reconnects),
                (self._stalls, told.stalls - self.status.stalls),
            ):
                for _ in range(more):
                    lately.push(now_s)
            if told.state != self.status.state:
                self.status_s = now_s
            self.status = told
            self.faces = self.faces if told.state == "running" else 0

    def _fps(self, now_s: float) -> float:
        recent_s = [done_s for done_s in self._done_s.copy() if done_s > now_s - RATE_S]
        return (len(recent_s) - 1) / max(now_s - recent_s[0], 1e-9) if len(recent_s) > 1 else 0.0


@dataclass
class Meter:
    """Counts of a run, by source, and the latest speeds of all together."""

    sources: dict[str, SourceMeter] = field(default_factory=dict)
    turned_s: float = 0.0
    """Monotonic time of the last turn of the loop."""
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCY_FRAMES))
    """From arrival to published, of the last frames."""
    _done_s: deque[float] = field(default_factory=lambda: deque(maxlen=RATE_FRAMES))

    @classmethod
    def of(cls, names: Iterable[str], now_s: float) -> "Meter":
        """One that knows its sources, in their order, before anything is told of them."""
        return cls({name: _begun(name, now_s) for name in names})

    def count(self, step: Step, now_s: float) -> None:
        """Take in a step that was published at the monotonic time `now_s`."""
        if step.source not in self.sources:
            self.sources[step.source] = _begun(step.source, now_s)
        self.sources[step.source].count(step, now_s)
        if step.frame is not None:
            self.latencies_s.append(now_s - step.frame.arrival_s)
            self._done_s.append(now_s)

    @property
    def frames(self) -> int:
        """Of all sources."""
        return sum(one.frames for one in self.sources.values())

    @property
    def events(self) -> int:
        """Of all sources, closed ones."""
        return sum(sum(one.events.values()) for one in self.sources.values())

    @property
    def gaps(self) -> int:
        """Of all sources."""
        return sum(sum(one.gaps.values()) for one in self.sources.values())

    @property
    def faces(self) -> dict[str, int]:
        """Faces in view, by source."""
        return {name: one.faces for name, one in self.sources.items()}

    @property
    def fps(self) -> float:
        """Frames per second of all sources together, lately."""
        if len(self._done_s) < 2:
            return 0.0
        return (len(self._done_s) - 1) / max(self._done_s[-1] - self._done_s[0], 1e-9)

    def latency_ms(self, share: float = 0.5) -> float:
        """The latency that `share` of the last frames kept below, in milliseconds."""
        return 1000 * _quantile(sorted(self.latencies_s), share)


def _begun(name: str, now_s: float) -> SourceMeter:
    return SourceMeter(Status(name, "connecting", 0.0), now_s)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
