"""The receiving end of the event stream: for programs in Python that would rather not speak ZeroMQ themselves."""

import json
import math
import time
from collections.abc import Iterable, Iterator
from types import TracebackType

import zmq

from livespot.errors import PublishError
from livespot.publish import endpoint as endpoints
from livespot.publish.messages import KINDS, OWN_STREAM, SCHEMA, Kind, Message, topic

POLL_MS = 200
"""A wait is cut into pieces this long, so that Ctrl-C is answered at once everywhere."""

MAX_MESSAGE_BYTES = 1 << 20
"""A peer that sends more is no livespot: libzmq hangs up before the message fills the memory."""

RECEIVE_QUEUE_MESSAGES = 10_000

RECONNECT_MS, RECONNECT_MAX_MS = 100, 2_000


def subscribe(
    endpoint: str,
    kinds: Iterable[Kind] = ("event",),
    streams: Iterable[str] = (),
    timeout_s: float | None = None,
) -> "Subscription":
    """The messages of a running livespot as dicts, as `livespot.publish.schema()` describes them.

        with livespot.subscribe("tcp://127.0.0.1:5556") as events:
            for event in events:
                print(event["type"], event["onset_s"])

    `kinds` of event, gap, status, score, heartbeat; `streams` are names of sources, all where left out. With
    `timeout_s` the iteration ends once none has come for so long; without, it waits for ever, and reconnects where
    the publisher goes away and comes back. Raises PublishError for a kind that does not exist, and when entered for an
    endpoint that cannot be.
    """
    return Subscription(endpoint, tuple(kinds), tuple(streams), timeout_s)


class Subscription:
    """A context manager and an iterator of messages. It belongs to one thread."""

    def __init__(
        self, endpoint: str, kinds: tuple[Kind, ...], streams: tuple[str, ...], timeout_s: float | None
    ) -> None:
        self.malformed = 0
        """Messages left out so far because they were none of livespot's."""
        self._endpoint = endpoint
        self._kinds = kinds
        self._prefixes = _prefixes(kinds, streams)
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._socket: zmq.Socket[bytes] | None = None

    def __enter__(self) -> "Subscription":
        endpoints.check(self._endpoint)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        try:
            self._connect(self._socket)
        except zmq.ZMQError as error:
            self._close()
            raise PublishError(
                f"{self._endpoint} cannot be subscribed to: {error.strerror}: "
                "give the endpoint that `livespot run` names when it starts"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        deadline_s = time.monotonic() + self._timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            parts = self._receive(min(left_s * 1000, POLL_MS))
            message = _parse(parts) if parts else None
            self.malformed += bool(parts) and message is None
            if message and message["kind"] in self._kinds:
                return message
        raise StopIteration

    def _connect(self, sub: "zmq.Socket[bytes]") -> None:
        endpoints.configure(sub, self._endpoint)
        sub.linger = 0
        sub.rcvhwm = RECEIVE_QUEUE_MESSAGES
        sub.maxmsgsize = MAX_MESSAGE_BYTES
        sub.reconnect_ivl, sub.reconnect_ivl_max = RECONNECT_MS, RECONNECT_MAX_MS
        for prefix in self._prefixes:
            sub.subscribe(prefix)
        sub.connect(self._endpoint)

    def _receive(self, wait_ms: float) -> list[bytes]:
        """The parts of the next message; none where none came in time."""
        if self._socket is None:
            raise PublishError(f"{self._endpoint} is not open: iterate inside `with subscribe(...) as messages:`")
        return self._socket.recv_multipart() if self._socket.poll(math.ceil(wait_ms)) else []

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._context.term()


def _prefixes(kinds: tuple[Kind, ...], streams: tuple[str, ...]) -> list[bytes]:
    """What to subscribe to. No prefix means one kind of any stream: without streams all comes, and is sifted here."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise PublishError(f"no messages of kind {', '.join(map(repr, unknown))}: choose from {', '.join(KINDS)}")
    if not streams:
        return [f"{SCHEMA}.".encode()]
    own = [topic(OWN_STREAM, "heartbeat")] if "heartbeat" in kinds else []
    return own + [topic(stream, kind) for stream in streams for kind in kinds]


def _parse(parts: list[bytes]) -> Message | None:
    """The message, or None where it is none of livespot's."""
    try:
        _, content = parts
        message = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("schema") != SCHEMA or "kind" not in message:
        return None
    return message
