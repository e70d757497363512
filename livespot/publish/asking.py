"""Questions to a running livespot, for programs that want an answer and not the stream."""

import math
import time
from itertools import count
from pathlib import Path
from types import TracebackType

import zmq

from livespot.errors import PublishError
from livespot.publish import endpoint as endpoints
from livespot.publish.encoding import decode, encoder
from livespot.publish.followers import Followers
from livespot.publish.keys import ClientKeys, client_keys
from livespot.publish.link import MAX_MESSAGE_BYTES, Link
from livespot.publish.messages import SCHEMA, Message
from livespot.publish.subscriber import POLL_MS, SILENCE_S

TIMEOUT_S = 5.0

_ENCODE = encoder("json")


class Asking:
    """Asks one publisher, as often as is wanted. A context manager; it belongs to one thread.

    Whatever is asked first finds out where requests are answered: the publisher's heartbeat tells.
    """

    def __init__(
        self,
        endpoint: str,
        timeout_s: float = TIMEOUT_S,
        *,
        key: Path | str | None = None,
        server_key: Path | str | None = None,
    ) -> None:
        """`endpoint` and keys as of `subscribe`. Raises PublishError for a key that cannot be used."""
        self._endpoint, self._timeout_s = endpoint, timeout_s
        self._keys = client_keys(key, server_key)
        self._ids = count(1)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dealer: zmq.Socket[bytes] | None = None

    def __enter__(self) -> "Asking":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def ask(self, request: str) -> Message:
        """The answer. Raises PublishError where none comes in time, or the publisher knows no such request."""
        until_s = time.monotonic() + self._timeout_s
        if self._dealer is None:
            self._dealer = self._connected(found(self._endpoint, self._timeout_s, self._keys))
        number = next(self._ids)
        self._dealer.send(_ENCODE({"schema": SCHEMA, "id": number, "request": request}))
        while (left_s := until_s - time.monotonic()) > 0:
            if not self._dealer.poll(math.ceil(min(1000 * left_s, POLL_MS))):
                continue
            answer = _read(self._dealer)
            if answer.get("id") == number:
                return self._checked(answer, request)
        self._dealer.close()  # another may answer elsewhere by now
        self._dealer = None
        raise PublishError(
            f"{self._endpoint} gives no answer within {self._timeout_s:g} s: look whether livespot runs there still"
        )

    def _connected(self, requests: str) -> "zmq.Socket[bytes]":
        dealer = self._context.socket(zmq.DEALER)
        endpoints.configure(dealer, self._endpoint)
        dealer.linger = 0
        dealer.maxmsgsize = MAX_MESSAGE_BYTES
        if self._keys:
            self._keys.configure(dealer)
        dealer.connect(endpoints.seen_from(self._endpoint, requests))
        return dealer

    def _checked(self, answer: Message, request: str) -> Message:
        if answer.get("reply") == request:
            return answer
        raise PublishError(
            f"{self._endpoint} does not answer the request {request} ({answer.get('error', 'without a reason')}): "
            "an older livespot runs there, update it"
        )


def found(endpoint: str, timeout_s: float, keys: ClientKeys | None) -> str:
    """Where the publisher answers requests, in its own words. Raises PublishError where none is heard in time."""
    followers = Followers(("heartbeat",))
    link = Link(endpoint, followers, SILENCE_S, keys)
    until_s = time.monotonic() + timeout_s
    try:
        while time.monotonic() < until_s:
            poller = zmq.Poller()
            for one in link.sockets:
                poller.register(one, zmq.POLLIN)
            poller.poll(math.ceil(min(1000 * timeout_s, POLL_MS)))
            link.turn()
            if followers.requests is not None:
                return followers.requests
    finally:
        link.close()
    raise PublishError(
        f"{endpoint} is not heard within {timeout_s:g} s: look whether livespot runs there, and where it publishes"
    )


def _read(dealer: "zmq.Socket[bytes]") -> Message:
    """The head of the next answer; an empty one where it is none of livespot's."""
    try:
        return decode(dealer.recv_multipart()[0])
    except ValueError:
        return {}
