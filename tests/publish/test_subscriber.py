"""Late, lossy and lonely subscribers, over real sockets."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

import livespot
from livespot.errors import PublishError
from livespot.publish import Message, Publisher, Subscription, link, subscribe, subscribe_async
from livespot.publish import zmq as zmq_
from livespot.publish.encoding import Encoding
from livespot.publish.follower import Notice
from livespot.publish.messages import Kind
from livespot.records import Event
from tests.publish.examples import CLOSE, OPEN, RUNNING
from tests.publish.test_zmq import FREE_PORT, PATIENCE_S, arrived, fake

ROOT = Path(__file__).parents[2]


@contextmanager
def bound(socket_type: int) -> Iterator[tuple["zmq.Socket[bytes]", str]]:
    """A socket that is no livespot's, and its endpoint."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        one = context.socket(socket_type)
        port = one.bind_to_random_port("tcp://127.0.0.1")
        yield one, f"tcp://127.0.0.1:{port}"
    finally:
        context.destroy(linger=0)


def kept_alive(publisher: Publisher, subscription: Subscription, count: int) -> list[Message]:
    """The next `count` messages of a publisher whose heart beats."""
    heard: list[Message] = []
    give_up_s = time.monotonic() + PATIENCE_S
    while len(heard) < count and time.monotonic() < give_up_s:
        publisher.heartbeat()
        heard += [message for message in [next(subscription, None)] if message]
    return heard


def numbered(number: int) -> Event:
    return replace(OPEN, id=f"e{number}")


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_who_joins_late_is_told_the_state_then_what_comes_without_a_hole(encoding: Encoding) -> None:
    with Publisher(FREE_PORT, encoding=encoding) as publisher:
        state = [publisher.publish(record) for record in (RUNNING, OPEN)]
        with subscribe(publisher.endpoint, ("event", "status"), timeout_s=0.1) as subscription:
            assert arrived(subscription, 2) == state
            sent = [publisher.publish(numbered(number)) for number in range(100)]
            assert arrived(subscription, 100) == sent


def test_who_joins_while_much_is_published_misses_nothing_and_hears_nothing_twice() -> None:
    with Publisher(FREE_PORT) as publisher:
        sent = [publisher.publish(CLOSE) for _ in range(50)]
        with subscribe(publisher.endpoint, timeout_s=0, past_s=float("inf")) as subscription:
            heard: list[Message] = []
            for _ in range(1000):
                sent.append(publisher.publish(CLOSE))
                heard += [message for message in [next(subscription, None)] if message]
            give_up_s = time.monotonic() + PATIENCE_S
            while len(heard) < len(sent) and time.monotonic() < give_up_s:
                heard += [message for message in [next(subscription, None)] if message]
        assert heard == sent
        assert subscription.lost == 0


def test_a_subscriber_that_did_not_read_in_time_is_given_again_what_was_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zmq_, "SEND_QUEUE_MESSAGES", 100)
    monkeypatch.setattr(link, "RECEIVE_QUEUE_MESSAGES", 100)
    with (
        Publisher(FREE_PORT, heartbeat_s=1e-9, keep=20_000) as publisher,
        subscribe(publisher.endpoint, timeout_s=0.1, past_s=60) as subscription,
    ):
        sent = [publisher.publish(CLOSE)]
        heard = arrived(subscription, 1)
        for number in range(15_000):  # ten times what the network holds
            sent.append(publisher.publish(CLOSE))
            if number % 500 == 0:
                time.sleep(0.01)
        heard += kept_alive(publisher, subscription, len(sent) - 1)
    assert heard == sent
    assert subscription.lost == 0


def test_a_publisher_started_anew_at_the_same_place_is_told_and_followed() -> None:
    kinds: tuple[Kind | Notice, ...] = ("event", "restart")
    with Publisher(FREE_PORT) as first, subscribe(first.endpoint, kinds, timeout_s=0.1, past_s=60) as subscription:
        sent = [first.publish(OPEN)]
        assert arrived(subscription, 1) == sent
        first.__exit__(None, None, None)
        with Publisher(first.endpoint, heartbeat_s=0.05, requests=FREE_PORT) as second:
            sent = [second.publish(CLOSE) for _ in range(3)]
            restart, *after = kept_alive(second, subscription, 4)
    assert (restart["kind"], after) == ("restart", sent)


def test_the_asyncio_twin_tells_the_same() -> None:
    async def listen(endpoint: str, count: int) -> list[Message]:
        async with livespot.subscribe_async(endpoint, ("event",), timeout_s=PATIENCE_S, past_s=60) as events:
            return [await anext(events) for _ in range(count)]

    with Publisher(FREE_PORT) as publisher:
        sent = [publisher.publish(numbered(number)) for number in range(300)]
        assert asyncio.run(listen(publisher.endpoint, 300)) == sent


def test_the_asyncio_twin_leaves_the_loop_free() -> None:
    async def listen(publisher: Publisher) -> tuple[Message, Message]:
        async def publish() -> Message:
            await asyncio.sleep(0.1)
            return publisher.publish(OPEN)

        async with subscribe_async(publisher.endpoint, timeout_s=PATIENCE_S) as events:
            publishing = asyncio.create_task(publish())  # in the same loop: nothing would be heard if it were held up
            return await anext(events), await publishing

    with Publisher(FREE_PORT) as publisher:
        heard, sent = asyncio.run(listen(publisher))
    assert heard == sent


def test_the_asyncio_twin_ends_after_its_timeout() -> None:
    async def listen(endpoint: str) -> list[Message]:
        async with subscribe_async(endpoint, timeout_s=0.3) as events:
            return [message async for message in events]

    with Publisher(FREE_PORT) as publisher:
        assert asyncio.run(listen(publisher.endpoint)) == []


def test_a_connected_publisher_that_gives_no_sign_of_life_is_told() -> None:
    with (
        Publisher(FREE_PORT, heartbeat_s=0.05) as publisher,
        subscribe(publisher.endpoint, silence_s=0.3) as subscription,
        pytest.raises(PublishError, match=r"no sign of life for 0.3 s"),
    ):
        next(subscription)


def test_repeated_messages_are_no_sign_of_life() -> None:
    with (
        Publisher(FREE_PORT, heartbeat_s=0.05) as publisher,
        subscribe(publisher.endpoint, silence_s=0.5, timeout_s=0) as subscription,
    ):
        publisher.publish(RUNNING)

        def listen_while_others_come() -> None:
            give_up_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < give_up_s:
                with subscribe(publisher.endpoint, timeout_s=0.05) as other:  # the last status is repeated for it
                    next(other, None)
                next(subscription, None)

        with pytest.raises(PublishError, match="no sign of life"):
            listen_while_others_come()


def test_heartbeats_alone_are_a_sign_of_life() -> None:
    with (
        Publisher(FREE_PORT, heartbeat_s=0.05) as publisher,
        subscribe(publisher.endpoint, silence_s=0.4, timeout_s=0.05) as subscription,
    ):
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s:
            publisher.heartbeat()
            assert next(subscription, None) is None


def test_a_publisher_that_is_not_there_yet_is_waited_for() -> None:
    with bound(zmq.PUB) as (_, endpoint):
        pass
    with subscribe(endpoint, timeout_s=0.5, silence_s=0.1) as subscription:
        assert next(subscription, None) is None
        with Publisher(endpoint, requests=FREE_PORT) as publisher:
            sent = publisher.publish(OPEN)
            assert arrived(subscription, 1) == [sent]


def test_a_publisher_that_speaks_another_version_is_told() -> None:
    with bound(zmq.PUB) as (pub, endpoint), subscribe(endpoint, timeout_s=0.05) as subscription:

        def listen() -> None:
            give_up_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < give_up_s:
                pub.send_multipart([b"livespot.v3.livespot.heartbeat.", b"\x01\x02"])
                next(subscription, None)

        with pytest.raises(PublishError, match=r"speaks livespot\.v3, this is livespot\.v1"):
            listen()


def test_a_publisher_that_speaks_this_version_too_is_followed() -> None:
    with bound(zmq.PUB) as (pub, endpoint), subscribe(endpoint, timeout_s=0.05) as subscription:
        until_s = time.monotonic() + 1.5
        heard = None
        while time.monotonic() < until_s:
            pub.send_multipart([b"livespot.v3.livespot.heartbeat.", b"\x01\x02"])
            pub.send_multipart(fake("cam1", 0))
            heard = heard or next(subscription, None)
    assert heard


WITH_A_FULL_QUEUE = """
import subprocess, sys, time
from livespot.publish import link, subscribe
link.RECEIVE_QUEUE_MESSAGES = 10
publisher = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
with subscribe(publisher.stdout.readline().strip(), timeout_s=0.3) as messages:
    while next(messages, None) is None:
        pass
    time.sleep(1.5)  # its queue is full long before
    publisher.kill()
    publisher.communicate()
    time.sleep(1.2)  # longer than the interval of ZeroMQ's heartbeat was
    print(sum(1 for _ in messages))
"""

PUBLISHER = """
import time
from livespot.publish import Publisher
from tests.publish.examples import CLOSE
with Publisher("tcp://127.0.0.1:*") as publisher:
    print(publisher.endpoint, flush=True)
    give_up_s = time.monotonic() + 120
    while time.monotonic() < give_up_s:
        for _ in range(200):
            publisher.publish(CLOSE)
        publisher.heartbeat()
        time.sleep(0.01)
"""


def test_a_subscriber_with_a_full_queue_outlives_its_publisher() -> None:
    command = [sys.executable, "-c", WITH_A_FULL_QUEUE, PUBLISHER]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
