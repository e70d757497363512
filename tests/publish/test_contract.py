"""The contract in words: its examples run, and it names every field that is sent."""

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import livespot.publish
from livespot.publish import Message, Publisher, messages
from livespot.publish.messages import Moment
from tests.publish.examples import CLOSE, RECORDS
from tests.publish.test_zmq import FREE_PORT, PATIENCE_S

README = (Path(livespot.publish.__file__).parent / "README.md").read_text(encoding="utf-8")


def example(language: str, publisher: Publisher) -> str:
    """The example of the contract, at another endpoint."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    code = found[1]
    for default, endpoint in (
        ("tcp://127.0.0.1:5556", publisher.endpoint),
        ("tcp://127.0.0.1:5557", publisher.requests),
    ):
        assert default in code
        code = code.replace(default, endpoint or "")
    return code


@contextmanager
def running(*command: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def numbers_heard(publisher: Publisher, *command: str) -> list[int]:
    """What the program prints of events of cam1, of a publisher that sends ever more of them."""
    over = threading.Event()

    def publish() -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not over.wait(0.02) and time.monotonic() < until_s:
            publisher.publish(CLOSE)

    for _ in range(10):
        publisher.publish(CLOSE)
    publishing = threading.Thread(target=publish)
    with running(*command) as process:
        assert process.stdout and process.stderr
        publishing.start()
        heard: list[int] = []
        try:
            for line in process.stdout:
                heard += [int(number) for number in re.findall(r"^cam1 event (\d+)$", line)]
                if len(heard) == 20:
                    break
        finally:
            over.set()
            publishing.join()
        assert len(heard) == 20, process.stderr.read()
    return heard


def test_a_subscriber_in_plain_pyzmq_reads_the_stream_by_the_contract() -> None:
    with Publisher(FREE_PORT) as publisher:
        heard = numbers_heard(publisher, sys.executable, "-c", example("python", publisher))
    assert heard == list(range(heard[0], heard[0] + 20))
    assert heard[0] >= 10


def test_a_subscriber_in_nodejs_reads_the_stream_by_the_contract() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if subprocess.run([node, "-e", 'require("zeromq")'], capture_output=True, check=False).returncode:
        pytest.skip("node has no zeromq: npm install zeromq, and NODE_PATH to its node_modules")
    with Publisher(FREE_PORT) as publisher:
        heard = numbers_heard(publisher, node, "-e", example("javascript", publisher))
    assert heard == list(range(heard[0], heard[0] + 20))
    assert heard[0] >= 10


def sent() -> list[Message]:
    now = Moment(1000.0, 1_800_000_000.0)
    bodies = [messages.body(record, now) for record in RECORDS] + [messages.heartbeat(1.0, 1.0, {}, "tcp://*:1")]
    return [messages.envelope("0" * 32, 0, now, body) for body in bodies]


@pytest.mark.parametrize("message", sent(), ids=lambda message: message["kind"])
def test_every_field_and_every_word_is_in_the_contract(message: Message) -> None:
    assert [
        name for name in (*message, message["kind"]) if f"`{name}`" not in README and f"**{name}**" not in README
    ] == []


def test_every_field_of_requests_and_answers_is_in_the_contract() -> None:
    for name in ("request", "answer", "metrics", "source_metrics", "took"):
        fields = messages.schema()["$defs"][name]["properties"]
        assert [field for field in fields if f"`{field}`" not in README] == []


def test_every_word_that_the_schema_allows_is_in_the_contract() -> None:
    definitions = messages.schema()["$defs"]
    words = definitions["gap"]["properties"]["reason"]["enum"] + definitions["status"]["properties"]["state"]["enum"]
    words += (
        definitions["event"]["properties"]["phase"]["enum"] + definitions["request"]["properties"]["request"]["enum"]
    )
    assert [word for word in words if f"`{word}`" not in README] == []
