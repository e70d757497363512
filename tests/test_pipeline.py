"""The whole order of stages on real pictures of a face, with the threads that belong to it."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.align import Aligner
from livespot.capture.camera import Camera
from livespot.capture.opencv import VideoFile
from livespot.capture.source import Source
from livespot.config import AlignSettings, CaptureSettings, Settings
from livespot.errors import SourceError
from livespot.infer import Scorer
from livespot.pipeline import Pipeline, Step
from livespot.records import Event, Frame, Gap, Scores, Status
from tests.films import BLANK, FPS, MotionScorer, Picture, Played, events, frames

PATIENCE_S = 20.0
MOVING = 75
"""Of the macro film: a picture in the middle of its expression."""


def run(*sources: Source, settings: Settings | None = None, scorer: Scorer | None = None) -> list[Step]:
    steps: list[Step] = []
    watch(steps, *sources, settings=settings, scorer=scorer)
    return steps


def watch(steps: list[Step], *sources: Source, settings: Settings | None = None, scorer: Scorer | None = None) -> None:
    """Put into `steps` what is told, also where it ends with an error."""
    with Pipeline(settings or Settings(method="network"), sources, scorer or MotionScorer()) as pipeline:
        for turn in pipeline:
            steps += turn


def of(steps: Iterable[Step], source: str) -> list[Step]:
    return [step for step in steps if step.source == source]


def gaps(steps: Iterable[Step]) -> list[Gap]:
    return [told for step in steps for told in step.told if isinstance(told, Gap)]


def states(steps: Iterable[Step]) -> list[str]:
    return [told.state for step in steps for told in step.told if isinstance(told, Status)]


def details(steps: Iterable[Step]) -> list[str]:
    return [told.detail for step in steps for told in step.told if isinstance(told, Status) and told.detail]


def spans(told: Sequence[Event]) -> list[tuple[str, int, int, int | None, float]]:
    return [(event.type, event.onset_frame, event.apex_frame, event.offset_frame, event.confidence) for event in told]


def endless(pictures: Sequence[Picture], name: str = "endless") -> Iterator[Frame]:
    """As fast as they are taken, forwards and backwards, so that the face never jumps."""
    return frames(cycle([*pictures, *reversed(pictures)]), name)


def then_fails(played: Iterable[Frame], error: Exception) -> Iterator[Frame]:
    yield from played
    raise error


def test_every_frame_of_a_file_becomes_one_step_in_order(video: Path, pictures: list[Picture]) -> None:
    steps = run(VideoFile(video, "film"))
    seen = [step.frame for step in steps if step.frame is not None]
    assert [frame.index for frame in seen] == list(range(len(pictures)))
    assert states(steps) == ["connecting", "running", "ended"]
    assert [bool(step.told) for step in steps[:1] + steps[-1:]] == [True, True]
    assert all(face.index == frame.index for step in steps if (frame := step.frame) for face in step.faces)


def test_scores_come_with_the_low_pass_once_the_references_are_there(video: Path) -> None:
    steps = run(VideoFile(video, "film"))
    scored_s = [scores.t_s for step in steps for scores in step.scores]
    from_s = max(MotionScorer.clip.references_s)
    assert scored_s == [step.frame.t_s for step in steps if step.frame and step.frame.t_s > from_s - 0.5 / FPS]
    assert all(len(step.smoothed) == len(step.scores) for step in steps)
    assert max(score for step in steps for pair in step.smoothed for score in pair) > 0.25


def test_an_expression_is_told_from_open_to_close(video: Path) -> None:
    steps = run(VideoFile(video, "film"))
    [opened], [closed] = events(steps, "open"), events(steps)
    assert events(steps, "update")
    assert opened.id == closed.id
    assert closed.type == "macro"
    assert not closed.truncated
    assert 1.9 < closed.onset_s < 2.3


def test_the_last_frame_is_scored_before_the_end_is_told(pictures: list[Picture]) -> None:
    for _ in range(3):  # whether the tracker has ended when its last frame is taken is chance
        steps = run(Played(frames(pictures[:MOVING])))
        scored = [step.frame.index for step in steps if step.frame and step.scores]
        assert scored[-1] == MOVING - 1
        [closed] = events(steps)
        assert closed.offset_frame == MOVING - 1


def test_the_end_of_a_file_closes_what_is_open(pictures: list[Picture]) -> None:
    steps = run(Played(frames(pictures[:MOVING])))
    [closed] = events(steps)
    assert closed.truncated
    assert steps[-1].told[0] == closed
    assert states(steps[-1:]) == ["ended"]


def test_a_face_that_leaves_closes_what_is_open(pictures: list[Picture]) -> None:
    steps = run(Played(frames([*pictures[:MOVING], *[BLANK] * 20])))
    [lost] = gaps(steps)
    [closed] = events(steps)
    assert (lost.reason, lost.face) == ("face_lost", closed.face)
    assert closed.truncated
    step = next(step for step in steps if closed in step.told)
    assert step.told == (lost, closed)
    assert step.frame is not None


def test_a_source_that_is_stopped_closes_what_is_open(pictures: list[Picture]) -> None:
    still_moving = chain(frames(pictures[:MOVING]), frames(cycle(pictures[MOVING : MOVING + 1]), first=MOVING))
    steps: list[Step] = []
    with Pipeline(Settings(method="network"), [Played(still_moving)], MotionScorer()) as pipeline:
        for turn in pipeline:
            steps += turn
            if events(turn, "open"):
                pipeline.stop()
    [closed] = events(steps)
    assert pipeline.stopped
    assert closed.truncated
    assert states(steps[-1:]) == ["ended"]


def test_the_same_file_gives_the_same_events_every_time(video: Path) -> None:
    first, second = (
        [
            replace(item, arrival_s=0.0)
            for step in run(VideoFile(video, "film"))
            for item in (*step.scores, *step.told)
            if isinstance(item, (Scores, Event))
        ]
        for _ in range(2)
    )
    assert first == second
    assert any(isinstance(item, Event) for item in first)


def test_two_sources_at_once_give_each_what_it_gives_alone(video: Path, micro_video: Path) -> None:
    together = run(VideoFile(video, "macro"), VideoFile(micro_video, "micro"))
    for name, path in (("macro", video), ("micro", micro_video)):
        alone = spans(events(run(VideoFile(path, name))))
        assert alone
        assert spans(events(of(together, name))) == alone
        assert states(of(together, name)) == ["connecting", "running", "ended"]


def test_clips_of_all_sources_share_a_batch(pictures: list[Picture]) -> None:
    class Counting(MotionScorer):
        largest = 0

        def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
            self.largest = max(self.largest, len(inputs["clips"]))
            return super().score(inputs)

    scorer = Counting()
    run(*(Played(frames(pictures, name), name) for name in ("a", "b", "c")), scorer=scorer)
    assert scorer.largest == 3


def test_each_face_of_a_picture_has_its_own_events(pictures: list[Picture], micro_pictures: list[Picture]) -> None:
    beside = [np.hstack(pair) for pair in zip(pictures, micro_pictures, strict=True)]
    steps = run(Played(frames(beside)), settings=Settings(method="network", align=AlignSettings(max_faces=2)))
    left, right = sorted(
        {face.face: face.landmarks[:, 0].mean() for step in steps for face in step.faces}.items(),
        key=lambda item: item[1],
    )
    told = events(steps)
    assert [event.type for event in told if event.face == left[0]] == ["macro"]
    assert [event for event in told if event.face == right[0]]
    assert {event.face for event in told} == {left[0], right[0]}
    assert len({event.id for event in told}) == len(told)


def lacking(pictures: list[Picture], missing: range) -> Iterator[Frame]:
    return (frame for frame in frames(pictures) if frame.index not in missing)


def test_a_few_lost_frames_are_told_and_bridged(pictures: list[Picture]) -> None:
    steps = run(Played(lacking(pictures, range(MOVING, MOVING + 5))))
    [gap] = gaps(steps)
    assert (gap.reason, gap.frames) == ("frames_lost", 5)
    [closed] = events(steps)
    assert closed.offset_frame is not None
    assert closed.onset_frame < MOVING < closed.offset_frame
    assert not closed.truncated


def test_many_lost_frames_break_off_what_is_open_and_no_id_comes_twice(pictures: list[Picture]) -> None:
    again = frames(pictures[40:110], first=MOVING + 20)
    steps = run(Played(chain(frames(pictures[:MOVING]), again)))
    [gap] = gaps(steps)
    first, *others = events(steps)
    assert gap.frames == 20
    assert next(step for step in steps if gap in step.told).told == (gap, first)
    assert first.truncated
    assert others
    assert {event.face for event in others} == {first.face}
    assert len({event.id for event in (first, *others)}) == 1 + len(others)
    resumed_s = (MOVING + 20) / FPS + max(MotionScorer.clip.references_s)
    assert min(scores.t_s for step in steps for scores in step.scores if scores.t_s > gap.from_s) == pytest.approx(
        resumed_s
    )


def test_a_source_that_begins_anew_gets_new_faces(pictures: list[Picture]) -> None:
    after = (
        Frame(frame.image, frame.source, frame.index, frame.t_s, frame.arrival_s, epoch=1)
        for frame in frames(pictures[MOVING:], first=MOVING)
    )
    steps = run(Played(chain(frames(pictures[:MOVING]), after)))
    [gap] = gaps(steps)
    assert gap.reason == "reconnect"
    [closed] = events(steps)[:1]
    assert closed.truncated
    assert [face.face for step in steps for face in step.faces][:: MOVING + 1] == [0, 1]


def test_one_source_that_fails_leaves_the_other_alone_and_is_raised_at_the_end(pictures: list[Picture]) -> None:
    failing = Played(then_fails(frames(pictures[:10], "bad"), SourceError("the cable was cut")), "bad")
    steps: list[Step] = []
    with pytest.raises(SourceError, match="the cable was cut"):
        watch(steps, failing, Played(frames(pictures, "good"), "good"))
    assert details(of(steps, "bad")) == ["the cable was cut"]
    assert sum(step.frame is not None for step in of(steps, "bad")) == 10
    assert states(of(steps, "good")) == ["connecting", "running", "ended"]
    assert events(of(steps, "good"))


def test_all_failures_are_told_at_the_end() -> None:
    failing = [Played(then_fails([], SourceError(f"{name} is gone")), name) for name in ("a", "b")]
    with pytest.raises(SourceError, match="a is gone\nb is gone"):
        run(*failing)


def test_a_note_of_a_source_is_told_with_its_end() -> None:
    source = Played(frames([BLANK] * 3))
    source.note = "declared 5 frames, 3 could be read"
    assert details(run(source)[-1:]) == [source.note]


def test_a_bug_is_raised_at_once_and_ends_all_threads(pictures: list[Picture]) -> None:
    broken = Played(then_fails(frames(pictures[:5], "bad"), ZeroDivisionError("a bug")), "bad")
    other = Played(endless(pictures))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(broken, other)
    assert not other.is_open


def test_a_bug_in_a_scorer_is_raised_at_once_and_ends_all_threads(pictures: list[Picture]) -> None:
    class Broken(MotionScorer):
        def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:  # noqa: ARG002 as in MotionScorer
            raise ZeroDivisionError("a bug")

    source = Played(endless(pictures))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(source, scorer=Broken())
    assert not source.is_open


def test_leaving_the_loop_early_ends_all_threads(pictures: list[Picture]) -> None:
    sources = [Played(endless(pictures, name), name) for name in ("a", "b")]
    with Pipeline(Settings(method="network"), sources, MotionScorer()) as pipeline:
        for step in chain.from_iterable(pipeline):
            if step.frame is not None and step.frame.index == 3:
                break
    assert not any(source.is_open for source in sources)


def test_opencv_keeps_to_one_thread_while_the_pipeline_runs() -> None:
    cv2.setNumThreads(2)
    with Pipeline(Settings(method="network"), [Played(frames([BLANK]))], MotionScorer()):
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == 2


def test_an_iteration_that_is_kept_but_not_finished_ends_with_the_pipeline(pictures: list[Picture]) -> None:
    source = Played(endless(pictures))
    with Pipeline(Settings(method="network"), [source], MotionScorer()) as pipeline:
        kept = iter(pipeline)
        assert states(next(kept)) == ["connecting"]
        next(kept)
        assert source.is_open
    assert not source.is_open


def test_what_was_open_is_closed_where_a_later_source_does_not_open(pictures: list[Picture]) -> None:
    class Absent(Played):
        def __enter__(self) -> Played:
            raise SourceError("camera 1 cannot be opened")

    first = Played(endless(pictures))
    with pytest.raises(SourceError, match="camera 1 cannot be opened"):
        run(first, Absent([], "absent"))
    assert not first.is_open


def test_models_are_freed_where_a_later_one_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, left = [], []

    def enter(self: Aligner) -> Aligner:
        entered.append(self)
        if len(entered) == 2:
            raise MemoryError
        return self

    monkeypatch.setattr(Aligner, "__enter__", enter)
    monkeypatch.setattr(Aligner, "__exit__", lambda self, *_: left.append(self))
    with (
        pytest.raises(MemoryError),
        Pipeline(Settings(method="network"), [Played([], "a"), Played([], "b")], MotionScorer()),
    ):
        pass
    assert left == entered[:1]


def test_any_thread_may_stop_the_pipeline(pictures: list[Picture]) -> None:
    begun = threading.Event()
    with Pipeline(Settings(method="network"), [Played(endless(pictures))], MotionScorer()) as pipeline:

        def stop() -> None:
            if begun.wait(PATIENCE_S):
                pipeline.stop()

        stopper = threading.Thread(target=stop)
        stopper.start()
        steps = []
        for turn in pipeline:
            steps += turn
            begun.set()
        stopper.join()
    assert states(steps) == ["connecting", "running", "ended"]


def test_a_silent_camera_still_gives_turns_and_can_be_stopped() -> None:
    plugged_out = threading.Event()

    def silent() -> Iterator[Frame]:
        yield from frames([BLANK])
        plugged_out.wait(PATIENCE_S)

    empty = 0
    with Pipeline(Settings(method="network"), [Played(silent(), live=True)], MotionScorer()) as pipeline:
        for turn in pipeline:
            empty += not turn
            if empty == 3:
                pipeline.stop()
            if states(turn) == ["ended"]:
                plugged_out.set()
    assert plugged_out.is_set()


def test_a_source_that_falls_silent_closes_what_is_open_at_once(pictures: list[Picture]) -> None:
    stalled = Status("film", "stalled", MOVING / FPS, stalls=1)
    silent = chain(frames(pictures[:MOVING]), [stalled], frames(pictures[MOVING:], first=MOVING))
    steps = run(Played(cast(Iterable[Frame], silent)))
    [step] = [step for step in steps if stalled in step.told]
    assert step.told == (stalled, *events([step]))
    assert [event.truncated for event in events([step])] == [True]
    assert states(steps) == ["connecting", "running", "stalled", "running", "ended"]
    assert [told.stalls for told in steps[-1].told if isinstance(told, Status)] == [1]


def test_a_camera_that_does_not_answer_keeps_nobody_waiting(pictures: list[Picture]) -> None:
    patient = CaptureSettings(open_timeout_s=2 * PATIENCE_S)
    steps: list[Step] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        cameras = [Camera(f"rtsp://127.0.0.1:{server.getsockname()[1]}/", name, patient) for name in ("a", "b")]
        film = Played(frames(pictures[:MOVING]))
        with Pipeline(Settings(method="network"), [*cameras, film], MotionScorer()) as pipeline:
            for turn in pipeline:
                steps += turn
                if states(of(turn, "film"))[-1:] == ["ended"]:
                    pipeline.stop()
    assert sum(step.frame is not None for step in of(steps, "film")) == MOVING
    assert states(of(steps, "a")) == states(of(steps, "b")) == ["connecting", "ended"]


def test_a_camera_too_fast_for_the_rest_loses_frames_each_told_and_no_time(pictures: list[Picture]) -> None:
    """150 frames in 1.5 s, and 0.05 s for each: without drops the last would be done with 6 s late."""
    capture = CaptureSettings(staleness_s=0.2)
    fps = 100.0

    def camera() -> Iterator[Frame]:
        for frame in islice(frames(cycle(pictures), fps=fps), 150):
            time.sleep(1 / fps)
            yield Frame(frame.image, frame.source, frame.index, frame.t_s, time.monotonic())

    late_s, seen, told = [], 0, 0
    source = Played(camera(), live=True)
    with Pipeline(Settings(method="network", capture=capture), [source], MotionScorer()) as pipeline:
        for step in chain.from_iterable(pipeline):
            told += sum(gap.frames or 0 for gap in gaps([step]) if gap.reason == "frames_dropped")
            if step.frame is not None:
                seen += 1
                time.sleep(0.05)
                late_s.append(time.monotonic() - step.frame.arrival_s)
    assert pipeline.dropped > 0
    assert told == pipeline.dropped
    assert seen + pipeline.dropped == 150
    assert max(late_s) < 3.0


def test_a_file_is_never_dropped_however_slow_the_engine(pictures: list[Picture]) -> None:
    steps = run(Played(frames(pictures[:40])), scorer=MotionScorer(takes_s=0.01))
    assert sum(step.frame is not None for step in steps) == 40
    assert not gaps(steps)


def test_a_pipeline_without_sources_ends_at_once() -> None:
    assert run() == []
