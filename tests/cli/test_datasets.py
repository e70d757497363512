"""livespot datasets, as its users start it: made-up datasets in, tables out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from livespot.cli import app
from livespot.datasets import sheets
from livespot.errors import LivespotError
from livespot.evaluation.labels import read_labels
from tests.datasets.trees import BLANK_JPEG, SAMM_LABELS, SAMM_ROWS, Row, casme2, casme3, megc, samm_lv, write_frames
from tests.evaluation.tables import LABELS, PREDICTIONS, write

BAD_ROWS = [*SAMM_ROWS, Row("006_1", 40, 35, 31, "Macro"), Row("007_3", 1, 2, 3, "Smile")]


def livespot(*words: str | Path) -> Any:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["datasets", *map(str, words)], catch_exceptions=True)


def scanned(*words: str | Path) -> Any:
    done = livespot("scan", *words)
    assert done.exit_code == 0, done.exception
    return done


def refused(*words: str | Path) -> str:
    """What `main` prints before it exits with 2."""
    done = livespot(*words)
    assert isinstance(done.exception, LivespotError)
    return str(done.exception)


@pytest.mark.parametrize("command", ["scan", "submit"])
def test_help_has_an_example_and_fits_a_terminal(command: str) -> None:
    done = livespot(command, "--help")
    assert f"livespot datasets {command}" in done.output.partition("Examples:")[2]
    assert max(map(len, done.output.splitlines())) <= 80


def test_help_says_what_each_convention_does() -> None:
    text = " ".join(livespot("scan", "--help").output.split())
    assert "--offset-zero: an expression with offset 0 apex: ends at its apex" in text
    assert "--holes: a video with missing frames between others refuse: is an error; close: is used" in text


def test_a_scan_shows_what_was_found_beside_what_is_known_and_writes_the_table(tmp_path: Path) -> None:
    done = scanned("samm-lv", samm_lv(tmp_path), "--out", tmp_path / "labels.csv")
    (line,) = [line for line in done.stdout.splitlines() if "macro-expressions" in line]
    assert line.split() == ["macro-expressions", "3", "343", "differs", "3"]
    assert "(--onset-zero keep): 1" in done.stdout
    assert list(read_labels(tmp_path / "labels.csv")) == ["006_1", "006_2", "007_3", "012_1"]
    assert f"4 videos: {tmp_path / 'labels.csv'}" in done.stderr


def test_names_may_be_written_otherwise_and_nothing_is_written_unasked(tmp_path: Path) -> None:
    samm_lv(tmp_path)
    before = set(tmp_path.iterdir())
    scanned("SAMM_LV", tmp_path)
    assert set(tmp_path.iterdir()) == before


def test_json_has_everything_and_standard_output_nothing_else(tmp_path: Path) -> None:
    done = scanned("casme2", casme2(tmp_path), "--out", tmp_path / "labels.csv", "--offset-zero", "mirrored", "--json")
    found = json.loads(done.stdout)
    assert found["dataset"] == "CAS(ME)2"
    assert found["labels"] == str(tmp_path / "labels.csv")
    assert found["counts"]["macro, offset 0"] == {
        "what": "macro, offset 0", "found": 1, "known": 44, "table": None, "rough": False, "differs": True,
    }  # fmt: skip
    assert any(line.endswith("(--offset-zero mirrored): 1") for line in found["conventions"])
    assert found["notes"] == []


def test_what_differs_is_told_on_standard_error(tmp_path: Path) -> None:
    casme3(tmp_path)
    (tmp_path / "part_A/spNO.1/b").rename(tmp_path / "part_A/spNO.1/other")
    done = scanned("casme3", tmp_path)
    assert "note: spNO.1_b: nothing of it was found on disk; 1 expression is lost with it" in done.stderr
    assert "other: not called like a video, a to m; left out" in done.stderr


def test_bad_rows_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    samm_lv(tmp_path, labelled=BAD_ROWS)
    (tmp_path / "labels.csv").write_text("as it was", encoding="utf-8")
    said = refused("scan", "samm-lv", tmp_path, "--out", tmp_path / "labels.csv")
    assert f"{SAMM_LABELS}, sheet FACS_Movement_Only, row 15: onset 40 is after offset 31" in said
    assert f"{SAMM_LABELS}, sheet FACS_Movement_Only, row 16: type Smile is unknown" in said
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8") == "as it was"
    assert not list(tmp_path.glob(".part-*"))


def test_bad_rows_end_a_process_with_2_and_no_traceback(tmp_path: Path) -> None:
    samm_lv(tmp_path, labelled=BAD_ROWS)
    command = [sys.executable, "-m", "livespot", "datasets", "scan", "samm-lv", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("livespot: SAMM Long Videos has 2 problems; nothing was written:")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("samm",), "there is no dataset samm: expected casme2 or samm-lv or casme3 or generic or megc2022"),
        (("samm-lv", "--onset-zero", "skip"), "--onset-zero skip: expected keep or drop"),
        (("samm-lv", "--frames-from", "0"), "it is known how samm-lv counts frames: leave --frames-from out"),
        (("generic", "--frames-from", "2"), "--frames-from 2: expected 0 or 1 or names"),
        (("megc2022", "--labels", "x.csv"), "megc2022 has no labels: leave --labels out"),
        (("samm-lv", "--out", "labels.xlsx"), "labels.xlsx has no known format: end its name in .csv"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    assert refused("scan", words[0], tmp_path, *words[1:]).startswith(said)


def test_a_root_that_is_no_folder_is_named(tmp_path: Path) -> None:
    assert refused("scan", "casme2", tmp_path / "CASME") == (
        f"{tmp_path / 'CASME'} is no folder: give the one that the dataset was unpacked to"
    )


def test_without_the_train_extra_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samm_lv(tmp_path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert refused("scan", "samm-lv", tmp_path) == "pandas is not installed: pip install 'livespot[train]'"


def test_what_only_spots_loads_no_pandas() -> None:
    code = f"import sys, livespot, livespot.cli, {sheets.__name__}; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_clips_of_the_challenge_are_scanned_and_predictions_for_them_handed_in(tmp_path: Path) -> None:
    clips = tmp_path / "clips.csv"
    scanned("megc2022", megc(tmp_path / "set", {"006_3": 30}, {"12": 20}), "--out", clips)
    predicted = write(tmp_path / "events.csv", f"{PREDICTIONS},score", "006_3,micro,0,29,0.7")
    done = livespot("submit", "2022", predicted, tmp_path / "out.csv", "--clips", clips)
    assert done.exit_code == 0
    assert "note: nothing was predicted for 12" in done.stderr
    written = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert written == "vid,pred_onset,pred_offset,type\n006_3,1,30,me\n"


def test_a_prediction_beyond_its_clip_or_for_none_is_refused_and_nothing_written(tmp_path: Path) -> None:
    clips = tmp_path / "clips.csv"
    scanned("megc2023", megc(tmp_path / "set", {"006_3": 30}, {}), "--out", clips)
    words = ("submit", "2023", tmp_path / "events.csv", tmp_path / "out.csv", "--clips", clips)
    write(tmp_path / "events.csv", PREDICTIONS, "006_3,micro,0,30")
    assert "row 2: offset 30 is beyond the video: its last frame is 29" in refused(*words)
    write(tmp_path / "events.csv", PREDICTIONS, "7,micro,0,3")
    assert refused(*words) == "predicted for no clip: 7; the clips are 006_3"
    assert not (tmp_path / "out.csv").exists()


def test_predictions_are_not_overwritten_by_their_submission(tmp_path: Path) -> None:
    predicted = write(tmp_path / "events.csv", PREDICTIONS, "006_3,micro,0,29")
    assert refused("submit", "2023", predicted, predicted).endswith("is what is read: give another name to write")


def test_the_table_that_was_read_is_not_overwritten(tmp_path: Path) -> None:
    table = write(tmp_path / "labels.csv", LABELS, "a,s1,30,micro,1,,9")
    write_frames(tmp_path / "a", 20, "{}.jpg")
    before = table.read_text(encoding="utf-8")
    assert "is what is read" in refused("scan", "generic", tmp_path, "--out", table)
    assert table.read_text(encoding="utf-8") == before


def test_many_notes_do_not_fill_the_screen_but_json_has_them(tmp_path: Path) -> None:
    samm_lv(tmp_path)
    for number in range(50):
        folder = tmp_path / f"SAMM_longvideos/{number}"
        folder.mkdir()
        (folder / "1.jpg").write_bytes(BLANK_JPEG)
    done = scanned("samm-lv", tmp_path)
    assert done.stderr.count("note:") == 41
    assert "and 10 more: --json has all" in done.stderr
    assert len(json.loads(scanned("samm-lv", tmp_path, "--json").stdout)["notes"]) == 50
