"""The publishing end of the event stream: one ZeroMQ PUB socket, numbered messages, a heartbeat."""

import errno
import socket
import time
import uuid
from collections import defaultdict
from pathlib import Path
from types import TracebackType

import zmq

from livespot.errors import PublishError
from livespot.publish import endpoint as endpoints
from livespot.publish import messages
from livespot.publish.messages import Message, Moment, Record

SEND_QUEUE_MESSAGES = 10_000
"""Waiting messages per subscriber, about 5 MB; beyond it a subscriber that stopped reading loses the newest and sees
a hole in `seq`. The pipeline never waits for it."""

LINGER_MS = 500
"""How long leaving may take to hand the last messages over."""

_NO_SUCH_ADDRESS = "this machine has no such address: give one of its own, 127.0.0.1 for one"
_REASONS = {
    errno.EADDRINUSE: "another program is bound there, perhaps another livespot: stop it, or give another endpoint",
    errno.EADDRNOTAVAIL: _NO_SUCH_ADDRESS,
    errno.ENODEV: _NO_SUCH_ADDRESS,
    errno.EACCES: "not permitted: give a port above 1023, or a folder that you may write to",
    errno.ENOENT: "its folder does not exist: create it, or give another path",
}


class Publisher:
    """Publishes records on a ZeroMQ PUB socket. A context manager: entering binds, leaving closes.

    It belongs to one thread, as the socket does. Publishing never waits.
    """

    def __init__(self, endpoint: str, heartbeat_s: float = 1.0) -> None:
        """`endpoint`: tcp://address:port or ipc://path; port * takes a free one. Nothing is opened yet."""
        self.endpoint = endpoint
        """Where to connect to; once entered, with the port that was taken."""
        self._heartbeat_s = heartbeat_s
        self._socket: zmq.Socket[bytes] | None = None

    def __enter__(self) -> "Publisher":
        """Raises PublishError where the endpoint cannot be bound."""
        endpoints.check(self.endpoint)
        if self.endpoint.startswith("ipc://"):
            _check_path(self.endpoint, Path(self.endpoint.removeprefix("ipc://")))
        self._id = uuid.uuid4().hex
        self._sequence: defaultdict[bytes, int] = defaultdict(int)
        self._opened_s = self._heartbeat_due_s = time.monotonic()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        try:
            self._bind(self._socket)
        except zmq.ZMQError as error:
            self._close()
            reason = _REASONS.get(error.errno or 0, f"{error.strerror}: give tcp://address:port or ipc://path")
            raise PublishError(f"{self.endpoint} cannot be bound: {reason}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def publish(self, record: Record) -> Message:
        """Publish one record, with the clocks read now; the message that was sent."""
        now = Moment.now()
        return self._send(messages.body(record, now), now)

    def heartbeat(self) -> None:
        """Publish a heartbeat if one is due: for every turn of the loop, with or without frames."""
        now = Moment.now()
        if now.monotonic_s < self._heartbeat_due_s:
            return
        self._heartbeat_due_s = now.monotonic_s + self._heartbeat_s
        self._send(messages.heartbeat(now.monotonic_s - self._opened_s, self._heartbeat_s), now)

    def _bind(self, pub: "zmq.Socket[bytes]") -> None:
        endpoints.configure(pub, self.endpoint)
        pub.linger = LINGER_MS
        pub.sndhwm = SEND_QUEUE_MESSAGES
        pub.bind(self.endpoint)
        self.endpoint = pub.getsockopt_string(zmq.LAST_ENDPOINT)

    def _send(self, body: Message, now: Moment) -> Message:
        if self._socket is None:
            raise PublishError(f"{self.endpoint} is not open: publish inside `with Publisher(...) as publisher:`")
        topic = messages.topic(body["stream"], body["kind"])
        message = messages.envelope(self._id, self._sequence[topic], now, body)
        self._sequence[topic] += 1
        self._socket.send_multipart((topic, messages.encode(message)))
        return message

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._context.term()


def _check_path(endpoint: str, path: Path) -> None:
    """libzmq deletes whatever lies at the path before it binds: a file, or the socket of a running publisher."""
    if path.exists() and not path.is_socket():
        raise PublishError(f"{endpoint}: {path} exists and is no socket, binding would delete it: give a free path")
    with socket.socket(socket.AF_UNIX) as probe:
        if path.is_socket() and probe.connect_ex(str(path)) == 0:
            raise PublishError(f"{endpoint} cannot be bound: {_REASONS[errno.EADDRINUSE]}")
