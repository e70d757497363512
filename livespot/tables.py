"""Events as tables: CSV, JSON lines, and a table for the terminal.

Frames are 0-based and inclusive, as the field writes them: `offset` is the last frame of the expression. Seconds are
half-open: `offset_s` is when the expression was over, so `offset_s - onset_s` is how long it took. The JSON of
`livespot.publish` follows the same rule.
"""

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.table import Table

from livespot.errors import LivespotError
from livespot.files import replacing
from livespot.records import Event

COLUMNS = ("video", "face", "type", "onset", "apex", "offset", "onset_s", "apex_s", "offset_s", "score", "regions")

Row: TypeAlias = dict[str, Any]

STYLES = {"micro": "bold magenta", "macro": "bold cyan"}


def rows(events: Iterable[Event]) -> list[Row]:
    """One row for each closed event, ordered by video and onset; the other phases say nothing that is final."""
    return sorted(
        (_row(event, event.offset_s) for event in events if event.offset_s is not None),
        key=lambda row: (row["video"], row["onset"], row["face"]),
    )


def write(path: Path, events: Iterable[Event]) -> None:
    """Write the closed events to a .csv or .jsonl file, which appears whole or not at all. Raises LivespotError."""
    try:
        write_rows = FORMATS[path.suffix.lower()]
    except KeyError:
        raise LivespotError(f"{path} has no known format: end its name in {' or '.join(FORMATS)}") from None
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, rows(events))


def to_rich(events: Iterable[Event], title: str | None = None) -> Table:
    """The closed events for the terminal: where it is narrow, the video's name alone is shortened."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("video")
    for heading in ("face", "type"):
        table.add_column(heading, no_wrap=True)
    for heading in ("onset s", "apex s", "offset s", "length s", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("regions", no_wrap=True)
    for row in rows(events):
        seconds = (row["onset_s"], row["apex_s"], row["offset_s"], row["offset_s"] - row["onset_s"], row["score"])
        kind = f"[{STYLES[row['type']]}]{row['type']}[/]"
        regions = _in_short(row["regions"])
        table.add_row(row["video"], str(row["face"]), kind, *(f"{value:.2f}" for value in seconds), regions)
    return table


def _row(event: Event, offset_s: float) -> Row:
    values = (
        event.source,
        event.face,
        event.type,
        event.onset_frame,
        event.apex_frame,
        event.last_frame,
        round(event.onset_s, 6),
        round(event.apex_s, 6),
        round(offset_s, 6),
        round(event.confidence, 6),
        list(event.regions),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _in_short(regions: list[str]) -> str:
    """The strongest, and how many more."""
    more = f" +{len(regions) - 1}" if len(regions) > 1 else ""
    return "".join(regions[:1]) + more


def _write_csv(file: TextIO, table: list[Row]) -> None:
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"regions": ";".join(row["regions"])} for row in table)


def _write_json_lines(file: TextIO, table: list[Row]) -> None:
    file.writelines(json.dumps(row) + "\n" for row in table)


FORMATS: dict[str, Callable[[TextIO, list[Row]], None]] = {".csv": _write_csv, ".jsonl": _write_json_lines}
"""Suffixes of the files that `write` writes."""
