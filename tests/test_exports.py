"""Rows of recordings in the formats of other programs."""

import csv
import json
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from livespot.errors import LivespotError
from livespot.evaluation.labels import read_predictions
from livespot.exports import FORMATS, write_challenge, write_csv, write_json_lines, write_parquet
from livespot.recordings import COLUMNS, Wanted, read
from livespot.tables import Row
from tests.publish.examples import CLOSE, OPEN
from tests.recorded import session

LATER = replace(CLOSE, id="cam1-0-1", type="macro", onset_s=20.0, onset_frame=600, apex_s=21.0, apex_frame=630,
                offset_s=22.0, offset_frame=660)  # fmt: skip
STILL_OPEN = replace(OPEN, id="cam1-0-2")


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return list(read(session(tmp_path / "recordings", (OPEN, CLOSE, LATER)), Wanted())[1])


def test_csv_is_read_by_livespot_evaluate(rows: list[Row], tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    assert write_csv(file, COLUMNS["event"], rows) == 2
    with file.open(encoding="utf-8", newline="") as opened:
        first, second = csv.DictReader(opened)
    assert (first["regions"], first["truncated"], first["onset_utc"]) == (
        "mouth_corner_left;cheek_left", "false", rows[0]["onset_utc"],
    )  # fmt: skip
    assert second["offset_s"] == "22.0"
    assert [(one.onset, one.offset, one.type) for one in read_predictions([file], {})["cam1"]] == [
        (360, 371, "micro"),
        (600, 659, "macro"),
    ]


def test_json_lines_hold_the_rows(rows: list[Row], tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    assert write_json_lines(file, COLUMNS["event"], rows) == 2
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == rows


def test_parquet_has_typed_columns(rows: list[Row], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "events.parquet"
    unknown = {"offset": None, "offset_s": None, "offset_utc": None}
    assert write_parquet(file, COLUMNS["event"], [*rows, rows[0] | unknown]) == 3
    table = parquet.read_table(file).to_pylist()
    assert tuple(table[0]) == COLUMNS["event"]
    assert table[0]["regions"] == ["mouth_corner_left", "cheek_left"]
    assert table[0]["onset_utc"] == datetime.fromisoformat(rows[0]["onset_utc"][:-1]).replace(tzinfo=timezone.utc)
    assert [(row["offset"], row["truncated"]) for row in table] == [(371, False), (659, False), (None, False)]


@pytest.mark.parametrize("kind", COLUMNS)
def test_every_kind_is_written_in_every_tabular_format_though_it_has_no_rows(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name in ("csv", "jsonl", "parquet"):
        assert FORMATS[name](tmp_path / f"none.{name}", COLUMNS[kind], []) == 0  # type: ignore[index]


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LivespotError, match=r"pip install 'livespot\[parquet\]'"):
        write_parquet(tmp_path / "events.parquet", COLUMNS["event"], [])
    assert not list(tmp_path.iterdir())


def test_the_challenge_is_given_events_that_closed_with_frames_from_one(tmp_path: Path) -> None:
    found = read(session(tmp_path / "recordings", (CLOSE, LATER, STILL_OPEN)), Wanted())[1]
    file = tmp_path / "samm_pred.csv"
    assert write_challenge(file, COLUMNS["event"], found) == 2
    assert file.read_text(encoding="utf-8") == "vid,onset,offset,type\ncam1,361,372,me\ncam1,601,660,mae\n"


def test_a_video_of_two_sessions_is_refused_for_the_challenge(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match=r"cam1 is in .* and another: give one of these files"):
        write_challenge(tmp_path / "a.csv", COLUMNS["event"], [*rows, rows[0] | {"session": "another"}])
