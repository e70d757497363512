"""A portrait moves as far as is told, turns like a solid head, and nothing but motion tells an expression."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.align import Aligner
from livespot.capture.virtual import ASTRONAUT, FINER, read_portrait
from livespot.config import AlignSettings
from livespot.errors import SourceError
from livespot.landmarks import (
    CROP_EYES_PX,
    CROP_IOD_PX,
    EYE_OUTER_LEFT,
    EYE_OUTER_RIGHT,
    FaceMesh,
    inter_ocular_px,
    similarity,
)
from livespot.motion.regions import EXPRESSIVE, REGIONS, WINDOW_IOD
from livespot.motion.tracker import RegionTracker
from livespot.records import CROP_PX, Face, Frame
from livespot.synth import performance
from livespot.synth.performance import NECK_IOD, Performance, _Face
from livespot.synth.script import NAMES, POSE, Peaks, Recipe, Script
from tests.films import BLANK
from tests.portraits import Picture

FPS = 30.0
AT_REST = np.zeros(len(POSE))
NEUTRAL = np.zeros(len(NAMES))


@cache
def mesh_px() -> NDArray[np.float32]:
    with FaceMesh(static=True) as mesh:
        return mesh.find_in_depth(read_portrait(ASTRONAUT))[0]


def face(seed: int = 0) -> _Face:
    """The astronaut with muscles, size and place of that seed, before camera and light."""
    return _Face(read_portrait(ASTRONAUT), mesh_px(), np.random.default_rng(seed))


def large_face() -> _Face:
    return next(one for one in map(face, range(20)) if one.skin.iod_px > 100)


def script(seed: int, own: _Face, seconds: float, recipe: Recipe) -> Script:
    return Script(np.random.default_rng(seed), seconds, Peaks(own.fields_iod), 0.1, recipe)


def expressed(**units: float) -> NDArray[np.float64]:
    intensities = NEUTRAL.copy()
    for name, intensity in units.items():
        intensities[NAMES.index(name)] = intensity
    return intensities


def moved_px(before: Picture, after: Picture, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far what was at points (N, 2) has come, by Lucas-Kanade."""
    start = points.astype(np.float32)[:, None]
    one, other = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (before, after))
    found, status, _ = cv2.calcOpticalFlowPyrLK(one, other, start, start.copy(), winSize=(15, 15), maxLevel=2)
    return np.asarray((found - start)[status.ravel() == 1][:, 0], np.float64)


def performed(name: str = "clip", seed: int = 3, fps: float = FPS, seconds: float = 3.0) -> Performance:
    return Performance(ASTRONAUT, name, seed, fps, seconds)


def test_a_neutral_face_at_rest_is_the_portrait() -> None:
    own = face()
    shown, _ = own.frame(NEUTRAL, AT_REST)
    placed = cv2.resize(own._scene, None, fx=1 / FINER, fy=1 / FINER, interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - placed).max() <= 1


def test_a_face_comes_back_to_the_portrait_after_an_expression_and_a_turn() -> None:
    own = face()
    before = own.frame(NEUTRAL, AT_REST)[0]
    for _ in range(3):
        moved = own.frame(expressed(AU12_left=0.09, AU1_right=0.05), np.array([0.2, -0.1, 0.1, 0.05, 0, 0.03]))[0]
    for _ in range(3):
        after = own.frame(NEUTRAL, AT_REST)[0]
    assert np.abs(moved.astype(int) - before).mean() > 3
    assert np.abs(after.astype(int) - before).max() <= 2


@pytest.mark.parametrize(
    ("units", "region"),
    [
        ({"AU12_left": 0.05}, "mouth_corner_left"),
        ({"AU2_right": 0.04}, "brow_outer_right"),
        ({"AU9_left": 0.04}, "nose_wing_left"),
        ({"AU6_right": 0.04}, "cheek_right"),
        ({"AU26": 0.08}, "lower_lip"),
    ],
)
def test_optical_flow_finds_the_motion_that_is_told_in_each_region(units: dict[str, float], region: str) -> None:
    own, intensities = large_face(), expressed(**units)
    told_iod = np.tensordot(intensities, own.regions_iod, 1)[REGIONS.index(region)]
    before, after = own.frame(NEUTRAL, AT_REST)[0], own.frame(intensities, AT_REST)[0]
    middle_px = own._landmarks[list(EXPRESSIVE[region].landmarks)].mean(axis=0)
    around_px = np.random.default_rng(0).normal(middle_px, WINDOW_IOD * own.skin.iod_px, (200, 2))
    x_axis, y_axis = eyes_axes(own)
    seen_px = moved_px(before, after, around_px).mean(axis=0)
    seen_iod = np.array([seen_px @ x_axis, seen_px @ y_axis]) / own.skin.iod_px
    assert np.linalg.norm(told_iod) > 0.025
    assert np.linalg.norm(seen_iod - told_iod) < 0.15 * np.linalg.norm(told_iod)


def eyes_axes(own: _Face) -> NDArray[np.float64]:
    """Along the eyes and down the face, (2, 2)."""
    along = (own._eyes_px[1] - own._eyes_px[0]) / np.linalg.norm(own._eyes_px[1] - own._eyes_px[0])
    return np.array([along, (-along[1], along[0])])


def test_the_tracker_of_regions_finds_the_true_displacement_on_a_still_head() -> None:
    calm = Recipe(talking=0.0, gaze=0.0, blink_every_s=(50.0, 60.0), pause_s=(0.4, 0.8), macro_s=(0.5, 1.0))
    own, times_s = large_face(), np.arange(0, 3, 1 / FPS)
    told = script(3, own, 3.0, calm)
    true_iod = np.tensordot(told.intensities(times_s), own.regions_iod, 1)
    tracker, seen_iod = RegionTracker(), []
    with Aligner(AlignSettings(), "film") as aligner:
        for index, intensities in enumerate(told.intensities(times_s)):
            frame = Frame(own.frame(intensities, AT_REST)[0], "film", index, index / FPS, index / FPS)
            seen_iod += [tracker.push(one)[0].displacement_iod for one in aligner.push(frame) if isinstance(one, Face)]
    lids = np.array(["lid" in name for name in REGIONS])
    seen, true = np.array(seen_iod)[:, ~lids], (true_iod - true_iod[0])[:, ~lids]
    assert len(seen) == len(times_s) and told.truth and np.abs(true).max() > 0.02
    assert np.sqrt(((seen - true) ** 2).sum(axis=-1).mean()) < 0.002
    assert np.corrcoef(seen.ravel(), true.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("axis", "angle"), [("yaw_rad", 0.3), ("yaw_rad", -0.3), ("pitch_rad", 0.2), ("roll_rad", 0.3)]
)
def test_a_turned_head_moves_its_landmarks_like_a_solid(axis: str, angle: float) -> None:
    """By another implementation of rotation and projection, and landmarks that are found anew."""
    own = large_face()
    pose = AT_REST.copy()
    pose[POSE.index(axis)] = angle
    for _ in range(4):
        shown = own.frame(NEUTRAL, pose)[0]
    around = {"yaw_rad": (0, -angle, 0), "pitch_rad": (angle, 0, 0), "roll_rad": (0, 0, angle)}[axis]
    rotation = cv2.Rodrigues(np.array(around, np.float64))[0]
    with FaceMesh(static=True) as mesh:
        rest_px, seen_px = (mesh.find(picture)[0] for picture in (own.frame(NEUTRAL, AT_REST)[0], shown))
    eyes_px, iod_px, away_iod = own._middle_px, own.skin.iod_px, own._distance_iod
    eyes = [EYE_OUTER_LEFT, EYE_OUTER_RIGHT]
    depth_iod = (mesh_px()[:, 2] - mesh_px()[eyes, 2].mean()) / inter_ocular_px(mesh_px()[:, :2])
    flat_iod = (rest_px - eyes_px) / iod_px
    solid = np.column_stack([flat_iod * (1 + depth_iod / away_iod)[:, None], depth_iod])
    turned = (solid - NECK_IOD) @ rotation.T + NECK_IOD
    expected_px = eyes_px + iod_px * turned[:, :2] * away_iod / (away_iod + turned[:, 2:])
    came_iod = np.linalg.norm(expected_px - rest_px, axis=1) / iod_px
    error_iod = np.linalg.norm(expected_px - seen_px, axis=1) / iod_px
    assert np.median(error_iod) < min(0.03, 0.3 * np.median(came_iod))


def test_the_eyes_are_told_where_a_moved_head_shows_them() -> None:
    own = face()
    pose = np.array([0.2, 0.1, 0.15, 0.1, -0.05, 0.04])
    for _ in range(4):
        shown, eyes_px = own.frame(NEUTRAL, pose)
    with FaceMesh(static=True) as mesh:
        seen_px = mesh.find(shown)[0][[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]]
    assert np.linalg.norm(eyes_px - own._eyes_px, axis=1).min() > 0.1 * own.skin.iod_px
    np.testing.assert_allclose(eyes_px, seen_px, atol=0.06 * own.skin.iod_px)


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others() -> None:
    frames = []
    for seed in (3, 3, 4):
        with performed(seed=seed, seconds=0.2) as source:
            frames.append(np.stack([frame.image for frame in source]))
    np.testing.assert_array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_it_is_a_source_whose_truth_does_not_depend_on_the_frame_rate() -> None:
    with performed(seconds=8.0) as slow, performed(fps=200.0, seconds=8.0) as fast:
        assert slow.truth and slow.truth == fast.truth
        one, other = slow.displacement_iod(), fast.displacement_iod()
        assert one.shape == (240, len(REGIONS), 2) and other.shape == (1600, len(REGIONS), 2)
        np.testing.assert_allclose(one[::3], other[::20], atol=1e-6)
        frame = next(iter(slow))
    assert (slow.name, slow.live, slow.fps, slow.frame_count, slow.note) == ("clip", False, FPS, 240, "")
    assert (frame.source, frame.index, frame.t_s, frame.image.shape) == ("clip", 0, 0.0, (480, 640, 3))


def test_a_frame_that_the_recorder_lost_shows_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with performed(seconds=0.3) as source:
        monkeypatch.setattr(source.filming, "repeats", lambda index: index in (3, 4))
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(9))
    assert [frame.t_s for frame in frames] == pytest.approx(source.times_s)
    same = [np.array_equal(one.image, other.image) for one, other in pairwise(frames)]
    assert same == [index in (2, 3) for index in range(8)]


def sharpness(shown: Picture, eyes_px: NDArray[np.float64]) -> float:
    """Variance of the Laplacian of the aligned crop."""
    half = np.array([[-CROP_IOD_PX / 2, 0], [CROP_IOD_PX / 2, 0]])
    to_crop = similarity(eyes_px, half + CROP_EYES_PX)
    crop = cv2.warpAffine(cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY), to_crop, (CROP_PX, CROP_PX))
    return float(cv2.Laplacian(crop, cv2.CV_32F).var())


def test_sharpness_does_not_tell_an_expression() -> None:
    """Apexes and neutral moments in the same poses, before noise hides anything."""
    shares = []
    for seed in range(6):
        own = face(seed)
        told = script(seed, own, 100.0, Recipe(talking=0.0))
        apexes_s = np.array([one.apex_s for one in told.truth])[:12]
        neutral_s = np.array([(one.offset_s + other.onset_s) / 2 for one, other in pairwise(told.truth)])[:12]
        poses = told.poses(np.linspace(1, 99, 12))
        apexes, neutral = (
            np.array([sharpness(*own.frame(*both)) for both in zip(told.intensities(at_s), poses, strict=True)])
            for at_s in (apexes_s, neutral_s)
        )
        shares.append((apexes[:, None] > neutral).mean())
    assert 0.4 < np.mean(shares) < 0.6


def test_skin_folds_and_shades_under_an_expression_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a face whose skin moves alone."""
    pictures = []
    for darker, bulge in (((0.2, 0.2), (0.25, 0.25)), ((0.0, 0.0), (0.0, 0.0))):
        monkeypatch.setattr(performance, "FOLD_DARKER", darker)
        monkeypatch.setattr(performance, "BULGE", bulge)
        own = large_face()
        pictures.append([own.frame(one, AT_REST)[0].astype(int) for one in (expressed(AU12_left=0.06), NEUTRAL)])
    (shaded, neutral), (moved, also_neutral) = pictures
    np.testing.assert_array_equal(neutral, also_neutral)
    change = (shaded - moved).mean(axis=-1)
    rows, columns = np.nonzero(np.abs(change) > 4)
    x_iod, y_iod = (columns - own._middle_px[0]) / own.skin.iod_px, (rows - own._middle_px[1]) / own.skin.iod_px
    assert 100 < len(rows) < 0.15 * own.skin.iod_px**2
    assert np.mean(x_iod < 0) > 0.95 and np.mean(y_iod > 0.2) > 0.95, "from nose to mouth, on the left"
    assert change[rows, columns].mean() < 0, "a fold is dark"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (cv2.imencode(".png", BLANK)[1].tobytes(), "no face is found in .*blank.png: give a portrait that looks"),
        (b"a face", "portrait .*blank.png cannot be read"),
    ],
)
def test_a_portrait_without_a_face_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "blank.png").write_bytes(content)
    with pytest.raises(SourceError, match=words):
        Performance(tmp_path / "blank.png", "clip", 0).__enter__()
