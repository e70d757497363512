"""Cameras in several processes: the same events as in one, and what happens when one of these fails or is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from multiprocessing import active_children
from pathlib import Path

import pytest

from livespot.capture.opencv import VideoFile
from livespot.config import InferSettings, Settings
from livespot.errors import EngineError, LivespotError, SourceError
from livespot.live import serve
from livespot.pipeline import Pipeline, Step
from livespot.publish.zmq import Publisher
from livespot.records import Gap, Status
from livespot.shards import Make, Shards, processes_for, watching
from tests.films import BLANK, MotionScorer, Played, events, frames

PATIENCE_S = 30.0


def settings(engine: Path) -> Settings:
    return Settings(method="network", infer=InferSettings(model=str(engine), engine="onnx"))


def endless(name: str) -> Played:
    """A camera that shows nothing, for ever."""

    def played() -> Iterator[object]:
        for frame in frames([BLANK] * 100_000, name):
            time.sleep(0.02)
            yield frame

    return Played(played(), name, live=True)  # type: ignore[arg-type]


def broken(name: str) -> Played:
    def played() -> Iterator[object]:
        yield from frames([BLANK] * 3, name)
        raise SourceError(f"the cable of {name} was cut")

    return Played(played(), name)  # type: ignore[arg-type]


def buggy(name: str) -> Played:
    return Played((1 / 0 for _ in "a"), name)  # type: ignore[misc]


def spans(steps: Iterable[Step]) -> dict[str, list[tuple[str, int, int | None, float]]]:
    told: dict[str, list[tuple[str, int, int | None, float]]] = {}
    for event in events(steps):
        told.setdefault(event.source, []).append((event.type, event.onset_frame, event.offset_frame, event.confidence))
    return told


def test_sources_in_processes_of_their_own_give_what_they_give_in_one(
    video: Path, micro_video: Path, engine: Path
) -> None:
    makes = [partial(VideoFile, video, "macro"), partial(VideoFile, micro_video, "micro")]
    with Shards(settings(engine), makes, 2) as shards:
        steps = list(chain.from_iterable(shards))
    with watching(settings(engine), makes, MotionScorer()) as pipeline:
        assert isinstance(pipeline, Pipeline)
        alone = spans(chain.from_iterable(pipeline))
    assert spans(steps).keys() == alone.keys() == {"macro", "micro"}
    for source, told in spans(steps).items():
        assert [one[:3] for one in told] == [one[:3] for one in alone[source]]
    for name in ("macro", "micro"):
        mine = [step for step in steps if step.source == name]
        indices = [step.frame.index for step in mine if step.frame is not None]
        assert indices == list(range(len(indices))) and indices
        states = [told.state for step in mine for told in step.told if isinstance(told, Status)]
        assert states == ["connecting", "running", "ended"]
        assert not [told for step in mine for told in step.told if isinstance(told, Gap)]
    assert all(step.frame.image.size == 0 for step in steps if step.frame is not None)


def test_stopping_ends_all_processes_in_good_order(engine: Path) -> None:
    heard: list[Status] = []
    cameras = [partial(endless, name) for name in "abc"]
    with Publisher("tcp://127.0.0.1:*") as publisher, Shards(settings(engine), cameras, 2) as shards:
        for turn in serve(shards, publisher, duration_s=0.5):
            heard += [told for step in turn.steps for told in step.told if isinstance(told, Status)]
    assert shards.stopped
    assert {status.source for status in heard if status.state == "ended"} == set("abc")
    assert not active_children()


def collect(steps: list[Step], shards: Shards) -> None:
    for turn in shards:
        steps += turn


def test_a_source_that_fails_leaves_other_processes_alone_and_is_raised_at_the_end(video: Path, engine: Path) -> None:
    steps: list[Step] = []
    makes: list[Make] = [partial(broken, "bad"), partial(VideoFile, video, "good")]
    with Shards(settings(engine), makes, 2) as shards, pytest.raises(SourceError, match="the cable of bad was cut"):
        collect(steps, shards)
    assert "good" in spans(steps)


def test_a_source_that_cannot_be_opened_is_raised_at_once_as_in_one_process(engine: Path, tmp_path: Path) -> None:
    makes: list[Make] = [partial(endless, "other"), partial(VideoFile, tmp_path / "none.mp4", "bad")]
    with Shards(settings(engine), makes, 2) as shards, pytest.raises(SourceError, match=r"no file .*none\.mp4"):
        list(shards)
    assert not active_children()


def test_a_bug_is_raised_with_its_trace(engine: Path) -> None:
    makes = [partial(buggy, "bad"), partial(endless, "good")]
    with Shards(settings(engine), makes, 2) as shards, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(shards)


def test_an_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    absent = settings(tmp_path / "none.onnx")
    makes = [partial(endless, "a"), partial(endless, "b")]
    with Shards(absent, makes, 2) as shards, pytest.raises(EngineError, match=r"no file .*none\.onnx"):
        list(shards)


def kill_one_when_it_runs(shards: Shards) -> None:
    for steps in shards:
        if any(step.frame is not None for step in steps):
            active_children()[0].kill()


def test_a_process_that_is_killed_ends_the_service_with_a_word_and_leaves_none_behind(engine: Path) -> None:
    makes = [partial(endless, "a"), partial(endless, "b")]
    with (
        Shards(settings(engine), makes, 2) as shards,
        pytest.raises(LivespotError, match=r"the process of .* was ended from outside"),
    ):
        kill_one_when_it_runs(shards)
    assert not active_children()


def test_what_is_sent_to_all_processes_before_they_have_begun_and_a_stop_told_again_and_again_end_in_good_order(
    engine: Path,
) -> None:
    with Shards(settings(engine), [partial(endless, "a"), partial(endless, "b")], 2) as shards:
        for pid in shards.pids:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        for _ in range(2000):  # more than a pipe holds
            shards.stop()
        told = [one for step in chain.from_iterable(shards) for one in step.told if isinstance(one, Status)]
    assert {one.source for one in told if one.state == "ended"} == {"a", "b"}


@pytest.mark.parametrize(("cameras", "processes"), [(1, 1), (3, 1), (4, 2), (9, 3), (40, 4)])
def test_there_is_a_process_for_every_few_cameras_and_at_most_one_a_core(
    cameras: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livespot.shards._cores", lambda: 4)
    assert processes_for(Settings(), cameras, None) == processes


def test_an_engine_that_gains_by_batches_is_not_shared_out_unless_that_is_asked() -> None:
    scorer = MotionScorer()
    scorer.gathers = True
    assert processes_for(Settings(), 40, scorer) == 1
    assert processes_for(Settings(infer=InferSettings(processes=2)), 40, scorer) == 2


def test_pictures_that_are_to_be_looked_at_stay_in_one_process(engine: Path) -> None:
    makes = [partial(endless, str(number)) for number in range(9)]
    assert isinstance(watching(settings(engine), makes, MotionScorer(), pictures=True), Pipeline)
    assert isinstance(watching(settings(engine), makes, MotionScorer()), (Shards, Pipeline))


def test_ctrl_c_in_a_terminal_which_reaches_all_processes_ends_run_in_good_order() -> None:
    sources = [flag for seed in (1, 2) for flag in ("--source", f"demo://?seed={seed}")]
    order = [*("run", "--json", "--set", "infer.processes=2", "--endpoint", "tcp://127.0.0.1:*"), *sources]
    with subprocess.Popen(
        [sys.executable, "-m", "livespot", *order], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as livespot:
        assert livespot.stdout is not None
        told = []
        for line in livespot.stdout:
            told.append(json.loads(line))
            if sum(one.get("state") == "running" for one in told) == 2:
                os.killpg(livespot.pid, signal.SIGINT)
                break
        told += [json.loads(line) for line in livespot.stdout]
    assert livespot.returncode == 0
    assert {one["stream"] for one in told if one.get("state") == "ended"} == {"demo", "demo-2"}
