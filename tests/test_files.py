import subprocess
import sys
from pathlib import Path

import pytest

from livespot.errors import LivespotError, SettingsError, SourceError
from livespot.files import PICTURES, files_in, locked, replacing


def test_files_are_found_by_their_endings_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in files_in(tmp_path, PICTURES, "portrait")] == ["a.png", "b.JPG"]


def test_a_folder_without_what_is_asked_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceError, match=r"no portrait is in .*: expected files that end in \.jpg"):
        files_in(tmp_path, PICTURES, "portrait")
    with pytest.raises(SourceError, match="is no folder: give one with at least one portrait"):
        files_in(tmp_path / "notes.txt", PICTURES, "portrait")


def _broken_off(path: Path) -> None:
    with replacing(path) as part:
        part.write_text("half")
        raise RuntimeError


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("before")
    with pytest.raises(RuntimeError):
        _broken_off(path)
    assert path.read_text() == "before"
    with replacing(path) as part:
        part.write_text("after")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "events.csv"
    with pytest.raises(LivespotError, match=r"cannot be written: .*: give a file in a folder"), replacing(path) as part:
        part.write_text("")


def test_a_folder_is_locked_for_other_processes_until_the_one_at_it_is_through(tmp_path: Path) -> None:
    code = "from pathlib import Path; from livespot.files import locked; locked(Path({!r}), by='run').__enter__()"
    other = [sys.executable, "-c", code.format(str(tmp_path))]
    with locked(tmp_path):
        done = subprocess.run(other, capture_output=True, text=True, check=False)
        assert f"SettingsError: another run is at work in {tmp_path}: wait for it, or end it" in done.stderr
    assert subprocess.run(other, check=False).returncode == 0


def test_a_folder_that_cannot_be_locked_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere cannot be written: No such file"), locked(tmp_path / "nowhere"):
        pass
