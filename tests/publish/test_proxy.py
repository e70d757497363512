"""Several publishers under one endpoint, over real sockets."""

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import zmq

from livespot.errors import PublishError
from livespot.publish import Message, Publisher, Subscription, proxy, schema, subscribe
from livespot.publish.encoding import encoder
from livespot.publish.follower import Notice
from livespot.publish.keys import client_keys, generate
from livespot.publish.messages import KINDS, Kind, Moment, body, envelope
from livespot.publish.proxy import Proxy, Upstream
from livespot.records import Event
from tests.publish.examples import CLOSE, OPEN, RUNNING
from tests.publish.places import free_place
from tests.publish.test_zmq import FREE_PORT, PATIENCE_S

ROOT = Path(__file__).parents[2]
EVERY: tuple[Kind | Notice, ...] = ("event", "status", "lost", "restart")


@contextmanager
def passing(
    *upstreams: Upstream, publisher: Publisher | None = None, past_s: float = 60.0, silence_s: float = 15.0
) -> Iterator[str]:
    """The endpoint of a proxy that runs in a thread of its own."""
    over, ready = threading.Event(), threading.Event()
    publisher = publisher or Publisher(FREE_PORT, heartbeat_s=0.2)

    def run() -> None:
        with publisher, Proxy(publisher, upstreams, past_s, silence_s) as one:
            ready.set()
            while not over.is_set():
                one.turn()
                one.wait()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield publisher.endpoint
    finally:
        over.set()
        thread.join()


def of(source: str, number: int = 0) -> Event:
    return replace(OPEN, source=source, id=f"e{number}")


def heard(
    subscription: Subscription, publishers: list[Publisher], enough: Callable[[list[Message]], bool]
) -> list[Message]:
    """What is told until it is enough, while the publishers' hearts beat."""
    messages: list[Message] = []
    give_up_s = time.monotonic() + PATIENCE_S
    while not enough(messages) and time.monotonic() < give_up_s:
        for publisher in publishers:
            publisher.heartbeat()
        messages += [message for message in [next(subscription, None)] if message]
    return messages


def events(messages: list[Message], stream: str) -> list[Message]:
    return [message for message in messages if (message["kind"], message["stream"]) == ("event", stream)]


def states(messages: list[Message], name: str) -> list[str]:
    return [message["state"] for message in messages if (message["kind"], message["stream"]) == ("status", name)]


def running(*names: str) -> Callable[[list[Message]], bool]:
    return lambda messages: all("running" in states(messages, name) for name in names)


@pytest.fixture
def door() -> Iterator[Publisher]:
    with Publisher(FREE_PORT, heartbeat_s=0.2) as publisher:
        yield publisher


@pytest.fixture
def desk() -> Iterator[Publisher]:
    with Publisher(FREE_PORT, heartbeat_s=0.2) as publisher:
        yield publisher


def test_two_machines_are_heard_at_one_endpoint_each_message_once_and_unchanged(
    door: Publisher, desk: Publisher
) -> None:
    with (
        passing(Upstream("door", door.endpoint), Upstream("desk", desk.endpoint)) as endpoint,
        subscribe(endpoint, EVERY, timeout_s=0.1) as subscription,
    ):
        heard(subscription, [door, desk], running("door", "desk"))
        sent = [
            [one.publish(of(name, number)) for number in range(300)] for name, one in (("cam1", door), ("cam2", desk))
        ]
        messages = heard(subscription, [door, desk], lambda messages: len(messages) >= 600)
    assert [events(messages, "cam1"), events(messages, "cam2")] == sent
    assert len(messages) == 600
    assert subscription.lost == 0


def test_every_message_of_a_proxy_follows_the_schema_and_names_the_machine(door: Publisher) -> None:
    with (
        passing(Upstream("door", door.endpoint)) as endpoint,
        subscribe(endpoint, KINDS, timeout_s=0.1) as subscription,
    ):
        sent = door.publish(RUNNING)
        messages = heard(subscription, [door], lambda messages: sum("upstream" in one for one in messages) > 3)
        requests = {one["requests"] for one in messages if one["kind"] == "heartbeat"}
    for message in messages:
        jsonschema.Draft202012Validator(schema()).validate(message)
    assert {one["upstreams"]["door"] for one in messages if "upstreams" in one} >= {sent["publisher"]}
    assert {(one["upstream"], one["publisher"]) for one in messages if "upstream" in one} == {
        ("door", sent["publisher"])
    }
    assert len(requests) == 1
    assert requests != {door.requests}


def test_who_joins_late_is_told_the_state_of_every_machine_and_the_past_that_passed(
    door: Publisher, desk: Publisher
) -> None:
    with passing(Upstream("door", door.endpoint), Upstream("desk", desk.endpoint)) as endpoint:
        with subscribe(endpoint, EVERY, timeout_s=0.1) as early:
            door.publish(RUNNING)
            sent = [
                door.publish(of("cam1")),
                desk.publish(of("cam2")),
                desk.publish(replace(CLOSE, source="cam2", id="e0")),
            ]
            heard(early, [door, desk], lambda messages: len(events(messages, "cam1") + events(messages, "cam2")) == 3)
        with subscribe(endpoint, ("event", "status"), timeout_s=0.1) as late:
            told = heard(late, [door, desk], lambda messages: len(messages) == 4)
        with subscribe(endpoint, ("event", "lost"), timeout_s=0.1, past_s=60) as past:
            replayed = heard(past, [door, desk], lambda messages: len(messages) == 3)
    assert events(told, "cam1") == sent[:1]
    assert {message["stream"] for message in told if message["kind"] == "status"} == {"cam1", "door", "desk"}
    assert [events(replayed, "cam1"), events(replayed, "cam2")] == [sent[:1], sent[1:]]


def test_what_a_machine_published_before_the_proxy_came_is_had_from_it(door: Publisher) -> None:
    sent = [door.publish(of("cam1", number)) for number in range(1200)]
    with (
        passing(Upstream("door", door.endpoint)) as endpoint,
        subscribe(endpoint, ("event", "lost"), timeout_s=0.1, past_s=60) as subscription,
    ):
        messages = heard(subscription, [door], lambda messages: len(messages) >= 1200)
    assert messages == sent


def test_what_the_proxy_keeps_no_more_is_told_exactly(door: Publisher) -> None:
    keeping = Publisher(FREE_PORT, heartbeat_s=0.2, keep=3)
    with passing(Upstream("door", door.endpoint), publisher=keeping) as endpoint:
        with subscribe(endpoint, EVERY, timeout_s=0.1) as early:
            heard(early, [door], running("door"))
            sent = [door.publish(replace(CLOSE, source="cam1")) for _ in range(10)]
            heard(early, [door], lambda messages: len(events(messages, "cam1")) >= 10)
        with subscribe(endpoint, ("event", "lost"), timeout_s=0.1, past_s=60) as late:
            lost, *rest = heard(late, [door], lambda messages: len(messages) == 4)
    assert (lost["of"], lost["first"], lost["last"], rest) == ("event", 0, 6, sent[7:])


def test_a_plain_reader_asks_for_all_machines_at_once(door: Publisher, desk: Publisher) -> None:
    with (
        passing(Upstream("door", door.endpoint), Upstream("desk", desk.endpoint)) as endpoint,
        subscribe(endpoint, KINDS, timeout_s=0.1) as subscription,
        zmq.Context() as context,
        context.socket(zmq.REQ) as requests,
    ):
        sent = door.publish(of("cam1")), desk.publish(of("cam2"))
        messages = heard(subscription, [door, desk], lambda all_: all(events(all_, name) for name in ("cam1", "cam2")))
        requests.rcvtimeo, requests.linger = int(1000 * PATIENCE_S), 0
        requests.connect(next(one["requests"] for one in messages if one["kind"] == "heartbeat"))
        requests.send_json({"request": "snapshot"})
        head = requests.recv_json()
        requests.recv_multipart() if requests.rcvmore else None
        requests.send_json({"request": "replay", "stream": "cam2", "kind": "event", "first": 0})
        answer = requests.recv_json()
        replayed = requests.recv_json()
        requests.send_json({"request": "snapshot", "publisher": "f" * 32})
        refused = requests.recv_json()
    assert isinstance(head, dict) and isinstance(answer, dict) and isinstance(refused, dict)
    assert head["topics"]["cam1"]["event"] == head["topics"]["cam2"]["event"] == {"kept": 0, "next": 1}
    assert (answer["missing"], replayed) == (None, sent[1])
    assert (refused["reply"], refused["error"][:17]) == ("error", "no such publisher")


MACHINE = """
import sys, time
from dataclasses import replace
from livespot.publish import Publisher
from tests.publish.examples import OPEN
with Publisher(sys.argv[1], heartbeat_s=0.1) as publisher:
    number = 0
    while True:
        publisher.publish(replace(OPEN, source=sys.argv[2], id=f"e{number}"))
        publisher.heartbeat()
        number += 1
        time.sleep(0.01)
"""


def machine(endpoint: str, source: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", MACHINE, endpoint, source], cwd=ROOT)


def test_a_machine_that_is_killed_and_started_anew_is_told_and_the_others_go_on(
    desk: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "RETRY_S", 0.2)
    place = free_place()
    first = machine(place, "cam1")
    second = None
    try:
        with (
            passing(Upstream("door", place), Upstream("desk", desk.endpoint)) as endpoint,
            subscribe(endpoint, EVERY, timeout_s=0.1, past_s=60) as subscription,
        ):
            messages = heard(subscription, [desk], lambda messages: len(events(messages, "cam1")) > 50)
            first.kill()
            messages += heard(subscription, [desk], lambda messages: "waiting" in states(messages, "door"))
            sent = [desk.publish(of("cam2", number)) for number in range(20)]
            messages += heard(subscription, [desk], lambda messages: len(events(messages, "cam2")) == 20)
            second = machine(place, "cam1")
            messages += heard(
                subscription,
                [desk],
                lambda messages: len(events(messages, "cam1")) > 50 and "running" in states(messages, "door"),
            )
    finally:
        for one in (first, second):
            if one:
                one.kill()
                one.wait()
    restart = next(message for message in messages if message["kind"] == "restart")
    before = [message["seq"] for message in events(messages, "cam1") if message["publisher"] == restart["before"]]
    after = [message["seq"] for message in events(messages, "cam1") if message["publisher"] == restart["publisher"]]
    assert restart["upstream"] == "door"
    assert (before, after) == (list(range(len(before))), list(range(len(after))))
    assert len(before) + len(after) == len(events(messages, "cam1"))
    assert events(messages, "cam2") == sent
    assert [message for message in messages if message["kind"] == "lost"] == []
    assert states(messages, "door")[-2:] == ["waiting", "running"]


def test_a_machine_that_comes_when_others_are_followed_already_is_told_from_its_first_message(door: Publisher) -> None:
    place = free_place()
    with (
        passing(Upstream("door", door.endpoint), Upstream("desk", place)) as endpoint,
        subscribe(endpoint, EVERY, timeout_s=0.1) as subscription,
    ):
        heard(subscription, [door], running("door"))
        with Publisher(place, heartbeat_s=0.2) as late:
            sent = [late.publish(of("cam2", number)) for number in range(20)]
            messages = heard(subscription, [door, late], lambda messages: len(events(messages, "cam2")) >= 20)
    assert events(messages, "cam2") == sent
    assert {message["kind"] for message in messages} == {"event", "status"}


@contextmanager
def proxy_process(endpoint: str, *upstreams: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "livespot", "proxy", "--listen", endpoint, *upstreams, "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stderr
            assert "passing on door" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def test_a_proxy_that_is_killed_and_started_anew_leaves_no_hole(door: Publisher) -> None:
    place = free_place()
    with subscribe(place, EVERY, timeout_s=0.1) as subscription:
        with proxy_process(place, "--from", f"door={door.endpoint}"):
            heard(subscription, [door], running("door"))
            sent = [door.publish(of("cam1", number)) for number in range(50)]
            messages = heard(subscription, [door], lambda messages: len(events(messages, "cam1")) >= 50)
        sent += [door.publish(of("cam1", number)) for number in range(50, 100)]
        with proxy_process(place, "--from", f"door={door.endpoint}"):
            sent += [door.publish(of("cam1", number)) for number in range(100, 150)]
            messages += heard(subscription, [door], lambda messages: len(events(messages, "cam1")) >= 100)
    assert events(messages, "cam1") == sent
    assert [message.get("upstream") for message in messages if message["kind"] == "restart"] == [None]
    assert subscription.lost == 0


def test_a_stream_of_a_name_that_another_machine_has_is_left_out_with_a_word(door: Publisher, desk: Publisher) -> None:
    with (
        passing(Upstream("door", door.endpoint), Upstream("desk", desk.endpoint)) as endpoint,
        subscribe(endpoint, EVERY, timeout_s=0.1) as subscription,
    ):
        sent = [door.publish(of("cam1", number)) for number in range(5)]
        messages = heard(subscription, [door, desk], lambda all_: len(events(all_, "cam1")) == 5)
        desk.publish(of("cam1"))
        messages += heard(
            subscription, [door, desk], lambda all_: any("left out" in one.get("detail", "") for one in all_)
        )
        assert messages[-1]["detail"] == "cam1 is left out, door has a stream of that name: rename one"
        after = heard(subscription, [door, desk], lambda all_: len(all_) > 0 or door.publish(of("cam3")) is None)
    assert {message["stream"] for message in after} == {"cam3"}
    assert subscription.lost == 0
    assert events(messages, "cam1") == sent


def pairs(folder: Path, *names: str) -> dict[str, tuple[Path, Path]]:
    """Public and secret file of each."""
    return {name: generate(folder, name) for name in names}


def allowed(folder: Path, *public: Path) -> Path:
    folder.mkdir()
    for file in public:
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_keys_hold_on_both_sides_of_a_proxy(tmp_path: Path) -> None:
    keys = pairs(tmp_path, "machine", "proxy", "reader", "stranger")
    at_machine = allowed(tmp_path / "at_machine", keys["proxy"][0])
    at_proxy = allowed(tmp_path / "at_proxy", keys["reader"][0])
    guarded = Publisher(FREE_PORT, heartbeat_s=0.2, key=keys["proxy"][1], allowed_keys=at_proxy)
    with Publisher(FREE_PORT, heartbeat_s=0.2, key=keys["machine"][1], allowed_keys=at_machine) as door:
        upstream = Upstream("door", door.endpoint, client_keys(keys["proxy"][1], keys["machine"][0]))
        with passing(upstream, publisher=guarded) as endpoint:
            sent = door.publish(of("cam1"))
            server = keys["proxy"][0]
            with subscribe(endpoint, timeout_s=0.1, past_s=60, key=keys["reader"][1], server_key=server) as reader:
                assert heard(reader, [door], bool) == [sent]
            key = keys["stranger"][1]
            with (
                subscribe(endpoint, timeout_s=PATIENCE_S, key=key, server_key=server) as stranger,
                pytest.raises(PublishError, match="refuses this key"),
            ):
                next(stranger)
            with subscribe(endpoint, timeout_s=PATIENCE_S) as plain, pytest.raises(PublishError, match="hangs up"):
                next(plain)


def test_a_machine_that_refuses_the_proxys_key_is_told_until_it_lets_it_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "RETRY_S", 0.2)
    keys = pairs(tmp_path, "machine", "proxy")
    folder = allowed(tmp_path / "allowed")
    with Publisher(FREE_PORT, heartbeat_s=0.2, key=keys["machine"][1], allowed_keys=folder) as door:
        upstream = Upstream("door", door.endpoint, client_keys(keys["proxy"][1], keys["machine"][0]))
        with passing(upstream) as endpoint, subscribe(endpoint, EVERY, timeout_s=0.1) as subscription:
            messages = heard(subscription, [door], lambda messages: "stalled" in states(messages, "door"))
            assert "refuses this key" in messages[-1]["detail"]
            (folder / "proxy.key").write_bytes(keys["proxy"][0].read_bytes())
            heard(subscription, [door], running("door"))
            sent = door.publish(of("cam1"))
            assert heard(subscription, [door], bool) == [sent]


def test_a_machine_that_hangs_is_told_as_stalled(door: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "RETRY_S", 0.2)
    with (
        passing(Upstream("door", door.endpoint), silence_s=0.3) as endpoint,
        subscribe(endpoint, EVERY, timeout_s=0.1) as subscription,
    ):
        heard(subscription, [door], running("door"))
        messages = heard(subscription, [], lambda messages: "stalled" in states(messages, "door"))
        assert "no sign of life" in messages[-1]["detail"]
        heard(subscription, [door], running("door"))


def test_a_proxy_behind_a_proxy_is_refused_with_a_word(door: Publisher) -> None:
    with (
        passing(Upstream("door", door.endpoint)) as inner,
        passing(Upstream("inner", inner)) as endpoint,
        subscribe(endpoint, EVERY, timeout_s=0.1) as subscription,
    ):
        messages = heard(subscription, [door], lambda messages: "stalled" in states(messages, "inner"))
    assert "is a proxy itself" in messages[-1]["detail"]


CLOSED = envelope("odd", 0, Moment(2000.0, 1.8e9), body(CLOSE, Moment(2000.0, 1.8e9)))
UNSOUND = [
    encoder("json")(CLOSED | {"seq": 0, "phase": None}),
    encoder("json")({name: value for name, value in CLOSED.items() if name != "id"} | {"seq": 1}),
    encoder("json")(CLOSED | {"seq": 2, "utc": 0}),
    json.dumps(CLOSED | {"seq": 3, "confidence": math.nan}).encode(),
    encoder("msgpack")(CLOSED | {"seq": 4, "detail": b"\xff"}),
]
"""Each of them has what a follower looks at."""


@contextmanager
def machine_that_says(contents: list[bytes]) -> Iterator[str]:
    """The endpoint of one that answers no requests, and says this once it is heard."""
    over = threading.Event()
    with zmq.Context() as context, context.socket(zmq.XPUB) as pub:
        port = pub.bind_to_random_port("tcp://127.0.0.1")

        def run() -> None:
            while not over.is_set() and b"heartbeat" not in (pub.recv() if pub.poll(20) else b""):
                pass
            for content in contents:
                pub.send_multipart([b"livespot.v1.cam1.event.", content])
            over.wait()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{port}"
        finally:
            over.set()
            thread.join()


def test_what_a_machine_says_wrongly_is_left_out_and_the_rest_goes_on(door: Publisher) -> None:
    sound = CLOSED | {"seq": len(UNSOUND), "next": "a field of a later livespot"}
    with (
        machine_that_says([*UNSOUND, encoder("json")(sound)]) as endpoint,
        passing(Upstream("odd", endpoint), Upstream("door", door.endpoint)) as proxied,
        subscribe(proxied, EVERY, timeout_s=0.1, past_s=60) as subscription,
    ):
        messages = heard(subscription, [door], lambda messages: len(events(messages, "cam1")) > 0)
        sent = door.publish(of("cam2"))
        after = heard(subscription, [door], lambda messages: len(events(messages, "cam2")) > 0)
    assert events(messages, "cam1") == [sound]
    assert events(after, "cam2") == [sent]


@pytest.mark.parametrize("names", [("door", "door"), ("livespot", "desk")])
def test_machines_need_names_of_their_own(names: tuple[str, str]) -> None:
    with pytest.raises(PublishError, match="give each a name of its own"):
        Proxy(Publisher(FREE_PORT), [Upstream(name, "tcp://127.0.0.1:1") for name in names], 0.0, 1.0)
