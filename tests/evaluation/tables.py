"""Tables to score, written in a test."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from livespot.evaluation.labels import Span, Video
from livespot.records import ExpressionType

Given = tuple[ExpressionType, int, int]
"""type, onset, offset"""

LABELS = "video,subject,fps,type,onset,apex,offset"
PREDICTIONS = "video,type,onset,offset"


def write(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def spans(given: Iterable[Given]) -> tuple[Span, ...]:
    return tuple(sorted(Span(onset, offset, kind) for kind, onset, offset in given))


def videos(given: Mapping[str, Iterable[Given]], fps: float = 30.0, length: int | None = None) -> dict[str, Video]:
    """Labelled videos; the subject is what stands before the underscore."""
    return {name: Video(name, name.partition("_")[0], fps, length, spans(truths)) for name, truths in given.items()}


def predictions(given: Mapping[str, Iterable[Given]]) -> dict[str, tuple[Span, ...]]:
    return {name: spans(predicted) for name, predicted in given.items()}
