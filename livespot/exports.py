"""Rows of recordings as files for other programs: CSV, JSON lines, Parquet, and what the challenge wants handed in."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from livespot.datasets.submission import write_submission
from livespot.errors import SettingsError
from livespot.evaluation.labels import Span
from livespot.files import replacing
from livespot.tables import Row

CHALLENGE_YEAR = 2023

ROWS_AT_ONCE = 10_000
"""Rows of a Parquet file that are in memory together."""

_WHOLE = {"face", "onset", "apex", "offset", "frame", "frames", "reconnects", "stalls"}
_NUMBERS = {"score", "micro", "macro"}


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> int:
    """Lists are joined by semicolons, what is not known is empty. How many rows were written."""
    counted = _Counted(rows)
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in counted)
    return counted.rows


def write_json_lines(path: Path, _: Sequence[str], rows: Iterable[Row]) -> int:
    """One object a line. How many rows were written."""
    counted = _Counted(rows)
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in counted)
    return counted.rows


def write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> int:
    """Typed columns, times as UTC to the microsecond. How many rows were written.

    Raises SettingsError where pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:  # one that does not fit the numpy at hand says so
        raise SettingsError(f"{error}: pip install 'livespot[parquet]', or give another format") from None
    schema = pyarrow.schema([(column, _type(pyarrow, column)) for column in columns])
    counted = _Counted(rows)
    with replacing(path) as part, parquet.ParquetWriter(part, schema) as writer:
        for some in _batches({name: _typed(name, value) for name, value in row.items()} for row in counted):
            writer.write_table(pyarrow.Table.from_pylist(some, schema))
    return counted.rows


def write_challenge(path: Path, _: Sequence[str], rows: Iterable[Row]) -> int:
    """The file that the Micro-Expression Grand Challenge wants, of the events that closed. How many rows were written.

    Raises SettingsError where two sessions have a video of the same name, whose frames would be mixed.
    """
    predictions: dict[str, list[Span]] = {}
    sessions: dict[str, str] = {}
    for row in rows:
        if row["offset"] is None:
            continue
        if sessions.setdefault(row["video"], row["session"]) != row["session"]:
            both = f"{sessions[row['video']]} and {row['session']}"
            raise SettingsError(f"{row['video']} is in {both}: give one of these files, or a time with --from and --to")
        predictions.setdefault(row["video"], []).append(Span(row["onset"], row["offset"], row["type"]))
    return write_submission(path, CHALLENGE_YEAR, predictions)


Write = Callable[[Path, Sequence[str], Iterable[Row]], int]

FORMATS: dict[str, Write] = {
    "csv": write_csv,
    "jsonl": write_json_lines,
    "parquet": write_parquet,
    "challenge": write_challenge,
}

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
"""By which a format is known where none is given."""


class _Counted:
    """Rows, and how many have gone by."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = 0
        self._left = rows

    def __iter__(self) -> Iterator[Row]:
        for row in self._left:
            self.rows += 1
            yield row


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while some := list(islice(left, ROWS_AT_ONCE)):
        yield some


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return ";".join(value) if isinstance(value, list) else value


def _type(pyarrow: Any, column: str) -> Any:
    if column.endswith("utc"):
        return pyarrow.timestamp("us", tz="UTC")
    if column == "regions":
        return pyarrow.list_(pyarrow.string())
    if column == "truncated":
        return pyarrow.bool_()
    if column in _WHOLE:
        return pyarrow.int64()
    return pyarrow.float64() if column in _NUMBERS or column.endswith("_s") else pyarrow.string()


def _typed(column: str, value: Any) -> Any:
    return datetime.fromisoformat(value.replace("Z", "+00:00")) if column.endswith("utc") and value else value
