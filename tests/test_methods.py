"""Every method through the whole pipeline, on pictures of a face: what is told, and what must not be."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
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
from livespot.infer import OnnxScorer, Scorer
from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT, apply
from livespot.live import serve
from livespot.motion.regions import EXPRESSIVE
from livespot.motion.tracker import RegionTracker
from livespot.pipeline import Pipeline, Step
from livespot.publish.zmq import Publisher
from livespot.records import LANDMARKS, Event, Face, Frame, Gap, Motion, Scores
from tests.films import BLANK, FPS, MotionScorer, Picture, Played, events, frames, write_video
from tests.infer.engines import write_pairs_and_skin_engine, write_skin_engine
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

MOTION = Settings(method="motion")


def run(played: Iterable[Frame], settings: Settings | None = None, scorer: Scorer | None = None) -> list[Step]:
    with Pipeline(settings or MOTION, [Played(played)], scorer) as pipeline:
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
    [event] = livespot.spot(video, Settings(method="motion", infer=missing))
    assert event.type == "macro"
    steps = run(frames(pictures), Settings(method="motion", infer=missing))
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


# What a network may be fed, and when it may judge.

LOOKAHEAD_S, LOOKAHEAD_FRAMES = 0.4, 12
WRITE: dict[str, Callable[[Path, float], str]] = {
    "motion": write_skin_engine,
    "frames and motion": write_pairs_and_skin_engine,
}


def run_by(model: str, played: Iterable[Frame], method: Method = "network") -> tuple[list[Step], Pipeline]:
    """The steps of a network, and the pipeline that made them."""
    with (
        OnnxScorer(InferSettings(model=model)) as scorer,
        Pipeline(Settings(method=method), [Played(played)], scorer) as pipeline,
    ):
        return list(chain.from_iterable(pipeline)), pipeline


def scored(steps: Iterable[Step]) -> list[tuple[Frame, Scores]]:
    """Each score with the frame that brought it."""
    return [(step.frame, one) for step in steps if step.frame is not None for one in step.scores]


def times_s(event: Event) -> tuple[float, float, float]:
    assert event.offset_s is not None
    return event.onset_s, event.apex_s, event.offset_s


@pytest.mark.parametrize("fed", WRITE)
def test_a_lookahead_moves_no_event_and_is_told_as_latency(tmp_path: Path, pictures: list[Picture], fed: str) -> None:
    (at_once, no_delay), (ahead, delay) = (
        run_by(WRITE[fed](tmp_path / f"{lookahead_s}.onnx", lookahead_s), frames(pictures))
        for lookahead_s in (0.0, LOOKAHEAD_S)
    )
    assert delay.delay_s == pytest.approx(no_delay.delay_s + LOOKAHEAD_S)
    [early], [late] = events(at_once), events(ahead)
    assert early.type == "macro" and overlap(early, MACRO_S) > 0.6
    assert times_s(late) == pytest.approx(times_s(early), abs=1.01 / FPS)
    assert (late.onset_frame, late.apex_frame, late.offset_frame) == tuple(round(t_s * FPS) for t_s in times_s(late))
    assert late.latency_s == pytest.approx(early.latency_s + LOOKAHEAD_S, abs=1.01 / FPS)
    told_with = next(step.frame for step in ahead if late in step.told)
    assert told_with is not None
    assert late.decided_s == pytest.approx(told_with.t_s) and late.arrival_s == told_with.arrival_s


def test_scores_are_of_the_judged_frame_and_tell_which_frame_decided(tmp_path: Path, pictures: list[Picture]) -> None:
    steps, _ = run_by(write_skin_engine(tmp_path / "e.onnx", LOOKAHEAD_S), frames(pictures))
    found = scored(steps)
    assert [one.index for _, one in found] == list(range(len(pictures) - LOOKAHEAD_FRAMES)), "from the first frame on"
    for frame, one in found:
        assert (one.t_s, one.index) == (one.index / FPS, frame.index - LOOKAHEAD_FRAMES)
        assert one.decided_s == pytest.approx(frame.t_s)
        assert one.arrival_s == frame.arrival_s
    at_once, _ = run_by(write_skin_engine(tmp_path / "now.onnx"), frames(pictures))
    then = np.array([(one.micro, one.macro) for _, one in scored(at_once)])
    now = np.array([(one.micro, one.macro) for _, one in found])
    np.testing.assert_allclose(now[1:], then[1 : len(now)], atol=1e-5)  # at once, the first frame's cell was to come


def test_frames_and_motion_reach_the_network_as_they_do_alone(
    tmp_path: Path, engine: str, pictures: list[Picture]
) -> None:
    together = scored(run_by(write_pairs_and_skin_engine(tmp_path / "both.onnx"), frames(pictures))[0])
    of_frames = {one.index: one.micro for _, one in scored(run_by(engine, frames(pictures))[0])}
    skin = scored(run_by(write_skin_engine(tmp_path / "skin.onnx"), frames(pictures))[0])
    of_motion = {one.index: one.macro for _, one in skin}
    assert len(of_motion) == len(pictures) > len(of_frames), "motion does not wait for a reference"
    assert {one.index: one.micro for _, one in together} == of_frames, "both wait for it"
    assert {one.index: one.macro for _, one in together} == {index: of_motion[index] for index in of_frames}


@pytest.mark.parametrize("fed", WRITE)
def test_motion_refines_the_events_of_a_network_that_is_fed_it_and_leaves_its_scores(
    tmp_path: Path, pictures: list[Picture], fed: str
) -> None:
    model = WRITE[fed](tmp_path / "e.onnx", LOOKAHEAD_S)
    alone, both = (run_by(model, frames(pictures), method)[0] for method in ("network", "both"))
    [proposed], [refined] = events(alone), events(both)
    assert proposed.regions == ()
    assert refined.regions and set(refined.regions) <= PLACES
    assert overlap(refined, MACRO_S) > 0.8
    values = [[(one.t_s, one.micro, one.macro) for _, one in scored(steps)] for steps in (alone, both)]
    assert values[0] == values[1], "it has seen head and lids itself"


@pytest.mark.parametrize(
    ("fed", "method", "times"),
    [("frames", "network", 0), ("frames", "both", 1), ("motion", "network", 1), ("motion", "both", 1)],
)
def test_the_skin_is_tracked_where_it_is_needed_and_once(
    tmp_path: Path,
    engine: str,
    pictures: list[Picture],
    monkeypatch: pytest.MonkeyPatch,
    fed: str,
    method: Method,
    times: int,
) -> None:
    tracked = []

    class Counting(RegionTracker):
        def push(self, face: Face) -> list[Motion]:
            tracked.append(face.index)
            return super().push(face)

    monkeypatch.setattr("livespot.methods.RegionTracker", Counting)
    model = engine if fed == "frames" else write_skin_engine(tmp_path / "e.onnx")
    run_by(model, frames(pictures[:10]), method)
    assert tracked == times * list(range(10))


@pytest.mark.parametrize("method", ["network", "both"])
def test_a_recording_and_a_run_of_a_network_with_a_lookahead_tell_the_same(
    tmp_path: Path, video: Path, method: Method
) -> None:
    settings = Settings(
        method=method, infer=InferSettings(model=write_pairs_and_skin_engine(tmp_path / "e.onnx", LOOKAHEAD_S))
    )
    recorded = list(livespot.spot(video, settings))
    with (
        OnnxScorer(settings.infer) as scorer,
        Publisher(FREE_PORT) as publisher,
        Pipeline(settings, [VideoFile(video, video.stem)], scorer) as pipeline,
    ):
        live = events(step for turn in serve(pipeline, publisher) for step in turn.steps)
    assert [replace(event, arrival_s=0.0) for event in live] == [replace(event, arrival_s=0.0) for event in recorded]
    assert len(live) == 1


def test_after_many_lost_frames_nothing_from_before_them_is_judged(tmp_path: Path, pictures: list[Picture]) -> None:
    gone = range(40, 60)
    steps, _ = run_by(write_skin_engine(tmp_path / "e.onnx", LOOKAHEAD_S), lacking(pictures, gone))
    assert [gap.frames for gap in gaps(steps)] == [len(gone)]
    judged = [one.index for _, one in scored(steps)]
    assert judged == [*range(40 - LOOKAHEAD_FRAMES), *range(60, len(pictures) - LOOKAHEAD_FRAMES)]
    first = next(one for _, one in scored(steps) if one.index == 60)
    assert first.macro < 0.1, "what moved before is forgotten with it"


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
    steps = run(frames(beside), Settings(method="motion", align=AlignSettings(max_faces=2)))
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
