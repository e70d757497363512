"""What the demo says of what was shown and what was heard."""

import time
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from livespot.capture.virtual import Expression
from livespot.config import Settings
from livespot.demo import HEARTBEAT_S, JOIN_S, Line, Listener, compare, to_rich
from livespot.errors import PublishError
from livespot.live import serve
from livespot.pipeline import Pipeline
from livespot.publish import Message, Publisher
from livespot.publish.messages import Moment, body
from livespot.records import ExpressionType, Status
from tests.films import MotionScorer, Picture, Played, frames
from tests.publish.examples import CLOSE, OPEN

FPS = 30.0
FREE_PORT = "tcp://127.0.0.1:*"


def shown(onset_s: float, offset_s: float, kind: ExpressionType = "micro") -> Expression:
    return Expression(kind, onset_s, (onset_s + offset_s) / 2, offset_s, 0.0, "1+2", 0.02)


def spotted(onset: int, offset: int, kind: ExpressionType = "micro") -> Message:
    """A closed event over frames `onset` to `offset`, inclusive, as a subscriber gets it."""
    times = {"onset_s": onset / FPS, "apex_s": onset / FPS, "offset_s": (offset + 1) / FPS}
    places = {"onset_frame": onset, "apex_frame": onset, "offset_frame": offset + 1}
    return body(replace(CLOSE, type=kind, **times, **places), Moment(0.0, 0.0))  # type: ignore[arg-type]


def in_words(lines: list[Line], width: int = 80) -> list[str]:
    screen = StringIO()
    Console(file=screen, width=width).print(to_rich(lines))
    return screen.getvalue().splitlines()


def test_what_is_spotted_where_it_was_shown_is_a_hit() -> None:
    [line] = compare([shown(1.0, 1.4)], [spotted(30, 41)], FPS)
    assert line.hit
    assert line.overlap == 1.0


def test_an_overlap_of_exactly_one_half_is_a_hit_and_less_is_not() -> None:
    [half] = compare([shown(1.0, 1.4)], [spotted(30, 35)], FPS)
    [less] = compare([shown(1.0, 1.4)], [spotted(30, 34)], FPS)
    assert (half.overlap, half.hit) == (0.5, True)
    assert less.spotted is not None
    assert not less.hit


def test_another_type_in_the_same_place_is_no_hit() -> None:
    [line] = compare([shown(1.0, 1.4, "macro")], [spotted(30, 41, "micro")], FPS)
    assert line.spotted is not None
    assert not line.hit


def test_what_is_not_spotted_is_missed_and_what_was_not_shown_is_a_false_alarm() -> None:
    missed, alarm = compare([shown(1.0, 1.4)], [spotted(90, 95)], FPS)
    assert (missed.spotted, missed.hit) == (None, False)
    assert (alarm.shown, alarm.hit) == (None, False)


def test_of_two_events_on_one_expression_the_better_counts_and_the_other_is_a_false_alarm() -> None:
    lines = compare([shown(1.0, 1.4)], [spotted(28, 31), spotted(32, 41)], FPS)
    assert [line.hit for line in lines if line.shown] == [True]
    [alarm] = [line for line in lines if line.shown is None]
    assert alarm.spotted is not None
    assert alarm.spotted["onset_frame"] == 28


def test_one_event_counts_for_one_expression_only() -> None:
    lines = compare([shown(1.0, 1.4), shown(1.4, 1.8)], [spotted(30, 53)], FPS)
    assert [line.spotted is not None for line in lines] == [True, False]


def test_lines_are_in_order_of_time() -> None:
    lines = compare([shown(2.0, 2.4), shown(5.0, 5.4)], [spotted(10, 15), spotted(100, 110)], FPS)
    assert [line.shown is None for line in lines] == [True, False, True, False]


def test_an_expression_shorter_than_a_frame_can_be_compared() -> None:
    [line] = compare([shown(1.001, 1.002)], [spotted(31, 31)], FPS)
    assert line.hit


def test_the_table_says_what_became_of_each_within_80_columns() -> None:
    truth = [shown(1.0, 1.4), shown(3.0, 3.4), shown(118.0, 121.5, "macro")]
    events = [spotted(30, 41), spotted(60, 65), spotted(3540, 3580, "macro")]
    lines = compare(truth, events, FPS)
    words = in_words(lines)
    assert all(len(line) <= 80 for line in words)
    rows = [" ".join(line.split()) for line in words[2:]]
    assert rows[0] == "micro 1.00 1.40 1+2 2.0 % micro 1.00 1.40 spotted"
    assert rows[1] == "nothing micro 2.00 2.20 false alarm"
    assert rows[2] == "micro 3.00 3.40 1+2 2.0 % nothing missed"
    assert rows[3] == "macro 118.00 121.50 1+2 2.0 % macro 118.00 119.37 in part, 0.39"


def test_a_listener_hears_every_event_of_a_run(pictures: list[Picture]) -> None:
    with (
        Publisher(FREE_PORT, HEARTBEAT_S) as publisher,
        Pipeline(Settings(method="network"), [Played(frames(pictures))], MotionScorer()) as pipeline,
        Listener(publisher) as listener,
    ):
        sent = [message for turn in serve(pipeline, publisher) for message in turn.messages]
    closed = [message for message in sent if message["kind"] == "event" and message["phase"] == "close"]
    assert len(closed) == 1
    assert listener.events == closed


def test_a_listener_hears_a_thousand_events_published_at_once() -> None:
    with Publisher(FREE_PORT, HEARTBEAT_S) as publisher, Listener(publisher) as listener:
        for number in range(1000):
            publisher.publish(replace(OPEN, id=str(number)))
            publisher.publish(replace(CLOSE, id=str(number)))
        publisher.publish(Status("cam1", "ended", 1.0))
    assert [event["id"] for event in listener.events] == [str(number) for number in range(1000)]


def test_a_listener_does_not_wait_for_the_end_of_a_run_that_failed() -> None:
    begun_s = time.monotonic()
    with (
        pytest.raises(ZeroDivisionError),
        Publisher(FREE_PORT, HEARTBEAT_S) as publisher,
        Listener(publisher),
    ):
        raise ZeroDivisionError
    assert time.monotonic() - begun_s < JOIN_S


def test_a_listener_that_hears_nothing_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livespot.demo.JOIN_S", 0.2)
    with Publisher(FREE_PORT, HEARTBEAT_S) as publisher:
        publisher.endpoint = publisher.endpoint.replace("127.0.0.1", "127.0.0.2")
        told = r"nothing that tcp://127\.0\.0\.2:\d+ sends arrives"
        with pytest.raises(PublishError, match=told), Listener(publisher):
            pass
