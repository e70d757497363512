"""Publisher and subscriber over real sockets."""

import json
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import zmq

from livespot.errors import PublishError
from livespot.publish import Message, Publisher, Subscription, schema, subscribe
from livespot.publish.messages import KINDS, Kind, Record
from livespot.records import Event, Status
from tests.publish.examples import CLOSE, OPEN, RECORDS, RUNNING, SCORES

FREE_PORT = "tcp://127.0.0.1:*"
PATIENCE_S = 60.0
PROBE = replace(RUNNING, source="probe")


def arrived(subscription: Subscription, count: int) -> list[Message]:
    """The next `count` messages, however slow the machine."""
    received: list[Message] = []
    give_up_s = time.monotonic() + PATIENCE_S
    while len(received) < count and time.monotonic() < give_up_s:
        received += [message for message in [next(subscription, None)] if message]
    return received


def join(publisher: Publisher, subscription: Subscription, probe: Record) -> None:
    """Publish `probe` until the subscription hears it, and let it hear each."""
    message, sent = None, 0
    while message is None:
        publisher.publish(probe)
        sent += 1
        message = next(subscription, None)
    while message["seq"] < sent - 1:
        message = next(subscription, message)


@contextmanager
def joined(
    kinds: tuple[Kind, ...] = KINDS, streams: tuple[str, ...] = (), probe: Record = PROBE, heartbeat_s: float = 60.0
) -> Iterator[tuple[Publisher, Subscription]]:
    with (
        Publisher(FREE_PORT, heartbeat_s) as publisher,
        subscribe(publisher.endpoint, kinds=kinds, streams=streams, timeout_s=0.1) as subscription,
    ):
        join(publisher, subscription, probe)
        yield publisher, subscription


def fake(stream: str, seq: int, kind: str = "event", **fields: object) -> list[bytes]:
    """A message with little more than what all of them share."""
    header = {"schema": "livespot.v1", "publisher": "0" * 32, "stream": stream, "kind": kind, "seq": seq}
    content = header | {"monotonic_s": 1.0} | fields
    return [f"livespot.v1.{stream}.{kind}.".encode(), json.dumps(content).encode()]


def of_source(source: str, event: Event = CLOSE) -> Event:
    return replace(event, source=source)


def test_every_kind_arrives_and_follows_the_schema() -> None:
    with joined(heartbeat_s=1e-9) as (publisher, subscription):
        for record in RECORDS:
            publisher.publish(record)
        publisher.heartbeat()
        received = arrived(subscription, len(RECORDS) + 1)
    for message in received:
        jsonschema.Draft202012Validator(schema()).validate(message)
    assert [message["kind"] for message in received] == [
        "event", "event", "event", "score", "gap", "gap", "status", "heartbeat",
    ]  # fmt: skip


def test_numbers_run_from_zero_without_holes_in_each_topic_of_several_sources() -> None:
    with joined() as (publisher, subscription):
        for _ in range(50):
            for source in ("cam1", "cam10", "door"):
                publisher.publish(of_source(source))
            publisher.publish(SCORES)
        received = arrived(subscription, 200)
    for stream, kind in (("cam1", "event"), ("cam10", "event"), ("door", "event"), ("cam1", "score")):
        numbers = [message["seq"] for message in received if (message["stream"], message["kind"]) == (stream, kind)]
        assert numbers == list(range(50))
    assert len({message["publisher"] for message in received}) == 1


def test_publishing_returns_the_message_that_arrives() -> None:
    with joined() as (publisher, subscription):
        sent = publisher.publish(CLOSE)
        assert arrived(subscription, 1) == [sent]


def test_a_subscriber_needs_nothing_but_the_contract() -> None:
    context = zmq.Context()
    sub = context.socket(zmq.SUB)
    sub.subscribe(b"livespot.v1.cam1.event.")
    with Publisher(FREE_PORT) as publisher:
        sub.connect(publisher.endpoint)
        while not sub.poll(50):
            publisher.publish(of_source("cam10"))
            publisher.publish(CLOSE)
        name, content = sub.recv_multipart()
    context.destroy(linger=0)
    assert name == b"livespot.v1.cam1.event."
    assert json.loads(content.decode())["offset_frame"] == 371


def test_a_stream_is_not_taken_for_one_whose_name_begins_alike() -> None:
    with joined(("event",), ("cam1",), probe=CLOSE) as (publisher, subscription):
        publisher.publish(of_source("cam10"))
        publisher.publish(of_source("cam1", OPEN))
        (message,) = arrived(subscription, 1)
    assert (message["stream"], message["phase"]) == ("cam1", "open")


def test_only_the_kinds_asked_for_arrive() -> None:
    with joined(("event",), probe=of_source("probe")) as (publisher, subscription):
        publisher.publish(SCORES)
        publisher.publish(RUNNING)
        publisher.publish(CLOSE)
        (message,) = arrived(subscription, 1)
    assert message["kind"] == "event"


def test_heartbeats_arrive_whatever_streams_are_asked_for() -> None:
    with joined(("status", "heartbeat"), ("cam1",), probe=RUNNING, heartbeat_s=1e-9) as (publisher, subscription):
        publisher.heartbeat()
        (message,) = arrived(subscription, 1)
    assert message["kind"] == "heartbeat"


def test_a_heartbeat_is_sent_when_due_and_not_before() -> None:
    with joined(("heartbeat", "status"), heartbeat_s=0.2) as (publisher, subscription):
        time.sleep(0.2)
        for _ in range(5):
            publisher.heartbeat()
        publisher.publish(RUNNING)
        received = arrived(subscription, 2)
    assert [message["kind"] for message in received] == ["heartbeat", "status"]


def test_a_short_interval_brings_many_heartbeats() -> None:
    with (
        Publisher(FREE_PORT, heartbeat_s=1e-9) as publisher,
        subscribe(publisher.endpoint, kinds=("heartbeat",), timeout_s=0.1) as subscription,
    ):
        while (first := next(subscription, None)) is None:
            publisher.heartbeat()
        for _ in range(3):
            publisher.heartbeat()
        last = arrived(subscription, 3)[-1]
    assert last["uptime_s"] > first["uptime_s"]


def test_a_subscriber_outlives_its_publisher_and_hears_the_next() -> None:
    with Publisher(FREE_PORT) as first, subscribe(first.endpoint, timeout_s=0.1) as subscription:
        join(first, subscription, CLOSE)
        first.publish(CLOSE)
        (before,) = arrived(subscription, 1)
        first.__exit__(None, None, None)
        with Publisher(first.endpoint, requests=FREE_PORT) as second:
            join(second, subscription, CLOSE)
            second.publish(CLOSE)
            (after,) = arrived(subscription, 1)
    assert before["publisher"] != after["publisher"]


def test_the_iteration_ends_when_nothing_has_come_for_the_timeout() -> None:
    with Publisher(FREE_PORT) as publisher, subscribe(publisher.endpoint, timeout_s=0.01) as subscription:
        assert list(subscription) == []


def test_what_is_not_livespots_is_counted_and_left_out() -> None:
    rubbish = [
        [b"livespot.v1.cam1.event."],
        [b"livespot.v1.cam1.event.", b"{}", b"three"],
        [b"livespot.v1.cam1.event.", b"\xff\xfe"],
        [b"livespot.v1.cam1.event.", b"{'no': json}"],
        [b"livespot.v1.cam1.event.", b"[1, 2]"],
        [b"livespot.v1.cam1.event.", b"[" * 100_000],
        [b"livespot.v1.cam1.event.", b'{"schema": "livespot.v2", "kind": "event"}'],
        [b"livespot.v1.cam1.event.", b'{"schema": "livespot.v1"}'],
        fake("livespot", 0, "heartbeat", next=[1]),
        fake("livespot", 0, "heartbeat", next={"cam1": {"event": "many"}}),
        fake("livespot", 0, "heartbeat", requests=5557),
        fake("livespot", 0, "heartbeat", interval_s="soon"),
        [fake("cam1", 0)[0], fake("cam1", 0)[1].replace(b'"seq": 0', b'"seq": "0"')],
    ]
    good, end = (fake("cam1", seq) for seq in (0, 1))
    context = zmq.Context()
    pub = context.socket(zmq.PUB)
    port = pub.bind_to_random_port("tcp://127.0.0.1")
    try:
        with subscribe(f"tcp://127.0.0.1:{port}", timeout_s=0.1) as subscription:
            while next(subscription, None) is None:
                pub.send_multipart(good)
            for parts in (*rubbish, end):
                pub.send_multipart(parts)
            (last,) = arrived(subscription, 1)
    finally:
        context.destroy(linger=0)
    assert (last["seq"], subscription.malformed) == (1, len(rubbish))


def test_messages_of_kinds_yet_to_come_and_fields_yet_to_come_are_ignored() -> None:
    context = zmq.Context()
    pub = context.socket(zmq.PUB)
    port = pub.bind_to_random_port("tcp://127.0.0.1")
    try:
        with subscribe(f"tcp://127.0.0.1:{port}", timeout_s=0.1) as subscription:
            while (message := next(subscription, None)) is None:
                pub.send_multipart(fake("cam1", 0, "gaze"))
                pub.send_multipart(fake("cam1", 0, added_later={"a": [1]}))
    finally:
        context.destroy(linger=0)
    assert (message["kind"], message["added_later"], subscription.malformed) == ("event", {"a": [1]}, 0)


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with (
        Publisher(FREE_PORT) as first,
        pytest.raises(PublishError, match=rf"{first.endpoint} .*another program.*give another"),
        Publisher(first.endpoint, requests=FREE_PORT),
    ):
        pass


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("5556", "tcp://address:port"),
        ("tcp://127.0.0.1", "tcp://address:port"),
        ("tcp://127.0.0.1:99999", "port up to 65535"),
        ("udp://127.0.0.1:5556", "tcp://address:port"),
        ("tcp://192.0.2.1:5556", "no such address"),
        ("tcp://nowhere.invalid:5556", "no such address"),
        ("ipc:///no/such/folder/events", "folder does not exist"),
        ("ipc:///" + "long" * 50, "longer than"),
    ],
)
def test_an_endpoint_that_cannot_be_bound_is_refused_in_words(endpoint: str, words: str) -> None:
    with pytest.raises(PublishError, match=words), Publisher(endpoint, insecure=True):
        pass


@pytest.mark.parametrize("endpoint", ["5556", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:*"])
def test_an_endpoint_that_cannot_be_subscribed_to_is_refused_in_words(endpoint: str) -> None:
    with pytest.raises(PublishError, match="tcp://"), subscribe(endpoint):
        pass


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(PublishError, match=r"'events'.*event, gap, status, score, heartbeat"):
        subscribe("tcp://127.0.0.1:5556", kinds=("events",))  # type: ignore[arg-type]


def test_a_file_at_the_path_of_an_ipc_endpoint_is_not_deleted(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("precious", encoding="utf-8")
    with pytest.raises(PublishError, match="would delete it"), Publisher(f"ipc://{file}"):
        pass
    assert file.read_text(encoding="utf-8") == "precious"


def test_a_second_publisher_does_not_take_the_path_of_a_running_one(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/events"
    with Publisher(endpoint), pytest.raises(PublishError, match="another program"), Publisher(endpoint):
        pass


def test_the_path_of_a_publisher_that_died_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "events"))
    endpoint = f"ipc://{tmp_path}/events"
    with Publisher(endpoint) as publisher, subscribe(endpoint, timeout_s=0.1) as subscription:
        join(publisher, subscription, CLOSE)


def test_publishing_never_waits_for_a_subscriber_that_does_not_read() -> None:
    with joined(("status",)) as (publisher, _):
        for _ in range(30_000):
            publisher.publish(RUNNING)


def test_constructing_opens_nothing() -> None:
    publisher = Publisher("tcp://127.0.0.1:5556")
    with pytest.raises(PublishError, match="with Publisher"):
        publisher.publish(Status("cam1", "running", 0.0))
    with pytest.raises(PublishError, match="with subscribe"):
        next(subscribe("tcp://127.0.0.1:5556"))


def left_over() -> tuple[int, int]:
    """Open descriptors and native threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))


def test_leaving_closes_every_socket_and_thread() -> None:
    with joined():
        pass
    before = left_over()
    for _ in range(5):
        with joined():
            pass
        with pytest.raises(PublishError), Publisher("tcp://192.0.2.1:5556", insecure=True):
            pass
    give_up_s = time.monotonic() + PATIENCE_S
    while any(now > then for now, then in zip(left_over(), before, strict=True)):  # threads end a moment later
        assert time.monotonic() < give_up_s, (left_over(), before)


def test_an_error_inside_still_frees_the_port() -> None:
    publisher = Publisher(FREE_PORT)
    with pytest.raises(RuntimeError), publisher:
        raise RuntimeError
    with Publisher(publisher.endpoint, requests=FREE_PORT):
        pass


def test_ids_of_the_publisher_are_new_at_each_start() -> None:
    publishers: set[str] = set()
    for _ in range(3):
        with joined() as (publisher, subscription):
            publisher.publish(CLOSE)
            publishers |= {message["publisher"] for message in arrived(subscription, 1)}
    assert len(publishers) == 3
    assert all(uuid.UUID(hex=publisher).version == 4 for publisher in publishers)


def test_ipv6_works_where_the_machine_has_it() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"this machine has no IPv6 loopback: {error}")
    with Publisher("tcp://[::1]:*") as publisher, subscribe(publisher.endpoint, timeout_s=0.1) as subscription:
        join(publisher, subscription, CLOSE)


def test_ctrl_c_is_answered_while_waiting() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with subscribe("tcp://127.0.0.1:9") as subscription:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                next(subscription)
    finally:
        signal.signal(signal.SIGALRM, previous)
