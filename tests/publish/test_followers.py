"""A subscriber's memory against a publisher's, over a wire that loses what the test wants; hours in milliseconds."""

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from livespot.errors import PublishError
from livespot.publish.archive import Archive, Sent
from livespot.publish.archives import Archives
from livespot.publish.encoding import decode, encoder
from livespot.publish.follower import ANSWER_S, GREETING_S, MAX_HELD_MESSAGES, TRIES, Notice
from livespot.publish.followers import Followers
from livespot.publish.messages import Kind, Message, Moment, Record, body, envelope, heartbeat, topic
from livespot.publish.requests import Answers
from tests.publish.examples import CLOSE, LOST_FRAMES, OPEN, RUNNING, SCORES

ENCODE = encoder("json")
EVERY: tuple[Kind | Notice, ...] = ("event", "gap", "status", "score", "lost", "restart")


class Server:
    """A publisher without sockets."""

    def __init__(self, name: str = "a", keep: int = 1000, answers: bool = True) -> None:
        self.now_s = 0.0
        self.name = name * 32
        self._archives = Archives(self.name, Archive(keep), keep)
        self._answers = Answers(self.name, ENCODE) if answers else None
        self._next: dict[str, dict[str, int]] = {}

    def publish(self, record: Record) -> Message:
        return self._send(body(record, self._now))

    def heartbeat(self) -> Message:
        message = heartbeat(self.now_s, 1.0, self._next, "tcp://127.0.0.1:5557")
        if self._answers is None:
            del message["next"], message["requests"]
        return self._send(message)

    def ask(self, request: Message) -> tuple[Message, list[Message]] | None:
        if self._answers is None:
            return None
        head, *contents = self._answers.answer(ENCODE(request), self._archives, self._now)
        return decode(head), [decode(content) for content in contents]

    @property
    def _now(self) -> Moment:
        return Moment(self.now_s, 1_800_000_000.0 + self.now_s)

    def _send(self, message_body: Message) -> Message:
        numbers = self._next.setdefault(message_body["stream"], {})
        seq = numbers.get(message_body["kind"], 0)
        numbers[message_body["kind"]] = seq + 1
        message = envelope(self.name, seq, self._now, message_body)
        name = topic(message["stream"], message["kind"])
        self._archives.push(Sent(name, ENCODE(message), message, self._now.utc_s))
        return message


def exchange(server: Server, followers: Followers) -> None:
    """Every request that is waiting is answered."""
    while followers.outgoing:
        if answer := server.ask(followers.outgoing.popleft()):
            followers.answer(*answer, server.now_s)


def hear(server: Server, followers: Followers, *messages: Message) -> None:
    for message in messages:
        followers.hear(message, server.now_s)
        exchange(server, followers)


def joined(server: Server, followers: Followers) -> Followers:
    hear(server, followers, server.heartbeat())
    return followers


def told(followers: Followers) -> list[Message]:
    messages = list(followers.ready)
    followers.ready.clear()
    return messages


def numbers(messages: Iterable[Message]) -> list[int]:
    return [message["seq"] for message in messages]


def test_who_joins_is_told_the_state_first_then_what_comes() -> None:
    server, followers = Server(), Followers(EVERY)
    for record in (replace(RUNNING, state="connecting"), RUNNING, SCORES, OPEN):
        server.publish(record)
    joined(server, followers)
    hear(server, followers, server.publish(CLOSE))
    assert [(one["kind"], one["seq"]) for one in told(followers)] == [("status", 1), ("event", 0), ("event", 1)]


def test_what_is_heard_before_the_snapshot_is_told_once_and_after_it() -> None:
    server, followers = Server(), Followers(("event",))
    first = [server.publish(OPEN), server.publish(CLOSE)]
    for message in (*first, server.heartbeat(), server.publish(OPEN)):
        followers.hear(message, 0.0)
    assert told(followers) == []
    exchange(server, followers)
    hear(server, followers, server.publish(CLOSE))
    assert numbers(told(followers)) == [0, 1, 2, 3]


def test_what_was_heard_is_not_asked_for_again() -> None:
    server, followers = Server(), Followers(("event", "score"))
    sent = [server.publish(record) for record in (OPEN, SCORES, SCORES, CLOSE, SCORES)]
    for message in (*sent, server.heartbeat()):
        followers.hear(message, 0.0)
    answer = server.ask(followers.outgoing.popleft())
    assert answer
    followers.answer(*answer, 0.0)
    assert not followers.outgoing and followers.settled
    assert told(followers) == sent


def test_what_the_snapshot_holds_is_not_lost_though_more_was_heard_before_it() -> None:
    server, followers = Server(keep=0), Followers(("event", "lost"))
    sent = [server.publish(replace(OPEN, id=f"e{number}")) for number in range(2)]
    for message in (sent[0], server.heartbeat()):
        followers.hear(message, 0.0)
    exchange(server, followers)
    assert told(followers) == sent
    assert followers.lost == 0


def test_a_repeated_message_is_told_once() -> None:
    server = Server()
    followers = joined(server, Followers(EVERY))
    message = server.publish(RUNNING)
    hear(server, followers, message, message)
    assert told(followers) == [message]


def test_a_hole_is_asked_for_and_filled_before_what_follows() -> None:
    server = Server()
    followers = joined(server, Followers(("event", "lost")))
    sent = [server.publish(OPEN) for _ in range(5)]
    hear(server, followers, sent[0], sent[3], sent[4])
    assert told(followers) == sent
    assert followers.lost == 0


def test_a_hole_at_the_end_is_noticed_by_the_heartbeat() -> None:
    server = Server()
    followers = joined(server, Followers(("event",)))
    sent = [server.publish(OPEN) for _ in range(3)]
    assert told(followers) == []
    hear(server, followers, server.heartbeat())
    assert told(followers) == sent


def test_a_long_hole_is_filled_by_several_answers() -> None:
    server = Server(keep=3000)
    followers = joined(server, Followers(("event", "lost")))
    sent = [server.publish(OPEN) for _ in range(2000)]
    hear(server, followers, sent[-1])
    assert numbers(told(followers)) == list(range(2000))


def test_a_long_hole_is_filled_to_its_end_though_its_beginning_comes_by_itself_meanwhile() -> None:
    server, followers = Server(), Followers(EVERY)
    joined(server, followers)
    sent = [server.publish(CLOSE) for _ in range(1200)]
    followers.hear(sent[-1], server.now_s)
    answer = server.ask(followers.outgoing.popleft())
    assert answer and answer[0]["resume"] < 600
    for message in sent[:600]:
        followers.hear(message, server.now_s)
    followers.answer(*answer, server.now_s)
    exchange(server, followers)
    assert told(followers) == sent


def test_what_is_kept_no_more_is_told_exactly() -> None:
    server = Server(keep=3)
    followers = joined(server, Followers(("event", "lost")))
    sent = [server.publish(OPEN) for _ in range(10)]
    hear(server, followers, sent[0], sent[9])
    first, lost, *rest = told(followers)
    assert (first["seq"], numbers(rest)) == (0, [7, 8, 9])
    assert (lost["kind"], lost["of"], lost["stream"], lost["first"], lost["last"]) == ("lost", "event", "cam1", 1, 6)
    assert followers.lost == 6


def test_losses_are_counted_but_not_told_where_nobody_asked() -> None:
    server = Server(keep=0)
    followers = joined(server, Followers(("event",)))
    sent = [server.publish(OPEN) for _ in range(3)]
    hear(server, followers, sent[2])
    assert (told(followers), followers.lost) == ([sent[2]], 2)


def test_the_past_is_told_on_request_as_far_as_it_is_kept() -> None:
    server = Server(keep=4)
    for second in range(6):
        server.now_s = float(second)
        server.publish(CLOSE)
    assert numbers(told(joined(server, Followers(("event", "lost"), past_s=2.0)))) == [3, 4, 5]
    lost, *rest = told(joined(server, Followers(("event", "lost"), past_s=float("inf"))))
    assert ((lost["first"], lost["last"]), numbers(rest)) == ((0, 1), [2, 3, 4, 5])


def test_the_past_begins_with_events_that_were_open_then() -> None:
    server = Server()
    server.publish(replace(OPEN, id="old"))
    server.now_s = 100.0
    server.publish(OPEN)
    followers = joined(server, Followers(("event",), past_s=1.0))
    hear(server, followers, server.publish(CLOSE))
    assert [(one["id"], one["seq"]) for one in told(followers)] == [("old", 0), (OPEN.id, 1), (OPEN.id, 2)]


def test_only_what_is_asked_for_is_told_and_filled() -> None:
    server = Server()
    followers = joined(server, Followers(("event",), streams=("cam1",)))
    for source in ("cam1", "door"):
        hear(server, followers, server.publish(replace(OPEN, source=source)), server.publish(SCORES))
    server.publish(replace(CLOSE, source="door"))
    hear(server, followers, server.heartbeat())
    assert [(one["stream"], one["kind"]) for one in told(followers)] == [("cam1", "event")]


def test_a_publisher_that_was_started_anew_is_told_and_followed_from_its_first_message() -> None:
    first, second = Server("a"), Server("b")
    followers = joined(first, Followers(("event", "restart")))
    hear(first, followers, first.publish(OPEN))
    sent = [second.publish(OPEN) for _ in range(3)]
    hear(second, followers, sent[2], second.heartbeat())
    before, restart, *after = told(followers)
    assert (before["publisher"], restart["kind"], restart["before"]) == ("a" * 32, "restart", "a" * 32)
    assert restart["publisher"] == "b" * 32
    assert after == sent


def test_what_is_held_of_a_publisher_that_ended_is_told_before_the_next() -> None:
    first, second = Server("a"), Server("b")
    followers = joined(first, Followers(("event", "lost", "restart")))
    sent = [first.publish(OPEN) for _ in range(3)]
    followers.hear(sent[0], 0.0)
    followers.hear(sent[2], 0.0)
    hear(second, followers, second.heartbeat())
    kinds = [(one["kind"], one.get("seq", one.get("first"))) for one in told(followers)]
    assert kinds == [("event", 0), ("lost", 1), ("event", 2), ("restart", None)]


def test_an_answer_of_a_publisher_that_ended_is_not_taken_for_one_of_the_next() -> None:
    first, second = Server("a"), Server("b")
    followers = joined(first, Followers(("event",)))
    sent = [first.publish(OPEN) for _ in range(2)]
    followers.hear(sent[1], 0.0)
    answer = first.ask(followers.outgoing.popleft())
    assert answer
    hear(second, followers, second.heartbeat(), second.publish(OPEN))
    followers.answer(*answer, 0.0)
    assert [(one["publisher"][0], one["seq"]) for one in told(followers)] == [("a", 1), ("b", 0)]


def test_an_older_publisher_is_followed_from_the_first_message_on_and_its_holes_are_told() -> None:
    server = Server(answers=False)
    for _ in range(3):
        server.publish(OPEN)
    followers = joined(server, Followers(("event", "lost")))
    sent = [server.publish(OPEN) for _ in range(4)]
    hear(server, followers, sent[0], sent[1], sent[3])
    assert [(one["kind"], one.get("seq", one.get("first"))) for one in told(followers)] == [
        ("event", 3), ("event", 4), ("lost", 5), ("event", 6),
    ]  # fmt: skip


def test_a_publisher_without_heartbeats_is_followed_after_a_while() -> None:
    server, followers = Server(answers=False), Followers(("event",))
    followers.hear(server.publish(OPEN), 10.0)
    followers.tick(10.0 + GREETING_S)
    assert told(followers) == []
    followers.tick(10.1 + GREETING_S)
    assert numbers(told(followers)) == [0]


def test_what_nobody_answers_is_asked_again_then_told_as_lost() -> None:
    server = Server()
    followers = joined(server, Followers(("event", "lost")))
    sent = [server.publish(OPEN) for _ in range(3)]
    followers.hear(sent[2], 0.0)
    asked = 0
    for second in range(20):
        asked += len(followers.outgoing)
        followers.outgoing.clear()
        followers.tick(float(second))
    assert asked == TRIES
    assert [(one["kind"], one.get("last")) for one in told(followers)] == [("lost", 1), ("event", None)]


def test_where_nobody_answers_at_all_what_is_heard_is_told_after_a_while() -> None:
    server, followers = Server(), Followers(("event",))
    server.publish(OPEN)
    followers.hear(server.heartbeat(), 0.0)
    followers.hear(server.publish(CLOSE), 0.0)
    for second in range(int(TRIES * ANSWER_S) + 2):
        followers.tick(float(second))
    assert numbers(told(followers)) == [1]


def test_an_answer_that_is_late_is_ignored() -> None:
    server = Server()
    followers = joined(server, Followers(("event",)))
    sent = [server.publish(OPEN) for _ in range(2)]
    followers.hear(sent[1], 0.0)
    answer = server.ask(followers.outgoing.popleft())
    assert answer
    for second in range(20):
        followers.tick(float(second))
    followers.answer(*answer, 20.0)
    assert numbers(told(followers)) == [1]


def test_what_is_held_back_is_bounded() -> None:
    server = Server()
    followers = joined(server, Followers(("event",)))
    message = server.publish(OPEN)
    for seq in range(1, MAX_HELD_MESSAGES + 10):
        followers.hear(message | {"seq": seq}, 0.0)
    assert followers.lost == 1
    assert len(followers.ready) == MAX_HELD_MESSAGES + 9


def test_what_came_before_the_past_and_was_heard_is_told_once_in_order_though_the_snapshot_holds_it() -> None:
    server, followers = Server(), Followers(("status",), past_s=0.3)
    sent = [server.publish(replace(RUNNING, state=state)) for state in ("connecting", "running")]
    server.now_s = 0.5
    welcome = sent[-1]
    for message in (*sent, welcome, server.heartbeat()):
        followers.hear(message, server.now_s)
    exchange(server, followers)
    assert told(followers) == sent


JOINED_STEP = 50


@pytest.mark.parametrize("past_s", [0.0, 0.25, 2.05, float("inf")])
@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_wire_loses_each_kept_message_is_told_once_in_order(seed: int, past_s: float) -> None:
    draws = random.Random(seed)
    server, followers = Server(keep=200), Followers(("event", "score", "status", "gap"), past_s=past_s)
    sent: dict[tuple[str, str], list[tuple[float, Message]]] = {}
    heard: list[Message] = []
    lost_requests: set[int] = set()
    for step in range(300):
        server.now_s = step / 10
        if step == JOINED_STEP:
            welcome_and_join(server, followers, [message for _, message in (one[-1] for one in sent.values())])
        record = draws.choice((OPEN, SCORES, RUNNING, LOST_FRAMES))
        message = server.publish(replace(record, source=draws.choice(("cam1", "door"))))
        sent.setdefault((message["stream"], message["kind"]), []).append((server.now_s, message))
        if step < JOINED_STEP:
            continue
        for _ in range(draws.choice((0, 0, 1, 1, 2))):
            followers.hear(message, server.now_s)
        if draws.random() < 0.3 and followers.outgoing:
            if followers.outgoing[0]["id"] not in lost_requests:
                lost_requests.add(followers.outgoing.popleft()["id"])
            exchange(server, followers)
        followers.tick(server.now_s)
        heard += told(followers)
    for _ in range(100):
        server.now_s += 1.0
        hear(server, followers, server.heartbeat())
        followers.tick(server.now_s)
        exchange(server, followers)
    heard += told(followers)
    for (stream, kind), messages in sent.items():
        given = numbers(one for one in heard if (one["stream"], one["kind"]) == (stream, kind))
        due = [message["seq"] for at_s, message in messages if at_s >= JOINED_STEP / 10 - past_s]
        assert given == sorted(set(given))
        assert given[len(given) - len(due) :] == due
    assert followers.lost == 0


def welcome_and_join(server: Server, followers: Followers, last: list[Message]) -> None:
    """The last message of each topic is sent again to who subscribes; then the snapshot is answered, and no more."""
    for message in last:
        followers.hear(message, server.now_s)
    followers.hear(server.heartbeat(), server.now_s)
    answer = server.ask(followers.outgoing.popleft())
    assert answer
    followers.answer(*answer, server.now_s)


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(PublishError, match=r"'events'.*heartbeat, lost, restart"):
        Followers(("events",))  # type: ignore[arg-type]


def named(server: Server, upstream: str) -> Message:
    """A heartbeat as a proxy passes it on."""
    return server.heartbeat() | {"upstream": upstream}


def naming(proxy: Server, **upstreams: Server | None) -> Message:
    """The proxy's own heartbeat."""
    return proxy.heartbeat() | {"upstreams": {name: one.name if one else None for name, one in upstreams.items()}}


def test_machines_behind_a_proxy_are_followed_side_by_side_whatever_comes_first() -> None:
    proxy, door, desk = Server("f"), Server("a"), Server("b")
    followers = Followers(("event", "lost", "restart"))
    first = [door.publish(OPEN), desk.publish(replace(OPEN, source="cam2"))]
    for message in (*first, named(desk, "desk"), named(door, "door"), naming(proxy, door=door, desk=desk)):
        followers.hear(message, 0.0)
    exchange_with((proxy, door, desk), followers)
    sent = [server.publish(replace(CLOSE, source=name)) for server, name in ((door, "cam1"), (desk, "cam2"))]
    for message in (*sent, naming(proxy, door=door, desk=desk), named(door, "door")):
        followers.hear(message, 0.0)
    assert sorted((one["stream"], one["seq"]) for one in told(followers)) == [
        ("cam1", 0), ("cam1", 1), ("cam2", 0), ("cam2", 1),
    ]  # fmt: skip


def test_a_machine_that_was_started_anew_behind_a_proxy_replaces_itself_alone() -> None:
    proxy, door, desk, anew = Server("f"), Server("a"), Server("b"), Server("c")
    followers = Followers(("event", "lost", "restart"))
    for message in (naming(proxy, door=door, desk=desk), named(door, "door"), named(desk, "desk")):
        followers.hear(message, 0.0)
    exchange_with((proxy, door, desk), followers)
    sent = [anew.publish(OPEN) for _ in range(3)]
    for message in (naming(proxy, door=anew, desk=desk), sent[2], named(anew, "door")):
        followers.hear(message, 0.0)
    exchange_with((proxy, anew, desk), followers)
    other = desk.publish(replace(OPEN, source="cam2"))
    followers.hear(other, 0.0)
    restart, *rest = told(followers)
    assert (restart["kind"], restart["upstream"], restart["before"]) == ("restart", "door", door.name)
    assert rest == [*sent, other]


def test_a_machine_that_comes_later_is_told_from_the_first_message_that_is_kept() -> None:
    proxy, late = Server("f"), Server("a", keep=2)
    followers = Followers(("event", "lost"))
    followers.hear(naming(proxy, door=None), 0.0)
    exchange_with((proxy,), followers)
    sent = [late.publish(CLOSE) for _ in range(5)]
    for message in (naming(proxy, door=late), named(late, "door")):
        followers.hear(message, 0.0)
    exchange_with((proxy, late), followers)
    assert told(followers) == sent[3:]
    assert followers.lost == 0


def test_a_machine_that_the_proxy_names_no_more_is_forgotten_and_a_publisher_without_proxy_takes_over() -> None:
    proxy, door, alone = Server("f"), Server("a"), Server("b")
    followers = Followers(("event", "lost", "restart"))
    for message in (naming(proxy, door=door), named(door, "door")):
        followers.hear(message, 0.0)
    exchange_with((proxy, door), followers)
    sent = [door.publish(OPEN) for _ in range(3)]
    followers.hear(sent[2], 0.0)
    followers.hear(naming(proxy), 0.0)
    assert [(one["kind"], one.get("last")) for one in told(followers)] == [("lost", 1), ("event", None)]
    assert not any(request["publisher"] == door.name for request in followers.outgoing)
    hear(alone, followers, alone.heartbeat())
    (restart,) = told(followers)
    assert (restart["before"], restart["publisher"], "upstream" in restart) == (proxy.name, alone.name, False)


def exchange_with(servers: Iterable[Server], followers: Followers) -> None:
    """Every request that is waiting is answered by the one it names."""
    by_name = {server.name: server for server in servers}
    while followers.outgoing:
        request = followers.outgoing.popleft()
        server = by_name[request["publisher"]]
        if answer := server.ask(request):
            followers.answer(*answer, server.now_s)
