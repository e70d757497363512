"""What is recorded depends on names and settings alone, is kept file by file, and survives a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from livespot.capture.virtual import ASTRONAUT, Expression
from livespot.errors import SettingsError, SourceError
from livespot.motion.search import COUNT, GRID_HZ
from livespot.records import MOTION_CHANNELS
from livespot.synth.script import NAMES
from livespot.training import recordings
from livespot.training.recordings import (
    Recording,
    Take,
    halves,
    load,
    load_response,
    performances,
    record,
    save,
)
from livespot.training.settings import RecordingSettings

SETTINGS = RecordingSettings(faces=2, unseen_faces=1, seconds=2.5, fps=(25.0, 30.0), most_frames=70)
PORTRAITS = [Path(f"{place:03}.jpg") for place in range(10)]
EXPRESSION = Expression("micro", 1.0, 1.1, 1.3, 0.05, "1_left+12_right", 0.0125)

IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from livespot.training.recordings import Take, record
from livespot.training.settings import RecordingSettings
settings = RecordingSettings.model_validate_json(sys.argv[1])
takes = [Take(kind, Path(sys.argv[2]), 30.0, 2.1) for kind in ("response", "expressive", "neutral")]
record(takes, Path(sys.argv[3]), settings, 0)
"""


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faces") / "000.png"
    cv2.imwrite(str(path), cv2.imread(str(ASTRONAUT))[:256, 96:352])
    return path


def takes(portrait: Path) -> list[Take]:
    return [Take(kind, portrait, 30.0, 2.1) for kind in ("response", "expressive", "neutral")]


@pytest.fixture(scope="module")
def recorded(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every take was recorded at a stretch."""
    folder = tmp_path_factory.mktemp("recordings")
    record(takes(portrait), folder, SETTINGS, 0)
    return folder


def contents(path: Path) -> dict[str, bytes]:
    with np.load(path) as kept:
        return {name: kept[name].tobytes() for name in kept.files}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stretches = [
        Recording(rng.random((cells, MOTION_CHANNELS), np.float32), begin_s, (EXPRESSION,))
        for cells, begin_s in ((120, 0.0), (130, 4.02))
    ]
    save(tmp_path / "video.npz", stretches)
    for kept, made in zip(load(tmp_path / "video.npz"), stretches, strict=True):
        np.testing.assert_array_equal(kept.cells, made.cells)
        assert (kept.begin_s, kept.truth) == (made.begin_s, made.truth)
    assert [path.name for path in tmp_path.iterdir()] == ["video.npz"]


def test_a_video_without_a_face_is_kept_as_none(tmp_path: Path) -> None:
    save(tmp_path / "video.npz", [])
    assert load(tmp_path / "video.npz") == []


def test_portraits_are_evenly_taken_and_perform_twice() -> None:
    planned = performances(PORTRAITS, 4, SETTINGS)
    assert [take.name for take in planned[::2]] == [f"{name}-expressive" for name in ("000", "002", "005", "007")]
    assert [take.name for take in planned[1::2]] == [f"{name}-neutral" for name in ("000", "002", "005", "007")]
    assert len(performances(PORTRAITS, 40, SETTINGS)) == 20


def test_how_a_portrait_is_filmed_does_not_depend_on_who_else_is() -> None:
    alone = {take.name: take for take in performances(PORTRAITS[5:6], 1, SETTINGS)}
    among = {take.name: take for take in performances(PORTRAITS, 10, SETTINGS)}
    assert alone.items() <= among.items()
    assert {take.fps for take in among.values()} == {25.0, 30.0}


def test_fast_videos_are_shorter() -> None:
    fast = SETTINGS.model_copy(update={"fps": (200.0,)})
    assert {take.seconds for take in performances(PORTRAITS, 3, fast)} == {70 / 200}


def test_no_face_is_in_both_halves() -> None:
    first, second = halves(performances(PORTRAITS, 5, SETTINGS))
    assert (len(first), len(second)) == (6, 4)
    assert not {take.path for take in first} & {take.path for take in second}


def test_a_performance_is_recorded_with_what_it_shows(recorded: Path, portrait: Path) -> None:
    _, expressive, neutral = takes(portrait)
    (shown,), (calm,) = load(expressive.file(recorded)), load(neutral.file(recorded))
    assert calm.truth == () and shown.truth == expressive_truth(expressive)
    for one in (shown, calm):
        assert one.cells.shape[1] == MOTION_CHANNELS and one.cells.dtype == np.float32
        assert len(one.cells) == pytest.approx(62 / 30 * GRID_HZ, abs=1)
        assert np.isfinite(one.cells).all() and 1e-4 < np.abs(one.cells[:, : 2 * COUNT]).max() < 0.3


def expressive_truth(take: Take) -> tuple[Expression, ...]:
    with take.performance() as performance:
        return performance.truth


def test_a_face_answers_to_each_unit(recorded: Path, portrait: Path) -> None:
    answer = load_response(takes(portrait)[0].file(recorded))
    assert answer.regions_iod.shape == (len(NAMES), COUNT, 2)
    assert answer.fields_iod.shape == (len(NAMES), recordings.FIELD_POINTS, 2)
    fastest = np.linalg.norm(answer.fields_iod, axis=-1).max(axis=1)
    assert (fastest > 0.6).all() and (fastest <= 1.0001).all()
    assert (np.linalg.norm(answer.regions_iod, axis=-1).max(axis=1) < fastest).all()


def test_a_killed_recording_goes_on_and_ends_as_one_that_was_not(
    recorded: Path, portrait: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, SETTINGS.model_dump_json(), str(portrait), str(tmp_path)]
    first, _, last = (take.file(tmp_path) for take in takes(portrait))
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not first.exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not last.exists()
    began_ns = first.stat().st_mtime_ns
    record(takes(portrait), tmp_path, SETTINGS, 0)
    assert first.stat().st_mtime_ns == began_ns
    for take in takes(portrait):
        assert contents(take.file(tmp_path)) == contents(take.file(recorded))


def test_a_clip_is_recorded_as_it_is(video: Path, tmp_path: Path) -> None:
    take = Take("clip", video)
    record([take], tmp_path, SETTINGS, 0)
    (found,) = load(take.file(tmp_path))
    assert found.truth == () and len(found.cells) > 150


def test_a_picture_without_a_face_is_named_and_left_out(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 128, np.uint8))
    record([Take("response", tmp_path / "wall.png"), Take("response", portrait)], tmp_path / "kept", SETTINGS, 0)
    told = capsys.readouterr().err
    assert "left out: no face is found in" in told and "wall.png" in told and "1 of 2 left out" in told
    assert (tmp_path / "kept" / "000-response.npz").exists()


def test_portraits_of_which_none_has_a_face_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(SourceError, match="no face is found in any of the portraits: check --faces"):
        record([Take("response", tmp_path / "wall.png")], tmp_path / "kept", SETTINGS, 0)


def test_recordings_of_other_settings_are_not_taken(recorded: Path, portrait: Path) -> None:
    record(takes(portrait), recorded, SETTINGS.model_copy(update={"faces": 7}), 0)
    with pytest.raises(SettingsError, match="holds recordings made under other settings"):
        record(takes(portrait), recorded, SETTINGS.model_copy(update={"seconds": 3.0}), 0)
