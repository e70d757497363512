"""The official rule of the Micro-Expression Grand Challenge: which predicted interval spots which labelled one.

Intervals are frames, onset to offset, both inclusive, as in the datasets' label files. Counts add over videos and
subjects; precision, recall and F1 are taken once, from their sum: never a mean of F1s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

Interval: TypeAlias = tuple[int, int]
"""(onset, offset) in frames, both inclusive."""

HIT_IOU = 0.5
"""Intersection over union from which a prediction hits: at least, not above."""


@dataclass(frozen=True)
class Counts:
    """True positives, false positives, false negatives. They add."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """Share of predictions that hit; 0 without predictions."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of labelled expressions that were hit; 0 without any."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """2 TP / (labels + predictions); 0 without both."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def intersection_over_union(a: Interval, b: Interval) -> float:
    """Overlap of two intervals of frames, [0, 1]."""
    overlap = max(0, min(a[1], b[1]) - max(a[0], b[0]) + 1)
    return overlap / (_frames(a) + _frames(b) - overlap)


def hits(truths: Sequence[Interval], predictions: Sequence[Interval]) -> list[bool]:
    """For each truth whether any prediction of its class hits it. One prediction may hit two."""
    return [any(intersection_over_union(truth, seen) >= HIT_IOU for seen in predictions) for truth in truths]


def match(truths: Sequence[Interval], predictions: Sequence[Interval]) -> Counts:
    """Counts of one class in one video.

    A second prediction on a hit truth is a false positive; true positives are never more than predictions.
    """
    tp = min(sum(hits(truths, predictions)), len(predictions))
    return Counts(tp, len(predictions) - tp, len(truths) - tp)


def _frames(interval: Interval) -> int:
    onset, offset = interval
    if offset < onset:
        raise ValueError(f"interval from frame {onset} to {offset}; expected onset <= offset")
    return offset - onset + 1


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
