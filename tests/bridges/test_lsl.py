"""The event stream in the Lab Streaming Layer: what a message becomes, when it was, and a real inlet that hears it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from livespot.bridges.clock import WINDOW_S, Clock
from livespot.bridges.lsl import LslBridge, samples
from livespot.errors import PublishError
from livespot.publish import Message
from livespot.publish.messages import Moment, Record, body, envelope, heartbeat
from tests.publish.examples import CLOSE, LOST_FACE, OPEN, RUNNING, SCORES

ROOT = Path(__file__).parents[2]
PUBLISHED = Moment(monotonic_s=1000.3, utc_s=1_800_000_000.0)
"""The frame that decided came at 1000.0."""


def message(record: Record) -> Message:
    return envelope("0" * 32, 0, PUBLISHED, body(record, PUBLISHED))


def beat(monotonic_s: float) -> Message:
    now = Moment(monotonic_s, 0.0)
    return envelope("0" * 32, 0, now, heartbeat(1.0, 1.0, {}, "tcp://*:1"))


def test_a_closed_event_is_a_marker_at_each_of_its_instants() -> None:
    markers = [(one.value[0], round(one.monotonic_s, 6)) for one in samples(message(CLOSE)) if one.stream == "livespot"]
    assert markers == [
        ("cam1 face 0 micro onset", 999.5),
        ("cam1 face 0 micro apex", 999.7),
        ("cam1 face 0 micro offset", 999.9),
    ]


def test_an_event_that_is_open_is_told_as_json_alone_at_its_onset() -> None:
    (one,) = samples(message(OPEN))
    assert (one.stream, json.loads(str(one.value[0]))) == ("livespot-messages", message(OPEN))
    assert one.monotonic_s == pytest.approx(999.8)


def test_scores_are_stamped_when_the_frame_came_that_was_scored() -> None:
    (one,) = samples(message(SCORES))
    assert (one.stream, one.value) == ("livespot-scores-cam1-0", [0.25, 0.5])
    assert one.monotonic_s == pytest.approx(1000.0)


def test_gaps_have_two_markers_and_states_one() -> None:
    told = [(one.value[0], one.monotonic_s) for record in (LOST_FACE, RUNNING) for one in samples(message(record))]
    assert [text for text, _ in told if not str(text).startswith("{")] == [
        "cam1 gap begin", "cam1 gap end", "cam1 running",
    ]  # fmt: skip
    assert told[1][1] - told[0][1] == pytest.approx(1.5)


def test_a_clock_is_known_by_the_message_that_took_the_shortest_way() -> None:
    clock = Clock()
    for monotonic_s, took_s in ((10.0, 0.5), (11.0, 0.001), (12.0, 0.2)):
        clock.hear(beat(monotonic_s), 5000.0 + monotonic_s + took_s)
    assert clock.here_s(20.0) == pytest.approx(5020.001)


def test_a_clock_that_drifts_is_followed() -> None:
    clock = Clock()
    for second in range(3600):
        clock.hear(beat(float(second)), second * (1 + 20e-6) + 0.001)
    assert clock.here_s(3599.0) == pytest.approx(3599.0 * (1 + 20e-6) + 0.001, abs=1.01 * WINDOW_S * 20e-6)


INLET = """
import json, sys, time
import pylsl
wanted = {"livespot": 6, "livespot-messages": 3, "livespot-scores-cam1-0": 1}
print("ready", flush=True)
heard = {}
for name, count in wanted.items():
    found = pylsl.resolve_byprop("source_id", f"{sys.argv[1]}-{name}", timeout=60)
    inlet = pylsl.StreamInlet(found[0])
    inlet.open_stream(timeout=60)
    print("open", found[0].type(), found[0].nominal_srate(), flush=True)
    heard[name] = inlet, count
for name, (inlet, count) in heard.items():
    heard[name] = [inlet.pull_sample(timeout=60) for _ in range(count)]
print(json.dumps(heard))
"""
"""Another process that finds the streams as LabRecorder does, and pulls samples."""

BRIDGE = """
import sys, time
import pylsl
from livespot.bridges.lsl import LslBridge
from livespot.publish import Publisher, subscribe
from livespot.publish.messages import KINDS
from dataclasses import replace
from tests.publish.examples import CLOSE, LOST_FACE, RUNNING, SCORES
with Publisher("tcp://127.0.0.1:*", heartbeat_s=0.1) as publisher, LslBridge(sys.argv[1]) as bridge:
    with subscribe(publisher.endpoint, KINDS, timeout_s=0.2, silence_s=600) as messages:
        passed = []
        def turn():
            publisher.heartbeat()
            for message in messages:
                bridge.pass_on(message)
                passed.append(message["kind"])
        while "livespot-scores-cam1-0" not in bridge.streams:
            publisher.publish(replace(SCORES, arrival_s=time.monotonic()))
            turn()
        turn()
        passed.clear()
        print("offered", flush=True)
        for _ in range(3):
            sys.stdin.readline()
        arrived_s = time.monotonic()
        for record in (replace(CLOSE, arrival_s=arrived_s), LOST_FACE, RUNNING, replace(SCORES, arrival_s=arrived_s)):
            publisher.publish(record)
        while "score" not in passed or "status" not in passed:
            turn()
        print(arrived_s, flush=True)
        sys.stdin.readline()
"""


def test_an_inlet_in_another_process_hears_markers_messages_and_scores_at_the_time_of_capture(tmp_path: Path) -> None:
    try:
        LslBridge()
    except PublishError as missing:
        pytest.skip(str(missing))
    settings = tmp_path / "lsl_api.cfg"
    settings.write_text("[multicast]\nResolveScope = machine\n[lab]\nKnownPeers = {127.0.0.1}\n")
    environment = os.environ | {"LSLAPICFG": str(settings)}
    name = f"studio{os.getpid()}"
    commands = [[sys.executable, "-c", code, name] for code in (BRIDGE, INLET)]
    bridge, inlet = (
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for command in commands
    )
    with bridge, inlet:
        try:
            assert bridge.stdin and bridge.stdout and inlet.stdout
            assert bridge.stdout.readline() == "offered\n"
            assert inlet.stdout.readline() == "ready\n"
            offered = []
            for _ in range(3):
                offered.append(inlet.stdout.readline().split()[1:])
                bridge.stdin.write("\n")
                bridge.stdin.flush()
            arrived_s = float(bridge.stdout.readline())
            heard = json.loads(inlet.stdout.readline())
        finally:
            bridge.kill()
            inlet.kill()
    assert offered == [["Markers", "0.0"], ["Messages", "0.0"], ["Scores", "0.0"]]
    texts, stamps = zip(*heard["livespot"][:3], strict=True)
    assert texts == (["cam1 face 0 micro onset"], ["cam1 face 0 micro apex"], ["cam1 face 0 micro offset"])
    assert [stamp - arrived_s for stamp in stamps] == pytest.approx([-0.5, -0.3, -0.1], abs=0.2)
    assert [json.loads(sample[0])["kind"] for sample, _ in heard["livespot-messages"]] == ["event", "gap", "status"]
    ((scores, stamp),) = heard["livespot-scores-cam1-0"]
    assert scores == [0.25, 0.5]
    assert stamp == pytest.approx(arrived_s, abs=0.2)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(PublishError, match=r"pip install 'livespot\[lsl\]'"):
        LslBridge()
