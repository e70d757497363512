"""The publishing end of the event stream: numbers messages and hands them to the thread that sends them."""

import errno
import socket
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import zmq

from livespot.errors import PublishError
from livespot.metrics import RunMetrics
from livespot.publish import endpoint as endpoints
from livespot.publish import messages
from livespot.publish.archive import Archive
from livespot.publish.archives import Archives
from livespot.publish.desk import IDLE_S, Desk, Sockets, Unsent
from livespot.publish.encoding import Encoding, encoder
from livespot.publish.keys import ZAP, Guard
from livespot.publish.messages import OWN_STREAM, Message, Moment, Record, Recording
from livespot.publish.recorder import Recorder
from livespot.publish.requests import MAX_REQUEST_BYTES, Answers
from livespot.records import State, Status

KEEP_MESSAGES = 10_000
"""Of each topic, for replay: about 7 MB of events."""

SEND_QUEUE_MESSAGES = 10_000
"""Waiting messages per subscriber, about 7 MB; beyond it a subscriber that stopped reading loses the newest and sees
a hole in `seq`. The pipeline never waits for it."""

ANSWER_QUEUE, REQUEST_QUEUE = 64, 100
"""Answers that wait for a peer to read them, about 4 MB, beyond which they are dropped; requests that wait to be read.
As many answers as a turn of the desk has requests must fit: the socket learns only between turns what was read."""

HANDSHAKE_MS = 5_000
"""A peer that connects and says nothing is sent away after this."""

DEAF_MS = 30_000
"""A peer that takes nothing of what it is sent for so long is cut off; it may come back and ask for what it missed."""

LINGER_MS = 500
"""How long leaving may take to hand the last messages over."""

REOPEN_S = 5.0
"""How long a place that was just left may take to be free."""

_NO_SUCH_ADDRESS = "this machine has no such address: give one of its own, 127.0.0.1 for one"
_REASONS = {
    errno.EADDRINUSE: "another program is bound there, perhaps another livespot: stop it, or give another endpoint",
    errno.EADDRNOTAVAIL: _NO_SUCH_ADDRESS,
    errno.ENODEV: _NO_SUCH_ADDRESS,
    errno.EACCES: "not permitted: give a port above 1023, or a folder that you may write to",
    errno.ENOENT: "its folder does not exist: create it, or give another path",
}


class Publisher:
    """Publishes records on a ZeroMQ XPUB socket, and answers requests on a ROUTER socket beside it.

    A context manager: entering binds, leaving sends what waits and closes. It belongs to one thread; publishing never
    waits. The sockets belong to a thread of their own, see `desk`.
    """

    def __init__(
        self,
        endpoint: str,
        heartbeat_s: float = 1.0,
        *,
        requests: str | None = None,
        keep: int = KEEP_MESSAGES,
        encoding: Encoding = "json",
        key: Path | None = None,
        allowed_keys: Path | None = None,
        insecure: bool = False,
        record: Path | None = None,
        record_scores: bool = False,
    ) -> None:
        """`endpoint`: tcp://address:port or ipc://path; port * takes a free one. Nothing is opened yet.

        `requests` is where requests are answered, the next port if left out; `keep` messages of each topic can be
        replayed. With a `key`, a secret file of `livespot keygen`, all is encrypted, and only those can connect whose
        public keys lie in the directory `allowed_keys`. Without one, other machines can connect only where `insecure`
        says that they may.

        With `record`, a folder, every event, gap and status is in a file there before it is sent, scores too where
        `record_scores` is set; what is kept no more is then replayed from the file.
        """
        self.endpoint = endpoint
        """Where to connect to; once entered, with the port that was taken."""
        self.requests = requests
        """Where requests are answered; once entered, with the port that was taken."""
        self._heartbeat_s = heartbeat_s
        self._keep = keep
        self._encoding: Encoding = encoding
        self._key, self._allowed_keys, self._insecure = key, allowed_keys, insecure
        self._record, self._record_scores = record, record_scores
        self._recorder: Recorder | None = None
        self._desk: Desk | None = None
        self._upstreams: dict[str, str | None] | None = None

    def __enter__(self) -> "Publisher":
        """Raises PublishError where an endpoint cannot be bound, a key not be used or a recording not be made."""
        encode = encoder(self._encoding)
        endpoints.check(self.endpoint)
        if self._allowed_keys and not self._key:
            raise PublishError(
                f"{self._allowed_keys} keeps nobody out without a key of the publisher's own: give publish.key as well "
                "(`livespot keygen`), or leave publish.allowed_keys out"
            )
        self._guard = Guard(self._key, self._allowed_keys) if self._key else None
        self._id = uuid.uuid4().hex
        self._told: Recording | None = None
        """What was last published of the recording."""
        self._next: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._opened_s = self._heartbeat_due_s = time.monotonic()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            sockets = self._open()
            if self._record:
                self._recorder = Recorder(self._record, self._id, encode, self._record_scores)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self._archive = Archive(self._keep, self._recorder)
        archives = Archives(self._id, self._archive, self._keep)
        self._desk = Desk(sockets, archives, encode, Answers(self._id, encode), self._recorder)
        self._desk.start()
        self.heartbeat()  # kept for new subscribers: it says where to ask
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._desk is not None:
            self._desk.stop()
            self._desk = None
            self._context.destroy(linger=LINGER_MS)  # a socket that was left open would keep `term` waiting for ever

    @property
    def recording(self) -> Recording | None:
        """How recording goes, or went; None where nothing is recorded."""
        return self._recorder.state if self._recorder else None

    def publish(self, record: Record) -> Message:
        """Publish one record, with the clocks read now; the message, which is sent with the next heartbeat or soon."""
        now = Moment.now()
        return self._send(messages.body(record, now), now)

    def heartbeat(self) -> list[Message]:
        """Publish a heartbeat if one is due, and send at once all that was published: for every turn of the loop, with
        or without frames. The status messages that had to be published besides, of how recording goes."""
        now = Moment.now()
        uptime_s = now.monotonic_s - self._opened_s
        notices = self._tell_recording(uptime_s)
        if now.monotonic_s >= self._heartbeat_due_s:
            self._heartbeat_due_s = now.monotonic_s + self._heartbeat_s
            told = messages.heartbeat(uptime_s, self._heartbeat_s, self._next, self.requests or "", self.recording)
            self._send(told | ({} if self._upstreams is None else {"upstreams": self._upstreams}), now)
        if self._desk:
            self._desk.ring()
        return notices

    def _tell_recording(self, uptime_s: float) -> list[Message]:
        """A status where recording has begun, cannot go on, goes on again, or has lost something."""
        now, before = self.recording, self._told
        if now is None or (before and (not before.error, not before.lost) == (not now.error, not now.lost)):
            return []
        self._told = now
        state: State = "stalled" if now.error else "running"
        return [self.publish(Status(OWN_STREAM, state, uptime_s, now.in_words, stalls=now.failures))]

    @property
    def waiting(self) -> int:
        """Messages that wait to be sent. Any thread may ask."""
        desk = self._desk
        return desk.waiting if desk else 0

    def measured(self, run: RunMetrics) -> None:
        """What is answered from now on to who asks for metrics. Any thread may call it, while the publisher is open."""
        self._archive.metrics = messages.metrics(run, Moment.now())

    def name_upstreams(self, upstreams: Mapping[str, str | None]) -> None:
        """Say in every heartbeat from now on, of which the next goes out at once, whose messages are passed on: by name
        of the machine the publisher there, None where none was heard yet."""
        self._upstreams = dict(upstreams)
        self._heartbeat_due_s = time.monotonic()
        self.heartbeat()

    def pass_on(self, message: Message, utc_s: float) -> None:
        """Send a message of another publisher, made at `utc_s`, as it is; waits where too many are on their way."""
        desk = self._open_desk()
        while desk.full:
            desk = self._open_desk()
            desk.ring()
            time.sleep(IDLE_S)
        desk.hand_over(Unsent(messages.topic(message["stream"], message["kind"]), message, utc_s))

    def _open(self) -> Sockets:
        zap, requests = None, self.requests or endpoints.beside(self.endpoint)
        if self._guard:  # before the others: libzmq asks it from their first client on
            zap = self._context.socket(zmq.REP)
            zap.linger = 0
            zap.bind(ZAP)
        pub, self.endpoint = self._bind(zmq.XPUB, self.endpoint)
        router, self.requests = self._bind(zmq.ROUTER, requests)
        return Sockets(pub, router, zap, self._guard, self._reopen)

    def _bind(self, socket_type: int, endpoint: str) -> tuple["zmq.Socket[bytes]", str]:
        endpoints.check(endpoint)
        self._check_reach(endpoint)
        if endpoint.startswith("ipc://"):
            _check_path(endpoint, Path(endpoint.removeprefix("ipc://")))
        one = self._context.socket(socket_type)
        try:
            self._configure(one, endpoint)
            one.bind(endpoint)
        except zmq.ZMQError as error:
            reason = _REASONS.get(error.errno or 0, f"{error.strerror}: give tcp://address:port or ipc://path")
            asking = "" if socket_type == zmq.XPUB else " for requests (publish.requests gives another)"
            raise PublishError(f"{endpoint} cannot be bound{asking}: {reason}") from None
        return one, one.getsockopt_string(zmq.LAST_ENDPOINT)

    def _reopen(self) -> "zmq.Socket[bytes]":
        """The place of an XPUB socket that was closed; libzmq frees it a moment later."""
        one = self._context.socket(zmq.XPUB)
        until_s = time.monotonic() + REOPEN_S
        try:
            self._configure(one, self.endpoint)
            while not _bound(one, self.endpoint, must=time.monotonic() > until_s):
                time.sleep(0.01)
        except BaseException:
            one.close(linger=0)
            raise
        return one

    def _check_reach(self, endpoint: str) -> None:
        if not (self._guard or self._insecure or endpoints.is_local(endpoint)):
            raise PublishError(
                f"{endpoint} lets anyone in the network hear who moves which muscle when: give publish.key and "
                "publish.allowed_keys (`livespot keygen`), or say --insecure"
            )

    def _configure(self, one: "zmq.Socket[bytes]", endpoint: str) -> None:
        endpoints.configure(one, endpoint)
        one.linger = LINGER_MS
        one.handshake_ivl = HANDSHAKE_MS
        one.tcp_maxrt = DEAF_MS
        one.maxmsgsize = MAX_REQUEST_BYTES
        if one.type == zmq.XPUB:
            one.sndhwm = SEND_QUEUE_MESSAGES
            one.xpub_verbose = True
        else:
            one.sndhwm, one.rcvhwm = ANSWER_QUEUE, REQUEST_QUEUE
        if self._guard:
            self._guard.configure(one)

    def _send(self, body: Message, now: Moment) -> Message:
        desk = self._open_desk()
        stream, kind = body["stream"], body["kind"]
        number = self._next[stream].get(kind, 0)
        self._next[stream][kind] = number + 1
        message = messages.envelope(self._id, number, now, body)
        desk.hand_over(Unsent(messages.topic(stream, kind), message, now.utc_s))
        return message

    def _open_desk(self) -> Desk:
        if self._desk is None:
            raise PublishError(f"{self.endpoint} is not open: publish inside `with Publisher(...) as publisher:`")
        if self._desk.error:
            raise PublishError(f"{self.endpoint} sends no more: {self._desk.error!r}") from self._desk.error
        return self._desk


def _bound(one: "zmq.Socket[bytes]", endpoint: str, must: bool) -> bool:
    """Whether the socket could be bound; an error where it `must`."""
    try:
        one.bind(endpoint)
    except zmq.ZMQError:
        if must:
            raise
        return False
    return True


def _check_path(endpoint: str, path: Path) -> None:
    """libzmq deletes whatever lies at the path before it binds: a file, or the socket of a running publisher."""
    if path.exists() and not path.is_socket():
        raise PublishError(f"{endpoint}: {path} exists and is no socket, binding would delete it: give a free path")
    with socket.socket(socket.AF_UNIX) as probe:
        if path.is_socket() and probe.connect_ex(str(path)) == 0:
            raise PublishError(f"{endpoint} cannot be bound: {_REASONS[errno.EADDRINUSE]}")
