"""The receiving end of the event stream: for programs in Python that would rather not speak ZeroMQ themselves."""

import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from types import TracebackType

import zmq
import zmq.asyncio

from livespot.errors import PublishError
from livespot.publish.follower import Notice
from livespot.publish.followers import Followers
from livespot.publish.keys import ClientKeys, client_keys
from livespot.publish.link import Link
from livespot.publish.messages import Kind, Message

POLL_MS = 200
"""A wait is cut into pieces this long, so that Ctrl-C is answered at once everywhere."""

SILENCE_S = 15.0


def subscribe(
    endpoint: str,
    kinds: Iterable[Kind | Notice] = ("event",),
    streams: Iterable[str] = (),
    timeout_s: float | None = None,
    *,
    past_s: float = 0.0,
    silence_s: float = SILENCE_S,
    key: Path | str | None = None,
    server_key: Path | str | None = None,
) -> "Subscription":
    """The messages of a running livespot as dicts, as `livespot.publish.schema()` describes them.

        with livespot.subscribe("tcp://127.0.0.1:5556") as events:
            for event in events:
                print(event["type"], event["onset_s"])

    First what is so now (open events, the state of every source) and, with `past_s`, what was published in the seconds
    before, as far as it is kept; then what comes, each message once, in the order of its topic. What was lost on the
    way is asked for again.

    `kinds` of event, gap, status, score, heartbeat, and two that are made here: lost, where messages could not be had
    any more (`stream`, `of` which kind, `first` and `last` number), and restart, where another publisher has taken the
    place of the one that was heard. `streams` are names of sources, all where left out. With `timeout_s` the iteration
    ends once nothing has come for so long; without, it waits for ever, and reconnects where the publisher goes away
    and comes back. A publisher with keys wants `key`, the secret file of `livespot keygen` whose public half it was
    given, and `server_key`, its own public file or the 40 characters in it.

    Raises PublishError for a kind that does not exist or a key that cannot be used, when entered for an endpoint that
    cannot be, and while iterating where a connected publisher gives no sign of life for `silence_s`, speaks another
    version, or refuses the key.
    """
    return Subscription(endpoint, Followers(kinds, streams, past_s), timeout_s, silence_s, client_keys(key, server_key))


def subscribe_async(
    endpoint: str,
    kinds: Iterable[Kind | Notice] = ("event",),
    streams: Iterable[str] = (),
    timeout_s: float | None = None,
    *,
    past_s: float = 0.0,
    silence_s: float = SILENCE_S,
    key: Path | str | None = None,
    server_key: Path | str | None = None,
) -> "AsyncSubscription":
    """`subscribe` for asyncio.

    async with livespot.subscribe_async("tcp://127.0.0.1:5556") as events:
        async for event in events:
            print(event["type"], event["onset_s"])
    """
    return AsyncSubscription(
        endpoint, Followers(kinds, streams, past_s), timeout_s, silence_s, client_keys(key, server_key)
    )


class _Subscription:
    """What both subscriptions share: all but how they wait."""

    def __init__(
        self, endpoint: str, followers: Followers, timeout_s: float | None, silence_s: float, keys: ClientKeys | None
    ) -> None:
        self._endpoint, self._followers, self._silence_s, self._keys = endpoint, followers, silence_s, keys
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._link: Link | None = None
        self._malformed = 0

    @property
    def lost(self) -> int:
        """Messages that could not be had, so far."""
        return self._followers.lost

    @property
    def malformed(self) -> int:
        """Messages left out so far because they were none of livespot's."""
        return self._link.malformed if self._link else self._malformed

    def _open(self) -> None:
        self._link = Link(self._endpoint, self._followers, self._silence_s, self._keys)

    def _close(self) -> None:
        if self._link is not None:
            self._malformed = self._link.malformed
            self._link.close()
            self._link = None

    def _next(self) -> Message | None:
        """The next message that can be told without waiting."""
        if self._link is None:
            raise PublishError(f"{self._endpoint} is not open: iterate inside `with subscribe(...) as messages:`")
        if not self._followers.ready:
            self._link.turn()
        return self._followers.ready.popleft() if self._followers.ready else None

    def _register(self, poller: zmq.Poller) -> None:
        for one in self._link.sockets if self._link else ():
            poller.register(one, zmq.POLLIN)


class Subscription(_Subscription):
    """A context manager and an iterator of messages. It belongs to one thread."""

    def __enter__(self) -> "Subscription":
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        deadline_s = time.monotonic() + self._timeout_s
        while (message := self._next()) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise StopIteration
            poller = zmq.Poller()
            self._register(poller)
            poller.poll(math.ceil(min(left_s * 1000, POLL_MS)))
        return message


class AsyncSubscription(_Subscription):
    """An asynchronous context manager and iterator of messages. It belongs to one event loop."""

    async def __aenter__(self) -> "AsyncSubscription":
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        deadline_s = time.monotonic() + self._timeout_s
        while (message := self._next()) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise StopAsyncIteration
            poller = zmq.asyncio.Poller()
            self._register(poller)
            await poller.poll(math.ceil(min(left_s * 1000, POLL_MS)))
        return message
