"""The log file of the Micro-Expression Grand Challenge.

    1                            SAMM-LV, or 2 for CAS(ME)2
    006_1 140 219 138 221 TP     video, labelled onset and offset, predicted onset and offset, result
    006_1 - - 800 851 FP
    006_1 300 360 - - FN

Frames are as in the tables that were scored. What a rule leaves out of every count has no row.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from livespot.errors import SettingsError
from livespot.evaluation.labels import Span
from livespot.evaluation.scores import Evaluation, Outcome, Scored
from livespot.files import replacing

DATABASES: Mapping[str, int] = {"samm-lv": 1, "casme2": 2}
"""Number on the first line."""

FRAME_RATES: Mapping[float, str] = {200.0: "samm-lv", 30.0: "casme2"}
"""The databases are told apart by them where nobody says."""


def write_log(path: Path, evaluation: Evaluation, database: str | None = None) -> None:
    """Write the log, which appears whole or not at all. Raises LivespotError."""
    database = database or likely_database(evaluation.videos)
    if database not in DATABASES:
        raise SettingsError(f"the log names no database {database}: give {' or '.join(DATABASES)}")
    lines = [str(DATABASES[database])]
    for one in evaluation.videos:
        if len(one.video.name.split()) > 1:
            raise SettingsError(f"the log parts its columns by blanks, and video {one.video.name!r} has one: rename it")
        lines += _rows(one)
    with replacing(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def likely_database(scored: Iterable[Scored]) -> str:
    """The database with the frame rate that most videos have. Raises SettingsError where none has it."""
    rates = [one.video.fps for one in scored if one.video.fps]
    known = [rate for rate in FRAME_RATES if rate in rates]
    if not known:
        given = ", ".join(f"{rate:g}" for rate in sorted(set(rates))) or "unknown"
        choice = " or ".join(f"--database {name}" for name in DATABASES)
        raise SettingsError(
            f"the log names SAMM-LV (200/s) or CAS(ME)2 (30/s), and the labels' frame rate is {given}: give {choice}"
        )
    return FRAME_RATES[max(known, key=rates.count)]


def _rows(one: Scored) -> list[str]:
    """By predicted onset; what was missed comes last, by its own."""
    counted = sorted((outcome for outcome in one.outcomes if outcome.result != "-"), key=_place)
    return [
        f"{one.video.name} {_bounds(outcome.truth)} {_bounds(outcome.prediction)} {outcome.result}"
        for outcome in counted
    ]


def _place(outcome: Outcome) -> tuple[bool, list[Span]]:
    return outcome.prediction is None, [span for span in (outcome.prediction, outcome.truth) if span]


def _bounds(span: Span | None) -> str:
    return f"{span.onset} {span.offset}" if span else "- -"
