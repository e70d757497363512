"""The virtual camera shows what its truth says, moves as it says, and the same for everyone who asks."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from livespot.action_units import EXPRESSIONS
from livespot.capture import open_source
from livespot.capture.virtual import (
    ASTRONAUT,
    HEIGHT_PX,
    IOD_PX,
    MACRO_IOD,
    MACRO_S,
    MICRO_IOD,
    MICRO_S,
    NOISE_LEVELS,
    STIFF_X_PX,
    STIFF_Y_PX,
    WIDTH_PX,
    Blink,
    Expression,
    VirtualCamera,
    _Animation,
    expressions,
)
from livespot.config import CaptureSettings, SourceSettings
from livespot.errors import SourceError
from livespot.landmarks import FaceMesh, inter_ocular_px
from livespot.records import Frame

STIFF = np.s_[STIFF_Y_PX[0] : STIFF_Y_PX[1], STIFF_X_PX[0] : STIFF_X_PX[1]]


@pytest.fixture(scope="module")
def animation() -> Iterator[_Animation]:
    with VirtualCamera(realtime=False, seed=3) as camera:
        assert camera._animation is not None
        yield camera._animation


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def flow(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
    found = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey(before), grey(after), np.empty(0))
    return np.asarray(found, np.float32)


def shown(units: str, amplitude_iod: float) -> Expression:
    """At its apex at 1 s."""
    return Expression("macro", 0.0, 1.0, 2.0, 0.0, units, amplitude_iod)


@given(st.integers(0, 2**32 - 1), st.floats(5, 120))
def test_the_truth_is_calm_between_expressions_of_the_right_kind(seed: int, seconds: float) -> None:
    truth = expressions(seed, seconds)
    assert all(one.offset_s + 1 <= other.onset_s for one, other in pairwise(truth))
    for one in truth:
        assert 1 <= one.onset_s < one.apex_s <= one.apex_s + one.hold_s < one.offset_s <= seconds
        assert one.units in EXPRESSIONS
        length_s, iod = one.offset_s - one.onset_s, one.amplitude_iod
        if one.type == "micro":
            assert MICRO_S[0] - 1e-9 <= length_s < 0.5 and MICRO_IOD[0] <= iod <= MICRO_IOD[1]
        else:
            assert MACRO_S[0] - 1e-9 <= length_s <= 3 + 1e-9 and MACRO_IOD[0] <= iod <= MACRO_IOD[1]


@given(st.integers(0, 1000))
def test_a_shorter_film_shows_the_beginning_of_a_longer_one(seed: int) -> None:
    short, long = expressions(seed, 30), expressions(seed, 90)
    assert short == long[: len(short)]
    assert {one.type for one in long} == {"micro", "macro"}


def test_another_seed_shows_something_else() -> None:
    assert expressions(1, 60) != expressions(2, 60)


def frames_of(camera: VirtualCamera) -> list[Frame]:
    with camera as source:
        return list(source)


def test_a_frame_is_the_same_whatever_the_speed() -> None:
    paced = VirtualCamera(seed=7, fps=40, seconds=1)
    started_s = time.monotonic()
    live = frames_of(paced)
    at_once = frames_of(VirtualCamera(seed=7, fps=40, seconds=1, realtime=False))
    assert paced.live
    assert paced.frame_count == len(live) == len(at_once) == 40
    assert all(np.array_equal(one.image, other.image) for one, other in zip(live, at_once, strict=True))
    assert [frame.t_s for frame in live] == pytest.approx([number / 40 for number in range(40)])
    assert all(frame.arrival_s >= started_s + frame.t_s for frame in live)


def test_the_face_is_where_the_camera_says(animation: _Animation) -> None:
    image = animation.frame(0, 0.0, None, None)
    assert image.shape == (HEIGHT_PX, WIDTH_PX, 3)
    with FaceMesh(static=True) as mesh:
        [landmarks_px] = mesh.find(image)
    assert inter_ocular_px(landmarks_px) == pytest.approx(IOD_PX, rel=0.06)
    assert STIFF_X_PX[0] < landmarks_px[:, 0].min() and landmarks_px[:, 0].max() < STIFF_X_PX[1]
    assert STIFF_Y_PX[0] < landmarks_px[:, 1].min() and landmarks_px[:, 1].max() < STIFF_Y_PX[1]


@pytest.mark.parametrize("amplitude_iod", [0.03, 0.08])
@pytest.mark.parametrize(
    ("units", "direction"), [("1+2", (0, -1)), ("4", (0, 1)), ("15", (0, 1)), ("12 right", (1, 0))]
)
def test_the_skin_moves_as_far_as_the_truth_says(
    animation: _Animation, units: str, direction: tuple[int, int], amplitude_iod: float
) -> None:
    neutral = animation.frame(0, 1.0, None, None)
    moved = flow(neutral, animation.frame(0, 1.0, shown(units, amplitude_iod), None))[STIFF]
    furthest_px = np.percentile(np.linalg.norm(moved, axis=-1), 99.8)
    assert furthest_px == pytest.approx(amplitude_iod * IOD_PX, rel=0.3)
    along_px = moved @ np.array(direction, np.float32)
    assert along_px.max() > 2 * -along_px.min()


def test_an_expression_is_over_when_the_truth_says(animation: _Animation) -> None:
    neutral = animation.frame(0, 2.0, None, None)
    assert np.array_equal(neutral, animation.frame(0, 2.0, shown("1+2", 0.1), None))
    assert not np.array_equal(neutral, animation.frame(0, 1.9, shown("1+2", 0.1), None))


def test_a_blink_brings_the_upper_lids_down(animation: _Animation) -> None:
    opened, closed = (animation.frame(0, 0.1, None, blink) for blink in (None, Blink(0.0, 0.3)))
    moved = flow(opened, closed)[STIFF]
    opening_px = animation._skin.eye_opening_iod * IOD_PX
    assert np.percentile(moved[..., 1], 99.8) > opening_px / 2


def test_the_head_moves_as_one_similarity(animation: _Animation) -> None:
    """The motion between two frames, found again from their pixels, is the one the camera was told."""
    before_s, after_s = 2.0, 6.0
    before, after = (grey(animation.frame(0, t_s, None, None)) for t_s in (before_s, after_s))
    mask = np.zeros_like(before)
    mask[150:350, 240:400] = 255
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-7)
    _, found = cv2.findTransformECC(after, before, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, stop, mask, 5)
    # a point p of a frame shows the head at rest at M(p): from `after` to `before` it is M_before^-1 M_after
    told = cv2.invertAffineTransform(animation._sway.at(before_s))
    told = told @ np.vstack([animation._sway.at(after_s), (0, 0, 1)])
    points = np.array([[250, 170, 1], [390, 170, 1], [320, 250, 1], [280, 330, 1], [370, 330, 1]], float)
    assert np.abs(points @ (told - np.eye(2, 3)).T).max() > 2
    assert np.asarray(points @ np.asarray(found).T) == pytest.approx(points @ np.asarray(told).T, abs=0.1)


def test_the_background_stands_still_but_for_noise(animation: _Animation) -> None:
    one, other = (animation.frame(index, t_s, None, None).astype(float) for index, t_s in ((0, 2.0), (1, 6.0)))
    border = np.r_[(one - other)[:3].ravel(), (one - other)[:, :3].ravel(), (one - other)[:, -3:].ravel()]
    assert border.std() / np.sqrt(2) == pytest.approx(NOISE_LEVELS, rel=0.15)


def test_noise_differs_from_frame_to_frame(animation: _Animation) -> None:
    one, other = (animation.frame(index, 1.0, None, None).astype(float) for index in (0, 1))
    assert (one - other).std() / np.sqrt(2) == pytest.approx(NOISE_LEVELS, rel=0.1)


def test_a_portrait_of_ones_own_is_shown(tmp_path: Path) -> None:
    portrait = tmp_path / "me.png"
    cv2.imwrite(str(portrait), cv2.imread(str(ASTRONAUT))[20:260, 100:340])
    source = open_source(SourceSettings(uri=f"demo://{portrait}?seconds=1&fps=5&realtime=0"), CaptureSettings())
    assert isinstance(source, VirtualCamera)
    frames = frames_of(source)
    assert len(frames) == 5
    with FaceMesh(static=True) as mesh:
        [landmarks_px] = mesh.find(frames[0].image)
    assert inter_ocular_px(landmarks_px) == pytest.approx(IOD_PX, rel=0.06)


def test_options_reach_the_camera() -> None:
    camera = VirtualCamera.from_uri("demo://?seed=3&fps=25&seconds=90&realtime=0", "left")
    assert (camera.name, camera.fps, camera.frame_count, camera.live) == ("left", 25, 2250, False)
    assert camera.truth == expressions(3, 90)


def test_without_options_it_runs_in_real_time() -> None:
    camera = VirtualCamera.from_uri("demo://", "demo")
    assert (camera.fps, camera.live, camera.truth) == (30, True, expressions(0, 60))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("speed=3", "no option 'speed'; allowed: seed, fps, seconds, realtime"),
        ("fps=fast", "option fps is 'fast'; expected a number from 1 to 240"),
        ("fps=0", "option fps is '0'"),
        ("seconds=nan", "option seconds is 'nan'"),
        ("seed=", "option seed is ''"),
    ],
)
def test_a_wrong_option_is_refused(query: str, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        VirtualCamera.from_uri(f"demo://?{query}", "demo")


def test_a_portrait_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.jpg cannot be read"):
        frames_of(VirtualCamera(tmp_path / "none.jpg"))


def test_a_picture_without_a_face_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 300, 3), 128, np.uint8))
    with pytest.raises(SourceError, match=r"no face is found in .*wall\.png"):
        frames_of(VirtualCamera(tmp_path / "wall.png"))
