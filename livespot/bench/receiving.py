"""A subscriber in a process of its own that notes when it received what: the other end of the latency.

Both ends are on one machine, whose monotonic clock is the same in every process.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from livespot.errors import PublishError
from livespot.publish import Publisher, subscribe

BEAT_S = 0.1
START_S = 60.0
"""How long a process may take to start, on a busy machine."""

QUIET_S = 2.0
"""Nothing more comes after so long without a message."""


class Receiver:
    """The monotonic times at which scores were received, once the publisher sends no more."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def received_s(self) -> dict[int, float]:
        """By number of the message."""
        self._connection.send("that was all")
        times: dict[int, float] = self._connection.recv()
        return times


@contextmanager
def receiver(publisher: Publisher) -> Iterator[Receiver]:
    """A subscriber that hears everything from now on. Raises PublishError where it does not start."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_receive, args=(publisher.endpoint, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        until_s = time.monotonic() + START_S
        while not ours.poll(BEAT_S):
            publisher.heartbeat()
            if time.monotonic() > until_s or not process.is_alive():
                raise PublishError(f"a subscriber of {publisher.endpoint} did not start: look at the machine's load")
        ours.recv()
        yield Receiver(ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def _receive(endpoint: str, connection: Connection) -> None:
    received_s: dict[int, float] = {}
    with subscribe(endpoint, ("score", "heartbeat"), timeout_s=QUIET_S) as messages:
        while next(messages, None) is None:  # a heartbeat is told to who has joined
            pass
        connection.send("listening")
        while not connection.poll():
            for message in messages:
                if message["kind"] == "score":
                    received_s[message["seq"]] = time.monotonic()
                elif connection.poll():
                    break
    connection.send(received_s)
