"""Every method through the whole pipeline, on pictures of a face: what is told, and what must not be."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import livespot
from livespot.capture.opencv import VideoFile
from livespot.config import AlignSettings, InferSettings, Method, Settings
from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT, apply
from livespot.motion.regions import EXPRESSIVE
from livespot.pipeline import Pipeline, Step
from livespot.records import LANDMARKS, Event, Frame, Gap
from tests.films import BLANK, FPS, MotionScorer, Picture, Played, events, frames, write_video
from tests.portraits import EYES_PX, SIZE_PX, astronaut, mirrored, noisy
from tests.test_cli import FREE_PORT, refused
from tests.test_cli import livespot as command

PLACES = {region.place for region in EXPRESSIVE.values()}
MACRO_S, MICRO_S = (1.98, 2.93), (1.93, 2.20)
"""The expressions of the films."""
MOVING = 75
"""Of the macro film: a picture in the middle of its expression."""

ORANGE = (0, 159, 230)
"""What a micro-expression is drawn in, BGR."""

T_S = np.arange(round(8.5 * FPS)) / FPS


def run(played: Iterable[Frame], settings: Settings | None = None, scorer: MotionScorer | None = None) -> list[Step]:
    with Pipeline(settings or Settings(), [Played(played)], scorer) as pipeline:
        return list(chain.from_iterable(pipeline))


def gaps(steps: Iterable[Step]) -> list[Gap]:
    return [told for step in steps for told in step.told if isinstance(told, Gap)]


def overlap(event: Event, shown_s: tuple[float, float]) -> float:
    """Intersection over union in time."""
    assert event.offset_s is not None
    shared_s = min(event.offset_s, shown_s[1]) - max(event.onset_s, shown_s[0])
    return shared_s / (max(event.offset_s, shown_s[1]) - min(event.onset_s, shown_s[0]))


@cache
def still() -> Picture:
    return astronaut().shown(astronaut().at())


def moved(course: Callable[[float], tuple[float, float, float, float]]) -> list[Picture]:
    """The portrait; `course` gives its shift (px), roll (degrees) and growth at a time."""
    poses = [course(float(t_s)) for t_s in T_S]
    return noisy([astronaut().shown(astronaut().at((x, y), roll, growth)) for x, y, roll, growth in poses])


def away(t_s: float, begin_s: float, long_s: float) -> float:
    """A raised cosine."""
    return float(0.5 - 0.5 * np.cos(2 * np.pi * np.clip((t_s - begin_s) / long_s, 0, 1)))


@cache
def depth_px() -> NDArray[np.float32]:
    """How far behind the eyes what each pixel of the still picture shows lies, after the mesh."""
    from mediapipe.python.solutions.face_mesh import FaceMesh  # livespot's own gives no depth
    from scipy.interpolate import RBFInterpolator

    picture = astronaut().picture
    height, width = picture.shape[:2]
    with FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=False) as mesh:
        [face] = mesh.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).multi_face_landmarks
    points = np.array([(point.x * width, point.y * height, point.z * width) for point in face.landmark[:LANDMARKS]])
    motion = astronaut().at()
    depths = points[:, 2] * np.hypot(*motion[:, 0])
    depths -= depths[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]].mean()
    x, y = np.meshgrid(np.arange(0, SIZE_PX[0], 4.0), np.arange(0, SIZE_PX[1], 4.0))
    smooth = RBFInterpolator(apply(motion, points[:, :2]), depths, neighbors=60, smoothing=1.0, kernel="linear")
    beyond = smooth(np.stack([x.ravel(), y.ravel()], axis=1)).clip(depths.min(), depths.max())
    coarse = cv2.GaussianBlur(beyond.reshape(x.shape), (0, 0), 1.0)
    return np.asarray(cv2.resize(coarse, SIZE_PX, interpolation=cv2.INTER_CUBIC), np.float32)


def turned(yaw: float, pitch: float) -> Picture:
    """The still picture, its head turned in depth by radians."""
    x, y = (axis.astype(np.float32) for axis in np.meshgrid(np.arange(SIZE_PX[0]), np.arange(SIZE_PX[1])))
    from_x, from_y = x, y
    for _ in range(8):  # what is seen here was there: its depth is that of there
        depth = cv2.remap(depth_px(), from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        from_x = ((x - EYES_PX[0] - depth * np.sin(yaw)) / np.cos(yaw) + EYES_PX[0]).astype(np.float32)
        from_y = ((y - EYES_PX[1] - depth * np.sin(pitch)) / np.cos(pitch) + EYES_PX[1]).astype(np.float32)
    seen = cv2.remap(still(), from_x, from_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.uint8)


@cache
def swaying() -> list[Picture]:
    def course(t_s: float) -> tuple[float, float, float, float]:
        x, y, roll, growth = np.sin(2 * np.pi * np.array([0.3, 0.5, 0.25, 0.4]) * t_s)
        return 6 * x, 10 * y, 5 * roll, 1 + 0.04 * growth

    return moved(course)


# What is told.


def test_motion_spots_a_macro_expression_and_says_where(pictures: list[Picture]) -> None:
    [event] = events(run(frames(pictures)))
    assert (event.type, event.face) == ("macro", 0)
    assert overlap(event, MACRO_S) > 0.7
    assert event.regions and set(event.regions) <= PLACES
    assert event.apex_s == pytest.approx(2.5, abs=0.3)


def test_motion_spots_a_micro_expression_and_says_where(micro_pictures: list[Picture]) -> None:
    [event] = events(run(frames(micro_pictures)))
    assert (event.type, event.face) == ("micro", 0)
    assert overlap(event, MICRO_S) > 0.5
    assert event.regions and set(event.regions) <= PLACES


def test_motion_scores_every_frame_and_needs_no_network(video: Path, tmp_path: Path, pictures: list[Picture]) -> None:
    missing = InferSettings(model=str(tmp_path / "missing.onnx"))
    [event] = livespot.spot(video, Settings(infer=missing))
    assert event.type == "macro"
    steps = run(frames(pictures), Settings(infer=missing))
    scores = [(scored.micro, scored.macro) for step in steps for scored in step.scores]
    assert len(scores) == len(pictures)
    assert np.isfinite(scores).all() and np.min(scores) >= 0 and np.max(scores) < 1


@pytest.mark.parametrize("method", ["network", "both"])
def test_a_method_with_a_network_is_refused_without_one(method: Method) -> None:
    with pytest.raises(ValueError, match=f"the method {method} without a scorer; expected one, or the method motion"):
        Pipeline(Settings(method=method), [])


def test_the_network_with_motion_says_where_and_nearer_when(micro_pictures: list[Picture]) -> None:
    alone, both = (
        events(run(frames(micro_pictures), Settings(method=method), MotionScorer()))[0]
        for method in ("network", "both")
    )
    assert alone.regions == ()
    assert both.regions and set(both.regions) <= PLACES
    assert (both.type, both.face) == ("micro", 0)
    assert overlap(both, MICRO_S) > overlap(alone, MICRO_S)


@pytest.mark.parametrize("method", ["zhang2020", "mdmo"])
def test_methods_of_papers_spot_recordings(video: Path, method: Method) -> None:
    [event] = livespot.spot(video, Settings(method=method))
    assert (event.type, event.phase) == ("macro", "close")
    assert overlap(event, MACRO_S) > 0.5


def test_methods_of_papers_are_refused_for_what_is_live_and_the_way_out_is_said(tmp_path: Path) -> None:
    done = command(tmp_path, "run", "--source", "demo://", "--method", "mdmo", "--endpoint", FREE_PORT)
    refused(done, "the method mdmo judges whole videos", "`livespot spot`")


def test_who_gives_a_network_means_the_method_network(tmp_path: Path, engine: str, video: Path) -> None:
    done = command(tmp_path, "run", "-s", video, "--duration", 0.2, "--endpoint", FREE_PORT, "--model", engine)
    assert done.code == 0
    assert "method network, " in done.err


# What is not told.


def lights(gain: NDArray[np.float64]) -> list[Picture]:
    """The still picture under light that changes by a gain for each frame, or each row of each frame."""
    rows = gain.reshape(len(gain), -1, 1, 1)
    return noisy([np.clip(np.rint(still() * row), 0, 255).astype(np.uint8) for row in rows])


def flicker() -> list[Picture]:
    """Lamps at 50 Hz under a camera that is not quite in step."""
    return lights(1 + 0.1 * np.sin(2 * np.pi * 100 * T_S * FPS / 29.7))


def bands() -> list[Picture]:
    """The same under a shutter that rolls from row to row."""
    rows_s = T_S[:, None] * FPS / 29.7 + np.arange(SIZE_PX[1]) / SIZE_PX[1] * 0.8 / FPS
    return lights(1 + 0.1 * np.sin(2 * np.pi * 100 * rows_s))


def turning(yaw: float, pitch: float) -> list[Picture]:
    """To one side slowly, to the other in half the time."""
    shares = [away(t_s, 2.0, 2.4) - away(t_s, 6.0, 1.2) for t_s in T_S]
    return noisy([turned(yaw * share, pitch * share) for share in shares])


NOTHING: dict[str, Callable[[], Sequence[Picture]]] = {
    "ten seconds of a still picture with noise": lambda: noisy([still()] * round(10 * FPS)),
    "a head that sways": swaying,
    "a nod in the plane": lambda: moved(
        lambda t_s: (0.0, 12 * away(t_s, 3.0, 0.6) - 8 * away(t_s, 6.0, 1.5), 0.0, 1.0)
    ),
    "a head that tilts": lambda: moved(
        lambda t_s: (0.0, 0.0, 10 * away(t_s, 3.0, 0.8) - 15 * away(t_s, 6.0, 2.0), 1.0)
    ),
    "leaning in and back": lambda: moved(lambda t_s: (0.0, 0.0, 0.0, 1 + 0.15 * away(t_s, 3.0, 3.0))),
    "leaning in": lambda: moved(lambda t_s: (0.0, 5 * away(t_s, 3.0, 2.0), 0.0, 1 + 0.15 * min(max(t_s - 3, 0), 1))),
    "a turn in depth": lambda: turning(0.15, 0.0),
    "a nod in depth": lambda: turning(0.0, 0.15),
    "lights switched": lambda: lights(np.where((T_S > 3) & (T_S < 6), 0.6, 1.0)),
    "lights that flicker": flicker,
    "lights that flicker in bands": bands,
}


@pytest.mark.parametrize("shown", NOTHING)
def test_motion_tells_nothing_of(shown: str) -> None:
    pictures = NOTHING[shown]()
    steps = run(frames(pictures))
    assert sum(len(step.scores) for step in steps) == len(pictures), "the face is watched all the time"
    assert events(steps) == []


@pytest.mark.parametrize("cut", [60, 95])
@pytest.mark.parametrize("told", [True, False], ids=["frames are lost", "nobody knows"])
def test_a_cut_of_ten_frames_is_no_event(cut: int, told: bool) -> None:
    pictures = swaying()[:200]
    steps = run(chain(frames(pictures[:cut]), frames(pictures[cut + 10 :], first=cut + 10 * told)))
    assert [(gap.reason, gap.frames) for gap in gaps(steps)] == [("frames_lost", 10)] * told
    assert sum(len(step.scores) for step in steps) == 190
    assert events(steps) == []


def test_a_head_that_is_suddenly_elsewhere_or_another_is_no_event() -> None:
    here, there = [still()] * 60, [astronaut().shown(astronaut().at((25, -10), 6, 1.1))] * 60
    other = [mirrored().shown(mirrored().at())] * 60
    assert events(run(frames(noisy([*here, *there, *here])))) == []
    assert events(run(frames(noisy([*here, *there[:10], *here, *other])))) == []


# Bad input.


def test_without_a_face_nothing_is_told() -> None:
    steps = run(frames([BLANK] * 30))
    assert not events(steps) and not gaps(steps)


def test_a_face_that_comes_late_is_spotted(pictures: list[Picture]) -> None:
    [event] = events(run(frames([*[BLANK] * 20, *pictures])))
    assert overlap(event, (MACRO_S[0] + 20 / FPS, MACRO_S[1] + 20 / FPS)) > 0.7


def test_what_is_over_is_told_when_a_face_is_lost_and_when_it_is_back_it_is_another(pictures: list[Picture]) -> None:
    steps = run(frames([*pictures[:95], *[BLANK] * 20, *pictures]))
    first, second = events(steps)
    [lost] = gaps(steps)
    assert (lost.reason, lost.face) == ("face_lost", 0)
    assert next(step for step in steps if first in step.told).told[0] == lost, "its look-ahead has not passed"
    assert (first.face, second.face) == (0, 1)
    assert first.id != second.id
    assert second.onset_s - first.onset_s == pytest.approx(115 / FPS, abs=0.15)


def test_an_expression_that_a_loss_cuts_in_two_is_not_told(pictures: list[Picture]) -> None:
    steps = run(frames([*pictures[:MOVING], *[BLANK] * 20, *pictures[MOVING:]]))
    assert [gap.reason for gap in gaps(steps)] == ["face_lost"]
    assert events(steps) == []


def lacking(pictures: list[Picture], missing: range) -> Iterator[Frame]:
    return (frame for frame in frames(pictures) if frame.index not in missing)


def test_a_few_lost_frames_are_bridged_and_many_break_off(pictures: list[Picture]) -> None:
    [event] = events(run(lacking(pictures, range(MOVING, MOVING + 5))))
    assert overlap(event, MACRO_S) > 0.7
    assert events(run(lacking(pictures, range(MOVING, MOVING + 14)))) == []


def test_events_are_of_the_face_that_showed_them(pictures: list[Picture], micro_pictures: list[Picture]) -> None:
    beside = [np.hstack(pair) for pair in zip(pictures, micro_pictures, strict=True)]
    steps = run(frames(beside), Settings(align=AlignSettings(max_faces=2)))
    left_px = {face.face: face.landmarks[:, 0].mean() for step in steps for face in step.faces}
    left, right = sorted(left_px, key=lambda face: left_px[face])
    assert {event.face: event.type for event in events(steps)} == {left: "macro", right: "micro"}
    assert len({event.id for event in events(steps)}) == 2


def test_an_overlay_shows_what_is_spotted(tmp_path: Path, micro_pictures: list[Picture]) -> None:
    video = write_video(tmp_path / "micro.avi", [*micro_pictures, *[micro_pictures[-1]] * 30])
    seen = tmp_path / "seen.avi"
    assert command(tmp_path, "spot", video, "--overlay", seen).code == 0
    with VideoFile(seen, "seen") as drawn:
        orange = [np.count_nonzero(np.abs(frame.image.astype(int) - ORANGE).sum(axis=2) < 60) for frame in drawn]
    assert max(orange[-30:]) > 2 * max(orange[:30]), "the tag of the event is drawn"


def test_settings_without_effect_are_refused(tmp_path: Path) -> None:
    done = command(tmp_path, "spot", "film.avi", "--method", "motion", "--model", "yap2022")
    refused(done, "the method motion has no network", "--method both")
    done = command(tmp_path, "run", "--source", "demo://", "--set", "motion.lookahead_s=.inf")
    refused(done, "motion.lookahead_s is inf", "leave it out")


def test_a_network_does_not_overrule_the_method_of_a_file(tmp_path: Path, engine: str, video: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text("method: both\n", encoding="utf-8")
    done = command(
        tmp_path, "run", "-c", file, "-s", video, "--duration", 0.2, "--endpoint", FREE_PORT, "--model", engine
    )
    assert done.code == 0 and "method both, " in done.err
