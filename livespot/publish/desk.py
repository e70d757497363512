"""The thread that owns the publisher's sockets: it records and sends what it is handed and answers those who ask.

The pipeline hands over and goes on: what peers do to the sockets costs this thread time, never the pipeline. Each turn
sends first; then peers have their share, which is bounded, and a pause, so that a flood of requests cannot take the
processor from the rest.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import zmq

from livespot.publish.archive import Sent
from livespot.publish.archives import Archives
from livespot.publish.encoding import Encode
from livespot.publish.keys import Guard
from livespot.publish.messages import Message, Moment
from livespot.publish.recorder import Recorder
from livespot.publish.requests import Answers

SEND_AT_ONCE = 500
"""So many are recorded together, before the first of them is sent."""

WAITING_MESSAGES = 10_000
"""More than this thread could send in half a second: beyond it the newest are lost, which `seq` shows."""

IDLE_S = 0.02
"""Messages for which nobody rings wait no longer than this."""

REQUESTS_A_TURN, ANSWER_BYTES_A_TURN, SUBSCRIPTIONS_A_TURN = 16, 200_000, 1_000
PAUSE_S = 0.005
"""What peers may ask of one turn, and how long they then wait for the next."""

MAX_FULL_TURNS = 100
"""More in a row are a flood, which ZeroMQ would keep in memory until it is read."""

_SUBSCRIBE = 1
"""First byte of what XPUB reads when a subscriber comes; 0 when it goes."""

_DELIMITER = b""
"""What REQ sockets put before a request, and want before the answer; DEALER sockets do without."""


@dataclass(frozen=True)
class Unsent:
    """A message on its way to the desk."""

    topic: bytes
    message: Message
    utc_s: float


@dataclass
class Sockets:
    """The publisher's sockets, bound, all of one context."""

    pub: "zmq.Socket[bytes]"
    """XPUB."""
    router: "zmq.Socket[bytes]"
    zap: "zmq.Socket[bytes] | None"
    """REP, on which libzmq asks whether a client may connect; None where everyone may."""
    guard: Guard | None
    reopen: Callable[[], "zmq.Socket[bytes]"]
    """Gives a new `pub` at the same endpoint."""


class Desk:
    """Sends, keeps and answers until it is told to stop; then it sends what waits, and closes its sockets."""

    def __init__(
        self, sockets: "Sockets", archives: Archives, encode: Encode, answers: Answers, recorder: Recorder | None = None
    ) -> None:
        """From `start` on the sockets and the recorder are the desk's."""
        self.error: Exception | None = None
        """What ended the thread before its time."""
        self._sockets, self._pub, self._router = sockets, sockets.pub, sockets.router
        self._archives, self._encode, self._answers = archives, encode, answers
        self._recorder = recorder
        self._waiting: deque[Unsent] = deque()
        self._stopping = False
        self._peers_from_s = 0.0
        self._full_turns = 0
        """In a row, of subscribing and unsubscribing without end."""
        self._bell, self._ear = socket.socketpair()  # a ZeroMQ pair that is full loses the ring that matters
        self._bell.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="livespot-publisher", daemon=True)

    @property
    def waiting(self) -> int:
        """Messages that were handed over and are not sent yet."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin. Once only."""
        self._thread.start()

    def hand_over(self, unsent: Unsent) -> None:
        """Have a message sent at the next ring, or in `IDLE_S` at the latest; never waits.

        It makes no system call: one would let go of the interpreter, and this thread might keep it for long.
        """
        if not self.full:
            self._waiting.append(unsent)

    @property
    def full(self) -> bool:
        """Whether what is handed over now is lost."""
        return len(self._waiting) >= WAITING_MESSAGES

    def ring(self) -> None:
        """Have what was handed over sent now."""
        if self._waiting or self._stopping:
            with suppress(OSError):  # so many rings that are not heard yet are enough; or the thread has ended
                self._bell.send(b"\0")

    def stop(self) -> None:
        """Wait until all that was handed over is recorded and in the sockets' hands, and all is closed."""
        self._stopping = True
        self.ring()
        self._thread.join()
        self._bell.close()

    def _run(self) -> None:
        try:
            while not self._stopping or self._waiting:
                self._turn()
        except Exception as error:  # carried to the publisher's thread
            self.error = error
        finally:
            for one in (self._pub, self._router, self._sockets.zap, self._ear):
                if one is not None:
                    one.close()
            if self._recorder:
                self._recorder.close()

    def _turn(self) -> None:
        ready = self._poll()
        if self._ear.fileno() in ready:
            self._ear.recv(4096)
        self._send_waiting()
        if self._sockets.guard:
            self._watch(self._sockets.guard)
        if self._pub in ready:
            self._welcome()
        if self._router in ready:
            self._answer()
        if self._pub in ready or self._router in ready:
            self._peers_from_s = time.monotonic() + PAUSE_S

    def _poll(self) -> list[Any]:
        """What there is to read from: the sockets of peers only once their pause is over, of the ear its descriptor."""
        pause_s = self._peers_from_s - time.monotonic()
        asked: list[Any] = [self._ear] if pause_s > 0 else [self._ear, self._pub, self._router]
        if self._sockets.zap is not None:
            asked.append(self._sockets.zap)
        readable, _, _ = zmq.select(asked, [], [], max(pause_s, 0.001) if pause_s > 0 else IDLE_S)
        return readable

    def _send_waiting(self) -> None:
        """What is recorded is recorded first: whoever has heard of something finds it in the file."""
        while some := [self._waiting.popleft() for _ in range(min(len(self._waiting), SEND_AT_ONCE))]:
            batch = [Sent(one.topic, self._encode(one.message), one.message, one.utc_s) for one in some]
            if self._recorder:
                self._recorder.write(batch)
            for sent in batch:
                self._send(sent)
        if self._recorder:
            self._recorder.write(())

    def _send(self, sent: Sent) -> None:
        self._archives.push(sent)
        self._pub.send_multipart((sent.topic, sent.content))

    def _welcome(self) -> None:
        """Send the last status and heartbeat to who has come; others hear them again and know them by their number."""
        due: dict[tuple[bytes, bytes], None] = {}
        for _ in range(SUBSCRIPTIONS_A_TURN):
            parts = _read(self._pub)
            if parts is None:
                break
            if parts[0][:1] == bytes([_SUBSCRIBE]):
                due |= dict.fromkeys(self._archives.last(parts[0][1:]))
        self._full_turns = self._full_turns + 1 if parts else 0
        if self._full_turns > MAX_FULL_TURNS:
            self._reopen()
        for message in due:
            self._pub.send_multipart(message)

    def _watch(self, guard: Guard) -> None:
        """Let in who is allowed, and put out who is no more."""
        assert self._sockets.zap
        gone = guard.reread(time.monotonic())
        while question := _read(self._sockets.zap):
            self._sockets.zap.send_multipart(guard.answer(question))
        if gone:
            self._reopen()

    def _reopen(self) -> None:
        """Cut off all subscribers, since one alone cannot be: those that are allowed come back and miss nothing."""
        self._full_turns = 0
        self._pub.close(linger=0)
        self._pub = self._sockets.reopen()

    def _answer(self) -> None:
        left = ANSWER_BYTES_A_TURN
        for _ in range(REQUESTS_A_TURN):
            frames = _frames(self._router) if left > 0 else None
            if frames is None:
                break
            if not self._allows(frames[-1]):
                continue
            peer, *delimiter, content = [frame.bytes for frame in frames]
            if delimiter not in ([], [_DELIMITER]):
                delimiter, content = [], b""
            answer = self._answers.answer(content, self._archives, Moment.now())
            left -= sum(map(len, answer))
            with suppress(zmq.Again):
                self._router.send_multipart([peer, *delimiter, *answer], zmq.DONTWAIT)

    def _allows(self, frame: zmq.Frame) -> bool:
        """Whether the peer that sent this may ask still: its connection outlives its key."""
        guard = self._sockets.guard
        return guard is None or guard.allows(str(frame.get("User-Id")).encode())


def _frames(one: "zmq.Socket[bytes]") -> list[zmq.Frame] | None:
    try:
        return one.recv_multipart(zmq.DONTWAIT, copy=False)
    except zmq.Again:
        return None


def _read(one: "zmq.Socket[bytes]") -> list[bytes] | None:
    """All parts of the next message, None where none waits."""
    try:
        return one.recv_multipart(zmq.DONTWAIT)
    except zmq.Again:
        return None
