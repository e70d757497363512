"""Stream time out of a source's own time stamps, and the holes in it.

Files are trusted: their stamps are the time. Cameras are not: their clocks jump, begin anew and wrap, their header says
another frame rate, their pictures come in bursts. What they say of the distance between two pictures is believed as
long as it fits when these arrived: no picture arrives before it was shot, and late ones are followed by others faster
than they are shot.

            pause at a key frame            burst: all at once
    shot     |   |   |   |   |   |   |   |
    arrival  |   |   |               |||||   |        the stamps are right, nothing is lost
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median_low
from typing import overload

from livespot.capture.source import Picture
from livespot.records import Frame, Gap, ShapesInRepr, Status

MEASURED_FRAMES = 15
"""The frame interval is the mean of those of so many that are near their median: no holes, no matter the jitter."""
FEWEST_FRAMES = 4
"""Until so many intervals are measured the declared one holds."""

HOLD_FRAMES = 64
HOLD_S = 0.4
"""A connection begins with a burst of what waited while it opened, up to a second old. So many pictures, or for so long
(not until they are stale), are held back until some had to be waited for: only then it is known how late they were."""
WAITS = 3
WAITED_S = 0.02
"""What comes so long after the one before was waited for, whatever frame rate is declared."""
STILL_FRAMES = 5
"""A source whose first pictures all bear the same stamp has none."""

EARLY_S = 0.5
"""A picture that arrives so long before it says that it was shot was stamped by a clock that jumped."""
LATE_S = 1.0
"""A longer pause than this, after which pictures stay late, was one in which the source's clock stood still."""
SETTLE_S = 1.5
"""For so long after a pause a burst may still make up for it."""
ORIGIN_WINDOW_S = 10.0
"""How fast pictures arrive at best is the best of one to two of these: clocks drift apart by seconds a day."""

LIES = 0.03
"""A clock that gains or loses such a share of time, in two windows one after the other, is not believed as it is: some
cameras count frames at their nominal rate, and give half of them in the dark."""
STANDS = 0.999999
"""One that loses so much stands still: no rate makes up for it."""

WRAPS_S = (2**32 / 90_000, 2**33 / 90_000, 2**32 / 1000)
"""Where stamps begin at 0 again: RTP, MPEG transport streams, milliseconds in 32 bits."""
WRAP_SLACK_S = 60.0


class Timeline:
    """Strictly increasing seconds from 0 for the pictures of one source.

    A stamp that repeats or goes back is put half a frame interval after the picture before it.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._start_s = 0.0
        self._first: tuple[float | None, float] | None = None
        self._last_s = -interval_s

    def place(self, stamp_s: float | None, otherwise_s: float) -> float:
        """Time of the next picture: by its stamp, or by `otherwise_s` where the source has no stamps.

        Both count from any origin, each from its own. Stamps that do not move from the first are none.
        """
        if self._first is None:
            self._first = (stamp_s, otherwise_s)
        first_stamp_s, first_otherwise_s = self._first
        if stamp_s is not None and first_stamp_s is not None and stamp_s > first_stamp_s:
            elapsed_s = stamp_s - first_stamp_s
        else:
            elapsed_s = otherwise_s - first_otherwise_s
        t_s = self._start_s + elapsed_s
        self._last_s = t_s if t_s > self._last_s else self._last_s + self._interval_s / 2
        return self._last_s

    def restart(self) -> None:
        """The stamps begin anew with the next picture; it follows the last by one interval."""
        self._start_s = self._last_s + self._interval_s
        self._first = None


@dataclass(frozen=True, repr=False, eq=False)
class Placed(ShapesInRepr):
    """A picture with its place in stream time."""

    picture: Picture
    t_s: float
    lost: int = 0
    """Pictures that should lie between this one and the one before."""
    jumped: bool = False
    """The source's clock jumped: the distance to the picture before is that of their arrivals, in whole frames."""


class LiveTimeline:
    """Strictly increasing seconds from 0 for the pictures of a live source, across all its connections.

    A picture whose stamp repeats is the same picture again, and left out. A source without stamps is timed by arrival.
    The first pictures of a connection wait here until it is known how late they were.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        """Between two frames: as declared, until it is measured."""
        self._last: Placed | None = None
        self._origin = _Least(ORIGIN_WINDOW_S)
        self._held: list[Picture] = []
        self._intervals_s: deque[float] = deque(maxlen=MEASURED_FRAMES)
        self.reset()

    @property
    def holding(self) -> bool:
        """True where pictures of a new connection wait for their place."""
        return not self._begun

    def push(self, picture: Picture) -> list[Placed]:
        """The pictures that now have their place."""
        if self._begun:
            return self._place(picture)
        self._held.append(picture)
        return self.flush() if self._settled() else []

    def flush(self) -> list[Placed]:
        """What was held back, placed as well as is known by now."""
        held, self._held = self._held, []
        if held and not self._begun:
            self._begin(held)
        return [placed for picture in held for placed in self._place(picture)]

    def reset(self, interval_s: float | None = None, recorded: bool = False) -> None:
        """The next picture is the first of a new connection, which declares `interval_s`.

        What was `recorded` comes as fast as the network carries it: its arrivals say nothing of its stamps.
        """
        self.interval_s = interval_s or self.interval_s
        self._recorded = recorded
        self._held.clear()
        self._begun = False
        self._intervals_s.clear()
        self._stamp_s: float | None = None
        self._turns_s = 0.0
        self._rate = 1.0
        self._drift = 0.0
        self._offset_s = 0.0
        self._offset_before_s: float | None = None
        self._paused: tuple[float, float] | None = None

    def _settled(self) -> bool:
        first, newest = self._held[0], self._held[-1]
        if newest.arrival_s - first.arrival_s > HOLD_S or len(self._held) == HOLD_FRAMES:
            return True
        if not _stamped(self._held):
            return len(self._held) == STILL_FRAMES
        waits = (after.arrival_s - before.arrival_s for before, after in pairwise(self._held))
        return sum(wait_s > min(self.interval_s / 2, WAITED_S) for wait_s in waits) >= WAITS

    def _begin(self, held: list[Picture]) -> None:
        """Put the first picture where it was shot by our own clock: as late as the least late of those held back."""
        self._begun = True
        self._has_stamps = _stamped(held)
        first = next(picture for picture in held if picture.stamp_s is not None or not self._has_stamps)
        shot_s = first.arrival_s - max(_lateness([first, *held])) if self._has_stamps else first.arrival_s
        if self._last is None:
            t_s = 0.0
            self._origin.push(shot_s, first.arrival_s)
        else:
            t_s = max(self._last.t_s + self.interval_s, shot_s - self._origin.value)
        self._offset_s = self._stamp_of(first) - t_s
        self._last = Placed(first, t_s - self.interval_s)

    def _place(self, picture: Picture) -> list[Placed]:
        assert self._last is not None
        if self._has_stamps and picture.stamp_s in (None, self._stamp_s):
            return []
        stamp_s = self._unwrapped(picture) * self._rate
        t_s = self._on_a_line(stamp_s)
        first, self._stamp_s = self._stamp_s is None, self._stamp_of(picture)
        by_arrival_s = None if first or not self._has_stamps else self._by_arrival(t_s, picture)
        if by_arrival_s is not None:
            t_s = by_arrival_s
            self._offset_before_s, self._offset_s = self._offset_s, stamp_s - t_s
        step_s = t_s - self._last.t_s
        lost = 0 if first else self._lost(step_s)
        if not first and by_arrival_s is None:
            self._measure(step_s)
        if (drift := self._origin.push(picture.arrival_s - t_s, picture.arrival_s)) is not None:
            self._correct(drift, stamp_s, t_s)
        self._last = Placed(picture, t_s, lost, by_arrival_s is not None)
        return [self._last]

    def _correct(self, drift: float, stamp_s: float, t_s: float) -> None:
        """Let the source's clock run at another rate where it lies: `drift` is what it lost in a second, by our own."""
        before, self._drift = self._drift, drift
        lies = min(before, drift) > LIES or max(before, drift) < -LIES
        if not lies or drift > STANDS or not self._has_stamps or self._recorded:
            return
        slower = 1 / (1 - drift)
        self._rate *= slower
        self._offset_s = stamp_s * slower - t_s
        self._offset_before_s = None
        self._intervals_s = deque((step_s * slower for step_s in self._intervals_s), maxlen=MEASURED_FRAMES)
        self.interval_s *= slower
        self._drift = 0.0

    def _stamp_of(self, picture: Picture) -> float:
        return picture.stamp_s if self._has_stamps and picture.stamp_s is not None else picture.arrival_s

    def _unwrapped(self, picture: Picture) -> float:
        stamp_s = self._stamp_of(picture)
        if self._stamp_s is not None and stamp_s < self._stamp_s:
            back_s = self._stamp_s - stamp_s
            self._turns_s += next((wrap_s for wrap_s in WRAPS_S if 0 < wrap_s - back_s < WRAP_SLACK_S), 0.0)
        return stamp_s + self._turns_s

    def _on_a_line(self, stamp_s: float) -> float:
        """Time by the line of the last stamps; by that before the last jump, where only that stamp was wrong."""
        assert self._last is not None
        if self._offset_before_s is not None:
            before, self._offset_before_s = self._offset_before_s, None
            if self._fits(stamp_s - before) and not self._fits(stamp_s - self._offset_s):
                self._offset_s = before
        return stamp_s - self._offset_s

    def _fits(self, t_s: float) -> bool:
        """Whether a picture of that time would be the next."""
        return self._last is not None and abs(t_s - self._last.t_s - self.interval_s) < self.interval_s / 2

    def _by_arrival(self, t_s: float, picture: Picture) -> float | None:
        """Where the stamp cannot be right: whole frames after the last, as far as they arrived apart; one at least."""
        assert self._last is not None
        apart_s = picture.arrival_s - self._last.picture.arrival_s
        if not self._jumps(t_s, picture):
            if not self._stood(t_s, picture):
                return None
            apart_s = picture.arrival_s - self._origin.value - self._last.t_s
        return self._last.t_s + max(1, round(apart_s / self.interval_s)) * self.interval_s

    def _jumps(self, t_s: float, picture: Picture) -> bool:
        """Whether time would go back, or the picture be here before it was shot."""
        assert self._last is not None
        early_s = self._origin.value - (picture.arrival_s - t_s) if not self._recorded else 0.0
        return t_s <= self._last.t_s or (early_s > EARLY_S and t_s - self._last.t_s > 1.5 * self.interval_s)

    def _stood(self, t_s: float, picture: Picture) -> bool:
        """Whether a pause is over for `SETTLE_S` and nothing has made up for it: the source's clock stood still."""
        assert self._last is not None
        late_s = picture.arrival_s - t_s - self._origin.value
        before_s = self._last.picture.arrival_s - self._last.t_s - self._origin.value
        if late_s - before_s > LATE_S and not self._recorded:
            self._paused = (picture.arrival_s, late_s)
        elif self._paused is not None:
            since_s, then_s = self._paused
            if late_s < then_s - LATE_S / 2:
                self._paused = None
            elif picture.arrival_s - since_s > SETTLE_S:
                self._paused = None
                return True
        return False

    def _lost(self, step_s: float) -> int:
        """Without stamps a pause may be the network's: only one that no burst explains is a hole."""
        known = len(self._intervals_s) >= FEWEST_FRAMES
        interval_s = self.interval_s if known else max(self.interval_s, min((*self._intervals_s, step_s)))
        limit_s = 1.5 * interval_s if self._has_stamps else max(LATE_S, 1.5 * interval_s)
        return round(step_s / interval_s) - 1 if step_s > limit_s else 0

    def _measure(self, step_s: float) -> None:
        """Without stamps all count: in a burst most arrivals lie nowhere near the interval."""
        self._intervals_s.append(step_s)
        if len(self._intervals_s) >= (FEWEST_FRAMES if self._has_stamps else MEASURED_FRAMES):
            middle_s = median_low(self._intervals_s)  # one of them: between two groups lies none
            self.interval_s = fmean(
                one_s for one_s in self._intervals_s if not self._has_stamps or abs(one_s - middle_s) < middle_s / 2
            )


class _Least:
    """The least of the values of the last one to two windows of time."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._since_s = float("-inf")
        self._took_s = float("inf")
        self._before = self._now = float("inf")

    @property
    def value(self) -> float:
        return min(self._before, self._now)

    def push(self, value: float, at_s: float) -> float | None:
        """How fast the least has risen, per second, where this value begins a new window.

        A window ends with a value, so that it takes longer where they are rare: `_took_s`, that before.
        """
        risen = None
        if at_s > self._since_s + self._window_s:
            risen = (self._now - self._before) / self._took_s if self._before < float("inf") else None
            self._before, self._now = self._now, value
            self._took_s, self._since_s = at_s - self._since_s, at_s
        self._now = min(self._now, value)
        return risen


def _stamped(pictures: Iterable[Picture]) -> bool:
    """Whether the pictures have stamps that move."""
    return len({picture.stamp_s for picture in pictures} - {None}) > 1


def _lateness(pictures: list[Picture]) -> Iterator[float]:
    """How much later than each of the pictures the first of them arrived, as far as their clock runs on."""
    start_s, arrival_s = pictures[0].stamp_s, pictures[0].arrival_s
    before_s = start_s
    for picture in pictures:
        if picture.stamp_s is None or start_s is None or before_s is None or picture.stamp_s < before_s:
            return
        yield (picture.stamp_s - start_s) - (picture.arrival_s - arrival_s)
        before_s = picture.stamp_s


@overload
def with_gaps(items: Iterable[Frame | Gap]) -> Iterator[Frame | Gap]: ...


@overload
def with_gaps(items: Iterable[Frame | Gap | Status]) -> Iterator[Frame | Gap | Status]: ...


def with_gaps(items: Iterable[Frame | Gap | Status]) -> Iterator[Frame | Gap | Status]:
    """The same items of one source, with a Gap in line wherever frames were lost or the source began anew.

    Frames that a Gap in `items` already accounts for are not told twice.
    """
    previous: Frame | None = None
    told_frames = 0
    for item in items:
        if isinstance(item, Gap):
            told_frames += item.frames or 0
        elif isinstance(item, Frame):
            if previous is not None:
                yield from _hole(previous, item, told_frames)
            previous, told_frames = item, 0
        yield item


def _hole(previous: Frame, frame: Frame, told_frames: int) -> Iterator[Gap]:
    lost = frame.index - previous.index - 1 - told_frames
    if frame.epoch != previous.epoch:
        yield Gap(frame.source, previous.t_s, frame.t_s, "reconnect")
    elif lost > 0:
        yield Gap(frame.source, previous.t_s, frame.t_s, "frames_lost", frames=lost)
