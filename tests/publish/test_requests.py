"""Questions and answers, without sockets."""

import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livespot.publish.archive import Archive, Sent
from livespot.publish.archives import Archives
from livespot.publish.encoding import Encoding, decode, encoder
from livespot.publish.messages import Message, Moment, body, envelope, metrics, schema, topic
from livespot.publish.requests import MAX_ID, MAX_REQUEST_BYTES, Answers
from tests.publish.examples import CLOSE, MEASURED, OPEN, RUNNING

NOW = Moment(monotonic_s=1000.25, utc_s=1_800_000_000.5)
PUBLISHER = "0" * 32


def archive(encoding: Encoding = "json") -> Archives:
    """Three messages of cam1: a status, an event that opens and closes."""
    own = Archive(100)
    own.metrics = metrics(MEASURED, NOW)
    kept = Archives(PUBLISHER, own, 100)
    for seq, record in ((0, RUNNING), (0, OPEN), (1, CLOSE)):
        message = envelope(PUBLISHER, seq, NOW, body(record, NOW))
        kept.push(Sent(topic("cam1", message["kind"]), encoder(encoding)(message), message, NOW.utc_s))
    return kept


def ask(request: Any, encoding: Encoding = "json") -> tuple[Message, list[Message]]:
    content = request if isinstance(request, bytes) else encoder(encoding)(request)
    head, *contents = Answers(PUBLISHER, encoder(encoding)).answer(content, archive(encoding), NOW)
    answer = decode(head)
    validator("answer").validate(answer)
    assert answer["count"] == len(contents)
    return answer, [decode(one) for one in contents]


def validator(name: str) -> jsonschema.Draft202012Validator:
    whole = schema()
    return jsonschema.Draft202012Validator({"$defs": whole["$defs"], "$ref": f"#/$defs/{name}"})


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_snapshot_tells_the_numbers_of_every_topic_and_gives_its_state(encoding: Encoding) -> None:
    head, messages = ask({"request": "snapshot", "id": 7}, encoding)
    assert (head["reply"], head["id"], head["publisher"]) == ("snapshot", 7, PUBLISHER)
    assert head["topics"] == {"cam1": {"status": {"kept": 0, "next": 1}, "event": {"kept": 0, "next": 2}}}
    assert [message["kind"] for message in messages] == ["status"]


def test_a_replay_gives_messages_as_they_were_published() -> None:
    request = {"request": "replay", "id": "a", "stream": "cam1", "kind": "event", "first": 0}
    head, messages = ask(request)
    assert (head["first"], head["missing"], head["resume"], head["id"]) == (0, None, None, "a")
    assert [message["phase"] for message in messages] == ["open", "close"]
    for message in messages:
        jsonschema.Draft202012Validator(schema()).validate(message)
    assert [message["phase"] for message in ask(request | {"last": 0})[1]] == ["open"]


@pytest.mark.parametrize(
    "since", ["2027-01-15T08:00:00.500000Z", "2027-01-15T08:00:00.500Z", "2027-01-15T09:00:00+01:00"]
)
def test_a_replay_since_a_time_takes_it_as_messages_and_other_languages_write_it(since: str) -> None:
    _, messages = ask({"request": "replay", "stream": "cam1", "kind": "event", "since_utc": since})
    assert len(messages) == 2


def test_time_and_ping_tell_both_clocks() -> None:
    for request in ("time", "ping"):
        head, messages = ask({"request": request})
        assert (head["monotonic_s"], head["utc"], head["id"]) == (1000.25, "2027-01-15T08:00:00.500000Z", None)
        assert messages == []


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_metrics_are_told_by_source_as_the_schema_says(encoding: Encoding) -> None:
    head, messages = ask({"request": "metrics", "id": 4}, encoding)
    assert (head["reply"], head["id"], messages) == ("metrics", 4, [])
    one = head["metrics"]["sources"]["cam1"]
    assert (one["frames"], one["gap_s"]["reconnect"], one["stalls_per_hour"]) == (60, 8.0, 3)
    assert one["latency_s"] == {"p50": 0.02, "p95": 0.2, "p99": 0.25}


def test_metrics_are_null_before_anything_was_measured() -> None:
    nothing = Archives(PUBLISHER, Archive(1), 1)
    (head,) = Answers(PUBLISHER, encoder("json")).answer(b'{"request":"metrics"}', nothing, NOW)
    validator("answer").validate(decode(head))
    assert decode(head)["metrics"] is None


def test_a_request_that_an_older_publisher_does_not_know_is_refused_with_the_id_that_it_had() -> None:
    head, _ = ask({"request": "added_later", "id": 9})
    assert (head["reply"], head["id"]) == ("error", 9)


def test_what_a_request_holds_besides_is_ignored() -> None:
    assert ask({"request": "ping", "added_later": [1]})[0]["reply"] == "ping"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"{" * 4000, "cannot be read"),
        (b'{"a":' * 800, "cannot be read"),
        (b"[1]", "cannot be read"),
        (b" " * (MAX_REQUEST_BYTES + 1), "at most"),
        ({}, "no such request"),
        ({"request": ["snapshot"]}, "no such request"),
        ({"request": "stop"}, "snapshot, replay, metrics, time, ping"),
        ({"request": "replay"}, "stream is missing"),
        ({"request": "replay", "stream": "cam1"}, "kind is missing"),
        ({"request": "replay", "stream": "x" * 65, "kind": "event", "first": 0}, "stream is missing or no name"),
        ({"request": "replay", "stream": "cam1", "kind": "event"}, "first is no number"),
        ({"request": "replay", "stream": "cam1", "kind": "event", "first": -1}, "first is no number"),
        ({"request": "replay", "stream": "cam1", "kind": "event", "first": True}, "first is no number"),
        ({"request": "replay", "stream": "cam1", "kind": "event", "first": 2**63}, "first is no number"),
        ({"request": "replay", "stream": "cam1", "kind": "event", "first": 0, "last": 0.5}, "last is no number"),
        ({"request": "replay", "stream": "cam1", "kind": "event", "since_utc": 3}, "since_utc is no time"),
        ({"request": "replay", "stream": "cam1", "kind": "event", "since_utc": "2027-01-15T08:00:00"}, "no time"),
        ({"request": "replay", "stream": "cam1", "kind": "event", "since_utc": "now"}, "no time"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_answered_is_told_why(request_: Any, words: str) -> None:
    head, messages = ask(request_)
    assert (head["reply"], messages) == ("error", [])
    assert words in head["error"]


def test_an_id_comes_back_bounded() -> None:
    assert ask({"request": "ping", "id": "x" * 1000})[0]["id"] == "x" * MAX_ID
    assert ask({"request": "stop", "id": 3})[0]["id"] == 3
    assert ask(b'{"request": "ping", "id": "\\ud800"}')[0]["id"] == "?"
    for odd in ([1], {"a": 1}, True, 1.5, 2**70, None):
        assert ask({"request": "ping", "id": odd})[0]["id"] is None


def test_random_bytes_are_answered() -> None:
    draws = random.Random(7)
    answers = Answers(PUBLISHER, encoder("json"))
    kept = archive()
    for _ in range(20_000):
        first = draws.choice([b"", b"{", bytes([draws.choice([*range(0x80, 0x90), 0xDE, 0xDF])])])
        answers.answer(first + draws.randbytes(draws.randrange(40)), kept, NOW)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.text(max_size=80)
    | st.just("\ud800")
    | st.just("cam1")
)
KEYS = st.sampled_from(["id", "stream", "kind", "first", "last", "since_utc"])


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["snapshot", "replay", "metrics", "time"]),
    st.dictionaries(KEYS, VALUES),
    st.sampled_from(["json", "msgpack"]),
)
def test_requests_of_any_values_are_answered_as_the_schema_says(name: str, values: Message, encoding: Encoding) -> None:
    try:
        content = (
            json.dumps({"request": name} | values).encode()
            if encoding == "json"
            else encoder(encoding)({"request": name} | values)
        )
    except (ValueError, OverflowError):  # UnicodeError among them: such a value cannot be sent
        return
    ask(content, encoding)
