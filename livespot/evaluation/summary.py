"""An evaluation for programs, as plain values that JSON can hold, and in short for the terminal."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.table import Table

from livespot.evaluation.matching import Counts
from livespot.evaluation.scores import GROUPS, LEVEL, SAMPLES, BoundErrors, Evaluation, Group, Tally, subjects

SCORE_HEADINGS = (
    "class",
    "labels",
    "predicted",
    "TP",
    "FP",
    "FN",
    "precision",
    "recall",
    "F1",
    f"{LEVEL:.0%} interval",
)
ERROR_HEADINGS = ("class", "hits", "onset, mean", "off by", "offset, mean", "off by")

Figures: TypeAlias = dict[str, Any]

NAMED = 5
"""So many videos are named where a note speaks of several."""


def figures(evaluation: Evaluation) -> Figures:
    """Every figure, the rule first."""
    return {
        "rule": evaluation.rule_name,
        "rule_says": evaluation.rule.says,
        **{group: _group(evaluation, group) for group in GROUPS},
        "bootstrap": {"over": "subjects", "samples": SAMPLES, "level": LEVEL, "seed": evaluation.seed},
        "f1_by_iou": [
            {"iou": iou, **{group: tally.of(group).f1 for group in GROUPS}} for iou, tally in evaluation.curve
        ],
        "frames": {
            "accuracy": evaluation.frames.accuracy,
            "edit": evaluation.frames.edit,
            "frames": evaluation.frames.frames,
            "length_known": all(one.video.length for one in evaluation.videos if one.video.subject),
        },
        "subjects": {name: _tally(tally) for name, tally in subjects(evaluation.videos).items() if name},
        "videos": [
            {"video": one.video.name, "subject": one.video.subject, **_tally(one.tally)} for one in evaluation.videos
        ],
        "notes": notes(evaluation),
    }


def notes(evaluation: Evaluation) -> list[str]:
    """What a reader of the score must know of its input."""
    found = []
    if unlabelled := evaluation.unlabelled:
        names = _names([one.video.name for one in unlabelled])
        found.append(f"not in the labels: {names}; all that was predicted there counts as false")
    if silent := evaluation.without_predictions:
        names = _names([one.video.name for one in silent])
        found.append(f"without predictions: {names}; all that is labelled there counts as missed")
    if not all(one.video.length for one in evaluation.videos if one.video.subject):
        found.append(
            "the labels have no column frames, or not for every video: frame accuracy takes a video to end with its"
            " last expression, labelled or predicted"
        )
    return found


def to_rich(evaluation: Evaluation) -> Iterator[Table]:
    """Score, curve, and errors of hits for the terminal, 80 columns wide."""
    rule = f"rule: {evaluation.rule_name} ({evaluation.rule.says})"
    yield _table(rule, SCORE_HEADINGS, ((group, *score_row(evaluation, group)) for group in GROUPS))
    headings = ("class", *(f"{iou:.1f}" for iou, _ in evaluation.curve))
    rows = ((group, *(f"{tally.of(group).f1:.3f}" for _, tally in evaluation.curve)) for group in GROUPS)
    yield _table("F1 by the IoU that makes a hit", headings, rows)
    errors = ((group, *error_row(evaluation.errors[group])) for group in GROUPS)
    yield _table("hits, predicted minus labelled in frames", ERROR_HEADINGS, errors)


def frames_in_words(evaluation: Evaluation) -> str:
    """FESNet's two figures."""
    frames = evaluation.frames
    return f"frame accuracy {frames.accuracy:.4f}, edit score {frames.edit:.2f}, as FESNet reports them"


def score_row(evaluation: Evaluation, group: Group) -> list[str]:
    """Cells beside the class, under `SCORE_HEADINGS`."""
    counts, interval = evaluation.total.of(group), evaluation.intervals[group]
    numbers = (counts.tp + counts.fn, predicted(evaluation, group), counts.tp, counts.fp, counts.fn)
    shares = (f"{share:.4f}" for share in (counts.precision, counts.recall, counts.f1))
    bounds = f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else "one subject"
    return [*map(str, numbers), *shares, bounds]


def error_row(errors: BoundErrors) -> list[str]:
    """Cells beside the class, under `ERROR_HEADINGS`."""
    bounds = ((errors.onset_frames, errors.onset_ms), (errors.offset_frames, errors.offset_ms))
    if not errors.hits:
        return ["0", *["-"] * 2 * len(bounds)]
    return [str(errors.hits)] + [
        cell
        for frames, ms in bounds
        for cell in (
            f"{frames.mean:+.1f} ({ms.mean:+.0f} ms)",
            f"{frames.mean_absolute:.1f} ({ms.mean_absolute:.0f} ms)",
        )
    ]


def predicted(evaluation: Evaluation, group: Group) -> int:
    """Predictions of a class, those included that the rule does not count."""
    return sum(group in (span.type, "overall") for one in evaluation.videos for span in one.predictions)


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, show_edge=False, padding=0)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _group(evaluation: Evaluation, group: Group) -> Figures:
    counts = evaluation.total.of(group)
    interval = evaluation.intervals[group]
    return _counts(counts) | {
        "labels": counts.tp + counts.fn,
        "predictions": predicted(evaluation, group),
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "f1_interval": list(interval) if interval else None,
        "errors": _finite(asdict(evaluation.errors[group])),
    }


def _tally(tally: Tally) -> Figures:
    return {group: _counts(tally.of(group)) for group in GROUPS}


def _counts(counts: Counts) -> Figures:
    return {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn}


def _finite(values: Figures) -> Figures:
    """JSON has no NaN: what is not known is null."""
    return {
        name: _finite(value) if isinstance(value, dict) else None if math.isnan(value) else value
        for name, value in values.items()
    }


def _names(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
