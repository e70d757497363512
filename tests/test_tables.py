"""Closed events as CSV, JSON lines and a table for the terminal."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from livespot import tables
from livespot.errors import LivespotError
from livespot.publish.messages import Moment, body
from livespot.records import Event

OPEN = Event(
    id="clip-0-0",
    phase="open",
    type="micro",
    source="clip",
    face=0,
    onset_s=12.0,
    onset_frame=360,
    apex_s=12.1,
    apex_frame=363,
    offset_s=None,
    offset_frame=None,
    confidence=0.7,
    decided_s=12.2,
    arrival_s=1000.0,
)
CLOSE = replace(
    OPEN, phase="close", offset_s=12.4, offset_frame=372, confidence=0.84, regions=("brow_left", "upper_lid_left")
)
EARLIER = replace(
    CLOSE, id="clip-0-1", type="macro", onset_s=2.0, onset_frame=60, apex_s=3.0, apex_frame=90, regions=()
)


def test_csv_has_the_columns_of_the_field(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    tables.write(path, [CLOSE])
    assert path.read_text(encoding="utf-8") == (
        "video,face,type,onset,apex,offset,onset_s,apex_s,offset_s,score,regions\n"
        "clip,0,micro,360,363,371,12.0,12.1,12.4,0.84,brow_left;upper_lid_left\n"
    )


def test_json_lines_hold_the_same_as_csv(tmp_path: Path) -> None:
    tables.write(tmp_path / "events.csv", [CLOSE, EARLIER])
    tables.write(tmp_path / "events.jsonl", [CLOSE, EARLIER])
    with (tmp_path / "events.csv").open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    from_json = [json.loads(line) for line in lines]
    assert [row["regions"] for row in from_json] == [[], ["brow_left", "upper_lid_left"]]
    joined = [row | {"regions": ";".join(row["regions"])} for row in from_json]
    assert from_csv == [{key: str(value) for key, value in row.items()} for row in joined]


def test_the_edges_agree_with_the_event_stream() -> None:
    (row,) = tables.rows([CLOSE])
    message = body(CLOSE, Moment(monotonic_s=1000.0, utc_s=0.0))
    for column, field in (
        ("onset", "onset_frame"),
        ("apex", "apex_frame"),
        ("offset", "offset_frame"),
        ("onset_s", "onset_s"),
        ("apex_s", "apex_s"),
        ("offset_s", "offset_s"),
        ("score", "confidence"),
        ("regions", "regions"),
    ):
        assert row[column] == message[field]


def test_an_expression_cut_off_at_its_apex_ends_there() -> None:
    (row,) = tables.rows([replace(CLOSE, apex_s=12.4, apex_frame=372, truncated=True)])
    assert (row["apex"], row["offset"]) == (372, 372)


def test_only_closed_events_are_rows_ordered_by_onset() -> None:
    assert [row["onset"] for row in tables.rows([OPEN, CLOSE, EARLIER])] == [60, 360]


def test_no_event_leaves_a_header(tmp_path: Path) -> None:
    tables.write(tmp_path / "events.csv", [OPEN])
    assert (tmp_path / "events.csv").read_text(encoding="utf-8") == ",".join(tables.COLUMNS) + "\n"


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match=r"events\.xlsx .* \.csv or \.jsonl"):
        tables.write(tmp_path / "events.xlsx", [CLOSE])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match=r"nowhere/events\.csv cannot be written: No such file.*folder that exists"):
        tables.write(tmp_path / "nowhere" / "events.csv", [CLOSE])


def test_a_path_that_is_a_folder_is_said_in_words_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "events.csv").mkdir()
    with pytest.raises(LivespotError, match="Is a directory"):
        tables.write(tmp_path / "events.csv", [CLOSE])
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]


def test_a_table_that_breaks_off_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    tables.write(path, [CLOSE])
    before = path.read_bytes()
    with pytest.raises(AttributeError):
        tables.write(path, [EARLIER, "no event"])  # type: ignore[list-item]
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["events.csv"]


def test_the_terminals_table_shows_each_closed_event() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(tables.to_rich([OPEN, CLOSE, EARLIER], title="clip"))
    lines = console.export_text().splitlines()
    assert sum("macro" in line and "2.00" in line for line in lines) == 1
    assert sum("micro" in line and "12.40" in line and "0.40" in line and "0.84" in line for line in lines) == 1


def test_the_terminals_table_fits_80_columns_by_shortening_the_videos_name() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    late = {"onset_s": 7200.0, "apex_s": 7200.1, "offset_s": 7200.4, "source": "interview_of_tuesday"}
    regions = ("mouth_corner_right", "cheek_right", "chin")
    console.print(tables.to_rich([replace(CLOSE, **late, regions=regions), EARLIER]))  # type: ignore[arg-type]
    lines = console.export_text().splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert lines[-1].rstrip().endswith("7200.00 7200.10  7200.40     0.40  0.84 mouth_corner_right +2")
    assert lines[-2].rstrip().endswith("0.84")
