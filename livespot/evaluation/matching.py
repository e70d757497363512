"""Which predicted interval spots which labelled one, by the challenge's official rule or one of the variants in use.

Intervals are frames, onset to offset, both inclusive, as in the datasets' label files. Counts add over videos and
subjects; precision, recall and F1 are taken once, from their sum: never a mean of F1s. Figures of two systems compare
only under the same rule, so its name belongs beside every score.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import NamedTuple, TypeAlias

Interval: TypeAlias = tuple[int, int]
"""(onset, offset) in frames, both inclusive."""

HIT_IOU = 0.5
"""Intersection over union from which a prediction hits: at least, not above, unless a rule is strict."""


@dataclass(frozen=True)
class Rule:
    """How predictions are matched with what was labelled; the defaults are the official rule's."""

    says: str
    """What differs from the official rule."""
    users: str
    """Whose published figures follow it."""
    end_frames: int = 1
    """Added to offset - onset for a length: 1 counts both ends."""
    strict: bool = False
    """An overlap hits above the threshold, not at it."""
    one_to_one: bool = False
    """A prediction serves one truth; pairs are chosen by overlap, largest first."""
    forgives_duplicates: bool = False
    """A further prediction on a hit truth is not counted at all."""
    by_class: bool = True
    """Only intervals of the same class are matched."""


OFFICIAL = Rule("both ends count, overlap of at least half, one prediction may serve two truths", "MEGC since 2020")

RULES: Mapping[str, Rule] = {
    "official": OFFICIAL,
    "one-to-one": Rule(
        "each prediction serves one truth, largest overlap first",
        "SOFTNet and others that score with a library for object detection",
        one_to_one=True,
    ),
    "drop-duplicates": Rule(
        "extra predictions on a hit truth are not counted as false",
        "systems that subtract extra hits from the number of predictions",
        forgives_duplicates=True,
    ),
    "exclusive": Rule(
        "lengths without the last frame, overlap above half, one-to-one",
        "systems that score with code for temporal action localisation",
        end_frames=0,
        strict=True,
        one_to_one=True,
    ),
    "class-agnostic": Rule(
        "matching ignores the class, which flatters: a hit counts for the class of its truth",
        "Zhao 2022 and others that type their intervals after matching",
        by_class=False,
    ),
}
"""By the names that stand beside a score."""


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


class Overlap(NamedTuple):
    """A truth and a prediction that share frames, by their places."""

    iou: float
    truth: int
    prediction: int


@dataclass(frozen=True)
class Matching:
    """What became of the truths and predictions of one class in one video, by their places."""

    pairs: tuple[tuple[int, int], ...]
    """(truth, prediction) of each hit; a prediction may stand in two."""
    missed: tuple[int, ...]
    """Truths."""
    false: tuple[int, ...]
    """Predictions."""
    uncounted: tuple[int, ...]
    """Predictions that the rule leaves out of every count."""

    @property
    def counts(self) -> Counts:
        """Hits, false alarms and misses."""
        return Counts(len(self.pairs), len(self.false), len(self.missed))


def intersection_over_union(a: Interval, b: Interval, end_frames: int = 1) -> float:
    """Overlap of two intervals of frames, [0, 1]; `end_frames` as in `Rule`."""
    overlap = max(0, min(a[1], b[1]) - max(a[0], b[0]) + end_frames)
    union = _frames(a, end_frames) + _frames(b, end_frames) - overlap
    return overlap / union if union else 0.0


def hits(truths: Sequence[Interval], predictions: Sequence[Interval]) -> list[bool]:
    """For each truth whether any prediction of its class hits it. One prediction may hit two."""
    return [any(intersection_over_union(truth, seen) >= HIT_IOU for seen in predictions) for truth in truths]


def match(
    truths: Sequence[Interval], predictions: Sequence[Interval], rule: Rule = OFFICIAL, iou: float = HIT_IOU
) -> Counts:
    """Counts of one class in one video.

    Under the official rule a second prediction on a hit truth is a false positive; true positives are never more than
    predictions.
    """
    found = overlaps(truths, predictions, rule.end_frames)
    return assign(found, len(truths), len(predictions), rule, iou).counts


def overlaps(truths: Sequence[Interval], predictions: Sequence[Interval], end_frames: int = 1) -> list[Overlap]:
    """All pairs that share frames, largest overlap first, equal ones from early to late. Order of input is no matter.

    Of the predictions sorted by onset only a stretch can meet a truth:

        onset of the prediction <= offset of the truth       until here
        farthest offset so far  >= onset of the truth        from here
    """
    for interval in chain(truths, predictions):
        _frames(interval)
    by_onset = sorted(range(len(predictions)), key=predictions.__getitem__)
    onsets = [predictions[place][0] for place in by_onset]
    reached = list(accumulate((predictions[place][1] for place in by_onset), max))
    found = [
        Overlap(intersection_over_union(truth, predictions[seen], end_frames), place, seen)
        for place, truth in enumerate(truths)
        for seen in by_onset[bisect_left(reached, truth[0]) : bisect_right(onsets, truth[1])]
    ]
    shared = [one for one in found if one.iou > 0]
    return sorted(shared, key=lambda one: (-one.iou, truths[one.truth], predictions[one.prediction]))


def assign(
    found: Sequence[Overlap], truths: int, predictions: int, rule: Rule = OFFICIAL, iou: float = HIT_IOU
) -> Matching:
    """Which of the overlaps `found` are hits, and what is left over of so many truths and predictions.

    Each truth first gets a prediction of its own. Where a prediction serves two truths, as the official rule allows,
    hits are still never more than predictions, and one prediction less is false than serves none.
    """
    enough = [one for one in found if one.iou > iou or (one.iou == iou and not rule.strict)]
    pairs, used = _own_pairs(enough)
    if not rule.one_to_one:
        for one in enough:
            if len(pairs) < predictions:
                pairs.setdefault(one.truth, one.prediction)
    hitting = {one.prediction for one in enough}
    left = [place for place in range(predictions) if place not in hitting] + sorted(hitting - used)
    false = predictions - len(pairs)
    if rule.forgives_duplicates:
        false = min(false, predictions - len(hitting))
    missed = tuple(place for place in range(truths) if place not in pairs)
    return Matching(tuple(pairs.items()), missed, tuple(left[:false]), tuple(left[false:]))


def _own_pairs(enough: Sequence[Overlap]) -> tuple[dict[int, int], set[int]]:
    """Truths with a prediction each, greedily by overlap, and the predictions so used."""
    pairs: dict[int, int] = {}
    used: set[int] = set()
    for one in enough:
        if one.truth not in pairs and one.prediction not in used:
            pairs[one.truth] = one.prediction
            used.add(one.prediction)
    return pairs, used


def _frames(interval: Interval, end_frames: int = 1) -> int:
    onset, offset = interval
    if offset < onset:
        raise ValueError(f"interval from frame {onset} to {offset}; expected onset <= offset")
    return offset - onset + end_frames


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
