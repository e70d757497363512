"""livespot events, and what livespot run and demo record."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from livespot.cli import app
from livespot.errors import LivespotError
from livespot.recordings import Wanted, files, read
from tests.publish.examples import CLOSE, LOST_FACE, OPEN
from tests.recorded import killed_session, session


def livespot(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def listed(*arguments: object) -> list[dict[str, object]]:
    result = livespot("events", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def refusal(*arguments: object) -> str:
    result = livespot("events", *arguments)
    assert isinstance(result.exception, LivespotError), result.output
    return str(result.exception)


def test_events_of_all_sessions_are_listed(tmp_path: Path) -> None:
    session(tmp_path, (OPEN, CLOSE))
    killed_session(tmp_path)
    result = livespot("events", tmp_path)
    assert result.exit_code == 0
    for word in ("cam1", "micro", "12.00", "12.40", "0.70", "cut off", "UTC, cut off"):
        assert word in result.stdout
    assert {row["truncated"] for row in listed(tmp_path)} == {False, True}


def test_options_choose_what_is_listed(tmp_path: Path) -> None:
    file = session(tmp_path, (OPEN, CLOSE, LOST_FACE))
    assert len(listed(file, "--type", "micro", "--source", "cam1", "--from", 12, "--to", 13)) == 1
    assert listed(file, "--type", "macro") == []
    assert listed(file, "--min-confidence", 0.71) == []
    assert listed(file, "--to", "2000-01-01") == []
    assert [row["reason"] for row in listed(file, "--kind", "gap")] == ["face_lost"]
    assert "face_lost" in livespot("events", file, "--kind", "gap").stdout
    assert "none" in livespot("events", file, "--kind", "score").stdout


@pytest.mark.parametrize(("name", "options"), [("a.csv", ()), ("a.jsonl", ()), ("a.txt", ("--format", "challenge"))])
def test_what_is_listed_is_written_to_a_file(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    session(tmp_path / "recordings", (OPEN, CLOSE))
    assert listed(tmp_path / "recordings", "--out", tmp_path / name, *options) == [
        {"rows": 1, "out": str(tmp_path / name)}
    ]
    assert "cam1" in (tmp_path / name).read_text(encoding="utf-8")


def test_a_damaged_recording_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    session(tmp_path, (CLOSE,))
    (tmp_path / "0.sqlite").write_text("x" * 200, encoding="utf-8")
    result = livespot("events", tmp_path, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["video"] == "cam1"
    assert "0.sqlite cannot be read" in result.stderr


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    session(tmp_path, ())
    assert "--kind heartbeat is not recorded: expected event, gap" in refusal(tmp_path, "--kind", "heartbeat")
    assert "--type mini does not exist: expected micro or macro" in refusal(tmp_path, "--type", "mini")
    assert "are for events" in refusal(tmp_path, "--type", "micro", "--kind", "gap")
    assert "needs a file" in refusal(tmp_path, "--format", "csv")
    assert "--format xls is unknown: expected csv, jsonl" in refusal(tmp_path, "--format", "xls", "--out", "a.xls")
    assert "has no known format" in refusal(tmp_path, "--out", "a.xls")
    assert "the challenge wants events" in refusal(
        tmp_path, "--format", "challenge", "--kind", "gap", "--out", tmp_path / "a.csv"
    )
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_run_records_what_it_publishes(tmp_path: Path) -> None:
    result = livespot(
        "run", "-s", "demo://?realtime=0", "--method", "motion", "--duration", 4, "--endpoint", "tcp://127.0.0.1:*",
        "--record", tmp_path / "recordings", "--set", "record.scores=true", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (file,) = files(tmp_path / "recordings")
    assert f"recorded in {file}" in result.stderr
    closed = [one for one in map(json.loads, result.stdout.splitlines()) if one.get("phase") == "close"]
    assert closed
    assert [row["id"] for row in read(file, Wanted())[1]] == [one["id"] for one in closed]
    scores = sum(json.loads(line)["kind"] == "score" for line in result.stdout.splitlines())
    assert len(list(read(file, Wanted("score"))[1])) == scores > 0


def test_run_is_refused_before_anything_opens_where_nothing_can_be_recorded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    result = livespot(
        "run", "-s", "no/such/video.mp4", "--endpoint", "tcp://127.0.0.1:*", "--record", tmp_path / "file"
    )
    assert "cannot hold a recording" in str(result.exception)
