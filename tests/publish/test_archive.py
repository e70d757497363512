"""What is kept, and what late joiners can be given of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from livespot.publish.archive import (
    MAX_OPEN_EVENTS,
    MAX_REPLAY_BYTES,
    MAX_REPLAY_MESSAGES,
    Archive,
    Replay,
    Sent,
    Topic,
)
from livespot.publish.encoding import decode, encoder
from livespot.publish.messages import Message
from livespot.publish.recorder import Recorder


def sent(seq: int, kind: str = "event", stream: str = "cam1", size: int = 0, **fields: object) -> Sent:
    message: Message = {"stream": stream, "kind": kind, "seq": seq, "id": "e", "phase": "update"} | fields
    content = f"{kind} {seq}".encode().ljust(size, b".")
    return Sent(f"livespot.v1.{stream}.{kind}.".encode(), content, message, utc_s=100.0 + seq)


def filled(numbers: range, keep: int = 5) -> Archive:
    archive = Archive(keep)
    for seq in numbers:
        archive.push(sent(seq))
    return archive


def given(replay: Replay) -> tuple[int, list[int], tuple[int, int] | None]:
    return replay.first, [int(content.split()[1]) for content in replay.contents], replay.missing


def test_the_last_messages_of_a_topic_are_replayed() -> None:
    archive = filled(range(8))
    assert archive.topics() == {("cam1", "event"): Topic(kept=3, next=8)}
    assert given(archive.replay("cam1", "event", 5)) == (5, [5, 6, 7], None)
    assert given(archive.replay("cam1", "event", 4, 6)) == (4, [4, 5, 6], None)


def test_what_is_kept_no_more_is_told_exactly() -> None:
    archive = filled(range(8))
    assert given(archive.replay("cam1", "event", 1)) == (3, [3, 4, 5, 6, 7], (1, 2))
    assert given(archive.replay("cam1", "event", 1, 2)) == (3, [], (1, 2))
    assert given(archive.replay("cam1", "event", 0, 0)) == (3, [], (0, 0))


def test_what_is_yet_to_come_is_not_missing() -> None:
    archive = filled(range(8))
    assert given(archive.replay("cam1", "event", 8)) == (8, [], None)
    assert given(archive.replay("cam1", "event", 20, 30)) == (8, [], None)
    assert given(archive.replay("door", "event", 0)) == (0, [], None)


def test_a_replay_since_a_time_begins_with_the_first_message_of_that_time() -> None:
    archive = filled(range(8))
    assert given(archive.replay_since("cam1", "event", 105.5)) == (6, [6, 7], None)
    assert given(archive.replay_since("cam1", "event", 104.0, last=5)) == (4, [4, 5], None)
    assert given(archive.replay_since("cam1", "event", 999.0)) == (8, [], None)


def test_a_replay_since_before_all_that_is_kept_tells_what_may_be_missing() -> None:
    assert given(filled(range(8)).replay_since("cam1", "event", 0.0)) == (3, [3, 4, 5, 6, 7], (0, 2))
    assert given(filled(range(4)).replay_since("cam1", "event", 0.0)) == (0, [0, 1, 2, 3], None)


def test_a_message_that_was_lost_on_its_way_in_is_missing_and_no_number_is_given_to_another() -> None:
    archive = filled(range(3))
    archive.push(sent(5))
    assert given(archive.replay("cam1", "event", 0)) == (5, [5], (0, 4))


def test_with_nothing_kept_everything_is_missing() -> None:
    archive = filled(range(3), keep=0)
    assert given(archive.replay("cam1", "event", 0)) == (3, [], (0, 2))


def test_an_answer_is_bounded_in_messages_and_tells_where_to_go_on() -> None:
    archive = filled(range(MAX_REPLAY_MESSAGES + 10), keep=10_000)
    replay = archive.replay("cam1", "event", 0)
    assert (len(replay.contents), replay.resume) == (MAX_REPLAY_MESSAGES, MAX_REPLAY_MESSAGES)
    rest = archive.replay("cam1", "event", MAX_REPLAY_MESSAGES)
    assert (len(rest.contents), rest.resume) == (10, None)


def test_an_answer_is_bounded_in_bytes_but_never_empty() -> None:
    archive = Archive(10)
    for seq in range(3):
        archive.push(sent(seq, size=2 * MAX_REPLAY_BYTES // 3))
    archive.push(sent(3, size=2 * MAX_REPLAY_BYTES))
    assert [archive.replay("cam1", "event", first).resume for first in range(4)] == [1, 2, 3, None]


def test_the_state_is_the_last_status_of_each_source_and_the_last_message_of_each_open_event() -> None:
    archive = Archive(0)
    for one in (
        sent(0, "status"),
        sent(1, "status"),
        sent(0, "status", "door"),
        sent(0, "heartbeat", "livespot"),
        sent(0, id="a", phase="open"),
        sent(1, id="b", phase="open"),
        sent(2, id="a", phase="update"),
        sent(3, id="b", phase="close"),
        sent(0, "gap"),
    ):
        archive.push(one)
    assert archive.state() == [b"status 1", b"status 0", b"event 2"]


def test_new_subscribers_are_sent_the_last_status_and_heartbeat_that_they_subscribe_to() -> None:
    archive = Archive(0)
    for one in (sent(0, "status"), sent(4, "status"), sent(7, "heartbeat", "livespot"), sent(0), sent(0, "gap")):
        archive.push(one)
    status, heartbeat = (b"livespot.v1.cam1.status.", b"status 4"), (b"livespot.v1.livespot.heartbeat.", b"heartbeat 7")
    assert list(archive.last(b"livespot.v1.")) == [status, heartbeat]
    assert list(archive.last(b"livespot.v1.cam1.status.")) == [status]
    assert list(archive.last(b"livespot.v1.cam1.event.")) == []


def test_an_event_whose_close_may_have_been_lost_on_its_way_in_is_open_no_more() -> None:
    archive = Archive(10)
    for one in (
        sent(0, id="a", phase="open"),
        sent(1, id="b", phase="open"),
        sent(0, "event", "door", id="c", phase="open"),
        sent(3, id="b", phase="update"),
    ):
        archive.push(one)
    assert archive.state() == [b"event 3", b"event 0"]


def test_open_events_that_are_never_closed_do_not_pile_up() -> None:
    archive = Archive(0)
    for seq in range(2 * MAX_OPEN_EVENTS):
        archive.push(sent(seq, id=f"e{seq}"))
    assert len(archive.state()) == MAX_OPEN_EVENTS
    assert archive.state()[-1] == f"event {2 * MAX_OPEN_EVENTS - 1}".encode()


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Archive]:
    """Ten messages, of which the file lacks 0, 4 and 5, and memory has the last two."""
    recorder = Recorder(tmp_path, "0" * 32, encoder("json"))
    archive = Archive(2, recorder)
    for seq in range(10):
        message = sent(seq)
        one = replace(message, content=encoder("json")(message.message))
        if seq not in (0, 4, 5):
            recorder.write([one])
        archive.push(one)
    yield archive
    recorder.close()


def found(replay: Replay) -> tuple[list[int], tuple[int, int] | None, int | None]:
    return [decode(content)["seq"] for content in replay.contents], replay.missing, replay.resume


def test_what_is_in_memory_no_more_is_replayed_from_the_recording_up_to_its_holes(recorded: Archive) -> None:
    assert found(recorded.replay("cam1", "event", 2)) == ([2, 3], None, 4)
    assert found(recorded.replay("cam1", "event", 4)) == ([6, 7], (4, 5), 8)
    assert found(recorded.replay("cam1", "event", 8)) == ([8, 9], None, None)
    assert found(recorded.replay("cam1", "event", 6, 6)) == ([6], None, None)


def test_what_the_recording_lacks_is_told_exactly(recorded: Archive) -> None:
    assert found(recorded.replay("cam1", "event", 0)) == ([1, 2, 3], (0, 0), 4)
    assert found(recorded.replay("cam1", "event", 4, 5)) == ([], (4, 5), None)
    assert recorded.topics() == {("cam1", "event"): Topic(kept=1, next=10)}


def test_a_time_is_looked_up_in_the_recording(recorded: Archive) -> None:
    assert found(recorded.replay_since("cam1", "event", 102.5)) == ([3], None, 4)
    assert found(recorded.replay_since("cam1", "event", 106.0)) == ([6, 7], (4, 5), 8)
    assert found(recorded.replay_since("cam1", "event", 107.5)) == ([8, 9], None, None)
    assert found(recorded.replay_since("cam1", "event", 108.5)) == ([9], None, None)
    assert found(recorded.replay_since("cam1", "event", 50.0)) == ([1, 2, 3], (0, 0), 4)
