"""The event stream at a real broker, mosquitto, in a process of its own."""

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from livespot.bridges.mqtt import Broker, MqttBridge
from livespot.cli import app
from livespot.errors import PublishError
from livespot.publish import Message, Publisher
from tests.publish.examples import CLOSE, LOST_FACE, OPEN, RUNNING, SCORES

mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: pip install 'livespot[mqtt]'")
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
STATE = "livespot/v1/bridge/state"

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: apt-get install mosquitto")


@contextmanager
def broker(folder: Path, port: int, *settings: str) -> Iterator[str]:
    """A broker's address."""
    file = folder / "mosquitto.conf"
    file.write_text(
        "\n".join((f"listener {port} 127.0.0.1", "max_queued_messages 0", *(settings or ("allow_anonymous true",))))
        + "\n"
    )
    assert MOSQUITTO
    with subprocess.Popen([MOSQUITTO, "-c", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: answers(port))
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            process.kill()


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(holds: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


@contextmanager
def listening(port: int, topics: str = "livespot/#") -> Iterator["queue.Queue[Any]"]:
    """What a client of the broker hears."""
    heard: queue.Queue[Any] = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _, __, message: heard.put(message)
    client.on_subscribe = lambda *_: heard.put(None)
    client.connect("127.0.0.1", port)
    client.subscribe(topics, qos=1)
    client.loop_start()
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def until(heard: "queue.Queue[Any]", topic: str, content: str | None = None) -> list[Any]:
    """All that is heard up to the first message of a topic, with a content where one is given."""
    messages: list[Any] = []
    while not messages or messages[-1].topic != topic or content not in (None, messages[-1].payload.decode()):
        if (message := heard.get(timeout=PATIENCE_S)) is not None:
            messages.append(message)
    return messages


@contextmanager
def bridge(endpoint: str, address: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """`livespot bridge mqtt` in a process of its own."""
    command = [sys.executable, "-m", "livespot", "bridge", "mqtt", endpoint, "--broker", address, *options]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | LOGIN) as process:
        try:
            yield process
        finally:
            process.kill()


LOGIN = {"LIVESPOT_MQTT_PASSWORD": "right"}


def test_messages_come_by_source_and_kind_and_the_last_status_is_retained(tmp_path: Path) -> None:
    port = free_port()
    with broker(tmp_path, port) as address, Publisher("tcp://127.0.0.1:*", heartbeat_s=0.2) as publisher:
        with listening(port) as heard, bridge(publisher.endpoint, address, "--scores") as process:
            sent = [publisher.publish(RUNNING)]
            publisher.heartbeat()
            told = until(heard, "livespot/v1/cam1/status")
            sent += [publisher.publish(record) for record in (OPEN, SCORES, LOST_FACE, CLOSE)]
            publisher.heartbeat()
            kinds = {message["kind"]: message for message in sent}
            while len({message.topic for message in told}) < 5 or told[-1].topic != "livespot/v1/cam1/event":
                told += until(heard, "livespot/v1/cam1/event")
            process.send_signal(signal.SIGINT)
            told += until(heard, STATE, "offline")
            assert process.wait(PATIENCE_S) == 0
        with listening(port) as late:
            retained = [late.get(timeout=PATIENCE_S) for _ in range(3)]
    by_topic = {message.topic: json.loads(message.payload) for message in told if message.topic != STATE}
    assert by_topic == {f"livespot/v1/cam1/{kind}": message for kind, message in kinds.items()}
    assert [message.payload for message in told if message.topic == STATE] == [b"online", b"offline"]
    assert {message.topic for message in retained if message} == {STATE, "livespot/v1/cam1/status"}


def test_the_last_will_is_seen_where_the_bridge_is_killed(tmp_path: Path) -> None:
    port = free_port()
    with (
        broker(tmp_path, port) as address,
        Publisher("tcp://127.0.0.1:*") as publisher,
        listening(port, STATE) as heard,
        bridge(publisher.endpoint, address) as process,
    ):
        until(heard, STATE, "online")
        process.kill()
        assert until(heard, STATE)[-1].payload == b"offline"


def test_what_happens_while_the_broker_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    numbered = [replace(CLOSE, id=f"e{number}") for number in range(1500)]  # more than may wait in the bridge
    with Publisher("tcp://127.0.0.1:*", heartbeat_s=0.2) as publisher, ExitStack() as running:
        with broker(tmp_path, port) as address:
            process = running.enter_context(bridge(publisher.endpoint, address))
            publisher.publish(RUNNING)
            publisher.heartbeat()
            with listening(port) as heard:
                until(heard, "livespot/v1/cam1/status")  # the bridge follows the publisher from now on
        sent = [publisher.publish(record) for record in numbered]
        publisher.heartbeat()
        process.send_signal(signal.SIGSTOP)
        with broker(tmp_path, port), listening(port) as heard:
            assert heard.get(timeout=PATIENCE_S) is None  # it listens before the bridge can speak
            process.send_signal(signal.SIGCONT)
            messages: list[Any] = []
            give_up_s = time.monotonic() + PATIENCE_S
            while len(messages) < len(sent) and time.monotonic() < give_up_s:
                publisher.heartbeat()  # by which the bridge notices what was too much for its queue
                with suppress(queue.Empty):
                    message = heard.get(timeout=0.1)
                    messages += [message] if message.topic == "livespot/v1/cam1/event" else []
    assert process.poll() is not None
    assert [json.loads(message.payload) for message in messages] == sent


def test_what_the_broker_has_not_taken_when_the_bridge_ends_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c_after_three(bridge: MqttBridge, message: Message) -> None:
        pass_on(bridge, message)
        if message["seq"] == 2:
            raise KeyboardInterrupt

    pass_on = MqttBridge.pass_on
    monkeypatch.setattr(MqttBridge, "pass_on", ctrl_c_after_three)
    port = free_port()
    with Publisher("tcp://127.0.0.1:*", heartbeat_s=0.2) as publisher, ThreadPoolExecutor() as beside:
        for _ in range(3):
            publisher.publish(CLOSE)

        def told() -> str:
            command = ["bridge", "mqtt", publisher.endpoint, "--broker", f"mqtt://127.0.0.1:{port}", "--past", "60"]
            ended = beside.submit(CliRunner().invoke, app, command)
            wait_for(lambda: (publisher.heartbeat(), ended.done())[1])
            assert ended.result().exit_code == 0
            return " ".join(ended.result().stderr.split())

        without = told()
        with broker(tmp_path, port):
            with_one = told()
    assert "has not taken 3 messages or more" in without
    assert "not taken" not in with_one


def test_a_broker_that_refuses_the_login_is_told_without_the_password(tmp_path: Path) -> None:
    port = free_port()
    with (
        broker(tmp_path, port, "allow_anonymous false") as address,
        Publisher("tcp://127.0.0.1:*") as publisher,
        bridge(publisher.endpoint, address, "--user", "me") as process,
    ):
        assert process.wait(PATIENCE_S) == 2
        assert process.stderr
        words = process.stderr.read()
    assert "refuses us: Not authorized: look at --user" in words
    assert "right" not in words


@pytest.mark.parametrize("address", ["127.0.0.1", "http://broker", "mqtt://", "mqtt://me:secret@broker"])
def test_an_address_that_is_no_brokers_is_refused_without_showing_a_password(address: str) -> None:
    with pytest.raises(PublishError) as refused:
        Broker(address)
    assert "secret" not in str(refused.value)


def test_the_password_is_not_in_the_brokers_repr() -> None:
    assert "secret" not in repr(Broker("mqtts://broker", "me", "secret"))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(PublishError, match=r"pip install 'livespot\[mqtt\]'"):
        MqttBridge(Broker("mqtt://broker"))
