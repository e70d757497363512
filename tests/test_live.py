"""A pipeline as a service: a real publisher, a real subscriber, real signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import jsonschema
import pytest

from livespot.capture.opencv import VideoFile
from livespot.capture.source import Source
from livespot.config import Settings
from livespot.live import Turn, serve, stopping_on_signals
from livespot.pipeline import Pipeline, Step
from livespot.publish import Message, Publisher, schema, subscribe
from livespot.publish.messages import Kind
from livespot.records import Frame, Status
from tests.films import BLANK, FPS, MotionScorer, Picture, Played, frames

ROOT = Path(__file__).parents[1]
FREE_PORT = "tcp://127.0.0.1:*"
HEARD: tuple[Kind, ...] = ("event", "status", "score", "heartbeat")
PATIENCE_S = 20.0


def served(source: Source, duration_s: float | None = None) -> list[Turn]:
    with Publisher(FREE_PORT) as publisher, Pipeline(Settings(method="network"), [source], MotionScorer()) as pipeline:
        return list(serve(pipeline, publisher, duration_s=duration_s))


def last_s(turns: list[Turn]) -> float:
    return max(one.frame.t_s for turn in turns for one in turn.steps if one.frame is not None)


def test_all_that_is_told_reaches_a_subscriber_in_order(video: Path) -> None:
    with (
        Publisher(FREE_PORT, heartbeat_s=0.01) as publisher,
        subscribe(publisher.endpoint, HEARD, timeout_s=0.1) as messages,
    ):
        publisher.heartbeat()
        while next(messages, None) is None:
            publisher.heartbeat()
        with Pipeline(Settings(method="network"), [VideoFile(video, "film")], MotionScorer()) as pipeline:
            sent = [message for turn in serve(pipeline, publisher, scores=True) for message in turn.messages]
        heard: list[Message] = []
        give_up_s = time.monotonic() + PATIENCE_S
        while len(heard) < len(sent) and time.monotonic() < give_up_s:
            heard += [message for message in [next(messages, None)] if message and message["kind"] != "heartbeat"]
    assert heard == sent
    for message in heard:
        jsonschema.Draft202012Validator(schema()).validate(message)
    assert [message["state"] for message in sent if message["kind"] == "status"] == ["connecting", "running", "ended"]
    phases = [message["phase"] for message in sent if message["kind"] == "event"]
    assert (phases[0], phases[-1]) == ("open", "close")
    assert sum(message["kind"] == "score" for message in sent) > 80


def test_scores_are_published_only_where_they_are_asked_for(video: Path) -> None:
    turns = served(VideoFile(video, "film"))
    assert {message["kind"] for turn in turns for message in turn.messages} == {"status", "event"}
    assert turns[-1].meter.events == 1
    assert turns[-1].meter.frames == 120


def test_a_run_ends_after_its_duration_in_stream_time() -> None:
    turns = served(Played(frames([BLANK] * 90)), duration_s=1.0)
    assert 1.0 <= last_s(turns) < 2.9
    assert turns[-1].messages[-1]["state"] == "ended"


def test_a_run_without_a_duration_takes_every_frame() -> None:
    assert last_s(served(Played(frames([BLANK] * 45)))) == 44 / FPS


def test_what_runs_slower_than_the_clock_still_gets_its_duration() -> None:
    def slow() -> Iterator[Frame]:
        for frame in frames([BLANK] * 60):
            time.sleep(0.05)
            if frame.index % 6 == 5:  # so that there are turns without a frame, also before the first
                yield frame

    assert 0.5 <= last_s(served(Played(slow()), duration_s=0.5)) < 1.9


def test_a_silent_camera_ends_after_its_duration_on_the_clock() -> None:
    over = threading.Event()

    def silent() -> Iterator[Frame]:
        yield from frames([BLANK])
        over.wait(PATIENCE_S)

    with (
        Publisher(FREE_PORT) as publisher,
        Pipeline(Settings(method="network"), [Played(silent(), live=True)], MotionScorer()) as pipeline,
    ):
        for turn in serve(pipeline, publisher, duration_s=0.3):
            if "ended" in [message.get("state") for message in turn.messages]:
                assert not over.is_set()
                over.set()  # a blocked read cannot be cancelled: leaving waits for it
    assert over.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_good_order(number: signal.Signals, pictures: list[Picture]) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    steps: list[Step] = []
    endless = Played(frames(chain.from_iterable([*pictures, *reversed(pictures)] for _ in range(1000))))
    with Pipeline(Settings(method="network"), [endless], MotionScorer()) as pipeline, stopping_on_signals(pipeline):
        for turn in pipeline:
            steps += turn
            if len(steps) == 5:
                os.kill(os.getpid(), number)
    assert pipeline.stopped
    assert [told.state for told in steps[-1].told if isinstance(told, Status)] == ["ended"]
    assert {one: signal.getsignal(one) for one in before} == before


SIGNALLED_TWICE = """
import os, signal, sys
from livespot.config import Settings
from livespot.live import stopping_on_signals
from livespot.pipeline import Pipeline
from tests.films import MotionScorer

with Pipeline(Settings(method="network"), [], MotionScorer()) as pipeline, stopping_on_signals(pipeline):
    for number in map(int, sys.argv[1:]):
        os.kill(os.getpid(), number)
        print("still there, asked to stop:", pipeline.stopped, flush=True)
"""


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)], ids=lambda one: one.name
)
def test_a_second_signal_of_either_kind_ends_it_at_once(first: signal.Signals, second: signal.Signals) -> None:
    command = [sys.executable, "-c", SIGNALLED_TWICE, str(int(first)), str(int(second))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("still there, asked to stop: True\n", -second), done.stderr


def test_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def elsewhere() -> None:
        with Pipeline(Settings(method="network"), [], MotionScorer()) as pipeline, stopping_on_signals(pipeline):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]
