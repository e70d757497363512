"""From scores to events: low-pass, threshold with hysteresis, onset, apex, offset, durations.

A macro-expression may well contain a micro-expression, and Yap 2022 lets both outputs be on at once. This decoder
tells both as one event, typed by its duration: the two scores rise together on most movements, so that two events would
mostly be two readings of one. The price is that a micro-expression within a macro-expression is not told apart.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt_zi

from livespot.config import DecodeSettings
from livespot.records import MAX_PAUSE_S, Calibration, Event, ExpressionType, Gap, Phase, Scores

GRID_HZ = 200.0
"""Scores are filtered on this grid, so that every frame rate meets the same filter."""

MAX_RISE_S = 0.5
"""An onset is traced back no further: a score that hovers below its threshold is no rise."""

APEX_FALL = 0.1
"""The apex is passed once the score has fallen by this share of its peak."""

_ROUNDING_S = 1e-6
"""More than float arithmetic errs, less than any frame interval."""


class Decoder:
    """Events of one face, from its scores.

    A class is active from when its smoothed score reaches its threshold until it stays below `hysteresis` times that
    for `merge_s`; an expression lasts while any class is active. Its onset is where the score rose above the lower
    threshold, its offset where it fell below. `open` is told once it has lasted `min_s`, so that it is never taken
    back; `update` when its apex is passed, and again after a higher one; `close` with the final type: micro up to
    `micro_max_s`, macro beyond. At `max_s` it is cut off, and a class has to fall before it is active again.

    The delay of the low-pass is taken off all times; times and frames told are those of the nearest scores.
    """

    def __init__(self, settings: DecodeSettings, calibration: Calibration, source: str, face: int) -> None:
        self._settings = settings
        self._name = f"{source}-{face}"
        self._low_pass = _LowPass(_chosen(settings.cutoff_hz, calibration.cutoff_hz))
        self._thresholds = (
            _chosen(settings.micro_threshold, calibration.micro_threshold),
            _chosen(settings.macro_threshold, calibration.macro_threshold),
        )
        self._history_s = settings.max_s + settings.merge_s + self.latency_s + 2 * MAX_PAUSE_S
        self._opened = 0
        self.reset()

    @property
    def latency_s(self) -> float:
        """Delay of the low-pass. An open is told this much after `min_s`, a close this much after `merge_s`."""
        return self._low_pass.delay_s

    @property
    def thresholds(self) -> tuple[float, float]:
        """Thresholds of micro and macro, [0, 1]."""
        return self._thresholds

    @property
    def smoothed(self) -> tuple[float, float]:
        """Micro and macro as the low-pass gave them at the last score: they belong `latency_s` earlier."""
        return self._smoothed

    def push(self, item: Scores | Gap) -> list[Event]:
        """Take the next scores of this face, or a gap in which it was not watched; the phases that they decide.

        Raises ValueError where scores are not later than those before.
        """
        if isinstance(item, Gap):
            return self.flush()
        events = self.flush() if self._pause_s(item) > MAX_PAUSE_S + _ROUNDING_S else []
        self._remember(item)
        for t_s, micro, macro in self._low_pass.push(item):
            self._smoothed = (micro, macro)
            events += self._step(t_s)
        return events

    def flush(self) -> list[Event]:
        """Close what is open: where it fell, or else, truncated, at the last score. Then start anew."""
        events = []
        if self._expression is not None:
            fell_s = self._expression.fell_s
            events = self._end(self._frames[-1].t_s if fell_s is None else fell_s, truncated=fell_s is None)
        self.reset()
        return events

    def reset(self) -> None:
        """Forget everything but the number of events told: an id is never used again."""
        self._low_pass.reset()
        self._triggers = [
            _Trigger(on, on * self._settings.hysteresis, self._settings.merge_s) for on in self.thresholds
        ]
        self._frames: deque[Scores] = deque()
        self._expression: _Expression | None = None
        self._free_from_s = 0.0
        self._smoothed = (0.0, 0.0)

    def _pause_s(self, scores: Scores) -> float:
        if not self._frames:
            return 0.0
        last_s = self._frames[-1].t_s
        if scores.t_s <= last_s:
            raise ValueError(f"scores at {scores.t_s} s came after those at {last_s} s; expected times that increase")
        return scores.t_s - last_s

    def _remember(self, scores: Scores) -> None:
        if not self._frames:
            self._free_from_s = scores.t_s
        self._frames.append(scores)
        while self._frames[0].t_s < scores.t_s - self._history_s:
            self._frames.popleft()

    def _step(self, t_s: float) -> list[Event]:
        """One grid point of the smoothed scores, at its corrected time."""
        for trigger, score in zip(self._triggers, self._smoothed, strict=True):
            trigger.step(t_s, score)
        raised = [score for trigger, score in zip(self._triggers, self._smoothed, strict=True) if trigger.raised]
        if raised:
            return self._rise(t_s, max(raised))
        if self._expression is None:
            return []
        if self._expression.fell_s is None:
            self._expression.fell_s = t_s
        if any(trigger.active for trigger in self._triggers):
            return []
        return self._end(self._expression.fell_s, truncated=False)

    def _rise(self, t_s: float, score: float) -> list[Event]:
        """A class is active and above its lower threshold; `score` is the highest of such."""
        if self._expression is None:
            rose_s = min(trigger.rose_s for trigger in self._triggers if trigger.raised)
            self._expression = _Expression(max(rose_s, t_s - MAX_RISE_S, self._free_from_s), score, t_s)
        expression = self._expression
        expression.fell_s = None
        if t_s - expression.onset_s >= self._settings.max_s:
            for trigger in self._triggers:
                trigger.disarm()
            return self._end(t_s, truncated=True)
        expression.follow(t_s, score)
        events = []
        if expression.id is None and self._is_certain(expression, t_s):
            expression.id = f"{self._name}-{self._opened}"
            self._opened += 1
            events.append(self._told("open", expression, t_s))
        if expression.id is not None and expression.is_past_apex(score):
            expression.apex_told = True
            events.append(self._told("update", expression, t_s))
        return events

    def _is_certain(self, expression: "_Expression", t_s: float) -> bool:
        """Long enough, and, where frames are further apart than that, with a frame after its onset."""
        return (
            t_s - expression.onset_s >= self._settings.min_s and self._place(expression.onset_s) < len(self._frames) - 1
        )

    def _end(self, offset_s: float, truncated: bool) -> list[Event]:
        """What never was open goes untold."""
        expression, self._expression = self._expression, None
        if expression is None or expression.id is None:
            return []
        close = self._told("close", expression, min(offset_s, expression.onset_s + self._settings.max_s), truncated)
        assert close.offset_s is not None
        self._free_from_s = close.offset_s
        return [close]

    def _told(self, phase: Phase, expression: "_Expression", t_s: float, truncated: bool = False) -> Event:
        """The event as it is known at `t_s`, which is its offset when it closes."""
        onset = self._place(expression.onset_s)
        apex = max(self._place(expression.peak_s), onset)
        end = min(max(self._place(t_s), apex + 1), len(self._frames) - 1)
        onset_frame, apex_frame, end_frame, now = (self._frames[place] for place in (onset, apex, end, -1))
        assert expression.id is not None
        return Event(
            id=expression.id,
            phase=phase,
            type=self._type(end_frame.t_s - onset_frame.t_s),
            source=now.source,
            face=now.face,
            onset_s=onset_frame.t_s,
            onset_frame=onset_frame.index,
            apex_s=apex_frame.t_s,
            apex_frame=apex_frame.index,
            offset_s=end_frame.t_s if phase == "close" else None,
            offset_frame=end_frame.index if phase == "close" else None,
            confidence=min(expression.peak, 1.0),
            decided_s=now.decided_s,
            arrival_s=now.arrival_s,
            truncated=truncated,
        )

    def _type(self, lasted_s: float) -> ExpressionType:
        return "micro" if lasted_s <= self._settings.micro_max_s + _ROUNDING_S else "macro"

    def _place(self, t_s: float) -> int:
        """Place in `_frames` of the frame nearest to `t_s`."""
        after = bisect_left(self._frames, t_s, key=lambda frame: frame.t_s)
        around = range(max(after - 1, 0), min(after + 1, len(self._frames)))
        return min(around, key=lambda place: abs(self._frames[place].t_s - t_s))


@dataclass
class _Expression:
    """An expression in progress, in corrected times of the grid."""

    onset_s: float
    peak: float
    peak_s: float
    id: str | None = None
    """None until it is told."""
    apex_told: bool = False
    fell_s: float | None = None
    """Since when no class holds it; None while one does."""

    def follow(self, t_s: float, score: float) -> None:
        if score > self.peak:
            self.peak, self.peak_s, self.apex_told = score, t_s, False

    def is_past_apex(self, score: float) -> bool:
        """The score fell clearly from a peak that was not told yet."""
        return not self.apex_told and score < (1 - APEX_FALL) * self.peak


class _Trigger:
    """Threshold with hysteresis of one class: active from `on` until below `off` for `merge_s`."""

    def __init__(self, on: float, off: float, merge_s: float) -> None:
        self._on, self._off, self._merge_s = on, off, merge_s
        self._armed = True
        self._above = False
        self.active = False
        self.rose_s = 0.0
        """Since when the score is above `off`, where it is."""
        self._fell_s = 0.0

    @property
    def raised(self) -> bool:
        """Active, and not in a dip."""
        return self.active and self._above

    def step(self, t_s: float, score: float) -> None:
        above = score >= self._off
        if above and not self._above:
            self.rose_s = t_s
        if self._above and not above:
            self._fell_s = t_s
        self._above = above
        if above:
            self.active = self.active or (self._armed and score >= self._on)
        else:
            self._armed = True
            self.active = self.active and t_s - self._fell_s < self._merge_s

    def disarm(self) -> None:
        """An expression was cut off: the score has to fall before the class is active again."""
        self._armed = self.active = False


class _LowPass:
    """Causal second-order Butterworth over (micro, macro), on a uniform grid that starts with the first scores."""

    def __init__(self, cutoff_hz: float) -> None:
        section = butter(2, cutoff_hz, fs=GRID_HZ, output="sos")
        self._filters = [_Section(section), _Section(section)]
        self.delay_s = self._filters[0].delay_samples / GRID_HZ
        self.reset()

    def reset(self) -> None:
        self._last: Scores | None = None

    def push(self, scores: Scores) -> Iterator[tuple[float, float, float]]:
        """(time, micro, macro) of the grid points since the scores before, the delay taken off the times."""
        if self._last is None:
            self._settle(scores)
        last, self._last = self._last or scores, scores
        micro, macro = self._filters
        while (t_s := self._start_s + self._points / GRID_HZ) <= scores.t_s + _ROUNDING_S:
            share = (t_s - last.t_s) / (scores.t_s - last.t_s) if scores is not last else 1.0
            yield (
                t_s - self.delay_s,
                micro.step(last.micro + share * (scores.micro - last.micro)),
                macro.step(last.macro + share * (scores.macro - last.macro)),
            )
            self._points += 1

    def _settle(self, first: Scores) -> None:
        """As if the first scores had held for ever, so that the start is no rise."""
        self._start_s, self._points = first.t_s, 0
        for section, score in zip(self._filters, (first.micro, first.macro), strict=True):
            section.settle(score)


class _Section:
    """One second-order section, transposed direct form II, sample by sample.

    The same as `scipy.signal.sosfilt`, which needs 20 us a call to prepare for the seven samples of a frame.
    """

    def __init__(self, section: NDArray[np.float64]) -> None:
        (self._b0, self._b1, self._b2, _, self._a1, self._a2) = section[0].tolist()
        self._settled = sosfilt_zi(section)[0].tolist()
        self.delay_samples = _group_delay(section[0, :3]) - _group_delay(section[0, 3:])

    def settle(self, value: float) -> None:
        self._z1, self._z2 = (state * value for state in self._settled)

    def step(self, x: float) -> float:
        y: float = self._b0 * x + self._z1
        self._z1 = self._b1 * x - self._a1 * y + self._z2
        self._z2 = self._b2 * x - self._a2 * y
        return y


def _group_delay(taps: NDArray[np.float64]) -> float:
    """Of a polynomial in 1/z at 0 Hz, in samples."""
    return float(np.arange(len(taps)) @ taps / taps.sum())


def _chosen(setting: float | None, calibrated: float) -> float:
    return calibrated if setting is None else setting
