"""A run that is measured while it goes on, by its own thread."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from livespot.config import MetricsSettings, Settings
from livespot.errors import SettingsError
from livespot.live import serve
from livespot.measuring import Measuring, exporter_of, measured, resident_bytes
from livespot.meter import Meter
from livespot.pipeline import FACE_QUEUE_FRAMES, FILE_QUEUE_FRAMES, Pipeline
from livespot.publish import Publisher
from livespot.records import Frame
from tests.films import BLANK, FPS, MotionScorer, Played, frames

FREE_PORT = "tcp://127.0.0.1:*"
PATIENCE_S = 20.0


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
