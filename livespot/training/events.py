"""From the scores of a network to events and figures, as the decoder and the official rule have them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from math import ceil
from typing import Any

from livespot.capture.virtual import Expression
from livespot.config import DecodeSettings
from livespot.decode import Decoder
from livespot.evaluation.matching import Counts, Interval, hits, match
from livespot.export import PROVISIONAL
from livespot.records import EXPRESSION_TYPES, Calibration, ExpressionType, Scores

CUTOFFS_HZ = (2.0, 3.0, 4.0, 6.0, 9.0)
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99)
ROUNDS = 3
"""Times that each of the three numbers is chosen anew with the other two held."""

AMPLITUDES_IOD: dict[ExpressionType, tuple[float, ...]] = {
    "micro": (0.008, 0.012, 0.018, 0.024, 0.03),
    "macro": (0.02, 0.04, 0.06, 0.08, 0.10, 0.11),
}
"""Recall is told for each stretch between these."""


@dataclass(frozen=True)
class Video:
    """What a network said of one video, and what the video showed."""

    truth: tuple[Expression, ...]
    scores: tuple[Scores, ...]
    fps: float
    """Of the frames that scores and truth are counted in."""

    def intervals(self, kind: ExpressionType) -> list[Interval]:
        """Frames of each true expression of a class, both ends inclusive."""
        return [
            (ceil(one.onset_s * self.fps), ceil(one.offset_s * self.fps) - 1) for one in self.truth if one.type == kind
        ]

    @property
    def seconds(self) -> float:
        """How long the face was judged."""
        return len(self.scores) / self.fps


def choose(
    videos: Sequence[Video],
    thresholds: Sequence[float] = THRESHOLDS,
    cutoffs_hz: Sequence[float] = CUTOFFS_HZ,
    rounds: int = ROUNDS,
) -> Calibration:
    """The calibration with the highest overall F1: one number after the other, so many times."""

    @cache
    def f1(calibration: Calibration) -> float:
        return overall(counts(videos, calibration)).f1

    best = PROVISIONAL
    for _ in range(rounds):
        best = max((replace(best, micro_threshold=value) for value in thresholds), key=f1)
        best = max((replace(best, macro_threshold=value) for value in thresholds), key=f1)
        best = max((replace(best, cutoff_hz=value) for value in cutoffs_hz), key=f1)
    return best


def overall(by_class: dict[ExpressionType, Counts]) -> Counts:
    """Both classes together."""
    return sum(by_class.values(), Counts())


def counts(videos: Sequence[Video], calibration: Calibration) -> dict[ExpressionType, Counts]:
    """The official rule's counts of each class, summed over videos."""
    total = dict.fromkeys(EXPRESSION_TYPES, Counts())
    for video in videos:
        for kind, predictions in spotted(video, calibration).items():
            total[kind] += match(video.intervals(kind), predictions)
    return total


def spotted(video: Video, calibration: Calibration) -> dict[ExpressionType, list[Interval]]:
    """Frames of what the decoder makes of the scores, both ends inclusive."""
    decoder = Decoder(DecodeSettings(), calibration, "video", 0)
    events = [event for scores in video.scores for event in decoder.push(scores)] + decoder.flush()
    found: dict[ExpressionType, list[Interval]] = {kind: [] for kind in EXPRESSION_TYPES}
    for event in events:
        if event.last_frame is not None:
            found[event.type].append((event.onset_frame, event.last_frame))
    return found


def figures(test: Sequence[Video], calm: Sequence[Video], calibration: Calibration, protocol: str) -> dict[str, Any]:
    """F1, precision and recall of each class and overall, recall by amplitude, and false alarms where nothing shows."""
    by_class = counts(test, calibration)
    f1 = {str(kind): round(found.f1, 3) for kind, found in by_class.items()}
    alarms = counts(calm, calibration)
    minutes = sum(video.seconds for video in calm) / 60
    return {
        "protocol": f"official rule, IoU >= 0.5; {protocol}",
        "videos": len(test),
        "expressions": {kind: found.tp + found.fn for kind, found in by_class.items()},
        "f1": f1 | {"overall": round(overall(by_class).f1, 3)},
        "precision": {kind: round(found.precision, 3) for kind, found in by_class.items()},
        "recall": {kind: round(found.recall, 3) for kind, found in by_class.items()},
        "recall_by_amplitude": recall_by_amplitude(test, calibration),
        "false_alarms_per_minute": {kind: round(found.fp / max(minutes, 1e-9), 2) for kind, found in alarms.items()},
    }


def recall_by_amplitude(videos: Sequence[Video], calibration: Calibration) -> dict[ExpressionType, dict[str, str]]:
    """ "Hit of shown" for each stretch of peak displacement in IOD: one F1 hides that faint ones are missed."""
    found: dict[ExpressionType, list[tuple[float, bool]]] = {kind: [] for kind in EXPRESSION_TYPES}
    for video in videos:
        for kind, predictions in spotted(video, calibration).items():
            amplitudes = [one.amplitude_iod for one in video.truth if one.type == kind]
            found[kind] += zip(amplitudes, hits(video.intervals(kind), predictions), strict=True)
    return {kind: _binned(pairs, AMPLITUDES_IOD[kind]) for kind, pairs in found.items()}


def _binned(found: Sequence[tuple[float, bool]], edges: Sequence[float]) -> dict[str, str]:
    bins = {}
    for low, high in pairwise(edges):
        inside = [hit for amplitude_iod, hit in found if low <= amplitude_iod < high]
        bins[f"{low:.1%} to {high:.1%}"] = f"{sum(inside)} of {len(inside)}"
    return bins
