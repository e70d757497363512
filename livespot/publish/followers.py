"""Whom a subscriber follows at one endpoint: a publisher, and the one that takes its place; behind a proxy, several.

    who           known by                                        replaced by
    the endpoint  a heartbeat without `upstream`                  whoever is heard so next
    a machine     its name in `upstreams` of the proxy's          whoever has this name next
    behind it     heartbeat, or in `upstream` of its own

Each has its own numbers and its own `Follower`. That another has taken a place is told as a message of kind `restart`,
where these are asked for, after all that was heard of the one before.
"""

from collections import deque
from collections.abc import Iterable
from itertools import count

from livespot.errors import PublishError
from livespot.publish.follower import NOTICES, Follower, Notice, Wanted
from livespot.publish.messages import KINDS, OWN_STREAM, SCHEMA, Kind, Message

_ENDPOINT = ""
"""The place of whoever answers at the endpoint itself; machines behind it have names."""


class Followers:
    """Turns what is heard at an endpoint into what is told, each publisher's messages in order and without holes."""

    def __init__(
        self, kinds: Iterable[Kind | Notice] = ("event",), streams: Iterable[str] = (), past_s: float = 0.0
    ) -> None:
        """`past_s`: what was published in so many seconds before is told as well. Raises PublishError for a kind that
        does not exist."""
        self._wanted = Wanted(tuple(kinds), tuple(streams), past_s)
        unknown = [kind for kind in self.kinds if kind not in (*KINDS, *NOTICES)]
        if unknown:
            allowed = ", ".join((*KINDS, *NOTICES))
            raise PublishError(f"no messages of kind {', '.join(map(repr, unknown))}: choose from {allowed}")
        self.ready: deque[Message] = deque()
        """To be told, in order."""
        self.outgoing: deque[Message] = deque()
        """Requests to be sent."""
        self.requests: str | None = None
        """Where they are answered, in the words of the last heartbeat."""
        self._followers: dict[str, Follower] = {}
        """By publisher."""
        self._places: dict[str, str] = {}
        """The publisher at each place."""
        self._from_start: frozenset[str] = frozenset()
        """Publishers behind the proxy when it was heard first."""
        self._lost = 0
        """Of those that ended."""
        self._ids = count(1)

    @property
    def kinds(self) -> tuple[Kind | Notice, ...]:
        """What is told."""
        return self._wanted.kinds

    @property
    def streams(self) -> tuple[str, ...]:
        """Of which sources; all where there are none."""
        return self._wanted.streams

    @property
    def lost(self) -> int:
        """Messages that could not be had, so far."""
        return self._lost + sum(one.lost for one in self._followers.values())

    @property
    def heard(self) -> bool:
        """Whether any publisher was heard."""
        return bool(self._followers)

    @property
    def settled(self) -> bool:
        """Whether all that are known are followed, and nothing is asked for that would come before what was heard."""
        return all(one.settled for one in self._followers.values())

    def hear(self, message: Message, now_s: float) -> bool:
        """Take in a message, heard at the monotonic time `now_s`; whether it is a sign of life."""
        one = self._follower(message["publisher"])
        alive = one.is_news(message)
        if message["kind"] == "heartbeat":
            self.requests = message.get("requests")
            self._give_place(message)
        one.hear(message, now_s)
        return alive

    def answer(self, head: Message, messages: list[Message], now_s: float) -> None:
        """Take in an answer to one of the requests."""
        if head["publisher"] in self._followers:
            self._followers[head["publisher"]].answer(head, messages, now_s)

    def tick(self, now_s: float) -> None:
        """Let time pass: what nobody answers is asked again, then given up."""
        for publisher, one in list(self._followers.items()):
            if publisher not in self._places.values() and one.overdue(now_s):
                self._put(publisher, _ENDPOINT)
            one.tick(now_s)

    def _follower(self, publisher: str) -> Follower:
        if publisher not in self._followers:
            self._followers[publisher] = Follower(publisher, self._wanted, self.ready, self.outgoing, self._ids)
        return self._followers[publisher]

    def _give_place(self, heartbeat: Message) -> None:
        publisher, upstream = heartbeat["publisher"], heartbeat.get("upstream")
        if upstream is not None:
            self._put(publisher, upstream)
            return
        behind = heartbeat.get("upstreams", {})
        if self._places.get(_ENDPOINT) != publisher:
            self._from_start = frozenset(filter(None, behind.values()))
        for name, one in behind.items():
            if one is not None:
                self._put(one, name)
        self._put(publisher, _ENDPOINT)
        for name in self._places.keys() - {_ENDPOINT, *behind}:
            self._end(self._places.pop(name))

    def _put(self, publisher: str, place: str) -> None:
        """`publisher` is at this `place` from now on, and in no other."""
        before = self._places.get(place)
        if before == publisher:
            return
        one = self._follower(publisher)
        if before is not None:
            one.begin_at = 0 if self._followers[before].joined else self._followers[before].begin_at
            self._end(before)
            self._tell_restart(before, publisher, place)
        elif place != _ENDPOINT and one.greeting:
            one.from_kept = _ENDPOINT in self._places and publisher not in self._from_start
        self._places = {name: other for name, other in self._places.items() if other != publisher} | {place: publisher}

    def _end(self, publisher: str) -> None:
        one = self._followers.pop(publisher)
        one.end()
        self._lost += one.lost
        kept = [request for request in self.outgoing if request["publisher"] != publisher]
        self.outgoing.clear()
        self.outgoing.extend(kept)

    def _tell_restart(self, before: str, publisher: str, place: str) -> None:
        if "restart" in self.kinds:
            whose = {"upstream": place} if place != _ENDPOINT else {}
            notice = {"schema": SCHEMA, "stream": OWN_STREAM, "kind": "restart", "before": before}
            self.ready.append(notice | {"publisher": publisher} | whose)
