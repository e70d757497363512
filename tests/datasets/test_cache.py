"""What comes out of a cache is what came out of the aligner, to the last bit, and the stages take it for live."""

import ast
import json
import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from livespot import align, landmarks
from livespot.align import Aligner
from livespot.buffer import ClipBuffer
from livespot.capture import open_recording
from livespot.capture.timeline import with_gaps
from livespot.config import AlignSettings, CaptureSettings, SourceSettings
from livespot.datasets.cache import Cache
from livespot.errors import LivespotError, SettingsError
from livespot.motion.tracker import RegionTracker
from livespot.normalise import local_contrast
from livespot.records import ClipSpec, Face, Gap
from tests.datasets.shelf import TRUTH, prepared, table, write_frames, write_lost
from tests.films import Picture

FOLDER_FPS = 25.0

ALIGNER = "3f1d16f280821ded"
"""Digest of what `align` and `landmarks` do, whatever they say about it."""


@pytest.fixture(scope="module")
def places(pictures: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | None]:
    """A file in which the face is lost for a while, and a folder of frames with an unreadable one."""
    folder = tmp_path_factory.mktemp("videos")
    return {
        "s1/lost": write_lost(folder / "lost.avi", pictures),
        ".frames": write_frames(folder / "frames", pictures[:30], unreadable=12),
    }


@pytest.fixture(scope="module")
def folder(places: dict[str, Path | None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cache")
    prepared(table(made.parent / "labels.csv", places, FOLDER_FPS), made / "cache")
    return made / "cache"


@pytest.fixture(scope="module")
def live(places: dict[str, Path | None]) -> dict[str, list[Face | Gap]]:
    """What the live aligner and the sources tell."""
    return {name: aligned(place) for name, place in places.items() if place}


def aligned(place: Path) -> list[Face | Gap]:
    fps = FOLDER_FPS if place.is_dir() else None
    source = open_recording(SourceSettings(uri=str(place), fps=fps), CaptureSettings())
    told: list[Face | Gap] = []
    with source, Aligner(AlignSettings(), source.name) as aligner:
        for item in with_gaps(source):
            told += [item] if isinstance(item, Gap) else aligner.push(item)
    return told


def spotted(told: Iterable[Face | Gap]) -> list[NDArray[np.float32]]:
    """All numbers of the clips and the regional motion that live stages make of it."""
    buffer, tracker = ClipBuffer(ClipSpec((0.1, 0.2))), RegionTracker()
    made: list[NDArray[np.float32]] = []
    for item in told:
        if isinstance(item, Gap):
            buffer.reset()
            tracker.reset()
            continue
        made += [clip.inputs["clips"] for clip in buffer.push(item, local_contrast(item.crop))]
        for motion in tracker.push(item):
            made += [motion.displacement_iod, motion.noise_iod, motion.unlike, motion.head]
    return made


@pytest.mark.parametrize("name", ["s1/lost", ".frames"])
def test_faces_and_gaps_come_back_as_the_aligner_told_them(
    folder: Path, live: dict[str, list[Face | Gap]], name: str
) -> None:
    came = list(Cache(folder)[name].faces())
    assert [type(item) for item in came] == [type(item) for item in live[name]]
    for own, item in zip(live[name], came, strict=True):
        if isinstance(own, Gap) or isinstance(item, Gap):
            assert own == item
            continue
        for array in ("crop", "landmarks", "transform"):
            np.testing.assert_array_equal(getattr(own, array), getattr(item, array), strict=True)
        assert (own.face, own.source, own.index, own.t_s) == (item.face, item.source, item.index, item.t_s)
        assert item.arrival_s == item.t_s


def test_the_videos_hold_what_they_are_to_show(live: dict[str, list[Face | Gap]]) -> None:
    reasons = {name: [gap.reason for gap in told if isinstance(gap, Gap)] for name, told in live.items()}
    assert reasons == {"s1/lost": ["face_lost"], ".frames": ["frames_lost"]}
    assert {face.face for face in live["s1/lost"] if isinstance(face, Face)} == {0, 1}


@pytest.mark.parametrize("name", ["s1/lost", ".frames"])
def test_clips_and_regional_motion_are_those_of_the_live_path(
    folder: Path, live: dict[str, list[Face | Gap]], name: str
) -> None:
    own, came = spotted(live[name]), spotted(Cache(folder)[name].faces())
    assert len(own) == len(came) > 100
    for expected, array in zip(own, came, strict=True):
        np.testing.assert_array_equal(expected, array, strict=True)


def test_row_i_is_frame_i_also_where_no_face_is_found(folder: Path, live: dict[str, list[Face | Gap]]) -> None:
    video = Cache(folder)["s1/lost"]
    assert video.crops.shape == (55, 112, 112) and video.crops.dtype == np.uint8
    assert np.flatnonzero(~video.seen).tolist() == list(range(24, 39))
    assert not video.crops[24:39].any()
    np.testing.assert_allclose(video.times_s, np.arange(55) / 30, atol=0.001)
    faces = {face.index: face for face in live["s1/lost"] if isinstance(face, Face)}
    for row in (0, 17, 23, 39, 54):
        np.testing.assert_array_equal(video.crops[row], faces[row].crop)


def test_a_frame_that_could_not_be_read_keeps_its_row_and_its_time(folder: Path) -> None:
    video = Cache(folder)[".frames"]
    assert len(video.seen) == 30 and np.flatnonzero(~video.seen).tolist() == [11]
    np.testing.assert_allclose(video.times_s, np.arange(30) / FOLDER_FPS, atol=1e-9)


def test_each_frame_can_be_had_alone(folder: Path) -> None:
    video = Cache(folder)["s1/lost"]
    faces = [item for item in video.faces() if isinstance(item, Face)]
    alone = [face for row in reversed(range(55)) if (face := video.face(row))]
    for one, other in zip(faces, reversed(alone), strict=True):
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
    assert video.face(30) is None


def test_landmarks_are_kept_where_the_aligner_looked_at_them_only(folder: Path) -> None:
    assert Cache(folder)["s1/lost"].mesh_rows.tolist() == [0, 15, 39, 54]


def test_nobody_can_write_into_a_cache(folder: Path) -> None:
    video = Cache(folder)["s1/lost"]
    for array in (video.crops, video.rows, video.meshes):
        assert isinstance(array, np.memmap) and not array.flags.writeable


def test_videos_have_the_labels_of_the_table(folder: Path, places: dict[str, Path | None]) -> None:
    cache = Cache(folder)
    assert [video.name for video in cache.videos] == [".frames", "s1/lost"]
    assert all(video.truths == (TRUTH,) and cache[video.name].video == video for video in cache.videos)
    assert cache.videos[1].path == places["s1/lost"]


def test_a_prepared_video_shows_shapes_and_no_pixels(folder: Path) -> None:
    shown = repr(Cache(folder)["s1/lost"])
    assert "crops=uint8(55, 112, 112)" in shown and len(shown) < 2000


def test_a_video_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(LivespotError, match="has no video s2: the table of labels does not name it"):
        Cache(folder)["s2"]


@pytest.mark.parametrize("file", ["crops", "rows", "meshes", "about.json"])
def test_a_damaged_video_is_never_taken_for_whole(folder: Path, tmp_path: Path, file: str) -> None:
    shutil.copytree(folder, tmp_path / "cache")
    damaged = tmp_path / "cache" / "videos" / "s1%2Flost" / file
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(LivespotError, match="s1%2Flost is damaged: remove it, and run `livespot prepare` again"):
        Cache(tmp_path / "cache")["s1/lost"]


def test_a_video_of_no_frames_is_damaged_too(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cache")
    damaged = tmp_path / "cache" / "videos" / "s1%2Flost"
    for file in ("crops", "rows", "meshes"):
        (damaged / file).write_bytes(b"")
    about = json.loads((damaged / "about.json").read_text(encoding="utf-8")) | {"frames": 0, "meshes": 0}
    (damaged / "about.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(LivespotError, match="s1%2Flost is damaged"):
        Cache(tmp_path / "cache")["s1/lost"]


def test_what_is_no_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no cache: make one with `livespot prepare`"):
        Cache(tmp_path)


def test_a_cache_of_another_aligner_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align, "VERSION", align.VERSION + 1)
    with pytest.raises(SettingsError, match=f"aligner {align.VERSION - 1} instead of {align.VERSION}: prepare"):
        Cache(folder)


def test_the_version_of_the_aligner_rises_with_what_it_does() -> None:
    """Nobody would notice otherwise that caches made before show other faces than cameras do."""
    does = "".join(_does(Path(module.__file__ or "")) for module in (align, landmarks))
    assert sha256(does.encode()).hexdigest()[:16] == ALIGNER, (
        "livespot.align or livespot.landmarks does something else than before: if the same pictures may now give other "
        f"faces, raise align.VERSION; then write {sha256(does.encode()).hexdigest()[:16]} into ALIGNER"
    )


def _does(file: Path) -> str:
    """The code of a module without its words, the same in every version of Python."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    words = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    told = [
        (type(node).__name__, *(value for _, value in ast.iter_fields(node) if isinstance(value, (str, int, float))))
        for node in ast.walk(tree)
        if id(node) not in words
    ]
    return repr(told)
