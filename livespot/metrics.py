"""What a run measures of itself, as values: for `livespot status`, for Prometheus, for whoever asks the publisher.

The way of a frame is cut where it changes hands, so that the stages add up to the time from arrival to published:

    arrival | wait | align | queue | method | score | decode | publish | published
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from livespot.records import ExpressionType, GapReason, State

STAGES = ("wait", "align", "queue", "method", "score", "decode", "publish")
"""Waiting for the tracker, aligned, waiting for the loop; then, together with the frames of other sources that the loop
took with it: taken in by the method, scored by the network, decoded; at last published."""

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the durations that are counted together."""

HOUR_S = 3600.0


@dataclass(frozen=True)
class Spread:
    """How long something took: since the start as counts, lately as quantiles."""

    counts: tuple[int, ...]
    """By bucket: up to each of `BUCKETS_S` and above the one before, and last what took longer."""
    sum_s: float
    p50_s: float
    p95_s: float
    p99_s: float

    @property
    def cumulative(self) -> tuple[int, ...]:
        """How many took no longer than each of `BUCKETS_S`, and last how many there were."""
        return tuple(accumulate(self.counts))


@dataclass(frozen=True)
class SourceMetrics:
    """One source since the start of the run."""

    state: State
    state_s: float
    """How long it has been in this state."""
    detail: str
    frames: int
    """Frames that went all the way."""
    fps: float
    """Of the last seconds."""
    faces: int
    """In view."""
    dropped_frames: int
    """That livespot was too slow for."""
    gaps: Mapping[GapReason, int]
    gap_s: Mapping[GapReason, float]
    """Stream time that was not watched."""
    events: Mapping[ExpressionType, int]
    """That have closed."""
    reconnects: int
    stalls: int
    reconnects_per_hour: int
    stalls_per_hour: int
    """Both in the last hour."""
    latency: Spread
    """From arrival to published."""
    stages: Mapping[str, Spread]
    """The same, by `STAGES`."""
    queues: Mapping[str, int]
    """What waits: frames for the tracker, faces for the loop."""
    resident_bytes: int | None
    """Memory of the process that reads it; None where it has none."""


@dataclass(frozen=True)
class RecordingMetrics:
    """How recording to disk goes."""

    error: str
    """Why nothing can be recorded now; empty where it can."""
    waiting: int
    """Messages that wait until it can."""
    lost: int
    """Messages that never will be in the file."""


@dataclass(frozen=True)
class RunMetrics:
    """One run of livespot."""

    uptime_s: float
    idle_s: float
    """Since the last turn of the loop, of the slowest where there are several; it turns several times a second: more
    means that it hangs."""
    resident_bytes: int
    """Memory of livespot itself; the processes of its readers come on top."""
    queues: Mapping[str, int]
    """What waits: messages to be sent."""
    sources: Mapping[str, SourceMetrics]
    recording: RecordingMetrics | None = None
    """None where nothing is recorded."""


class LastHour:
    """Counts what happened in the last hour. Times must not decrease."""

    def __init__(self) -> None:
        self._at_s: deque[float] = deque()

    def push(self, now_s: float) -> None:
        """It happened now."""
        self._at_s.append(now_s)

    def count(self, now_s: float) -> int:
        """How often it happened in the hour up to now."""
        while self._at_s and self._at_s[0] <= now_s - HOUR_S:
            self._at_s.popleft()
        return len(self._at_s)
