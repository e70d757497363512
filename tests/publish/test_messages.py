"""The wire contract: what a record looks like to other programs."""

from dataclasses import replace
from datetime import datetime

import jsonschema
import pytest

from livespot.publish import messages
from livespot.publish.encoding import Encoding, decode, encoder
from livespot.publish.messages import Message, Moment, Record
from tests.publish.examples import CLOSE, LOST_FACE, LOST_FRAMES, OPEN, RECORDS, RUNNING, SCORES, UPDATE

NOW = Moment(monotonic_s=1000.25, utc_s=1_800_000_000.5)

ADDED_WITHIN_V1 = {"regions", "next", "recording", "requests", "reconnects", "stalls"}
ADDED_WITHIN_V1 |= {"reconnects_per_hour", "stalls_per_hour"}
"""Fields that older publishers leave out."""

ADDED_TO_SCORES = {"latency_s"}
"""Events always had it."""

BODIES = [messages.body(record, NOW) for record in RECORDS] + [
    messages.heartbeat(3.0, 1.0, {"cam1": {"event": 4}}, "tcp://127.0.0.1:5557")
]


def sent(body: Message, encoding: Encoding = "json") -> Message:
    return decode(encoder(encoding)(messages.envelope("0" * 32, 4, NOW, body)))


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(messages.schema())


OF_PROXIES = {"upstream", "upstreams"}
"""Fields that heartbeats have behind a proxy only; `test_proxy` looks at them."""


def properties(kind: str) -> set[str]:
    schema = messages.schema()
    return set(schema["properties"]) | set(schema["$defs"][kind]["properties"])


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(messages.schema())


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["kind"])
def test_every_message_follows_the_schema(body: Message, encoding: Encoding) -> None:
    validator().validate(sent(body, encoding))
    assert sent(body, encoding) == sent(body)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["kind"])
def test_the_schema_describes_every_field_that_is_sent(body: Message) -> None:
    assert sent(body).keys() == properties(body["kind"]) - OF_PROXIES


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["kind"])
def test_every_field_is_required_but_those_added_since(body: Message) -> None:
    message = sent(body)
    added = ADDED_WITHIN_V1 | (ADDED_TO_SCORES if body["kind"] == "score" else set())
    for field in message:
        without = {key: value for key, value in message.items() if key != field}
        assert validator().is_valid(without) == (field in added), field


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["kind"])
def test_a_field_of_a_later_version_is_no_error(body: Message) -> None:
    validator().validate(sent(body) | {"added_later": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": "livespot.v2"},
        {"seq": -1},
        {"stream": "cam.1"},
        {"kind": "score"},
        {"utc": "2027-01-15 08:00:00"},
        {"phase": "closed"},
        {"confidence": 1.1},
        {"offset_s": None},
        {"offset_frame": None},
        {"regions": "brow_left"},
        {"regions": [3]},
    ],
    ids=str,
)
def test_the_schema_refuses(wrong: Message) -> None:
    assert not validator().is_valid(sent(messages.body(CLOSE, NOW)) | wrong)


@pytest.mark.parametrize("record", [OPEN, UPDATE])
def test_the_schema_refuses_an_offset_before_the_close(record: Record) -> None:
    assert not validator().is_valid(sent(messages.body(record, NOW)) | {"offset_s": 12.4})


def test_an_open_event_has_no_offset() -> None:
    message = sent(messages.body(OPEN, NOW))
    assert (message["offset_s"], message["offset_frame"], message["offset_utc"]) == (None, None, None)


def test_an_event_names_its_regions_or_none() -> None:
    assert sent(messages.body(CLOSE, NOW))["regions"] == ["mouth_corner_left", "cheek_left"]
    assert sent(messages.body(OPEN, NOW))["regions"] == []


def test_frames_are_inclusive_and_seconds_half_open() -> None:
    message = sent(messages.body(CLOSE, NOW))
    assert (message["onset_frame"], message["apex_frame"], message["offset_frame"]) == (360, 366, 371)
    assert (message["onset_s"], message["apex_s"], message["offset_s"]) == (12.0, 12.2, 12.4)


def test_utc_is_reckoned_back_from_arrival_along_stream_time() -> None:
    message = sent(messages.body(CLOSE, NOW))

    def before_now_s(field: str) -> float:
        return NOW.utc_s - datetime.fromisoformat(message[field].replace("Z", "+00:00")).timestamp()

    assert before_now_s("utc") == pytest.approx(0)
    assert before_now_s("offset_utc") == pytest.approx(0.25 + 0.1)
    assert before_now_s("apex_utc") == pytest.approx(0.25 + 0.3)
    assert before_now_s("onset_utc") == pytest.approx(0.25 + 0.5)


def test_utc_has_six_decimals_even_when_they_are_zeros() -> None:
    assert sent(BODIES[-1])["utc"] == "2027-01-15T08:00:00.500000Z"


@pytest.mark.parametrize(
    ("utc_s", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1_800_000_000.000001, "2027-01-15T08:00:00.000001Z"),
        (1_800_000_000.9999999, "2027-01-15T08:00:01.000000Z"),
        (1_800_000_000.123456, "2027-01-15T08:00:00.123456Z"),
        (-0.5, "1969-12-31T23:59:59.500000Z"),
    ],
)
def test_utc_is_rounded_to_microseconds(utc_s: float, text: str) -> None:
    assert messages.stamps(Moment(0.0, utc_s))["utc"] == text


@pytest.mark.parametrize(("event", "told_s"), [(OPEN, 12.0), (UPDATE, 12.2), (CLOSE, 12.4)])
def test_latency_runs_from_what_the_phase_tells_until_publication(event: Record, told_s: float) -> None:
    decided_s = messages.body(event, NOW)["t_s"]
    assert sent(messages.body(event, NOW))["latency_s"] == pytest.approx(decided_s - told_s + 0.25)


def test_stream_time_is_when_livespot_knew() -> None:
    times_s = [messages.body(record, NOW)["t_s"] for record in (CLOSE, SCORES, LOST_FACE, LOST_FRAMES, RUNNING)]
    assert times_s == [12.5, 12.2, 14.5, 15.2, 0.0]


def test_a_heartbeat_has_no_stream_time_and_livespots_own_stream() -> None:
    message = sent(BODIES[-1])
    assert (message["t_s"], message["stream"]) == (None, "livespot")


def test_not_a_number_is_never_sent() -> None:
    with pytest.raises(ValueError, match="would hold nan"):
        sent(messages.body(replace(RUNNING, t_s=float("nan")), NOW))


def test_topics_end_so_that_no_stream_is_the_beginning_of_another() -> None:
    assert not messages.topic("cam10", "event").startswith(messages.topic("cam1", "event"))
    assert messages.topic("cam1", "event") == b"livespot.v1.cam1.event."
