"""A cache is made once: it is resumed where it was killed, is the same from any number of processes, never mistaken."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from livespot.capture.virtual import ASTRONAUT
from livespot.config import AlignSettings
from livespot.datasets.cache import Cache, folder_of
from livespot.datasets.preparing import FRAME_BYTES, Preparation
from livespot.errors import LivespotError, SettingsError, SourceError
from livespot.evaluation.labels import Span, Video, write_labels
from livespot.synth.videos import Order, Videos
from tests.datasets.shelf import contents, prepared, table, times_ns, write_frames, write_lost
from tests.films import BLANK, Picture, write_video

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def places(pictures: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | None]:
    """A short video, a folder of frames and a longer video, in this order."""
    folder = tmp_path_factory.mktemp("videos")
    return {
        "a": write_video(folder / "a.avi", pictures[:20]),
        "b": write_frames(folder / "b", pictures[:20], unreadable=7),
        "c": write_video(folder / "c.avi", pictures[:60]),
    }


@pytest.fixture(scope="module")
def labels(places: dict[str, Path | None]) -> Path:
    return table(next(place for place in places.values() if place).parent / "labels.csv", places)


@pytest.fixture(scope="module")
def whole(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("whole") / "cache"
    prepared(labels, cache)
    return cache


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """One to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def command(labels: Path, cache: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "livespot", "prepare", str(labels), str(cache), *more]


def until(holds: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert process.poll() is None and time.monotonic() < give_up_s, process.communicate()
        time.sleep(0.002)


def test_what_is_prepared_is_told(labels: Path, whole: Path) -> None:
    summary = prepared(labels, whole).summary()
    assert (summary["videos"], summary["frames"], summary["frames_with_face"]) == (3, 100, 99)
    assert summary["left_out"] == {}
    assert summary["notes"] == {"b": ["1 of 20 images cannot be read, the first is img7.png"]}
    on_disk = sum(len(one) for name, one in contents(whole).items() if name.startswith("videos/"))
    assert summary["bytes"] == on_disk and on_disk / 100 < 13_500


def test_a_prepared_table_takes_no_time_again(labels: Path, copy: Path) -> None:
    before = times_ns(copy / "videos")
    again = Preparation(labels, copy, AlignSettings())
    assert (again.frames, again.bytes_needed, list(again)) == (0, 0, [])
    assert times_ns(copy / "videos") == before


def test_two_processes_make_the_same(labels: Path, whole: Path, tmp_path: Path) -> None:
    prepared(labels, tmp_path / "cache", jobs=2)
    assert contents(tmp_path / "cache") == contents(whole)


def killed(labels: Path, cache: Path, number: signal.Signals, *more: str) -> tuple[int, str]:
    """The exit code and the words of a run that got a signal when its last video, but not its first, was unfinished."""
    writing = cache / ".part-c" / "0" / "crops"
    with subprocess.Popen(command(labels, cache, *more), stderr=subprocess.PIPE, text=True) as process:
        until(lambda: folder_of(cache, "a").exists() and writing.exists() and writing.stat().st_size > 0, process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        words = process.communicate(timeout=PATIENCE_S)[1]
    assert psutil.wait_procs(children, PATIENCE_S)[1] == []
    assert not folder_of(cache, "c").exists()
    return process.returncode, words


@pytest.fixture
def long(places: dict[str, Path | None], pictures: list[Picture], tmp_path: Path) -> Path:
    """The same, with a last video that takes a while."""
    longer = write_video(tmp_path / "c.avi", pictures * 4)
    return table(tmp_path / "long.csv", places | {"c": longer})


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(long: Path, whole: Path, tmp_path: Path, jobs: str) -> None:
    cache = tmp_path / "cache"
    assert killed(long, cache, signal.SIGKILL, "--jobs", jobs)[0] == -signal.SIGKILL
    assert (cache / ".part-c").exists()
    with pytest.raises(SettingsError, match="does not hold all of its videos yet: run `livespot prepare` to its end"):
        Cache(cache)
    before = times_ns(folder_of(cache, "a"))
    prepared(long, cache)
    assert times_ns(folder_of(cache, "a")) == before
    prepared(long, tmp_path / "at once")
    assert contents(cache) == contents(tmp_path / "at once")
    assert contents(folder_of(cache, "b")) == contents(folder_of(whole, "b"))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_it_and_leaves_whole_videos(long: Path, tmp_path: Path, jobs: str) -> None:
    code, words = killed(long, tmp_path / "cache", signal.SIGINT, "--jobs", jobs)
    assert code == 130 and "interrupted: the same command goes on where it was" in words and "Traceback" not in words
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {".lock", "cache.json", "labels.csv", "videos"}
    assert {path.name for path in (tmp_path / "cache" / "videos").iterdir()} in ({"a"}, {"a", "b"})


def test_a_second_run_at_the_same_cache_is_refused_and_the_first_ends_as_if_alone(
    labels: Path, whole: Path, tmp_path: Path
) -> None:
    first = iter(Preparation(labels, tmp_path / "cache", AlignSettings()))
    next(first)
    done = run(*command(labels, tmp_path / "cache"))
    assert done.returncode == 2 and "another livespot prepare is at work in" in done.stderr
    for _ in first:
        pass
    assert contents(tmp_path / "cache") == contents(whole)


def test_a_run_of_other_settings_that_began_in_between_is_not_overwritten(labels: Path, tmp_path: Path) -> None:
    late = Preparation(labels, tmp_path / "cache", AlignSettings(mesh_interval_s=0.25))
    prepared(labels, tmp_path / "cache")
    before = contents(tmp_path / "cache")
    with pytest.raises(SettingsError, match=r"made by another aligner, align.mesh_interval_s"):
        sum(late)
    assert contents(tmp_path / "cache") == before


def test_a_cache_that_lost_a_video_meanwhile_is_not_said_to_be_complete(labels: Path, tmp_path: Path) -> None:
    given, cache = Preparation(labels, tmp_path / "cache", AlignSettings()), tmp_path / "cache"

    def lose() -> None:
        for _ in given:
            if folder_of(cache, "b").exists():
                shutil.rmtree(folder_of(cache, "a"), ignore_errors=True)

    with pytest.raises(LivespotError, match="does not hold all of a any more: the same command makes them again"):
        lose()
    with pytest.raises(SettingsError, match="does not hold all of its videos yet"):
        Cache(cache)
    assert prepared(labels, cache).frames == 20


def test_labels_may_change_without_aligning_anew(places: dict[str, Path | None], copy: Path, tmp_path: Path) -> None:
    before, span = times_ns(copy / "videos"), Span(3, 5, "micro")
    prepared(table(tmp_path / "edited.csv", places, truths=(span,)), copy)
    assert times_ns(copy / "videos") == before
    assert all(video.truths == (span,) for video in Cache(copy).videos)


def test_a_table_may_grow_and_shrink(places: dict[str, Path | None], copy: Path, tmp_path: Path) -> None:
    first = times_ns(folder_of(copy, "a"))
    assert prepared(table(tmp_path / "grown.csv", {"a": places["a"], "again": places["a"]}), copy).frames == 20
    assert times_ns(folder_of(copy, "a")) == first
    assert [video.name for video in Cache(copy).videos] == ["a", "again"]


def test_a_dataset_that_was_moved_is_not_aligned_anew(
    places: dict[str, Path | None], copy: Path, tmp_path: Path
) -> None:
    before = next(place for place in places.values() if place).parent
    shutil.copytree(before, tmp_path / "moved")
    moved = {name: tmp_path / "moved" / place.name for name, place in places.items() if place}
    assert prepared(table(tmp_path / "moved.csv", dict(moved)), copy).frames == 0


def test_videos_that_are_aligned_are_not_needed_any_more(copy: Path, tmp_path: Path) -> None:
    away = table(tmp_path / "away.csv", {name: tmp_path / name for name in "abc"})
    assert prepared(away, copy).summary()["videos"] == 3


def test_other_settings_are_refused_and_nothing_is_overwritten(labels: Path, copy: Path) -> None:
    before = contents(copy)
    words = r"made by another aligner, align.mesh_interval_s 0.5 instead of 0.25: give a new folder, or these settings"
    with pytest.raises(SettingsError, match=words):
        Preparation(labels, copy, AlignSettings(mesh_interval_s=0.25))
    assert contents(copy) == before


def test_another_version_of_the_aligner_is_refused(labels: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(copy)
    monkeypatch.setattr("livespot.align.VERSION", 99)
    with pytest.raises(SettingsError, match=r"made by another aligner, aligner \d+ instead of 99: give a new folder"):
        Preparation(labels, copy, AlignSettings())
    assert contents(copy) == before


def test_another_video_of_the_same_name_is_refused(places: dict[str, Path | None], copy: Path, tmp_path: Path) -> None:
    before = contents(copy)
    with pytest.raises(SettingsError, match=r"holds other videos of these names.*\n  a: bytes \d+ instead of \d+"):
        Preparation(table(tmp_path / "other.csv", {"a": places["c"], "b": places["b"]}), copy, AlignSettings())
    with pytest.raises(SettingsError, match=r"b: fps 30\.0 instead of 200\.0"):
        Preparation(table(tmp_path / "fast.csv", places, 200.0), copy, AlignSettings())
    assert contents(copy) == before


def test_a_folder_that_holds_something_else_is_left_alone(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(SettingsError, match="holds something else than a cache of `livespot prepare`: give a new"):
        Preparation(labels, tmp_path, AlignSettings())
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_damaged_video_is_made_again(labels: Path, copy: Path, whole: Path) -> None:
    os.truncate(folder_of(copy, "a") / "crops", 100)
    assert prepared(labels, copy).frames == 20
    assert contents(copy) == contents(whole)


def test_what_cannot_be_used_is_left_out_by_name_and_not_tried_twice(
    places: dict[str, Path | None], tmp_path: Path
) -> None:
    wall, note = write_video(tmp_path / "wall.avi", [BLANK] * 15), tmp_path / "note.mp4"
    note.write_text("no video", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    given = {"a": places["a"], "wall": wall, "note": note, "gone": tmp_path / "gone.avi", "empty": tmp_path / "empty"}
    labels = table(tmp_path / "labels.csv", given | {"nowhere": None})
    summary = prepared(labels, tmp_path / "cache").summary()
    assert summary["videos"] == 1 and list(summary["left_out"]) == ["empty", "gone", "note", "nowhere", "wall"]
    said = summary["left_out"]
    assert "no face is found in" in said["wall"] and "cannot be read as video" in said["note"]
    assert "gone.avi is not there" in said["gone"] and "does not say where it lies" in said["nowhere"]
    assert "holds no images" in said["empty"]
    cache = Cache(tmp_path / "cache")
    assert [video.name for video in cache.videos] == ["a"] and cache.left_out == said
    with pytest.raises(LivespotError, match="has no video wall: no face is found in"):
        cache["wall"]
    again = Preparation(labels, tmp_path / "cache", AlignSettings())
    assert sum(again) == 0 and again.summary() == summary


def test_videos_in_which_no_face_is_found_take_next_to_no_disk(tmp_path: Path) -> None:
    labels = table(tmp_path / "labels.csv", {"wall": write_video(tmp_path / "wall.avi", [BLANK] * 40)}, truths=())
    with pytest.raises(SourceError, match=r"no video could be prepared:\n  wall: no face is found in .*wall.avi"):
        prepared(labels, tmp_path / "cache")
    crops = folder_of(tmp_path / "cache", "wall") / "crops"
    assert crops.stat().st_size == 40 * 112 * 112 and crops.stat().st_blocks * 512 < 20_000


def test_of_two_faces_at_once_the_one_seen_longest_is_kept_and_told(pictures: list[Picture], tmp_path: Path) -> None:
    alone, both = [np.hstack([one, two]) for one, two in ((BLANK, pictures[0]), (pictures[0], pictures[0]))]
    film = [np.asarray(cv2.resize(one, None, fx=0.75, fy=0.75), np.uint8) for one in [alone] * 12 + [both] * 30]
    labels = table(tmp_path / "labels.csv", {"two": write_video(tmp_path / "two.avi", film)})
    said = prepared(labels, tmp_path / "cache", AlignSettings(max_faces=2)).summary()["notes"]
    assert said == {"two": ["1 more at the same time: the face seen longest is kept"]}
    video = Cache(tmp_path / "cache")["two"]
    assert video.seen.all() and set(video.rows["face"].tolist()) == {0}


def test_a_face_that_was_lost_and_found_again_is_noted(pictures: list[Picture], tmp_path: Path) -> None:
    labels = table(tmp_path / "labels.csv", {"a": write_lost(tmp_path / "lost.avi", pictures)})
    said = "2 faces, one after another: it was lost and found again, or is not one"
    assert prepared(labels, tmp_path / "cache").summary()["notes"] == {"a": [said]}


def test_what_the_table_says_otherwise_than_the_video_is_noted(places: dict[str, Path | None], tmp_path: Path) -> None:
    late = Video("a", "s1", 25.0, 30, (Span(12, 25, "macro"),), places["a"])
    write_labels(tmp_path / "labels.csv", [late])
    assert prepared(tmp_path / "labels.csv", tmp_path / "cache").summary()["notes"]["a"] == [
        "the table says 30 frames, 20 were read",
        "labels reach to frame 25, its last one is 19",
        "the table says 25 frames a second, the file 30: its own times are kept",
    ]


def test_a_disk_without_room_is_told_before_the_work_begins(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100 * FRAME_BYTES - 1))
    with pytest.raises(
        SettingsError, match=r"cache will need 0.0 GB, and its disk has 0.0 GB left: give one with room"
    ):
        Preparation(labels, tmp_path / "cache", AlignSettings())
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100 * FRAME_BYTES))
    assert Preparation(labels, tmp_path / "cache", AlignSettings()).bytes_needed == 100 * FRAME_BYTES


def test_a_table_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="names no video"):
        Preparation(table(tmp_path / "labels.csv", {}), tmp_path / "cache", AlignSettings())


def test_frames_too_fast_to_be_spotted_are_left_out(places: dict[str, Path | None], tmp_path: Path) -> None:
    labels = table(tmp_path / "labels.csv", {"b": places["b"]}, 1000.0)
    with pytest.raises(SourceError, match="b has 1000 frames a second; expected at most 240"):
        sum(Preparation(labels, tmp_path / "cache", AlignSettings()))


def test_synthesised_videos_are_prepared_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    shutil.copy(ASTRONAUT, tmp_path / "faces")
    sum(Videos(tmp_path / "calm", Order(tmp_path / "faces", videos=1, seconds=2.0, fps=15.0, calm=True)))
    prepared(tmp_path / "calm" / "labels.csv", tmp_path / "cache")
    cache = Cache(tmp_path / "cache")
    assert [(one.name, one.length, one.truths) for one in cache.videos] == [("0000_astronaut", 30, ())]
    assert cache["0000_astronaut"].seen[0]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_the_command_says_what_it_needs_and_what_it_made(places: dict[str, Path | None], tmp_path: Path) -> None:
    labels = table(tmp_path / "labels.csv", {"a": places["a"], "gone": tmp_path / "gone.avi"})
    done = run(*command(labels, tmp_path / "cache", "--json"))
    assert done.returncode == 0
    assert "20 frames to align, about 0.00 GB in" in done.stderr and "left out: gone: " in done.stderr
    assert json.loads(done.stdout)["videos"] == 1


def test_the_command_fails_where_no_video_can_be_used(tmp_path: Path) -> None:
    done = run(*command(table(tmp_path / "labels.csv", {"gone": tmp_path / "gone.avi"}), tmp_path / "cache"))
    assert (done.returncode, done.stdout) == (2, "") and "no video could be prepared" in done.stderr


def test_a_process_that_is_ended_from_outside_ends_the_run_with_words(long: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with subprocess.Popen(command(long, cache, "--jobs", "2"), stderr=subprocess.PIPE, text=True) as process:
        until(lambda: (cache / ".part-c" / "0" / "crops").exists(), process)
        workers = [one for one in psutil.Process(process.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        workers[0].kill()
        words = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 2 and "a process was ended from outside" in words
    assert not list(cache.glob(".part-*")) and not folder_of(cache, "c").exists()


def test_a_disk_that_fills_up_ends_it_with_words_and_nothing_half_written(long: Path, tmp_path: Path) -> None:
    limit = 100 * 112 * 112
    done = subprocess.run(
        command(long, tmp_path / "cache"), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2 and "does not take all of c: File too large: make room" in done.stderr
    assert sorted(path.name for path in (tmp_path / "cache" / "videos").iterdir()) == ["a", "b"]
    assert not list((tmp_path / "cache").glob(".part-*"))
