"""Endpoints that a test can leave and take again."""

import random
import socket
from contextlib import ExitStack

PORTS = range(20_000, 32_000, 2)
"""Below those that connections are given: a port that was left there may be another's the next moment."""


def free_place() -> str:
    """An endpoint that nobody has, nor the one beside it, where requests are answered."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with ExitStack() as taken:
            try:
                for one in (port, port + 1):
                    taken.enter_context(socket.socket()).bind(("127.0.0.1", one))
            except OSError:
                continue
            return f"tcp://127.0.0.1:{port}"
    raise OSError(f"no two free ports side by side in {PORTS}")
