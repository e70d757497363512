"""What peers may do to a publisher, over real sockets: ask, flood, send rubbish, stop reading."""

import json
import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from livespot.errors import PublishError
from livespot.publish import Message, Publisher, desk, subscribe
from livespot.publish import zmq as publishing
from livespot.publish.encoding import decode
from tests.publish.examples import CLOSE, OPEN, RUNNING
from tests.publish.test_zmq import FREE_PORT, PATIENCE_S, arrived

RUBBISH = 10_000


@contextmanager
def asking(publisher: Publisher, socket_type: int = zmq.DEALER) -> Iterator["zmq.Socket[bytes]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        one = context.socket(socket_type)
        one.connect(publisher.requests or "")
        yield one
    finally:
        context.destroy(linger=0)


def answered(one: "zmq.Socket[bytes]", request: Message | bytes, wait_ms: int = 10_000) -> Message:
    one.send(request if isinstance(request, bytes) else json.dumps(request).encode())
    assert one.poll(wait_ms), f"no answer to {request!r}"
    return decode(one.recv_multipart()[0])


@pytest.mark.parametrize("socket_type", [zmq.DEALER, zmq.REQ])
def test_a_request_is_answered_whichever_socket_asks(socket_type: int) -> None:
    with Publisher(FREE_PORT) as publisher, asking(publisher, socket_type) as one:
        publisher.publish(OPEN)
        for number in range(20):
            assert answered(one, {"request": "ping", "id": number})["id"] == number
        assert answered(one, {"request": "snapshot"})["topics"]["cam1"]["event"] == {"kept": 0, "next": 1}


def test_requests_are_answered_while_the_pipeline_is_busy() -> None:
    with Publisher(FREE_PORT) as publisher, asking(publisher) as one:
        assert answered(one, {"request": "time"})["reply"] == "time"  # and nothing is published meanwhile


def test_a_request_of_odd_parts_is_answered_with_an_error() -> None:
    with Publisher(FREE_PORT) as publisher, asking(publisher) as one:
        for parts in ([b"a", b"b"], [b"", b"a", b"b"], [b""], [b"", b""], [b"x"] * 100):
            one.send_multipart(parts)
            assert one.poll(10_000)
            assert b'"error"' in b"".join(one.recv_multipart())


def test_who_sends_something_huge_is_hung_up_on_and_others_notice_nothing() -> None:
    with Publisher(FREE_PORT) as publisher, asking(publisher) as bad, asking(publisher) as good:
        answered(bad, {"request": "ping"})
        bad.send(b"{" * 10_000_000)
        assert not bad.poll(200)
        assert answered(good, {"request": "ping"})["reply"] == "ping"


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_random_messages_disturb_nobody() -> None:
    with (
        Publisher(FREE_PORT, heartbeat_s=0.05) as publisher,
        subscribe(publisher.endpoint, timeout_s=0.1, past_s=60) as subscription,
        asking(publisher) as bad,
    ):
        draws = random.Random(5)
        rubbish = [draws.randbytes(draws.randrange(1, 200)) for _ in range(500)]
        answered(bad, b"?")
        before_mb = memory_mb()
        sent = [publisher.publish(CLOSE)]
        for number in range(RUBBISH):
            bad.send(rubbish[number % 500])  # which is made to wait
            while number % 100 == 0 and bad.poll(0):
                bad.recv_multipart()
            if number % 1000 == 0:
                sent.append(publisher.publish(CLOSE))
        heard = arrived(subscription, len(sent))
        with asking(publisher) as good:
            assert answered(good, {"request": "ping"})["reply"] == "ping"
    assert heard == sent
    assert memory_mb() - before_mb < 50


def test_publishing_is_not_slowed_by_a_flood_of_the_dearest_requests() -> None:
    over = threading.Event()

    def flood(endpoint: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        one = context.socket(zmq.DEALER)
        one.connect(endpoint)
        request = json.dumps({"request": "replay", "stream": "cam1", "kind": "event", "first": 0}).encode()
        while not over.is_set():
            if one.poll(1, zmq.POLLOUT):
                one.send(request)
        context.destroy(linger=0)

    with Publisher(FREE_PORT) as publisher:
        for _ in range(2000):
            publisher.publish(CLOSE)
        flooding = threading.Thread(target=flood, args=(publisher.requests,))
        flooding.start()
        try:
            costs_s = sorted(_cost_s(publisher) for _ in range(300))
        finally:
            over.set()
            flooding.join()
    assert costs_s[150] < 0.001  # 40 microseconds on an idle machine


def _cost_s(publisher: Publisher) -> float:
    begun_s = time.perf_counter()
    publisher.publish(CLOSE)
    cost_s = time.perf_counter() - begun_s
    time.sleep(0.001)
    return cost_s


def test_a_peer_that_asks_and_never_reads_is_given_no_memory() -> None:
    with Publisher(FREE_PORT) as publisher, asking(publisher) as deaf, asking(publisher) as good:
        for _ in range(1000):
            publisher.publish(CLOSE)
        answered(good, {"request": "ping"})
        deaf.rcvhwm = 1
        before_mb = memory_mb()
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s:
            if deaf.poll(1, zmq.POLLOUT):
                deaf.send(b'{"request": "replay", "stream": "cam1", "kind": "event", "first": 0}')
        assert answered(good, {"request": "ping"})["reply"] == "ping"
    assert memory_mb() - before_mb < 100


def test_a_new_subscriber_is_sent_the_last_status_at_once() -> None:
    with zmq.Context() as context, Publisher(FREE_PORT) as publisher:
        publisher.publish(RUNNING)
        with context.socket(zmq.SUB) as first, context.socket(zmq.SUB) as second:
            for sub in (first, second):  # who subscribes to what another did already
                sub.subscribe(b"livespot.v1.cam1.status.")
                sub.connect(publisher.endpoint)
                assert sub.poll(10_000)
                assert decode(sub.recv_multipart()[1])["state"] == "running"


def test_subscribing_over_and_over_is_answered_in_turns() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with Publisher(FREE_PORT) as publisher:
            publisher.publish(RUNNING)
            sub = context.socket(zmq.SUB)
            sub.connect(publisher.endpoint)
            begun_s = time.monotonic()
            for _ in range(20_000):
                sub.subscribe(b"livespot.")
                sub.unsubscribe(b"livespot.")
            with asking(publisher) as good:
                assert answered(good, {"request": "ping"})["reply"] == "ping"
            turns = (time.monotonic() - begun_s) / desk.PAUSE_S + 1
            heard = 0
            while sub.poll(50):
                sub.recv_multipart()
                heard += 1
            assert heard <= 2 * turns  # a status and a heartbeat each
    finally:
        context.destroy(linger=0)


def test_an_error_of_the_sending_thread_reaches_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    with Publisher(FREE_PORT) as publisher:
        give_up_s = time.monotonic() + PATIENCE_S
        monkeypatch.setattr(desk.Desk, "_send", _broken)

        def publish_on() -> None:
            while time.monotonic() < give_up_s:
                publisher.publish(RUNNING)

        with pytest.raises(Exception, match=r"sends no more.*broken"):
            publish_on()


def _broken(*_: object) -> None:
    raise RuntimeError("broken")


def test_a_flood_of_subscriptions_is_cut_off_and_the_others_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "MAX_FULL_TURNS", 2)
    reopened: list[None] = []
    reopen = desk.Desk._reopen
    monkeypatch.setattr(desk.Desk, "_reopen", lambda self: reopened.append(reopen(self)))
    with (
        Publisher(FREE_PORT, heartbeat_s=0.05) as publisher,
        subscribe(publisher.endpoint, timeout_s=0.05, past_s=60) as subscription,
        zmq.Context() as context,
        context.socket(zmq.XSUB) as bad,
    ):
        bad.linger = 0
        bad.connect(publisher.endpoint)
        sent, heard = [publisher.publish(CLOSE)], []
        give_up_s = time.monotonic() + PATIENCE_S
        while not reopened and time.monotonic() < give_up_s:
            for number in range(5000):
                bad.send(bytes([number % 2]) + b"livespot.")
            sent.append(publisher.publish(CLOSE))
            heard += [message for message in [next(subscription, None)] if message]
        while len(heard) < len(sent) and time.monotonic() < give_up_s:
            publisher.heartbeat()
            heard += [message for message in [next(subscription, None)] if message]
    assert reopened
    assert heard == sent


def test_a_publisher_whose_place_stays_taken_says_so_and_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "REOPEN_S", 0.05)
    monkeypatch.setattr(desk.Desk, "_welcome", lambda self: self._sockets.reopen())  # where the first socket still is
    publisher = Publisher(FREE_PORT).__enter__()

    def publish_on() -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_s:
            _cost_s(publisher)

    with subscribe(publisher.endpoint), pytest.raises(PublishError, match=r"sends no more.*Address already in use"):
        publish_on()
    leaving = threading.Thread(target=publisher.__exit__, args=(None, None, None), daemon=True)
    leaving.start()
    leaving.join(5.0)
    assert not leaving.is_alive()


GREETING = b"\xff" + bytes(7) + b"\x01\x7f\x03\x01NULL" + bytes(48)


def test_what_does_not_speak_zeromq_disturbs_nobody() -> None:
    draws = random.Random(9)
    beginnings = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        GREETING[:20],
        GREETING,
        GREETING + b"\x04\x19\x05READY\x0bSocket-Type",
    ]
    with Publisher(FREE_PORT) as publisher, subscribe(publisher.endpoint, timeout_s=0.1, past_s=60) as subscription:
        sent = []
        for number in range(200):
            endpoint = publisher.endpoint if number % 2 else publisher.requests or ""
            with socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])), timeout=10) as raw:
                raw.sendall(draws.choice(beginnings) + draws.randbytes(draws.randrange(300)))
                if number % 3 == 0:  # hang up without a word
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sent.append(publisher.publish(CLOSE))
        assert arrived(subscription, len(sent)) == sent
        with asking(publisher) as good:
            assert answered(good, {"request": "ping"})["reply"] == "ping"
