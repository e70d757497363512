"""The score of predictions against labels: what became of each expression, and every figure that follows from it.

    labels ------+                                        +-- counts: precision, recall, F1, by video and class
                 +--> Duel per video and class --> Outcome-+-- bootstrap interval over subjects
    predictions -+    (or over classes)                   +-- errors of onset and offset, F1 against the threshold

A video that only the predictions know showed nothing as far as the labels say: each prediction in it is false, as in
the challenge, where a video without labels counts. A labelled video without predictions is missed throughout.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from livespot.errors import SettingsError
from livespot.evaluation.labels import Span, Video
from livespot.evaluation.matching import HIT_IOU, RULES, Counts, Matching, Overlap, Rule, assign, overlaps
from livespot.evaluation.segments import FrameScore, frame_score
from livespot.records import EXPRESSION_TYPES, ExpressionType

Result: TypeAlias = Literal["TP", "FP", "FN", "-"]
"""A dash is a prediction that the rule does not count."""

Group: TypeAlias = Literal["micro", "macro", "overall"]
GROUPS: tuple[Group, Group, Group] = ("micro", "macro", "overall")

THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))
"""Of intersection over union, for the curve of F1."""

SAMPLES, LEVEL = 1000, 0.95
"""Of the bootstrap: how often subjects are drawn anew, and the share of the draws within the interval."""


@dataclass(frozen=True)
class Tally:
    """Counts of both classes. They add."""

    micro: Counts = field(default_factory=Counts)
    macro: Counts = field(default_factory=Counts)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.micro + other.micro, self.macro + other.macro)

    @property
    def overall(self) -> Counts:
        """Both classes pooled."""
        return self.micro + self.macro

    def of(self, group: Group) -> Counts:
        """Counts of a class, or of both."""
        return {"micro": self.micro, "macro": self.macro, "overall": self.overall}[group]


@dataclass(frozen=True)
class Outcome:
    """What became of a truth, a prediction, or of both together."""

    result: Result
    truth: Span | None
    prediction: Span | None

    @property
    def type(self) -> ExpressionType:
        """Class it counts for: that of the truth where there is one."""
        span = self.truth or self.prediction
        assert span is not None
        return span.type


@dataclass(frozen=True)
class Duel:
    """Truths and predictions of one video that may match, with the overlaps between them."""

    truths: tuple[Span, ...]
    predictions: tuple[Span, ...]
    shared: Sequence[Overlap]

    def outcomes(self, rule: Rule, iou: float = HIT_IOU) -> list[Outcome]:
        """Each truth once; each prediction once, or twice where it serves two truths."""
        found = self._assign(rule, iou)
        truths, predictions = self.truths, self.predictions
        return [
            *(Outcome("TP", truths[truth], predictions[seen]) for truth, seen in found.pairs),
            *(Outcome("FN", truths[truth], None) for truth in found.missed),
            *(Outcome("FP", None, predictions[seen]) for seen in found.false),
            *(Outcome("-", None, predictions[seen]) for seen in found.uncounted),
        ]

    def tally(self, rule: Rule, iou: float) -> Tally:
        """The counts of `outcomes`, in less time."""
        found = self._assign(rule, iou)
        hit = [self.truths[truth].type for truth, _ in found.pairs]
        false = [self.predictions[seen].type for seen in found.false]
        missed = [self.truths[truth].type for truth in found.missed]
        return Tally(*(Counts(hit.count(kind), false.count(kind), missed.count(kind)) for kind in EXPRESSION_TYPES))

    def _assign(self, rule: Rule, iou: float) -> Matching:
        return assign(self.shared, len(self.truths), len(self.predictions), rule, iou)


@dataclass(frozen=True)
class Scored:
    """One video with what was predicted in it."""

    video: Video
    predictions: tuple[Span, ...]
    duels: tuple[Duel, ...]
    outcomes: tuple[Outcome, ...]

    @cached_property
    def tally(self) -> Tally:
        """Counts of both classes."""
        return tally(self.outcomes)


@dataclass(frozen=True)
class Error:
    """How far the bounds of hits are off; late is positive. NaN without hits."""

    mean: float
    mean_absolute: float
    median_absolute: float


@dataclass(frozen=True)
class BoundErrors:
    """Errors of the hits of a class, in frames of their videos and in milliseconds."""

    hits: int
    onset_frames: Error
    onset_ms: Error
    offset_frames: Error
    offset_ms: Error


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known of predictions once they are scored."""

    rule_name: str
    videos: tuple[Scored, ...]
    """By name."""
    total: Tally
    intervals: Mapping[Group, tuple[float, float] | None]
    """Of F1, over subjects; None with fewer than two."""
    seed: int
    curve: tuple[tuple[float, Tally], ...]
    """Counts at each of `THRESHOLDS`."""
    errors: Mapping[Group, BoundErrors]
    frames: FrameScore

    @property
    def rule(self) -> Rule:
        """The one all counts follow."""
        return RULES[self.rule_name]

    @property
    def unlabelled(self) -> list[Scored]:
        """Videos that only the predictions know."""
        return [one for one in self.videos if one.video.subject is None]

    @property
    def without_predictions(self) -> list[Scored]:
        """Labelled videos in which nothing was predicted though something was to be found."""
        return [one for one in self.videos if one.video.truths and not one.predictions]


def evaluate(
    videos: Mapping[str, Video],
    predictions: Mapping[str, tuple[Span, ...]],
    rule_name: str = "official",
    seed: int = 0,
) -> Evaluation:
    """Score `predictions`, by video, against what is labelled. The same input gives the same figures in any order."""
    rule = named_rule(rule_name)
    names = sorted({*videos, *predictions})
    scored = tuple(_score(videos.get(name, Video(name)), predictions.get(name, ()), rule) for name in names)
    by_subject = subjects(scored)
    return Evaluation(
        rule_name=rule_name,
        videos=scored,
        total=sum(by_subject.values(), Tally()),
        intervals=bootstrap(list(by_subject.values()), seed),
        seed=seed,
        curve=_curve(scored, rule),
        errors={group: bound_errors(scored, group) for group in GROUPS},
        frames=sum((frame_score(one.video.truths, one.predictions, one.video.length) for one in scored), FrameScore()),
    )


def named_rule(name: str) -> Rule:
    """Raises SettingsError for a name that no rule has."""
    if name not in RULES:
        raise SettingsError(f"there is no rule {name}: give {', '.join(RULES)}")
    return RULES[name]


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Counts of both classes."""
    results = [(outcome.type, outcome.result) for outcome in outcomes]
    return Tally(
        *(Counts(*(results.count((kind, result)) for result in ("TP", "FP", "FN"))) for kind in EXPRESSION_TYPES)
    )


def subjects(scored: Iterable[Scored]) -> dict[str, Tally]:
    """Counts of each subject, by name; what was predicted in unlabelled videos stands under an empty one."""
    found: dict[str, Tally] = defaultdict(Tally)
    for one in scored:
        found[one.video.subject or ""] += one.tally
    return dict(sorted(found.items()))


def bootstrap(tallies: Sequence[Tally], seed: int) -> dict[Group, tuple[float, float] | None]:
    """Interval of F1 of each class and of both, from subjects drawn anew with replacement."""
    count = len(tallies)
    if count < 2:
        return dict.fromkeys(GROUPS)
    counts = np.array([[(one.of(group).tp, one.of(group).fp, one.of(group).fn) for group in GROUPS] for one in tallies])
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, SAMPLES)
    tp, fp, fn = np.einsum("sn,ngc->cgs", drawn, counts)
    f1 = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    bounds = np.quantile(f1, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1).T
    return {group: (float(low), float(high)) for group, (low, high) in zip(GROUPS, bounds, strict=True)}


def bound_errors(scored: Iterable[Scored], group: Group) -> BoundErrors:
    """Errors of the hits of a class, or of all."""
    off = [
        (
            outcome.prediction.onset - outcome.truth.onset,
            outcome.prediction.offset - outcome.truth.offset,
            one.video.fps,
        )
        for one in scored
        for outcome in one.outcomes
        if outcome.truth and outcome.prediction and group in (outcome.type, "overall")
    ]
    onset, offset, fps = np.array(off, np.float64).reshape(-1, 3).T
    return BoundErrors(len(off), *(_error(one) for one in (onset, 1000 * onset / fps, offset, 1000 * offset / fps)))


def _error(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Error:
    if not len(values):
        return Error(float("nan"), float("nan"), float("nan"))
    size = np.abs(values)
    return Error(float(values.mean()), float(size.mean()), float(np.median(size)))


def _score(video: Video, predictions: tuple[Span, ...], rule: Rule) -> Scored:
    groups = [[kind] for kind in EXPRESSION_TYPES] if rule.by_class else [EXPRESSION_TYPES]
    duels = tuple(_duel(video.truths, predictions, kinds, rule) for kinds in groups)
    return Scored(video, predictions, duels, tuple(one for duel in duels for one in duel.outcomes(rule)))


def _duel(truths: Sequence[Span], predictions: Sequence[Span], kinds: Sequence[ExpressionType], rule: Rule) -> Duel:
    own = tuple(span for span in truths if span.type in kinds)
    seen = tuple(span for span in predictions if span.type in kinds)
    shared = overlaps([span.frames for span in own], [span.frames for span in seen], rule.end_frames)
    return Duel(own, seen, shared)


def _curve(scored: Sequence[Scored], rule: Rule) -> tuple[tuple[float, Tally], ...]:
    """Counts at each threshold. Where nothing overlaps they are the same at all."""
    duels = [duel for one in scored for duel in one.duels]
    apart = sum((duel.tally(rule, HIT_IOU) for duel in duels if not duel.shared), Tally())
    close = [duel for duel in duels if duel.shared]
    return tuple((iou, sum((duel.tally(rule, iou) for duel in close), apart)) for iou in THRESHOLDS)
