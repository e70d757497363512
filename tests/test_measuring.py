"""A run that is measured while it goes on, by its own thread."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from livespot.capture.opencv import VideoFile
from livespot.capture.passing import Paced
from livespot.config import InferSettings, MetricsSettings, Settings
from livespot.errors import SettingsError
from livespot.live import serve
from livespot.measuring import Measuring, exporter_of, measured, resident_bytes
from livespot.meter import Meter
from livespot.pipeline import FACE_QUEUE_FRAMES, FILE_QUEUE_FRAMES, Pipeline
from livespot.publish import Publisher
from livespot.records import Frame
from livespot.shards import Shards
from tests.films import BLANK, FPS, MotionScorer, Played, frames

FREE_PORT = "tcp://127.0.0.1:*"
PATIENCE_S = 60.0


def test_what_waits_is_seen_from_another_thread_while_the_loop_is_held_up() -> None:
    source = Played(frames([BLANK] * 60))
    with Publisher(FREE_PORT) as publisher, Pipeline(Settings(method="network"), [source], MotionScorer()) as pipeline:
        meter, began_s = Meter(), time.monotonic()
        turns = serve(pipeline, publisher, meter=meter)
        while meter.frames < 5:
            next(turns)
        give_up_s = time.monotonic() + PATIENCE_S
        full = {"frames": FILE_QUEUE_FRAMES, "faces": FACE_QUEUE_FRAMES}
        while (run := measured(meter, pipeline, publisher, began_s)).sources["film"].queues != full:
            assert time.monotonic() < give_up_s, run
        idle_s = run.idle_s
        time.sleep(0.05)
        assert measured(meter, pipeline, publisher, began_s).idle_s > idle_s + 0.04
        list(turns)
    last = measured(meter, pipeline, publisher, began_s).sources["film"]
    assert (last.frames, last.state, last.queues) == (60, "ended", {"frames": 0, "faces": 0})
    assert last.latency.cumulative[-1] == 60
    assert sum(took.sum_s for took in last.stages.values()) == pytest.approx(last.latency.sum_s)


def test_frames_that_a_live_source_drops_are_counted_for_it_alone() -> None:
    def slow() -> Iterator[Frame]:
        for index in range(20):
            yield Frame(BLANK, "slow", index, index / FPS, time.monotonic() - 10.0)  # too old for anyone

    sources = [Played(slow(), "slow", live=True), Played(frames([BLANK] * 20, "calm"), "calm")]
    with Publisher(FREE_PORT) as publisher, Pipeline(Settings(method="network"), sources, MotionScorer()) as pipeline:
        meter = Meter()
        list(serve(pipeline, publisher, meter=meter))
        run = measured(meter, pipeline, publisher, time.monotonic())
    slowly, calm = run.sources["slow"], run.sources["calm"]
    assert slowly.dropped_frames + slowly.frames == 20
    assert slowly.dropped_frames == pipeline.dropped > 0
    assert slowly.gaps["frames_dropped"] > 0
    assert (calm.frames, calm.dropped_frames, sum(calm.gaps.values())) == (20, 0, 0)


def test_the_publisher_is_told_at_once_and_the_thread_ends_with_the_run() -> None:
    with Publisher(FREE_PORT) as publisher, Pipeline(Settings(method="network"), [], MotionScorer()) as pipeline:
        with Measuring(Meter(), pipeline, publisher):
            give_up_s = time.monotonic() + PATIENCE_S
            while publisher._archive.metrics is None:
                assert time.monotonic() < give_up_s
        assert publisher._archive.metrics["resident_bytes"] > 10_000_000
    assert "livespot-metrics" not in [thread.name for thread in threading.enumerate()]


def test_sources_are_known_in_their_order_before_anything_is_told_of_them() -> None:
    names = ["b", "a"]
    with Publisher(FREE_PORT) as publisher, Pipeline(Settings(method="network"), [], MotionScorer()) as pipeline:
        run = measured(Meter.of(names, time.monotonic()), pipeline, publisher, time.monotonic())
    assert [(name, one.state, one.frames) for name, one in run.sources.items()] == [
        ("b", "connecting", 0),
        ("a", "connecting", 0),
    ]
    assert run.sources["a"].state_s < PATIENCE_S


def _looped(video: Path, name: str) -> Paced:
    return Paced(VideoFile(video, name, loop=True))


def test_a_process_that_hangs_is_noticed_though_the_others_go_on(engine: str, video: Path) -> None:
    settings = Settings(method="network", infer=InferSettings(model=engine, engine="onnx"))
    makes = [partial(_looped, video, name) for name in ("one", "other")]
    with Publisher(FREE_PORT) as publisher, Shards(settings, makes, 2) as shards:
        meter, began_s = Meter.of(["one", "other"], time.monotonic()), time.monotonic()
        stopped: int | None = None
        for _ in serve(shards, publisher, meter=meter):
            run = measured(meter, shards, publisher, began_s)
            if stopped is None and all(source.frames > 10 for source in run.sources.values()):
                assert run.resident_bytes > sum(resident_bytes(pid) or 0 for pid in shards.pids)
                stopped = shards.pids[0]
                os.kill(stopped, signal.SIGSTOP)
            if stopped is not None and run.idle_s > 1.0:
                break
            assert time.monotonic() < began_s + PATIENCE_S
        assert meter.turned_s > time.monotonic() - 1.0


def test_memory_is_that_of_the_process_that_is_named() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        of_it, of_us = resident_bytes(process.pid), resident_bytes()
        process.kill()
    assert of_it is not None
    assert of_us is not None
    assert of_it < of_us == pytest.approx(resident_bytes(os.getpid()), rel=0.1)
    assert resident_bytes(process.pid) is None


def test_nothing_is_served_unless_it_is_asked_for() -> None:
    assert exporter_of(MetricsSettings()) is None


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livespot.prometheus", None)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "livespot.prometheus")
    with pytest.raises(SettingsError, match=r"prometheus_client.* is not installed: pip install 'livespot\[metrics\]'"):
        exporter_of(MetricsSettings(endpoint="127.0.0.1:0"))
