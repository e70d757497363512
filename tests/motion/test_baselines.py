"""Published spotters: on courses that are known, and on a face whose skin is moved as told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.landmarks import CROP_IOD_PX, apply, crop_transform
from livespot.motion.baselines import (
    BASELINES,
    Course,
    Measuring,
    Proposal,
    Settings,
    WholeVideo,
    fused,
    main_direction,
    proposals,
)
from livespot.motion.regions import ALL
from livespot.motion.tracker import WEIGHTS
from livespot.records import CROP_PX, Event, Face
from tests.portraits import astronaut

Grey = NDArray[np.uint8]

REGIONS = len(Measuring().regions)
MOVED = 8
"""The region that moves where only one does."""
NOISE_PX = 0.02

MICRO = (1.5, 1.8)
MACRO = (1.2, 2.4)

each_baseline = pytest.mark.parametrize("settings", BASELINES.values(), ids=BASELINES)
each_rate = pytest.mark.parametrize("fps", [30.0, 200.0])
each_expression = pytest.mark.parametrize("times_s", [MICRO, MACRO], ids=["micro", "macro"])


def share(t_s: NDArray[np.float64], times_s: tuple[float, float]) -> NDArray[np.float64]:
    """How much of an expression shows: a cosine out and back."""
    begin_s, end_s = times_s
    phase = ((t_s - begin_s) / (end_s - begin_s)).clip(0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * phase), np.float64)


def course(fps: float, height_px: float, times_s: tuple[float, float] = MICRO, seconds: float = 4.0) -> Course:
    """One region moves out and back, down and to the right; all tremble."""
    t_s = np.arange(round(seconds * fps)) / fps
    moved_px = np.random.default_rng(0).normal(0, NOISE_PX, (len(t_s), REGIONS, 2))
    moved_px[:, MOVED] += height_px * share(t_s, times_s)[:, None] * [0.6, 0.8]
    return Course(0.0, 1 / fps, moved_px)


@each_baseline
@each_rate
@each_expression
def test_one_s_is_one_proposal_with_its_bounds(settings: Settings, fps: float, times_s: tuple[float, float]) -> None:
    (found,) = fused(proposals(course(fps, 1.5, times_s), settings))
    assert (found.onset_s, found.offset_s) == pytest.approx(times_s, abs=0.07 if times_s == MICRO else 0.15)
    assert found.apex_s == pytest.approx(sum(times_s) / 2, abs=0.05)
    assert found.height_px == pytest.approx(1.5, rel=0.2)


@each_baseline
@each_rate
def test_skin_that_only_trembles_is_no_proposal(settings: Settings, fps: float) -> None:
    assert proposals(course(fps, 0.0), settings) == []


@each_baseline
def test_skin_that_does_not_come_back_is_no_proposal(settings: Settings) -> None:
    left = course(30, 0.0, seconds=12.0)
    left.moved_px[:, MOVED, 1] += 1.5 * share(np.minimum(np.arange(360) / 30, 6), (5.7, 6.3))
    assert proposals(left, settings) == []


def test_skin_that_comes_back_by_less_than_half_is_no_s() -> None:
    half = course(30, 0.0)
    t_s = np.arange(len(half.moved_px)) / 30
    half.moved_px[:, MOVED, 1] += 2.0 * share(np.minimum(t_s, 1.7), (1.5, 1.9))
    half.moved_px[:, MOVED, 1] -= 0.9 * share(np.minimum(t_s, 1.85), (1.7, 2.0))
    assert proposals(half, BASELINES["zhang2020"]) == []


@each_baseline
def test_a_course_shorter_than_the_filter_has_no_proposal(settings: Settings) -> None:
    assert proposals(Course(0.0, 1 / 30, course(30, 1.5).moved_px[:4]), settings) == []


def proposal(onset_s: float, offset_s: float, height_px: float) -> Proposal:
    return Proposal(onset_s, (onset_s + offset_s) / 2, offset_s, height_px, height_px)


def test_regions_that_coincide_are_one_event_with_their_mean_bounds() -> None:
    (event,) = fused([proposal(1.0, 2.0, 1.0), proposal(1.2, 2.2, 3.0)])
    assert event == pytest.approx((1.15, 1.7, 2.15, 3.0, 4.0))


def test_regions_at_different_times_are_events_in_order() -> None:
    later, sooner = proposal(3.0, 4.0, 2.0), proposal(1.0, 2.0, 1.0)
    assert fused([later, sooner]) == [sooner, later]


def test_what_lies_in_a_stronger_event_is_not_told() -> None:
    assert fused([proposal(1.0, 3.0, 2.0), proposal(1.5, 1.8, 1.0)]) == [proposal(1.0, 3.0, 2.0)]


def vectors(lengths_px: Sequence[float], degrees: Sequence[float]) -> NDArray[np.float32]:
    """A region (1, P, 2) whose window is shared evenly among such vectors."""
    angle = np.radians(np.resize(degrees, len(WEIGHTS)))
    length = np.resize(lengths_px, len(WEIGHTS))
    region = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)
    return np.asarray(region[None], np.float32)


def test_the_main_direction_is_that_of_most_vectors() -> None:
    region = vectors([1.0, 2.0, 9.0], [10.0, 20.0, 180.0])
    x, y = main_direction(region, Measuring(bins=8))[0]
    assert np.degrees(np.arctan2(y, x)) == pytest.approx(16.7, abs=0.5)
    assert np.hypot(x, y) == pytest.approx(1.5, abs=0.05)


def test_filled_by_length_the_main_direction_is_that_of_the_longest_vectors() -> None:
    region = vectors([1.0, 2.0, 9.0], [10.0, 20.0, 190.0])
    x, y = main_direction(region, Measuring(bins=6, by_length=True))[0]
    assert (x, y) == pytest.approx((9 * np.cos(np.radians(190)), 9 * np.sin(np.radians(190))), abs=1e-4)


@cache
def portrait() -> tuple[Grey, NDArray[np.float32]]:
    """The portrait's crop, and its landmarks in it."""
    picture, landmarks_px = astronaut()
    transform = crop_transform(landmarks_px)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    crop = cv2.warpAffine(grey, transform, (CROP_PX, CROP_PX), flags=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8), apply(transform, landmarks_px).astype(np.float32)


def middle_px(name: str) -> tuple[float, float]:
    x, y = portrait()[1][list(ALL[name].landmarks)].mean(axis=0)
    return float(x), float(y)


def corner_lifted(lift_px: float) -> Grey:
    """The skin around a corner of the mouth moved up."""
    x, y = np.meshgrid(np.arange(CROP_PX, dtype=np.float32), np.arange(CROP_PX, dtype=np.float32))
    corner_x, corner_y = middle_px("mouth_corner_left")
    push = np.exp(-((x - corner_x) ** 2 + (y - corner_y) ** 2) / (2 * (0.15 * CROP_IOD_PX) ** 2)).astype(np.float32)
    crop = cv2.remap(portrait()[0], x, y + np.float32(lift_px) * push, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def head_shifted(shift_px: float) -> Grey:
    """The whole crop moved up."""
    motion = np.array([[1, 0, 0], [0, 1, -shift_px]], np.float64)
    size = (CROP_PX, CROP_PX)
    crop = cv2.warpAffine(portrait()[0], motion, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def faces(
    moved: Callable[[float], Grey], times_s: tuple[float, float], fps: float = 30.0, seconds: float = 3.0
) -> list[Face]:
    """A face that moves by 1.5 px and comes back, frames numbered from 7."""
    t_s = np.arange(round(seconds * fps)) / fps
    landmarks_px = portrait()[1]
    return [
        Face(
            moved(1.5 * float(part)), landmarks_px, np.eye(2, 3), 4, "cam", 7 + place, float(one_s), 100 + float(one_s)
        )
        for place, (one_s, part) in enumerate(zip(t_s, share(t_s, times_s), strict=True))
    ]


def events(settings: Settings, seen: Sequence[Face]) -> list[Event]:
    spotter = WholeVideo(settings, "cam", 4)
    assert [event for face in seen for event in spotter.push(face)] == []
    return spotter.flush()


@each_baseline
@each_expression
def test_a_corner_of_the_mouth_that_moves_is_one_event(settings: Settings, times_s: tuple[float, float]) -> None:
    (event,) = events(settings, faces(corner_lifted, times_s))
    assert (event.onset_s, event.offset_s) == pytest.approx(times_s, abs=0.15)
    assert event.onset_s < event.apex_s <= (event.offset_s or 0)
    assert event.type == ("micro" if times_s == MICRO else "macro")


@each_baseline
def test_at_200_frames_a_second_the_event_is_the_same(settings: Settings) -> None:
    times_s = (0.7, 1.0)
    (fast,) = events(settings, faces(corner_lifted, times_s, fps=200, seconds=1.6))
    (slow,) = events(settings, faces(corner_lifted, times_s, fps=30, seconds=1.6))
    assert fast.type == slow.type == "micro"
    assert (fast.onset_s, fast.offset_s) == pytest.approx((slow.onset_s, slow.offset_s), abs=0.05)


@each_baseline
def test_an_event_says_of_which_face_and_when(settings: Settings) -> None:
    seen = faces(corner_lifted, MICRO)
    (event,) = events(settings, seen)
    assert (event.id, event.source, event.face, event.phase) == ("cam-4-1", "cam", 4, "close")
    assert not event.truncated
    assert 0 < event.confidence <= 1
    assert (event.decided_s, event.arrival_s) == (seen[-1].t_s, seen[-1].arrival_s)
    of_index = {face.index: face.t_s for face in seen}
    told = (event.onset_frame, event.apex_frame, event.offset_frame or 0)
    assert tuple(of_index[index] for index in told) == (event.onset_s, event.apex_s, event.offset_s)


@each_baseline
def test_a_head_that_shifts_is_no_event(settings: Settings) -> None:
    assert events(settings, faces(head_shifted, MACRO)) == []


@each_baseline
def test_a_still_face_is_no_event(settings: Settings) -> None:
    assert events(settings, faces(lambda _: portrait()[0], MACRO)) == []


@each_baseline
@pytest.mark.parametrize("frames", [0, 1, 2, 5])
def test_a_video_of_a_few_frames_has_no_event(settings: Settings, frames: int) -> None:
    assert events(settings, faces(corner_lifted, (0.0, 0.3))[:frames]) == []


@each_baseline
def test_reset_forgets_what_was_seen(settings: Settings) -> None:
    spotter = WholeVideo(settings, "cam", 4)
    for face in faces(corner_lifted, MICRO):
        spotter.push(face)
    spotter.reset()
    assert spotter.flush() == []


def test_ids_go_on_after_a_flush() -> None:
    spotter = WholeVideo(BASELINES["mdmo"], "cam", 4)
    told = []
    for _ in range(2):
        for face in faces(corner_lifted, MICRO):
            spotter.push(face)
        told += spotter.flush()
    assert [event.id for event in told] == ["cam-4-1", "cam-4-2"]


@each_baseline
def test_an_expression_cut_by_a_gap_is_no_event(settings: Settings) -> None:
    seen = faces(corner_lifted, (1.0, 2.0))
    assert events(settings, [face for face in seen if not 1.2 < face.t_s < 1.8]) == []


@each_baseline
def test_an_expression_across_many_windows_is_one_event(settings: Settings) -> None:
    short = replace(settings, measuring=replace(settings.measuring, hop_s=0.3))
    (event,) = events(short, faces(corner_lifted, MACRO))
    assert (event.onset_s, event.offset_s) == pytest.approx(MACRO, abs=0.15)
    assert event.type == "macro"
