"""A filmed face does what the labels say, the rest of the film stays as it was.

The portrait of the virtual camera, moved along known paths and written as a video, stands for a clip.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from livespot.action_units import EXPRESSIONS, UNITS
from livespot.capture.opencv import VideoFile
from livespot.capture.passing import Paced
from livespot.capture.source import Source
from livespot.capture.virtual import Expression
from livespot.errors import SourceError
from livespot.landmarks import CROP_EYES_PX, CROP_IOD_PX, apply, compose, crop_transform, invert
from livespot.motion.regions import EXPRESSIVE, WINDOW_IOD
from livespot.records import Frame
from livespot.synth.injected import (
    CALM_S,
    MACRO_IOD,
    MACRO_S,
    MARGIN_S,
    MICRO_IOD,
    MICRO_S,
    SHEET_PX,
    Injected,
    _box,
    _drawn,
    _moved,
    _Skin,
    expressions,
)
from livespot.synth.pairs import face_share
from tests.films import FPS, Played, write_video
from tests.films import frames as framed
from tests.portraits import Motion, Picture, astronaut

SIZE_PX = (400, 330)
IOD_PX = 110.0
BLACK: Picture = np.zeros((SIZE_PX[1], SIZE_PX[0], 3), np.uint8)
FRAME_S = 1 / FPS


def placed(
    shift_px: tuple[float, float] = (0.0, 0.0), roll: float = 0.0, growth: float = 1.0, x_px: float = 200.0
) -> Motion:
    return astronaut().at(shift_px, roll, growth, eyes_px=(x_px, 130.0), iod_px=IOD_PX)


def shown(motions: Sequence[Motion]) -> list[Picture]:
    return [astronaut().shown(motion, SIZE_PX) for motion in motions]


STILL = [placed()] * 75
NODDING = [
    placed((12 * np.sin(index / 6), 8 * np.cos(index / 9)), 25 * np.sin(index / 10), 1 + 0.1 * np.sin(index / 15))
    for index in range(75)
]
MOTIONS = {"still": STILL, "nodding": NODDING}


@pytest.fixture(scope="module", params=MOTIONS)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, write_video(tmp_path_factory.mktemp("film") / "film.avi", shown(MOTIONS[request.param]))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face for 3 s, none for 1 s, a face for 2 s."""
    pictures = [*shown([placed()] * 90), *[BLACK] * 30, *shown([placed(x_px=190)] * 60)]
    return write_video(tmp_path_factory.mktemp("film") / "interrupted.avi", pictures)


def frames_of(source: Source) -> list[Frame]:
    with source:
        return list(source)


def held(units: str, amplitude_iod: float) -> Expression:
    """At its peak from 1 to 2 s."""
    return Expression("macro", 0.8, 1.0, 2.2, 1.0, units, amplitude_iod)


def before_and_after(path: Path, expression: Expression) -> tuple[list[Frame], list[Frame]]:
    with Injected(VideoFile(path, "clip"), seed=0, calm=True) as source:
        source.truth = (expression,)
        after = list(source)
    return frames_of(VideoFile(path, "clip")), after


def moved_px(before: Picture, after: Picture, points: NDArray[np.float64]) -> NDArray[np.float32]:
    """How far the skin has come that was at points (N, 2)."""
    start = points.astype(np.float32)[:, None]
    one, other = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (before, after))
    found, status, _ = cv2.calcOpticalFlowPyrLK(one, other, start, start.copy(), winSize=(15, 15), maxLevel=2)
    assert status.all()
    return np.asarray(found - start, np.float32)[:, 0]


def face_at(motion: Motion) -> NDArray[np.float64]:
    """How far the skin of each pixel may follow, (H, W) in [0, 1], by the landmarks of the portrait alone."""
    to_crop = compose(crop_transform(astronaut().landmarks), invert(motion))
    pixels = np.stack(np.meshgrid(*(np.arange(float(side)) for side in SIZE_PX)), axis=-1)
    x_iod, y_iod = ((apply(to_crop, pixels.reshape(-1, 2)) - CROP_EYES_PX) / CROP_IOD_PX).T
    return face_share(x_iod, y_iod).reshape(SIZE_PX[::-1])


@pytest.mark.parametrize(
    ("units", "landmark", "direction", "amplitude_iod"),
    [
        ("2 left", 63, (0, -1), 0.09),
        ("2 left", 63, (0, -1), 0.02),
        ("12 left", 61, (-1, -1), 0.025),
        ("14 right", 291, (1, 0), 0.05),
        ("17", 18, (0, -1), 0.06),
    ],
)
def test_skin_at_a_pushed_landmark_moves_as_far_as_labelled_however_the_head_moves(
    played: tuple[str, Path], units: str, landmark: int, direction: tuple[int, int], amplitude_iod: float
) -> None:
    motions, path = MOTIONS[played[0]], played[1]
    before, after = before_and_after(path, held(units, amplitude_iod))
    for index in (33, 45, 57):
        motion = motions[index]
        growth = np.hypot(*motion[:, 0]) / np.hypot(*placed()[:, 0])
        moved = moved_px(before[index].image, after[index].image, apply(motion, astronaut().landmarks[[landmark]]))[0]
        assert np.linalg.norm(moved) == pytest.approx(amplitude_iod * IOD_PX * growth, rel=0.1)
        upright = moved @ motion[:, :2]
        assert upright @ direction > 0.97 * np.linalg.norm(upright) * np.linalg.norm(direction)


def test_an_expression_comes_and_goes_as_its_course_says(tmp_path: Path) -> None:
    expression = Expression("macro", 0.2, 1.0, 2.0, 0.2, "2 left", 0.05)
    before, after = before_and_after(write_video(tmp_path / "film.avi", shown(STILL)), expression)
    brow = apply(placed(), astronaut().landmarks[[63]])
    moved = [np.linalg.norm(moved_px(before[index].image, after[index].image, brow)) for index in (12, 18, 33, 48)]
    assert moved == pytest.approx([0.05 * IOD_PX * expression.share(t_s) for t_s in (0.4, 0.6, 1.1, 1.6)], rel=0.1)


@pytest.mark.parametrize(("units", "region"), [("12 left", "mouth_corner_left"), ("1+2+25+26", "chin")])
def test_each_region_moves_as_far_as_is_told(tmp_path: Path, units: str, region: str) -> None:
    path, row = write_video(tmp_path / "film.avi", shown(STILL)), list(EXPRESSIVE).index(region)
    with Injected(VideoFile(path, "clip"), seed=0, calm=True) as source:
        source.truth = (held(units, 0.05),)
        after, told_iod, intensities = list(source), source.displacement_iod(), source.intensities()
    assert told_iod.shape == (75, len(EXPRESSIVE), 2) and intensities.shape == (75, len(UNITS))
    assert {list(UNITS)[column] for column in np.flatnonzero(intensities[45])} == set(EXPRESSIONS[units])
    assert not told_iod[:24].any() and not told_iod[66:].any() and not intensities[:24].any()
    middle = apply(placed(), astronaut().landmarks[list(EXPRESSIVE[region].landmarks)].mean(axis=0, keepdims=True))
    around = np.random.default_rng(0).normal(middle, WINDOW_IOD * IOD_PX, (300, 2))
    seen_iod = moved_px(after[10].image, after[45].image, around).mean(axis=0) @ placed()[:, :2] / IOD_PX
    upright_iod = seen_iod / np.hypot(*placed()[:, 0])
    assert told_iod[45, row] == pytest.approx(upright_iod, abs=0.004)
    assert np.linalg.norm(told_iod[45, row]) > 0.02


def test_what_is_told_is_by_the_place_of_frames_where_some_are_lost() -> None:
    played = [frame for frame in framed(shown([placed()] * 50)) if frame.index not in (4, 5)]
    with Injected(Played(played), seed=0, calm=True) as source:
        source.truth = (Expression("macro", 0.8, 1.0, 1.2, 0.0, "12", 0.05),)
        apex = np.linalg.norm(source.displacement_iod(), axis=-1).max(axis=1).argmax()
    assert source.times_s[apex] == pytest.approx(1.0) and apex == 28


def test_nothing_moves_at_the_border_of_the_sheet() -> None:
    skin = _Skin(apply(crop_transform(astronaut().landmarks), astronaut().landmarks).astype(np.float32))
    for units in EXPRESSIONS:
        field = skin.came_from_px(held(units, 0.09), 1.5)
        assert np.linalg.norm(field, axis=-1).max() == pytest.approx(0.09 * skin.iod_px, rel=0.05)
        assert not field[[0, -1]].any() and not field[:, [0, -1]].any(), units


def test_the_pixels_that_are_read_anew_are_those_the_corners_span_within_the_picture() -> None:
    corners_px = np.array([(10.2, 5.5), (20.7, 3.0), (22.0, 8.9), (11.0, 9.5)])
    assert _box(corners_px, (100, 200)) == (10, 3, 23, 11)
    assert _box(corners_px - np.array([15.0, 4.0]), (100, 200)) == (0, 0, 8, 7)
    assert _box(corners_px, (8, 14)) == (10, 3, 14, 8)


def test_a_face_that_has_left_the_picture_changes_nothing() -> None:
    picture, field = astronaut().shown(placed(), SIZE_PX), np.ones((*SHEET_PX, 2), np.float32)
    for shift_px in ((-900.0, 0.0), (900.0, 0.0), (0.0, -900.0), (0.0, 900.0)):
        gone = compose(crop_transform(astronaut().landmarks), invert(placed(shift_px)))
        np.testing.assert_array_equal(_moved(picture, gone, field), picture)


def test_outside_the_face_nothing_ever_changes(played: tuple[str, Path]) -> None:
    motions, path = MOTIONS[played[0]], played[1]
    around = np.ones((9, 9), np.uint8)
    for before, after, motion in zip(*before_and_after(path, held("1+2+25+26", 0.09)), motions, strict=True):
        beyond = cv2.dilate((face_at(motion) > 0).astype(np.uint8), around) == 0
        assert beyond.mean() > 0.3
        np.testing.assert_array_equal(before.image[beyond], after.image[beyond])


def test_where_nothing_is_expressed_the_picture_is_the_recordings_own(played: tuple[str, Path]) -> None:
    expression = held("6+12+25", 0.09)
    changed = [
        not np.array_equal(one.image, other.image)
        for one, other in zip(*before_and_after(played[1], expression), strict=True)
    ]
    assert changed[25:65] == [True] * 40, "from 0.84 s on the rise is large enough to be seen"
    assert changed[:25] == [False] * 24 + changed[24:25] and changed[66:] == [False] * 9


def test_a_calm_one_plays_the_recording_as_it_is(interrupted: Path) -> None:
    source = Injected(VideoFile(interrupted, "clip"), seed=3, calm=True)
    for own, frame in zip(frames_of(VideoFile(interrupted, "clip")), frames_of(source), strict=True):
        np.testing.assert_array_equal(own.image, frame.image)
        assert (own.source, own.index, own.t_s, own.epoch) == (frame.source, frame.index, frame.t_s, frame.epoch)
    assert source.truth == () and source.note == ""


def test_it_is_a_source_like_the_recording(interrupted: Path) -> None:
    with VideoFile(interrupted, "clip") as own, Injected(VideoFile(interrupted, "clip"), seed=3) as source:
        assert (source.name, source.live, source.fps, source.frame_count) == ("clip", False, own.fps, own.frame_count)
        assert [frame.index for frame in source] == list(range(180))


def test_expressions_are_put_only_where_the_face_is_held_before_and_after(interrupted: Path) -> None:
    with Injected(VideoFile(interrupted, "clip"), seed=3) as source:
        spans = [(stretch.from_s, stretch.to_s) for stretch in source._stretches]
        assert np.ravel(spans) == pytest.approx([0, 89 * FRAME_S, 120 * FRAME_S, 179 * FRAME_S], abs=0.1)
        truths = [source.truth, *(_drawn(source._stretches, seed) for seed in range(200))]
    assert len({truth for truth in truths if truth}) > 100
    for one in (one for truth in truths for one in truth):
        assert any(from_s + CALM_S[0] <= one.onset_s and one.offset_s + MARGIN_S <= to_s for from_s, to_s in spans), one
    assert any(one.onset_s > 4 for truth in truths for one in truth)


def test_lost_frames_end_a_stretch() -> None:
    """A film of 50 frames, of which the two in the middle are missing."""
    played = [frame for frame in framed(shown([placed()] * 50)) if frame.index not in (24, 25)]
    with Injected(Played(played), seed=0) as source:
        assert [sorted(stretch.transforms) for stretch in source._stretches] == [
            list(range(24)),
            list(range(26, 50)),
        ]


@given(st.integers(0, 2**32 - 1), st.floats(0, 20), st.floats(0, 90))
def test_what_is_drawn_is_calm_in_between_and_within_the_ranges(seed: int, from_s: float, length_s: float) -> None:
    drawn = expressions(np.random.default_rng(seed), from_s, from_s + length_s)
    assert all(one.offset_s + CALM_S[0] <= other.onset_s for one, other in pairwise(drawn))
    assert length_s < 30 or {one.type for one in drawn} == {"micro", "macro"}
    for one in drawn:
        lasts_s, amplitude_iod = (MICRO_S, MICRO_IOD) if one.type == "micro" else (MACRO_S, MACRO_IOD)
        assert lasts_s[0] - 1e-9 <= one.offset_s - one.onset_s <= lasts_s[1] + 1e-9
        assert amplitude_iod[0] <= one.amplitude_iod <= amplitude_iod[1] and one.units in EXPRESSIONS
        assert from_s + CALM_S[0] <= one.onset_s and one.offset_s <= from_s + length_s - MARGIN_S


def test_the_same_seed_gives_the_same_truth_and_pixels(interrupted: Path) -> None:
    sources = [Injected(VideoFile(interrupted, "clip"), seed=3) for _ in range(2)]
    one, same = (frames_of(source) for source in sources)
    assert sources[0].truth and sources[0].truth == sources[1].truth
    for frame, again in zip(one, same, strict=True):
        np.testing.assert_array_equal(frame.image, again.image)


def test_the_recordings_own_frames_are_not_written_to() -> None:
    pictures = shown(STILL)
    kept = [picture.copy() for picture in pictures]
    with Injected(Played(list(framed(pictures))), seed=0, calm=True) as source:
        source.truth = (held("12", 0.09),)
        after = [frame.image for frame in source]
    assert not np.array_equal(after[45], pictures[45])
    np.testing.assert_array_equal(pictures, kept)


def test_a_face_at_the_border_of_the_picture_is_moved_as_far_as_it_shows(tmp_path: Path) -> None:
    motions = [placed(x_px=78.0)] * 50
    before, after = before_and_after(write_video(tmp_path / "film.avi", shown(motions)), held("12 right", 0.05))
    assert face_at(motions[0])[:, 0].max() == 1, "the face goes on beyond the picture"
    moved = moved_px(before[45].image, after[45].image, apply(motions[0], astronaut().landmarks[[291]]))
    assert np.linalg.norm(moved) == pytest.approx(0.05 * IOD_PX, rel=0.15)


def test_a_face_held_too_briefly_shows_nothing_and_the_note_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.avi", [*shown([placed()] * 30), *[BLACK] * 20])
    with Injected(VideoFile(path, "clip"), seed=0) as source:
        assert source.truth == () and len(list(source)) == 50
        assert "none fits into the 1.0 s for which the face is held" in source.note


def test_a_recording_without_a_face_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.avi", [BLACK] * 10)
    with pytest.raises(SourceError, match="no face is found in clip: give a recording of a face"):
        Injected(VideoFile(path, "clip"), seed=0).__enter__()


def test_what_cannot_be_played_twice_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.avi", [BLACK] * 10)
    with pytest.raises(SourceError, match="clip is live; expected a recording"):
        Injected(Paced(VideoFile(path, "clip")), seed=0).__enter__()
    with pytest.raises(SourceError, match=r"clip starts over; .* do not loop it"):
        Injected(VideoFile(path, "clip", loop=True), seed=0).__enter__()


def test_a_recording_that_cannot_be_opened_says_so_itself(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.avi"):
        Injected(VideoFile(tmp_path / "none.avi", "clip"), seed=0).__enter__()


def test_leaving_closes_the_recording() -> None:
    played = Played(list(framed(shown([placed()] * 3))))
    with Injected(played, seed=0):
        assert played.is_open
    assert not played.is_open
