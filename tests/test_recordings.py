"""What is read from recordings: events put together from their phases, what is wanted of them, what cannot be read."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from livespot.errors import LivespotError
from livespot.publish import Publisher, recording
from livespot.recordings import COLUMNS, Wanted, files, instant, read
from livespot.tables import Row
from tests.publish.examples import CLOSE, LOST_FACE, LOST_FRAMES, OPEN, RECORDS, RUNNING, SCORES, UPDATE
from tests.recorded import FREE_PORT, killed_session, session

LATER = replace(CLOSE, id="cam1-0-1", type="macro", onset_s=20.0, apex_s=21.0, offset_s=22.0, confidence=0.9)
ELSEWHERE = replace(CLOSE, id="door-0-0", source="door")


def rows(file: Path, wanted: Wanted | None = None) -> list[Row]:
    return list(read(file, wanted or Wanted())[1])


def test_the_phases_of_an_event_become_one_row_with_what_was_told_last(tmp_path: Path) -> None:
    (row,) = rows(session(tmp_path, (OPEN, UPDATE, CLOSE)))
    assert tuple(row) == COLUMNS["event"]
    assert (row["video"], row["type"], row["onset"], row["apex"], row["offset"]) == ("cam1", "micro", 360, 366, 371)
    assert (row["onset_s"], row["offset_s"], row["score"]) == (12.0, 12.4, 0.7)
    assert row["regions"] == ["mouth_corner_left", "cheek_left"]
    assert (row["phase"], row["truncated"]) == ("close", False)
    assert row["onset_utc"] < row["apex_utc"] < row["offset_utc"]


def test_an_event_that_was_open_when_its_session_was_killed_is_cut_off(tmp_path: Path) -> None:
    file = killed_session(tmp_path)
    told, _ = read(file, Wanted())
    (row,) = rows(file)
    assert (told.running, told.ended_utc) == (False, None)
    assert (row["phase"], row["truncated"], row["offset"], row["offset_s"], row["offset_utc"]) == (
        "update", True, None, None, None,
    )  # fmt: skip
    assert row["apex"] == UPDATE.apex_frame


def test_a_session_that_goes_on_is_read_and_its_open_event_is_not_cut_off(tmp_path: Path) -> None:
    with Publisher(FREE_PORT, record=tmp_path) as publisher:
        publisher.publish(OPEN)
        (file,) = files(tmp_path)
        while not (found := rows(file)):
            publisher.heartbeat()
        assert read(file, Wanted())[0].running
    assert (found[0]["phase"], found[0]["truncated"]) == ("open", False)
    assert not read(file, Wanted())[0].running


def test_gaps_states_and_scores_are_rows_of_their_own(tmp_path: Path) -> None:
    file = session(tmp_path, RECORDS)
    gaps, states, scores = (rows(file, Wanted(kind)) for kind in ("gap", "status", "score"))
    assert [(row["reason"], row["from_s"], row["to_s"]) for row in gaps] == [
        (gap.reason, gap.from_s, gap.to_s) for gap in (LOST_FACE, LOST_FRAMES)
    ]
    assert [(row["video"], row["state"]) for row in states] == [("livespot", "running"), ("cam1", "running")]
    assert [(row["frame"], row["micro"], row["macro"]) for row in scores] == [(SCORES.index, 0.25, 0.5)]


@pytest.mark.parametrize(
    ("wanted", "onsets_s"),
    [
        (Wanted(), [12.0, 20.0, 12.0]),
        (Wanted(types=("macro",)), [20.0]),
        (Wanted(sources=("door",)), [12.0]),
        (Wanted(min_confidence=0.8), [20.0]),
        (Wanted(begin=12.4), [12.0, 20.0, 12.0]),
        (Wanted(begin=12.5), [20.0]),
        (Wanted(end=20.0), [12.0, 12.0]),
        (Wanted(begin=21.0, end=21.5), [20.0]),
        (Wanted(end="2000-01-01T00:00:00.000000Z"), []),
        (Wanted(begin="2000-01-01T00:00:00.000000Z", types=("macro",)), [20.0]),
    ],
)
def test_only_what_is_wanted_is_read(wanted: Wanted, onsets_s: list[float], tmp_path: Path) -> None:
    file = session(tmp_path, (CLOSE, LATER, ELSEWHERE))
    assert [row["onset_s"] for row in rows(file, wanted)] == onsets_s


def test_times_are_given_in_utc_or_seconds() -> None:
    assert instant("12.5") == 12.5
    assert instant("2027-01-15T08:00") == "2027-01-15T08:00:00.000000Z"
    assert instant("2027-01-15T08:00:00.5Z".replace(".5", ".500000")) == "2027-01-15T08:00:00.500000Z"
    assert instant("2027-01-15T09:00+01:00") == "2027-01-15T08:00:00.000000Z"
    for nothing in ("noon", "nan", "inf"):
        with pytest.raises(LivespotError, match=rf"{nothing} is no time: give 2027"):
            instant(nothing)


def test_recordings_are_found_in_a_folder_by_time(tmp_path: Path) -> None:
    found = [session(tmp_path, ()), session(tmp_path, ())]
    assert files(tmp_path) == sorted(found)
    assert files(found[1]) == [found[1]]
    with pytest.raises(LivespotError, match=r"does not exist: give the folder"):
        files(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LivespotError, match=r"has no recording: give the folder"):
        files(tmp_path / "empty")


def test_what_could_not_be_recorded_is_counted(tmp_path: Path) -> None:
    file = session(tmp_path, (CLOSE, CLOSE, RUNNING, RUNNING, RUNNING))
    changed(file, "DELETE FROM messages WHERE stream = 'cam1' AND seq = 0")
    assert read(file, Wanted())[0].missing == 2


def changed(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def newer(file: Path) -> None:
    changed(file, f"PRAGMA user_version = {recording.VERSION + 1}", "DROP TABLE messages")


def of_another_program(file: Path) -> None:
    file.unlink()
    changed(file, "CREATE TABLE bookmarks (address)")


def half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def scribbled_on(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def not_closed_where_nothing_may_be_written(file: Path) -> None:
    changed(file, "PRAGMA journal_mode = WAL")
    file.with_name(f"{file.name}-shm").symlink_to("/nowhere/index")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (newer, "newer livespot: its tables have version 2, this one reads 1"),
        (of_another_program, "is no recording of livespot"),
        (lambda file: file.write_text("events"), "cannot be read: file is not a database: it is damaged"),
        (lambda file: file.write_text(""), "is no recording of livespot"),
        (not_closed_where_nothing_may_be_written, "with the files beside it, to a folder of your own"),
        (half, "cannot be read: database disk image is malformed: it is damaged"),
        (scribbled_on, "cannot be read: database disk image is malformed: it is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    harm: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    file = session(tmp_path, (CLOSE,) * 100)
    harm(file)
    with pytest.raises(LivespotError, match=message) as error:
        rows(file)
    assert str(file) in str(error.value)
