"""What both ends of the event stream agree on: which endpoints there are, and how a socket notices a dead link."""

import re

import zmq

from livespot.errors import PublishError

PING_MS = 1_000

DEAD_LINK_MS = 5_000
"""A peer that answers no ping for this long is gone, and its queue with it."""

_FORM = re.compile(r"tcp://.+:(\*|\d{1,5})|ipc://.+")


def check(endpoint: str) -> None:
    """Raises PublishError for an endpoint that cannot be; libzmq would take port 65537 for 1."""
    match = _FORM.fullmatch(endpoint)
    if not match or (match[1] not in (None, "*") and int(match[1]) > 65535):
        raise PublishError(f"{endpoint} is no endpoint: give tcp://address:port with a port up to 65535, or ipc://path")


def configure(zmq_socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    """Options of both ends; to be set before bind or connect."""
    zmq_socket.ipv6 = "[" in endpoint  # always on, it would report 127.0.0.1 as [::ffff:127.0.0.1]
    zmq_socket.heartbeat_ivl = PING_MS
    zmq_socket.heartbeat_timeout = DEAD_LINK_MS
