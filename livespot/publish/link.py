"""The sockets of a subscriber: what arrives goes to its `Followers`, what those ask is sent, what went wrong is said.

A subscriber that is refused hears nothing, and so does one of a publisher that hangs: the monitor of the socket and the
heartbeat tell. The link never waits; who waits, waits for its `sockets`.
"""

import struct
import time
from contextlib import suppress
from itertools import product
from typing import TypeAlias

import zmq

from livespot.errors import PublishError
from livespot.publish import endpoint as endpoints
from livespot.publish.encoding import decode, encoder
from livespot.publish.followers import Followers
from livespot.publish.keys import ClientKeys
from livespot.publish.messages import KINDS, OWN_STREAM, SCHEMA, Message, topic

MAX_MESSAGE_BYTES = 1 << 20
"""A peer that sends more is no livespot: libzmq hangs up before the message fills the memory."""

RECEIVE_QUEUE_MESSAGES = 10_000

MESSAGES_A_TURN = 100
"""So many are taken in before the caller is given what they told."""

RECONNECT_MS, RECONNECT_MAX_MS = 100, 2_000

OTHER_VERSIONS = [f"livespot.v{number}." for number in range(2, 10)]
"""Whose heartbeats are listened to, to tell a publisher that speaks another version from a silent one."""

HUNG_UP_TIMES = 3
"""One connection in the middle of which the publisher hangs up may be its end; as many in a row are a refusal."""

_EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

_ENCODE = encoder("json")


class Link:
    """Open from construction to `close`. It belongs to one thread."""

    def __init__(self, endpoint: str, followers: Followers, silence_s: float, keys: ClientKeys | None = None) -> None:
        """Raises PublishError for an endpoint that cannot be."""
        endpoints.check(endpoint)
        self.malformed = 0
        """Messages left out so far because they were none of livespot's."""
        self._endpoint, self._followers, self._silence_s, self._keys = endpoint, followers, silence_s, keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dealer: zmq.Socket[bytes] | None = None
        self._requests: str | None = None
        self._connected = False
        self._alive_s = time.monotonic()
        """When the publisher was last known to live."""
        self._other_version: tuple[str, float] | None = None
        self._hung_up = 0
        try:
            self._sub = self._context.socket(zmq.SUB)
            self._monitor = self._sub.get_monitor_socket(_EVENTS)
            self._connect_sub()
        except zmq.ZMQError as error:
            self.close()
            raise PublishError(
                f"{endpoint} cannot be subscribed to: {error.strerror}: "
                "give the endpoint that `livespot run` names when it starts"
            ) from None

    @property
    def sockets(self) -> list["zmq.Socket[bytes]"]:
        """What to wait for."""
        return [self._sub, self._monitor, *([self._dealer] if self._dealer else [])]

    @property
    def connected(self) -> bool:
        """Whether the publisher has let the socket in and has not hung up."""
        return self._connected

    def turn(self) -> None:
        """Take in what has arrived, send what must be asked. Raises PublishError where nothing will ever come."""
        now_s = time.monotonic()
        for _ in range(MESSAGES_A_TURN):
            if (parts := _received(self._sub)) is None:
                break
            self._hear(parts, now_s)
        while self._dealer and (parts := _received(self._dealer)) is not None:
            self._take_answer(parts, now_s)
        while (parts := _received(self._monitor)) is not None:
            self._learn(struct.unpack("=hi", parts[0])[0], now_s)
        self._followers.tick(now_s)
        self._send_requests()
        self._check(now_s)

    def close(self) -> None:
        """Close every socket."""
        with suppress(zmq.ZMQError):
            self._sub.disable_monitor()
        self._context.destroy(linger=0)

    def _connect_sub(self) -> None:
        sub = self._sub
        self._configure(sub)
        sub.rcvhwm = RECEIVE_QUEUE_MESSAGES
        followers = self._followers
        if followers.streams:
            for stream, kind in product(followers.streams, KINDS):
                if kind in followers.kinds:
                    sub.subscribe(topic(stream, kind))
        else:  # no prefix means one kind of any stream: all comes, and is sifted here
            sub.subscribe(f"{SCHEMA}.".encode())
        for version in OTHER_VERSIONS:
            sub.subscribe(f"{version}{OWN_STREAM}.heartbeat.".encode())
        sub.subscribe(topic(OWN_STREAM, "heartbeat"))  # last: what answers it has seen the others
        sub.connect(self._endpoint)

    def _configure(self, one: "zmq.Socket[bytes]") -> None:
        endpoints.configure(one, self._endpoint)
        one.linger = 0
        one.maxmsgsize = MAX_MESSAGE_BYTES
        one.reconnect_ivl, one.reconnect_ivl_max = RECONNECT_MS, RECONNECT_MAX_MS
        if self._keys:
            self._keys.configure(one)

    def _hear(self, parts: list[bytes], now_s: float) -> None:
        version = next((one for one in OTHER_VERSIONS if parts[0].startswith(one.encode())), None)
        if version is not None:
            self._other_version = self._other_version or (version[:-1], now_s)
            return
        message = _message(parts)
        if message is None:
            self.malformed += 1
            return
        if message["kind"] == "heartbeat":
            self._silence_s = max(self._silence_s, 3 * message.get("interval_s", 0.0))
        if self._followers.hear(message, now_s):
            self._alive_s = now_s

    def _take_answer(self, parts: list[bytes], now_s: float) -> None:
        head = _answer(parts[0])
        messages = [_message([b"", content]) for content in parts[1:]]
        if head is not None:
            self._followers.answer(head, [message for message in messages if message is not None], now_s)

    def _send_requests(self) -> None:
        followers = self._followers
        if followers.outgoing and followers.requests and followers.requests != self._requests:
            self._connect_dealer(followers.requests)
        while self._dealer and followers.outgoing:
            with suppress(zmq.Again):
                self._dealer.send(_ENCODE(followers.outgoing.popleft()), zmq.DONTWAIT)

    def _connect_dealer(self, requests: str) -> None:
        if self._dealer is not None:
            self._dealer.close()
        self._dealer, self._requests = self._context.socket(zmq.DEALER), requests
        self._configure(self._dealer)
        with suppress(zmq.ZMQError, PublishError):  # what is asked is then given up after a while
            self._dealer.connect(endpoints.seen_from(self._endpoint, requests))

    def _learn(self, event: int, now_s: float) -> None:
        """What the monitor says of the connection. Raises PublishError where it will never be."""
        self._connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        if self._connected:
            self._alive_s, self._hung_up = now_s, 0
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise PublishError(
                f"{self._endpoint} refuses this key: have its public half put into the directory of allowed keys there"
            )
        elif event != zmq.EVENT_DISCONNECTED:  # after an error of protocol libzmq does not try again
            self._hung_up += HUNG_UP_TIMES if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL else 1
        if self._hung_up >= HUNG_UP_TIMES:
            raise PublishError(f"{self._endpoint} hangs up: {self._why_hung_up()}")

    def _why_hung_up(self) -> str:
        if self._keys is None:
            return "it wants a key (give key and server_key), or is no livespot"
        return "the server's key may be another than the one given, it may use none, or is no livespot"

    def _check(self, now_s: float) -> None:
        if self._other_version and not self._followers.heard and now_s - self._other_version[1] > 1.0:
            raise PublishError(
                f"{self._endpoint} speaks {self._other_version[0]}, this is {SCHEMA}: install the version of livespot "
                "that runs there"
            )
        if self._connected and now_s - self._alive_s > self._silence_s:
            raise PublishError(
                f"{self._endpoint} is connected and gives no sign of life for {self._silence_s:g} s: "
                "look whether livespot hangs there, or give a longer silence_s"
            )


def _received(one: "zmq.Socket[bytes]") -> list[bytes] | None:
    try:
        return one.recv_multipart(zmq.DONTWAIT)
    except zmq.Again:
        return None


def _message(parts: list[bytes]) -> Message | None:
    """The message, or None where it is none of livespot's."""
    try:
        _, content = parts
        message = decode(content)
    except ValueError:
        return None
    sound = message.get("schema") == SCHEMA and _typed(message, _MESSAGE)
    if sound and message["kind"] == "heartbeat":
        sound = _typed(
            {"interval_s": 0, "next": {}, "requests": "", "upstream": "", "upstreams": {}} | message, _HEARTBEAT
        )
        sound = sound and _numbered(message.get("next", {}), 2)
        sound = sound and all(isinstance(one, str | None) for one in message.get("upstreams", {}).values())
    return message if sound else None


def _answer(content: bytes) -> Message | None:
    """The head of an answer, or None where it is none of livespot's."""
    try:
        head = decode(content)
    except ValueError:
        return None
    sound = _typed(head, _ANSWER) and _typed(head, _ANSWERS.get(str(head.get("reply")), {}))
    sound = sound and _numbered(head.get("topics", {}), 3) and _numbered(head.get("missing") or {}, 1)
    return head if sound else None


_Types: TypeAlias = dict[str, tuple[type, ...]]
_NUMBER = (int, float)

_MESSAGE: _Types = {"stream": (str,), "kind": (str,), "publisher": (str,), "seq": (int,), "monotonic_s": _NUMBER}
_HEARTBEAT: _Types = {
    "interval_s": _NUMBER,
    "next": (dict,),
    "requests": (str,),
    "upstream": (str,),
    "upstreams": (dict,),
}
_ANSWER: _Types = {"id": (int,), "publisher": (str,), "reply": (str,)}
_ANSWERS: dict[str, _Types] = {
    "snapshot": {"topics": (dict,), "utc": (str,)},
    "replay": {"first": (int,), "missing": (dict, type(None)), "resume": (int, type(None))},
}


def _typed(fields: Message, types: _Types) -> bool:
    return all(isinstance(fields.get(key), one) for key, one in types.items())


def _numbered(value: object, depth: int) -> bool:
    """Whether it is objects in objects, `depth` levels of them, with whole numbers in the innermost."""
    if depth == 0:
        return isinstance(value, int)
    return isinstance(value, dict) and all(_numbered(one, depth - 1) for one in value.values())
