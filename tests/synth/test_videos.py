"""A folder of videos holds what its labels say, each the same whatever else is made; nothing else is overwritten."""

import csv
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from livespot.action_units import UNITS
from livespot.capture.opencv import VideoFile
from livespot.capture.virtual import ASTRONAUT, Expression
from livespot.errors import LivespotError, SettingsError, SourceError
from livespot.evaluation.labels import read_labels
from livespot.motion.regions import REGIONS
from livespot.synth.performance import Performance
from livespot.synth.script import NAMES, POSE
from livespot.synth.videos import COLUMNS, VIDEO_COLUMNS, Order, Task, Videos, _label, _Writer, tasks
from tests.films import BLANK, film, write_video
from tests.portraits import Picture

SECONDS = 2.0
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    shutil.copy(ASTRONAUT, folder / "eileen.jpg")
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip at 25 frames a second, in which the face itself is calm for 4 s."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "webcam.avi", film(0, 0.7)[:20] * 5, 25.0)
    return folder


def made(folder: Path, order: Order, jobs: int = 1) -> Videos:
    videos = Videos(folder, order, jobs)
    assert sum(videos) == videos.frames
    return videos


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def labels(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def about(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "videos.json").read_text(encoding="utf-8"))
    return told


def pictures(path: Path) -> list[Picture]:
    with VideoFile(path, path.stem) as source:
        return [frame.image for frame in source]


@pytest.fixture(scope="module")
def both(faces: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait's video of a seed that shows something, and a clip's."""
    folder = tmp_path_factory.mktemp("both") / "videos"
    made(folder, Order(faces, clips, videos=2, seconds=SECONDS, seed=6))
    return folder


def test_portraits_and_clips_take_turns_and_all_are_told(both: Path) -> None:
    files = ["0000_eileen.avi", "0000_eileen.npz", "0001_webcam.avi", "0001_webcam.npz", "labels.csv", "videos.json"]
    assert sorted(contents(both)) == [".lock", *files]
    told = about(both)
    assert told["complete"] and told["left_out"] == {} and told["settings"]["seed"] == 6
    portrait, clip = told["videos"]
    assert (portrait["video"], portrait["subject"], portrait["portrait"]) == ("0000_eileen", "eileen", "eileen.jpg")
    assert (clip["video"], clip["subject"], clip["clip"]) == ("0001_webcam", "webcam", "webcam.avi")
    assert (portrait["fps"], portrait["frames"], clip["fps"], clip["frames"]) == (30.0, 60, 25.0, 100)
    assert "noise" in portrait["conditions"]


def test_each_video_has_the_rate_and_the_frames_that_are_told(both: Path) -> None:
    for one in about(both)["videos"]:
        with VideoFile(both / f"{one['video']}.avi", "video") as source:
            assert source.fps == one["fps"]
            assert len(list(source)) == one["frames"]


def test_labels_tell_frames_of_expressions_with_their_amplitude_and_units(both: Path) -> None:
    rows = labels(both)
    assert tuple(rows[0]) == (*COLUMNS, *VIDEO_COLUMNS)
    assert {row["subject"] for row in rows} == {"eileen", "webcam"}
    for row in rows:
        onset, apex, offset = (int(row[edge]) for edge in ("onset", "apex", "offset"))
        with np.load(both / f"{row['video']}.npz") as truth:
            intensities, units = truth["intensities"], list(truth["units"])
        assert 0 <= onset <= apex <= offset < len(intensities)
        lasts_s = (offset + 1 - onset) / float(row["fps"])
        assert lasts_s <= 0.55 if row["type"] == "micro" else lasts_s >= 0.45
        assert set(row["units"].split(";")) <= set(UNITS)
        parts = [units.index(unit) for unit in row["units"].split(";")]
        assert intensities[apex, parts].max() > 0.3 * float(row["amplitude_iod"])


@pytest.mark.parametrize("calm", [False, True])
def test_labels_are_read_as_those_of_any_dataset(
    both: Path, faces: Path, clips: Path, tmp_path: Path, calm: bool
) -> None:
    folder = both
    if calm:
        folder = tmp_path / "calm"
        made(folder, Order(faces, clips, videos=2, seconds=SECONDS, seed=6, calm=True))
    videos = read_labels(folder / "labels.csv")
    told = {one["video"]: (one["subject"], one["fps"], one["frames"]) for one in about(folder)["videos"]}
    assert {name: (one.subject, one.fps, one.length) for name, one in videos.items()} == told
    assert all(video.path == folder / f"{name}.avi" and video.path.exists() for name, video in videos.items())
    assert sum(len(video.truths) for video in videos.values()) == (0 if calm else len(labels(both)))


def test_of_a_portrait_all_that_is_true_of_every_frame_is_kept(both: Path, faces: Path) -> None:
    [portrait, _] = about(both)["videos"]
    with np.load(both / "0000_eileen.npz") as truth:
        kept = dict(truth)
    assert kept["displacement_iod"].shape == (60, len(REGIONS), 2) and kept["displacement_iod"].dtype == np.float32
    assert kept["intensities"].shape == (60, len(NAMES)) and kept["pose"].shape == (60, len(POSE))
    assert tuple(kept["regions"]) == REGIONS and tuple(kept["units"]) == NAMES and tuple(kept["pose_columns"]) == POSE
    with Performance(faces / "eileen.jpg", "same", portrait["seed"], seconds=SECONDS) as source:
        np.testing.assert_array_equal(kept["displacement_iod"], source.displacement_iod())
        np.testing.assert_allclose(kept["pose"], source.script.poses(source.times_s), atol=1e-6)
        shown = [frame.image for frame in source]
        assert kept["repeats"].tolist() == [source.filming.repeats(index) for index in range(60)]
    for own, written in zip(shown[::15], pictures(both / "0000_eileen.avi")[::15], strict=True):
        assert cv2.PSNR(own, written) > 40


def test_of_a_clip_what_was_put_in_is_kept_where_it_was_put(both: Path) -> None:
    rows = [row for row in labels(both) if row["subject"] == "webcam"]
    with np.load(both / "0001_webcam.npz") as truth:
        kept = dict(truth)
    assert kept["displacement_iod"].shape == (100, len(REGIONS), 2) and np.isnan(kept["pose"]).all()
    assert not kept["repeats"].any()
    moving = np.abs(kept["displacement_iod"]).max(axis=(1, 2)) > 1e-4
    labelled = np.zeros(100, np.bool_)
    for row in rows:
        labelled[int(row["onset"]) : int(row["offset"]) + 1] = True
    assert rows and moving.any() and not moving[~labelled].any()
    assert np.abs(kept["intensities"][moving]).max() <= max(float(row["amplitude_iod"]) for row in rows) * 1.5


def test_a_video_is_the_same_whatever_else_is_made(both: Path, faces: Path, clips: Path, tmp_path: Path) -> None:
    """Also in a process of its own, and added to a folder that held fewer."""
    order = Order(faces, clips, videos=1, seconds=SECONDS, seed=6)
    made(tmp_path / "few", order)
    first = (tmp_path / "few" / "0000_eileen.npz").stat().st_mtime_ns
    made(tmp_path / "few", Order(faces, clips, videos=2, seconds=SECONDS, seed=6), jobs=2)
    assert contents(tmp_path / "few") == contents(both)
    assert (tmp_path / "few" / "0000_eileen.npz").stat().st_mtime_ns == first


def test_calm_videos_show_the_same_without_expressions(both: Path, faces: Path, clips: Path, tmp_path: Path) -> None:
    made(tmp_path / "calm", Order(faces, clips, videos=2, seconds=SECONDS, seed=6, calm=True))
    assert (tmp_path / "calm" / "labels.csv").read_text(encoding="utf-8").splitlines() == [
        "video,subject,fps,type,onset,apex,offset,amplitude_iod,units,frames,path",
        "0000_eileen,eileen,30.0,,,,,,,60,0000_eileen.avi",
        "0001_webcam,webcam,25.0,,,,,,,100,0001_webcam.avi",
    ]
    assert about(tmp_path / "calm")["videos"][0]["conditions"] == about(both)["videos"][0]["conditions"]
    with np.load(tmp_path / "calm" / "0001_webcam.npz") as truth:
        assert not truth["displacement_iod"].any()
    with np.load(tmp_path / "calm" / "0000_eileen.npz") as calm, np.load(both / "0000_eileen.npz") as shown:
        np.testing.assert_array_equal(calm["pose"], shown["pose"])
        assert np.abs(calm["displacement_iod"]).max() < np.abs(shown["displacement_iod"]).max()


def test_portraits_are_taken_in_turn_in_an_order_of_the_seed() -> None:
    portraits = [Path(f"{number}.jpg") for number in range(5)]
    told = [tasks(Order(videos=12, seed=seed), portraits, []) for seed in range(3)]
    for one in told:
        bases = [task.base for task in one]
        assert sorted(bases[:5]) == portraits and bases[5:10] == bases[:5] and bases[10:] == bases[:2]
    assert len({tuple(task.base for task in one) for one in told}) > 1
    assert told[0][:4] == tasks(Order(videos=4, seed=0), portraits, [])
    assert len({task.seed for one in told for task in one}) == 36, "no two do the same"
    assert len({task.name for task in told[0]}) == 12


TIMES_S: NDArray[np.float64] = np.arange(30) / 10


@pytest.mark.parametrize(
    ("onset_s", "apex_s", "offset_s", "frames"),
    [
        (0.41, 0.78, 1.2, (5, 8, 11)),
        (0.4, 0.8, 1.21, (4, 8, 12)),
        (0.41, 0.42, 0.55, (5, 5, 5)),
        (0.41, 0.43, 0.48, (5, 5, 5)),
    ],
)
def test_an_expression_lasts_over_the_frames_that_show_it_but_never_none(
    onset_s: float, apex_s: float, offset_s: float, frames: tuple[int, int, int]
) -> None:
    one = Expression("micro", onset_s, apex_s, offset_s, 0.0, "1_left+17", 0.01)
    row = _label(Task("0000_a", Path("a.jpg"), 0), one, TIMES_S, 10.0)
    assert (row["onset"], row["apex"], row["offset"]) == frames
    assert row["units"] == "AU1_left;AU17"


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_shows_no_face_is_left_out_by_name_and_others_take_its_place(
    faces: Path, tmp_path: Path, jobs: int
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(faces, mixed)
    cv2.imwrite(str(mixed / "wall.png"), BLANK)
    (mixed / "note.jpg").write_text("no picture", encoding="utf-8")
    order = Order(mixed, videos=4, seconds=2.0, fps=10.0)
    videos = made(tmp_path / "videos", order, jobs)
    assert videos.frames == 80
    told = about(tmp_path / "videos")
    assert set(told["left_out"]) == {"wall.png", "note.jpg"} == set(videos.left_out)
    assert "no face is found in" in told["left_out"]["wall.png"] and "cannot be read" in told["left_out"]["note.jpg"]
    assert {one["subject"] for one in told["videos"]} == {"eileen"}
    assert videos.summary()["videos"] == len(told["videos"]) == 4
    before = contents(tmp_path / "videos")
    made(tmp_path / "videos", order, jobs)
    assert contents(tmp_path / "videos") == before


def test_a_video_of_another_base_with_the_same_name_is_not_taken_for_it(faces: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(faces, mixed)
    cv2.imwrite(str(mixed / "eileen.png"), BLANK)
    order = Order(mixed, videos=2, seconds=2.0, fps=10.0)
    assert set(made(tmp_path / "videos", order).left_out) == {"eileen.png"}
    before = contents(tmp_path / "videos")
    assert set(made(tmp_path / "videos", order).left_out) == {"eileen.png"}
    assert contents(tmp_path / "videos") == before


def test_in_the_place_of_what_is_unfit_is_the_next_of_its_kind_then_of_the_other() -> None:
    portraits, clips = [[Path(f"{number}{ending}") for number in range(4)] for ending in (".jpg", ".mp4")]
    order = Order(videos=16)
    all_fit = tasks(order, portraits, clips)
    unfit = {all_fit[0].base.name, all_fit[2].base.name, *(clip.name for clip in clips)}
    rest = [all_fit[4].base, all_fit[6].base]
    assert [task.base for task in tasks(order, portraits, clips, unfit)] == [
        rest[0], rest[0], rest[0], rest[0], rest[0], rest[0], rest[1], rest[1],
    ] * 2  # fmt: skip
    assert tasks(order, portraits, clips, {one.name for one in portraits + clips}) == []


def test_where_nothing_can_be_made_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    cv2.imwrite(str(tmp_path / "faces" / "wall.png"), BLANK)
    with pytest.raises(SourceError, match=r"no video could be made:\nno face is found in .*wall.png"):
        sum(Videos(tmp_path / "videos", Order(tmp_path / "faces", videos=2)))
    assert not (tmp_path / "videos").exists()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"seed": 3}, "seed 6 instead of 3"),
        ({"seconds": 4.0}, "seconds 2.0 instead of 4.0"),
        ({"calm": True}, "calm False instead of True"),
        ({"clips": None}, "clips 1 files"),
        ({"videos": 1}, "videos 2 instead of 1"),
    ],
)
def test_a_folder_of_videos_of_other_settings_is_left_alone(
    both: Path, faces: Path, clips: Path, order: dict[str, Any], words: str
) -> None:
    before, same = contents(both), Order(faces, clips, videos=2, seconds=SECONDS, seed=6)
    with pytest.raises(SettingsError, match=f"holds videos of other settings, .*{words}.*: give these, or another"):
        Videos(both, replace(same, **order))
    assert contents(both) == before


def test_a_second_run_at_the_same_folder_is_refused_and_the_first_ends_as_if_alone(
    both: Path, faces: Path, clips: Path, tmp_path: Path
) -> None:
    order = Order(faces, clips, videos=2, seconds=SECONDS, seed=6)
    first = iter(Videos(tmp_path / "videos", order))
    next(first)
    with pytest.raises(SettingsError, match="another livespot synth is at work in"):
        sum(Videos(tmp_path / "videos", order))
    for _ in first:
        pass
    assert contents(tmp_path / "videos") == contents(both)


def test_a_run_that_is_killed_leaves_no_process_that_goes_on_writing(faces: Path, tmp_path: Path) -> None:
    words = ("synth", str(tmp_path / "videos"), "--faces", str(faces), "--videos", "2", "--seconds", "600")
    give_up_s = time.monotonic() + PATIENCE_S
    with subprocess.Popen((sys.executable, "-m", "livespot", *words, "--jobs", "2"), stderr=subprocess.PIPE) as process:
        while not list(tmp_path.glob("videos/.part-*.avi")):
            assert process.poll() is None and time.monotonic() < give_up_s
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert psutil.wait_procs(children, PATIENCE_S)[1] == []


def test_a_run_of_other_settings_that_began_in_between_is_not_overwritten(faces: Path, tmp_path: Path) -> None:
    late = Videos(tmp_path / "videos", Order(faces, videos=1, seconds=2.0, fps=10.0, seed=1))
    made(tmp_path / "videos", Order(faces, videos=1, seconds=2.0, fps=10.0))
    before = contents(tmp_path / "videos")
    with pytest.raises(SettingsError, match="seed 0 instead of 1"):
        sum(late)
    assert contents(tmp_path / "videos") == before


@pytest.mark.parametrize("name", ["labels.csv", "videos.json"])
def test_a_folder_that_holds_something_else_is_left_alone(faces: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(SettingsError, match="holds something else than videos of `livespot synth`"):
        Videos(tmp_path, Order(faces))
    assert contents(tmp_path) == {name: b"{}"}


def test_a_folder_is_asked_for_that_holds_portraits_or_videos(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing to make videos of: give --faces"):
        Videos(tmp_path / "out", Order())
    with pytest.raises(SourceError, match=r"no portrait is in .*: expected files that end in \.jpg"):
        Videos(tmp_path / "out", Order(tmp_path))
    with pytest.raises(SourceError, match="nowhere is no folder: give one with at least one video"):
        Videos(tmp_path / "out", Order(clips=tmp_path / "nowhere"))


def test_a_folder_that_cannot_be_made_is_told(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="videos cannot be made: No such file or directory: give a folder in one"):
        sum(Videos(tmp_path / "nowhere" / "videos", Order(faces, videos=1, seconds=2.0)))


def test_a_damaged_truth_is_made_again(both: Path, faces: Path, clips: Path, tmp_path: Path) -> None:
    shutil.copytree(both, tmp_path / "videos")
    (tmp_path / "videos" / "0000_eileen.npz").write_bytes(b"half")
    (tmp_path / "videos" / ".part-0001_webcam.avi").write_bytes(b"half")
    made(tmp_path / "videos", Order(faces, clips, videos=2, seconds=SECONDS, seed=6))
    assert contents(tmp_path / "videos") == contents(both)


def test_a_video_that_the_disk_does_not_take_whole_is_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = _Writer(tmp_path / "film.avi", 30)
    writer.write(BLANK)
    monkeypatch.setattr(writer, "_count", 5)
    with pytest.raises(LivespotError, match="does not take a whole video"):
        writer.__exit__(None, None, None)


def test_a_video_keeps_an_odd_rate_and_size(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (241, 321, 3), np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(picture, (0, 0), 4), np.uint8)
    with _Writer(tmp_path / "film.avi", 23.976) as writer:
        for _ in range(5):
            writer.write(smooth)
    with VideoFile(tmp_path / "film.avi", "film") as source:
        frames = list(source)
        assert source.fps == pytest.approx(23.976, abs=1e-4)
    assert len(frames) == 5 and frames[0].image.shape == smooth.shape
    assert cv2.PSNR(frames[4].image, smooth) > 38
