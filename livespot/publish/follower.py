"""How a subscriber misses nothing of one publisher: what is heard, what must be asked for, what can be told. No socket,
no clock.

    greeting     until the first heartbeat, which says where to ask; what is heard is held back
    joining      a snapshot is asked for, what is heard is held back, to be told after it
    following    each topic is told in the order of its numbers: repeated ones are left out, and where one is missing
                 it is asked for, while what comes after it is held back

A publisher that answers no requests is followed from the first message on. What cannot be had any more is told as a
message of kind `lost`, where these are asked for.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal, TypeAlias, get_args

from livespot.publish.messages import LASTING, OWN_STREAM, SCHEMA, Kind, Message
from livespot.publish.order import Hole, Order

Notice: TypeAlias = Literal["lost", "restart"]
NOTICES: tuple[Notice, ...] = get_args(Notice)
"""Kinds of messages that the subscriber makes itself."""

MAX_HELD_MESSAGES = 20_000
"""Held back while something is asked for; beyond it, it is given up."""

GREETING_S = 1.0
"""A publisher that has sent no heartbeat so long after its first message is one that answers no requests."""

ANSWER_S, TRIES = 2.0, 3
"""How long an answer is waited for, and how often it is asked for."""


@dataclass(frozen=True)
class Wanted:
    """What is to be told."""

    kinds: tuple[Kind | Notice, ...]
    streams: tuple[str, ...]
    """All where there are none."""
    past_s: float
    """What was published in so many seconds before is told as well."""

    def has(self, stream: str, kind: str) -> bool:
        """Whether messages of this topic are to be told."""
        own = stream == OWN_STREAM and kind == "heartbeat"
        return kind in self.kinds and (own or not self.streams or stream in self.streams)


@dataclass
class _Topic:
    stream: str
    kind: str
    order: Order | None = None
    """None before the first number to be told is known."""
    past: list[Message] | None = None
    """While the past is asked for: what the snapshot holds of this topic, then what is heard."""
    asking: bool = False


@dataclass
class _Asked:
    request: Message
    topic: _Topic | None
    until_s: float
    tries: int = 1


class Follower:
    """Turns what is heard of one publisher into what is told, in order and without holes."""

    def __init__(
        self, publisher: str, wanted: Wanted, ready: deque[Message], outgoing: deque[Message], ids: Iterator[int]
    ) -> None:
        """To `ready` goes what is to be told, to `outgoing` what is to be asked, with one of the `ids` each."""
        self.publisher = publisher
        self.lost = 0
        """Messages that could not be had, so far."""
        self.begin_at: int | None = None
        """First number of a topic that is new; None where it is whichever is heard first."""
        self.from_kept = False
        """Whether all that is kept is told, not only what comes: it appeared while others were followed already."""
        self._wanted, self._ready, self._outgoing, self._ids = wanted, ready, outgoing, ids
        self._requests: str | None = None
        """Where the publisher answers, in its own words."""
        self._newest_s = float("-inf")
        """The publisher's clock in its newest message."""
        self._phase: Literal["greeting", "joining", "following"] = "greeting"
        self._waiting: list[Message] = []
        """Heard while greeting and joining."""
        self._waiting_since_s: float | None = None
        self._topics: dict[tuple[str, str], _Topic] = {}
        self._asked: dict[int, _Asked] = {}

    @property
    def joined(self) -> bool:
        """Whether it is followed already."""
        return self._phase == "following"

    @property
    def settled(self) -> bool:
        """Whether it is followed, and nothing is asked for that would come before what was heard."""
        return self.joined and not any(topic.asking for topic in self._topics.values())

    @property
    def greeting(self) -> bool:
        """Whether its first heartbeat is waited for."""
        return self._phase == "greeting"

    def hear(self, message: Message, now_s: float) -> None:
        """Take in a message of the stream, heard at the monotonic time `now_s`."""
        self._newest_s = max(self._newest_s, message["monotonic_s"])
        if message["kind"] == "heartbeat":
            self._hear_heartbeat(message, now_s)
        if not self._wanted.has(message["stream"], message["kind"]):
            return
        if self.joined:
            self._hear_live(message, now_s)
        else:
            self._waiting.append(message)
            self._waiting_since_s = now_s if self._waiting_since_s is None else self._waiting_since_s

    def is_news(self, message: Message) -> bool:
        """Whether it was made after all that was heard: a repeated message is no sign of life."""
        return bool(message["monotonic_s"] > self._newest_s)

    def answer(self, head: Message, messages: list[Message], now_s: float) -> None:
        """Take in an answer to one of the requests."""
        asked = self._asked.pop(head["id"], None)
        if asked is None:
            return
        if head["reply"] != asked.request["request"]:
            self._give_up(asked, now_s)
        elif asked.topic is None:
            self._join(head, messages, now_s)
        else:
            self._fill(asked.topic, asked.request, head, messages, now_s)

    def overdue(self, now_s: float) -> bool:
        """Whether no heartbeat will come that was to be waited for."""
        waited_s = 0.0 if self._waiting_since_s is None else now_s - self._waiting_since_s
        return self.greeting and (waited_s > GREETING_S or len(self._waiting) > MAX_HELD_MESSAGES)

    def tick(self, now_s: float) -> None:
        """Let time pass: what nobody answers is asked again, then given up."""
        if self.overdue(now_s):
            self._follow(now_s)
        for number, asked in list(self._asked.items()):
            if now_s < asked.until_s:
                continue
            if asked.tries < TRIES:
                asked.tries, asked.until_s = asked.tries + 1, now_s + ANSWER_S
                self._outgoing.append(asked.request)
            else:
                del self._asked[number]
                self._give_up(asked, now_s)

    def end(self) -> None:
        """The publisher is gone for good: tell what is held of it."""
        for topic in self._topics.values():
            self._settle(topic)
        self._ready += self._waiting

    def _hear_heartbeat(self, message: Message, now_s: float) -> None:
        self._requests = message.get("requests")
        if self.greeting and self._requests is not None and self.begin_at is None:
            self._phase = "joining"
            self._ask({"request": "snapshot"}, None, now_s)
        elif self.greeting:
            self._follow(now_s)
        if self.joined and self.begin_at is not None:
            self._compare(message.get("next", {}), now_s)

    def _compare(self, numbers: dict[str, dict[str, int]], now_s: float) -> None:
        """The heartbeat tells how far every topic is: what was lost at its end is noticed, too."""
        for stream, kinds in numbers.items():
            for kind, number in kinds.items():
                topic = self._topic(stream, kind) if self._wanted.has(stream, kind) else None
                if topic and topic.order:
                    topic.order.known = max(topic.order.known, number)
                    self._advance(topic, now_s)

    def _hear_live(self, message: Message, now_s: float) -> None:
        topic = self._topic(message["stream"], message["kind"])
        if topic.past is not None:
            topic.past.append(message)
            return
        if topic.order is None:
            topic.order = Order(message["seq"])
        topic.order.push(message)
        self._advance(topic, now_s)

    def _advance(self, topic: _Topic, now_s: float) -> None:
        """Tell what is next, ask for what is missing."""
        assert topic.order
        self._ready.extend(topic.order.ready())
        if self._requests is None or topic.order.held > MAX_HELD_MESSAGES:
            self._settle(topic)
        elif not topic.asking and (hole := topic.order.hole()):
            self._replay(topic, {"first": hole.first, "last": hole.last}, now_s)

    def _join(self, head: Message, messages: list[Message], now_s: float) -> None:
        """A snapshot: from here on every number is known. What was heard before it is told as well; of states, which
        are repeated to who comes, the snapshot has the last."""
        self.begin_at = 0
        heard = {
            (message["stream"], message["kind"]): message["seq"]
            for message in reversed(self._waiting)
            if message["kind"] not in LASTING
        }
        since_utc = _before(head["utc"], self._wanted.past_s)
        for stream, kinds in head["topics"].items():
            for kind, numbers in kinds.items():
                if not self._wanted.has(stream, kind):
                    continue
                topic = self._topic(stream, kind)
                if self._wanted.past_s > 0 and numbers["next"] > 0:
                    topic.order, topic.past = None, []
                    self._replay(topic, {"since_utc": since_utc, "last": numbers["next"] - 1}, now_s)
                else:
                    begin = numbers["kept" if self.from_kept else "next"]
                    topic.order = Order(min(begin, heard.get((stream, kind), begin)))
        for message in messages:
            if self._wanted.has(message["stream"], message["kind"]):
                self._tell_state(self._topic(message["stream"], message["kind"]), message)
        self._follow(now_s)
        for stream, kinds in head["topics"].items():
            self._compare({stream: {kind: numbers["next"] for kind, numbers in kinds.items()}}, now_s)

    def _tell_state(self, topic: _Topic, message: Message) -> None:
        """A message of the snapshot; what is told with the past is not told before it."""
        if topic.past is not None:
            topic.past.append(message)
        elif topic.order is None or message["seq"] < topic.order.next:
            self._ready.append(message)
        else:
            self._waiting.append(message)  # it may have been lost on the way

    def _fill(self, topic: _Topic, request: Message, head: Message, messages: list[Message], now_s: float) -> None:
        """A replay: its messages take their places, what is kept no more is lost."""
        topic.asking = False
        missing = head["missing"]
        if topic.order is None:
            topic.order = Order(missing["first"] if missing else head["first"], request["last"] + 1)
            before = {message["seq"]: message for message in topic.past or () if message["seq"] < topic.order.next}
            self._ready += [before[number] for number in sorted(before)]  # the snapshot's may have been heard as well
            messages = [*messages, *(topic.past or ())]
            topic.past = None
        for message in messages:
            topic.order.push(message)
        resumed = head["resume"] is not None and head["resume"] > request.get("first", -1)  # it gets on
        self._tell(topic, topic.order.settle(head["resume"] if resumed else request["last"] + 1))
        self._advance(topic, now_s)

    def _follow(self, now_s: float) -> None:
        self._phase = "following"
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._hear_live(message, now_s)

    def _give_up(self, asked: _Asked, now_s: float) -> None:
        """Nobody answers: go on with what there is."""
        if asked.topic is not None:
            asked.topic.asking = False
            self._settle(asked.topic)
        else:
            self._follow(now_s)

    def _settle(self, topic: _Topic) -> None:
        """Tell all that there is of a topic, and what is missing from it."""
        if topic.past is not None:
            known, topic.past = topic.past, None
            topic.order = Order(min((message["seq"] for message in known), default=0))
            for message in known:
                topic.order.push(message)
        if topic.order:
            self._tell(topic, topic.order.settle(topic.order.known))

    def _tell(self, topic: _Topic, told: Iterable[Message | Hole]) -> None:
        for one in told:
            if isinstance(one, Hole):
                self.lost += one.last - one.first + 1
                fields = {"of": topic.kind, "first": one.first, "last": one.last, "publisher": self.publisher}
                if "lost" in self._wanted.kinds:
                    self._ready.append({"schema": SCHEMA, "stream": topic.stream, "kind": "lost"} | fields)
            else:
                self._ready.append(one)

    def _replay(self, topic: _Topic, which: Message, now_s: float) -> None:
        topic.asking = True
        self._ask({"request": "replay", "stream": topic.stream, "kind": topic.kind} | which, topic, now_s)

    def _ask(self, request: Message, topic: _Topic | None, now_s: float) -> None:
        number = next(self._ids)
        request = {"schema": SCHEMA, "publisher": self.publisher, "id": number} | request
        self._asked[number] = _Asked(request, topic, now_s + ANSWER_S)
        self._outgoing.append(request)

    def _topic(self, stream: str, kind: str) -> _Topic:
        """The topic, which begins anew where it was not known."""
        if (stream, kind) not in self._topics:
            order = None if self.begin_at is None else Order(self.begin_at)
            self._topics[stream, kind] = _Topic(stream, kind, order)
        return self._topics[stream, kind]


def _before(utc: str, past_s: float) -> str:
    """The time `past_s` before `utc`; 1970 where that is before all time."""
    try:
        moment = datetime.fromisoformat(utc.replace("Z", "+00:00")) - timedelta(seconds=past_s)
    except OverflowError:
        moment = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return moment.isoformat()
