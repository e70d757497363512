"""Spotters without training, as published: what livespot's own are measured against. They judge whole videos.

Both read regional courses off dense optical flow: how far the skin of each region has come, against the nose. A flow is
taken from the first frame of a sliding window; windows begin every `hop_s` and last twice as long, so that each frame
costs two flows, and where two windows overlap one is blended into the other:

    window 0   |-------------|
    window 1          |-------------|
    window 2                 |-------------|
    course      first  blend  blend  blend

Only the courses are kept, not the flows. At the end of the video they are searched for patterns that leave neutral and
return to it; patterns of several regions at the same time are one event, typed by its duration.

The full papers were not at hand: the methods are known from the report of the challenge of 2023, from abstracts and
from published code, which leave much open. What is published and what is ours stands beside each setting; what is ours
was set on animated portraits, not on the datasets. Neither method knows of blinks: most of their false alarms are such.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import find_peaks, savgol_filter

from livespot.landmarks import apply
from livespot.motion.flow import FLOWS, Grey, windows
from livespot.motion.regions import ALL
from livespot.motion.tracker import WEIGHTS
from livespot.records import MAX_PAUSE_S, Event, Face

Array: TypeAlias = NDArray[np.float64]

MIN_S, MICRO_MAX_S, MAX_S = 0.1, 0.5, 4.0
"""Shortest event, longest micro-expression, longest event: the challenge's but for the first, which is ours."""

POLY_ORDER = 3
"""Of every Savitzky-Golay filter, as in Zhang's published code."""

AGREE_IOU = 0.4
"""Patterns of regions that overlap by so much are of one expression, whose bounds are their mean, weighted by height.
Ours: Zhang's code takes the union of all regions, Yu's that of regions which share a fifth; one region that errs then
spoils the event (Zhang on portraits: overall F1 .64 instead of .71)."""
COVERED = 0.3
"""An event of which more than this share, or the same of the stronger one, lies in a stronger one is not told."""

NEUTRAL_STEP_S = 0.1
"""Neutral is slow: it is sought in so coarse a course, which costs little at any frame rate."""
_ROUNDING_S = 1e-6
"""More than float arithmetic errs, less than any frame interval."""


@dataclass(frozen=True)
class Measuring:
    """How courses are read off dense flow."""

    flow: str = "dis"
    """Key of `flow.FLOWS`. Ours: Zhang's is not published, Yu's is Farneback's; on crops this one errs less."""
    hop_s: float = 10 / 3
    """Distance of windows; each lasts twice as long. Published code of Yu's group: 100 of 200 frames, 30 a second."""
    regions: tuple[str, ...] = (
        "brow_inner_left", "brow_middle_left", "brow_outer_left",
        "brow_inner_right", "brow_middle_right", "brow_outer_right",
        "nose_wing_left", "nose_wing_right",
        "mouth_corner_left", "mouth_corner_right", "upper_lip", "lower_lip",
    )  # fmt: skip
    """Zhang's and Yu's code: three points of each brow, four of the mouth, the nose."""
    nose: tuple[str, ...] = ("nose_bridge", "nose_ridge")
    """The regions whose mean flow is the head's: points 28 to 30 of 68."""
    bins: int = 8
    """Directions into which the vectors of a region are sorted; its motion is the mean of those in the fullest."""
    by_length: bool = False
    """Whether a bin is filled by the lengths of its vectors rather than by their number."""


@dataclass(frozen=True)
class Scale:
    """One of the filters through which a course is searched."""

    smooth_s: float
    """Length of the Savitzky-Golay filter."""
    from_s: float
    to_s: float
    """Durations that are sought."""
    least_px: float
    """Lowest pattern, in pixels of the crop, of which 56 lie between the eyes."""


@dataclass(frozen=True)
class Zhang2020:
    """Zhang et al. 2020, 'Spatio-temporal fusion for macro- and micro-expression spotting in long video sequences'
    (FG 2020): first in the challenge of 2020, baseline of that of 2023.

    The velocity of a region that expresses something is an S: out, then back. Each region is searched for it,
    through filters for micro- and macro-expressions and for the frame rate, and what is found in all is joined.

    Differs: the published code takes flow between neighbouring frames, in which little is left at 200 frames a second
    (the challenge reports no hit there). Here velocity is the slope of the course, and lengths are seconds. The code
    also leaves out the first and last 100 frames, and regions with more than 30 patterns.
    """

    measuring: Measuring = Measuring(bins=6, by_length=True)
    """Published code."""
    scales: tuple[Scale, ...] = (Scale(0.2, MIN_S, MICRO_MAX_S, 0.3), Scale(0.5, MICRO_MAX_S, MAX_S, 0.6))
    """Micro and macro. Ours: the code has another length of the filter for each video, and no second scale."""
    of_strongest: float = 0.5
    """Share of a region's strongest pattern in the video below which patterns are ignored. The code has 0.8 of the
    fastest: the strongest expression then hides the others (overall F1 .62 instead of .71)."""
    quiet: float = 0.1
    """The S begins and ends where its speed is this share of its peak's: the code follows it to the next minimum."""
    returning: float = 0.4
    """Least speed of the way back, as a share of the way out. Ours: expressions fade slower than they come."""
    balance: float = 0.5
    """Least share of the way out that is gone back, and of the way back that was come. Ours."""


@dataclass(frozen=True)
class Mdmo:
    """Main-directional mean optical flow (Liu 2016: eight bins, the mean of the fullest), spotted from as by Yu et al.
    2023, 'Efficient micro-expression spotting based on main directional mean optical flow feature' (third in 2023).

    The amplitude of each region's course is smoothed; its peaks, down to a share of their height, are proposals; those
    of regions that coincide are one. No code of 2023 was found; what is named here as published is the same group's
    of 2022 (Yu et al., 'Facial expression spotting based on optical flow features'), first in that year's challenge.
    """

    measuring: Measuring = Measuring()
    neutral_s: float = 5.0
    """Amplitude is the distance from the median of so long a time. Ours: published code takes the first frame of a
    window as neutral, and reads an expression that lasts while it begins upside down."""
    smooth_s: float = 0.35
    """Length of the filter. Ours: the published low-pass is an ideal one at 2 Hz, which widens micro-expressions."""
    local_s: float = 1.0
    """A peak is measured against the lowest amplitude this far on either side: published. Its bounds may lie beyond."""
    least_px: float = 0.3
    """Lowest peak, in pixels of the crop. Published: 2, for a face three times as large; ours by F1."""
    of_strongest: float = 0.15
    """Share of a region's strongest peak in the video below which peaks are ignored. Ours."""
    bound: float = 0.1
    """Share of the height at which a peak begins and ends. Published: a third, which cuts what is labelled."""


Settings: TypeAlias = Zhang2020 | Mdmo

BASELINES: Mapping[str, Settings] = {"zhang2020": Zhang2020(), "mdmo": Mdmo()}


class Course(NamedTuple):
    """Where the regions of a face have been."""

    begin_s: float
    interval_s: float
    moved_px: Array
    """(T, N, 2), evenly spaced in time."""

    def proposal(self, pattern: "_Pattern") -> "Proposal":
        """The same in seconds."""
        onset_s, apex_s, offset_s = (self.begin_s + place * self.interval_s for place in pattern[:3])
        return Proposal(onset_s, apex_s, offset_s, pattern.height_px, pattern.height_px)


class Proposal(NamedTuple):
    """A pattern of one region, or what several agree on."""

    onset_s: float
    apex_s: float
    offset_s: float
    height_px: float
    strength_px: float
    """Sum of the heights of all regions."""


class _Pattern(NamedTuple):
    """Positions in a course, `offset` the first beyond, and height."""

    onset: int
    apex: int
    offset: int
    height_px: float


class WholeVideo:
    """Events of one face, told all at once when its video is over; the confidence grows with the height of the pattern.

    Times must increase. `reset` forgets everything but the number of events told: an id is never used again.
    """

    latency_s = math.inf
    """Nothing is told before the end."""

    def __init__(self, settings: Settings, source: str, face: int) -> None:
        self._settings = settings
        self._source, self._face = source, face
        self._told = 0
        self.reset()

    def push(self, face: Face) -> list[Event]:
        """Take the next frame of this face; nothing is told yet."""
        if not self._stretches or face.t_s - self._stretches[-1].frames[-1].t_s > MAX_PAUSE_S + _ROUNDING_S:
            self._stretches.append(_Stretch(self._settings.measuring))
        self._stretches[-1].push(face)
        return []

    def flush(self) -> list[Event]:
        """All events, in order of onset. Then start anew."""
        events = [event for stretch in self._stretches for event in self._events(stretch)]
        self.reset()
        return events

    def reset(self) -> None:
        """Forget the video."""
        self._stretches: list[_Stretch] = []

    def _events(self, stretch: "_Stretch") -> Iterator[Event]:
        if len(stretch.frames) < 2:
            return
        for proposal in fused(proposals(stretch.course(), self._settings)):
            onset, apex, offset = stretch.frames_of(proposal)
            if MIN_S - _ROUNDING_S <= offset.t_s - onset.t_s <= MAX_S + _ROUNDING_S:
                yield self._event(onset, apex, offset, proposal)

    def _event(self, onset: "_Frame", apex: "_Frame", offset: "_Frame", proposal: Proposal) -> Event:
        self._told += 1
        last = self._stretches[-1].frames[-1]
        return Event(
            id=f"{self._source}-{self._face}-{self._told}",
            phase="close",
            type="micro" if offset.t_s - onset.t_s <= MICRO_MAX_S + _ROUNDING_S else "macro",
            source=self._source,
            face=self._face,
            onset_s=onset.t_s,
            onset_frame=onset.number,
            apex_s=apex.t_s,
            apex_frame=apex.number,
            offset_s=offset.t_s,
            offset_frame=offset.number,
            confidence=1 - math.exp(-proposal.height_px),
            decided_s=last.t_s,
            arrival_s=last.arrival_s,
        )


class _Reference(NamedTuple):
    """The first frame of a window."""

    crop: Grey
    middles_px: NDArray[np.float32]
    begin_s: float


class _Frame(NamedTuple):
    """One frame of a stretch."""

    t_s: float
    number: int
    """Index in the source."""
    arrival_s: float
    window: int
    """Number of the newest window it is in."""
    older: NDArray[np.float32]
    newer: NDArray[np.float32]
    """(N, 2) px since the first frames of the two windows it is in; the same where there is but one."""


class _Stretch:
    """A time in which the face was watched without a gap."""

    def __init__(self, measuring: Measuring) -> None:
        self.frames: list[_Frame] = []
        self._measuring = measuring
        self._points = [list(ALL[name].landmarks) for name in (*measuring.regions, *measuring.nose)]
        self._references: deque[_Reference] = deque(maxlen=2)
        self._begun = 0

    def push(self, face: Face) -> None:
        """Measure how far the regions have come in this frame."""
        if not self._references or face.t_s - self._references[-1].begin_s >= self._measuring.hop_s - _ROUNDING_S:
            self._references.append(_Reference(face.crop, self._middles_px(face), face.t_s))
            self._begun += 1
        moved = [self._moved(reference, face.crop) for reference in self._references]
        self.frames.append(_Frame(face.t_s, face.index, face.arrival_s, self._begun - 1, moved[0], moved[-1]))

    def course(self) -> Course:
        """The windows joined, at even times."""
        t_s = np.array([frame.t_s for frame in self.frames])
        interval_s = float(np.median(np.diff(t_s)))
        even_s = t_s[0] + interval_s * np.arange(round((t_s[-1] - t_s[0]) / interval_s) + 1)
        joined = self._joined(t_s)
        even = [np.interp(even_s, t_s, values) for values in joined.reshape(len(t_s), -1).T]
        return Course(float(t_s[0]), interval_s, np.stack(even, axis=1).reshape(len(even_s), *joined.shape[1:]))

    def frames_of(self, proposal: Proposal) -> tuple[_Frame, _Frame, _Frame]:
        """The frames nearest to onset, apex and offset, the apex after the onset."""
        onset, apex, offset = (self._nearest(t_s) for t_s in proposal[:3])
        apex = min(max(apex, onset + 1), len(self.frames) - 1)
        return self.frames[onset], self.frames[apex], self.frames[max(offset, apex)]

    def _nearest(self, t_s: float) -> int:
        after = bisect_left(self.frames, t_s, key=lambda frame: frame.t_s)
        around = range(max(after - 1, 0), min(after + 1, len(self.frames)))
        return min(around, key=lambda place: abs(self.frames[place].t_s - t_s))

    def _joined(self, t_s: Array) -> Array:
        """(T, N, 2): each window is shifted onto the one before, and takes over from it little by little."""
        windows_of = np.array([frame.window for frame in self.frames])
        older = np.array([frame.older for frame in self.frames], np.float64)
        newer = np.array([frame.newer for frame in self.frames], np.float64)
        joined = newer.copy()
        shift = np.zeros(newer.shape[1:])
        for window in range(1, self._begun):
            rows = windows_of == window
            before = older[rows] + shift
            shift = (before - newer[rows]).mean(axis=0)
            share = ((t_s[rows] - t_s[rows][0]) / self._measuring.hop_s).clip(0, 1)[:, None, None]
            joined[rows] = (1 - share) * before + share * (newer[rows] + shift)
        return joined

    def _middles_px(self, face: Face) -> NDArray[np.float32]:
        landmarks_px = apply(face.transform, face.landmarks)
        return np.array([landmarks_px[points].mean(axis=0) for points in self._points], np.float32)

    def _moved(self, reference: _Reference, crop: Grey) -> NDArray[np.float32]:
        """(N, 2) motion of the regions against the nose."""
        flow = windows(FLOWS[self._measuring.flow](reference.crop, crop), reference.middles_px)
        count = len(self._measuring.regions)
        nose = np.einsum("p,npc->nc", WEIGHTS, flow[count:]).mean(axis=0)
        return main_direction(np.asarray(flow[:count] - nose, np.float32), self._measuring)


def main_direction(vectors: NDArray[np.float32], measuring: Measuring) -> NDArray[np.float32]:
    """(N, 2): mean of those vectors (N, P, 2) of each region that point where most do, weighted as in its window."""
    turn = np.arctan2(vectors[..., 1], vectors[..., 0]) / (2 * np.pi)
    bins = np.floor(turn * measuring.bins).astype(np.int64) % measuring.bins
    filling = WEIGHTS * np.linalg.norm(vectors, axis=2) if measuring.by_length else np.tile(WEIGHTS, (len(vectors), 1))
    filled = np.stack([(filling * (bins == one)).sum(axis=1) for one in range(measuring.bins)], axis=1)
    chosen = WEIGHTS * (bins == filled.argmax(axis=1)[:, None])
    return np.asarray(np.einsum("np,npc->nc", chosen, vectors) / chosen.sum(axis=1)[:, None], np.float32)


def proposals(course: Course, settings: Settings) -> list[Proposal]:
    """The patterns of all regions."""
    if isinstance(settings, Zhang2020):
        return [one for scale in settings.scales for one in _of_scale(course, scale, settings)]
    return _of_amplitude(course, settings)


def fused(found: Iterable[Proposal]) -> list[Proposal]:
    """What the regions agree on, in order of onset: the strongest first takes all that overlap with it."""
    left = sorted(found, key=lambda one: -one.height_px)
    agreed = []
    while left:
        alike = [_iou(one, left[0]) >= AGREE_IOU for one in left]
        agreed.append(_mean([one for one, is_alike in zip(left, alike, strict=True) if is_alike]))
        left = [one for one, is_alike in zip(left, alike, strict=True) if not is_alike]
    told: list[Proposal] = []
    for one in sorted(agreed, key=lambda one: -one.strength_px):
        if all(_covered(one, other) < COVERED for other in told):
            told.append(one)
    return sorted(told)


def _of_scale(course: Course, scale: Scale, settings: Zhang2020) -> list[Proposal]:
    """S-patterns of each region through one filter."""
    length = _odd(scale.smooth_s / course.interval_s)
    if len(course.moved_px) < length:
        return []
    position_px, velocity_px_s = (
        savgol_filter(course.moved_px, length, POLY_ORDER, deriv, course.interval_s, axis=0) for deriv in (0, 1)
    )
    return [
        one
        for region in range(course.moved_px.shape[1])
        for one in _strong(
            course,
            _s_patterns(position_px[:, region], velocity_px_s[:, region], course.interval_s, scale, settings),
            (scale.from_s, scale.to_s),
            (scale.least_px, settings.of_strongest),
        )
    ]


def _s_patterns(
    position_px: Array, velocity_px_s: Array, interval_s: float, scale: Scale, settings: Zhang2020
) -> Iterator[_Pattern]:
    """Wherever the skin (T, 2) is fastest for a moment, the S that begins with it, if there is one."""
    speed_px_s = np.linalg.norm(velocity_px_s, axis=1)
    peaks, _ = find_peaks(speed_px_s)
    reach = math.ceil(scale.to_s / interval_s) + 2
    for rise in peaks[speed_px_s[peaks] >= scale.least_px / scale.to_s]:
        near = slice(max(rise - reach, 0), rise + reach + 1)
        direction = velocity_px_s[rise] / speed_px_s[rise]
        begin, end = np.searchsorted(peaks, (near.start, near.stop))
        pattern = _s_pattern(
            position_px[near] @ direction, velocity_px_s[near] @ direction,
            rise - near.start, peaks[begin:end] - near.start, settings,
        )  # fmt: skip
        if pattern is not None:
            onset, apex, offset, height_px = pattern
            yield _Pattern(onset + near.start, apex + near.start, offset + near.start, height_px)


def _s_pattern(
    along_px: Array, along_px_s: Array, rise: int, peaks: NDArray[np.int64], settings: Zhang2020
) -> _Pattern | None:
    """Out at `rise`, back at the first of the peaks of speed that is fast enough; both ends must be quiet."""
    before = np.flatnonzero(along_px_s[:rise] <= settings.quiet * along_px_s[rise])
    turned = rise + np.flatnonzero(along_px_s[rise:] <= 0)[:1]
    falls = peaks[along_px_s[peaks] <= -settings.returning * along_px_s[rise]]
    falls = falls[falls >= turned] if len(turned) else falls[:0]
    if not len(before) or not len(falls):
        return None
    after = falls[0] + np.flatnonzero(along_px_s[falls[0] :] >= settings.quiet * along_px_s[falls[0]])
    if not len(after):
        return None
    onset, offset = int(before[-1]) + 1, int(after[0])
    apex = onset + int(along_px[onset : offset + 1].argmax())
    out_px, back_px = along_px[apex] - along_px[onset], along_px[apex] - along_px[offset]
    height_px = float(min(out_px, back_px))
    return _Pattern(onset, apex, offset, height_px) if height_px >= settings.balance * max(out_px, back_px) else None


def _of_amplitude(course: Course, settings: Mdmo) -> list[Proposal]:
    """Peaks of each region's distance from neutral."""
    length = _odd(settings.smooth_s / course.interval_s)
    if len(course.moved_px) < length:
        return []
    away_px = np.linalg.norm(course.moved_px - _neutral_px(course, settings.neutral_s), axis=2)
    amplitude_px = savgol_filter(away_px, length, POLY_ORDER, axis=0)
    reach = round(settings.local_s / course.interval_s)
    thresholds = (settings.least_px, settings.of_strongest)
    return [
        one
        for column in amplitude_px.T
        for one in _strong(course, _humps(column, reach, settings.bound), (MIN_S, MAX_S), thresholds)
    ]


def _neutral_px(course: Course, length_s: float) -> Array:
    """(T, N, 2): running median."""
    step = max(round(NEUTRAL_STEP_S / course.interval_s), 1)
    length = _odd(length_s / (step * course.interval_s))
    coarse = median_filter(course.moved_px[::step], (length, 1, 1), mode="nearest")
    flat = coarse.reshape(len(coarse), -1)
    count = len(course.moved_px)
    fine = [np.interp(np.arange(count), step * np.arange(len(flat)), values) for values in flat.T]
    return np.stack(fine, axis=1).reshape(course.moved_px.shape)


def _humps(amplitude_px: Array, reach: int, bound: float) -> Iterator[_Pattern]:
    """Every peak of an amplitude (T,) down to its bounds, if these lie within."""
    peaks, _ = find_peaks(amplitude_px)
    for peak in peaks:
        before_px = amplitude_px[max(peak - reach, 0) : peak].min()
        after_px = amplitude_px[peak + 1 : peak + reach + 1].min()
        top_px = amplitude_px[peak]
        below = np.flatnonzero(amplitude_px[:peak] <= before_px + bound * (top_px - before_px))
        beyond = peak + np.flatnonzero(amplitude_px[peak:] <= after_px + bound * (top_px - after_px))
        if len(below) and len(beyond):
            yield _Pattern(int(below[-1]) + 1, int(peak), int(beyond[0]), float(top_px - max(before_px, after_px)))


def _strong(
    course: Course, patterns: Iterable[_Pattern], durations_s: tuple[float, float], thresholds: tuple[float, float]
) -> list[Proposal]:
    """The patterns of a region that last as long as is sought, are high enough, and high for this video."""
    lasting = [one for one in patterns if _lasts(durations_s, (one.offset - one.onset) * course.interval_s)]
    strongest_px = max((one.height_px for one in lasting), default=0.0)
    least_px, of_strongest = thresholds
    high = [one for one in lasting if one.height_px >= max(least_px, of_strongest * strongest_px)]
    return [course.proposal(one) for one in high]


def _lasts(durations_s: tuple[float, float], duration_s: float) -> bool:
    return durations_s[0] - _ROUNDING_S <= duration_s <= durations_s[1] + _ROUNDING_S


def _odd(frames: float) -> int:
    """The nearest odd number from which a polynomial can be fitted."""
    return max(2 * round((frames - 1) / 2) + 1, POLY_ORDER + 2)


def _mean(alike: Sequence[Proposal]) -> Proposal:
    """Bounds weighted by height; apex and height of the highest, which comes first."""
    weights = np.array([one.height_px for one in alike])
    onset_s, offset_s = (float(weights @ [one[place] for one in alike] / weights.sum()) for place in (0, 2))
    apex_s = min(max(alike[0].apex_s, onset_s), offset_s)
    return Proposal(onset_s, apex_s, offset_s, alike[0].height_px, float(weights.sum()))


def _shared_s(one: Proposal, other: Proposal) -> float:
    return max(0.0, min(one.offset_s, other.offset_s) - max(one.onset_s, other.onset_s))


def _iou(one: Proposal, other: Proposal) -> float:
    both_s = max(one.offset_s, other.offset_s) - min(one.onset_s, other.onset_s)
    return _shared_s(one, other) / both_s


def _covered(one: Proposal, other: Proposal) -> float:
    shorter_s = min(one.offset_s - one.onset_s, other.offset_s - other.onset_s)
    return _shared_s(one, other) / shorter_s
