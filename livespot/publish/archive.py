"""What is kept for those who come late: the last messages of each topic, open events, the state of every source.

It knows no socket and no clock. All that it holds is bounded: `keep` messages a topic, and there are as many topics as
sources have kinds. What is older is looked for in the recording, where there is one.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from livespot.publish.messages import LASTING, Message

MAX_OPEN_EVENTS = 256
"""Of one stream; more cannot be open where each face has one of each type. The oldest gives way."""

MAX_REPLAY_MESSAGES, MAX_REPLAY_BYTES = 500, 64_000
"""One answer holds no more than this, and one message at least; the rest is asked for again."""


@dataclass(frozen=True)
class Sent:
    """A message as it went out."""

    topic: bytes
    content: bytes
    message: Message
    utc_s: float


@dataclass(frozen=True)
class Topic:
    """The numbers of one topic: `kept` is the first that can still be replayed, `next` that of the message to come."""

    kept: int
    next: int


@dataclass(frozen=True)
class Replay:
    """Messages of one topic in order, as they were sent."""

    first: int
    """Number of the first of them, or of the next to come where there are none."""
    contents: list[bytes]
    missing: tuple[int, int] | None
    """First and last of the numbers that were asked for and are kept no more."""
    resume: int | None
    """Where to go on, where not all fitted."""


class Recorded(Protocol):
    """Where messages are found that are kept here no more."""

    def first(self, stream: str, kind: str) -> int | None:
        """Number of the first message of a topic that is recorded; None where there is none."""

    def find(self, stream: str, kind: str, first: int, end: int) -> tuple[int, list[bytes]]:
        """Messages of a topic from `first` on and before `end`, up to the next hole, as many as fit into one answer;
        the number of the first of them, which is `end` where there are none."""

    def since(self, stream: str, kind: str, utc_s: float, end: int) -> int | None:
        """Number before `end` of the first message of a topic that was published at `utc_s` or later, or `end`. None
        where the oldest that is recorded is no older, or none before `end` is."""


@dataclass
class _Topic:
    ring: deque[tuple[float, bytes]]
    """UTC in seconds and content of the last messages, without a hole."""
    next: int = 0
    open: dict[str, bytes] = field(default_factory=dict)
    """Last message of each event that is not closed, by its id."""

    @property
    def kept(self) -> int:
        return self.next - len(self.ring)


class Archive:
    """Takes in what is sent, gives what is asked for."""

    def __init__(self, keep: int, recorded: Recorded | None = None) -> None:
        """`keep` messages of each topic; older ones are looked for where they are `recorded`."""
        self.metrics: Message | None = None
        """What the run measured of itself, a moment ago; replaced as a whole, by whichever thread measures."""
        self._recorded = recorded
        self._topics: dict[tuple[str, str], _Topic] = defaultdict(lambda: _Topic(deque(maxlen=keep)))
        self._last: dict[bytes, bytes] = {}

    def push(self, sent: Sent) -> None:
        """Keep a message. Where one was lost before it, what came earlier is forgotten: a ring has no hole, and it may
        have closed an event. One that is open still is known again with its next phase."""
        message = sent.message
        one = self._topics[message["stream"], message["kind"]]
        if message["seq"] != one.next:
            one.ring.clear()
            one.open.clear()
        one.ring.append((sent.utc_s, sent.content))
        one.next = message["seq"] + 1
        if message["kind"] in LASTING:
            self._last[sent.topic] = sent.content
        elif message["kind"] == "event":
            self._keep_open(one, message, sent.content)

    def expect(self, stream: str, kind: str, number: int) -> None:
        """Know of a topic of which nothing was pushed yet that its next message has this number."""
        if (stream, kind) not in self._topics:
            self._topics[stream, kind].next = number

    def last(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Topic and content of the last messages that a new subscriber to `prefix` is sent."""
        return ((name, content) for name, content in self._last.items() if name.startswith(prefix))

    def topics(self) -> dict[tuple[str, str], Topic]:
        """The numbers of every topic, by stream and kind."""
        return {name: Topic(self._kept(*name, one), one.next) for name, one in self._topics.items()}

    def state(self) -> list[bytes]:
        """The last message of every source's status, then of every event that is open."""
        states = [content for name, content in self._last.items() if name.endswith(b".status.")]
        return states + [content for one in self._topics.values() for content in one.open.values()]

    def replay(self, stream: str, kind: str, first: int, last: int | None = None) -> Replay:
        """Messages `first` to `last` (inclusive; left out, all) of a topic, as far as they are kept and fit."""
        one = self._topics.get((stream, kind)) or _Topic(deque())
        end = one.next if last is None else min(last + 1, one.next)
        begin, kept = self._from(stream, kind, first, end)
        contents = _fitting(kept)
        missing = (first, min(begin, end) - 1) if first < min(begin, end) else None
        resume = begin + len(contents)
        return Replay(min(begin, one.next), contents, missing, resume if resume < end else None)

    def replay_since(self, stream: str, kind: str, utc_s: float, last: int | None = None) -> Replay:
        """Messages published at `utc_s` or later. Where the oldest that is kept is no older, those before it are
        told as missing, since nobody knows any more when they were."""
        one = self._topics.get((stream, kind)) or _Topic(deque())
        older = sum(1 for kept_s, _ in one.ring if kept_s < utc_s)
        first = one.kept + older if older else None
        if self._recorded and not older:
            first = self._recorded.since(stream, kind, utc_s, one.kept)
        return self.replay(stream, kind, first or 0, last)

    def _from(self, stream: str, kind: str, first: int, end: int) -> tuple[int, Iterable[bytes]]:
        """Messages from `first` on and before `end`, some at least where there are any; the first one's number."""
        one = self._topics.get((stream, kind)) or _Topic(deque())
        older = min(one.kept, end)
        if self._recorded and first < older:
            begin, contents = self._recorded.find(stream, kind, first, older)
            if contents:
                return begin, contents
        begin = max(first, one.kept)
        return begin, (content for _, content in islice(one.ring, begin - one.kept, max(end, begin) - one.kept))

    def _kept(self, stream: str, kind: str, one: _Topic) -> int:
        """The first number that can be replayed."""
        recorded = self._recorded.first(stream, kind) if self._recorded else None
        return one.kept if recorded is None else min(recorded, one.kept)

    def _keep_open(self, one: _Topic, message: Message, content: bytes) -> None:
        one.open.pop(message["id"], None)
        if message["phase"] != "close":
            one.open[message["id"]] = content
            if len(one.open) > MAX_OPEN_EVENTS:
                del one.open[next(iter(one.open))]


def _fitting(kept: Iterable[bytes]) -> list[bytes]:
    contents: list[bytes] = []
    left = MAX_REPLAY_BYTES
    for content in kept:
        left -= len(content)
        if contents and (left < 0 or len(contents) == MAX_REPLAY_MESSAGES):
            break
        contents.append(content)
    return contents
