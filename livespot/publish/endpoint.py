"""What both ends of the event stream agree on: which endpoints there are, and how a socket notices a dead link."""

import ipaddress
import re

import zmq

from livespot.errors import PublishError

IDLE_S, PROBE_S, PROBES = 2, 1, 3
"""After so long without a word the system probes a peer, so often; one that answers none is gone, and its queue."""

_FORM = re.compile(r"tcp://(?P<host>.+):(?P<port>\*|\d{1,5})|ipc://.+")


def check(endpoint: str) -> None:
    """Raises PublishError for an endpoint that cannot be; libzmq would take port 65537 for 1."""
    match = _FORM.fullmatch(endpoint)
    if not match or (match["port"] not in (None, "*") and int(match["port"]) > 65535):
        raise PublishError(f"{endpoint} is no endpoint: give tcp://address:port with a port up to 65535, or ipc://path")


def configure(zmq_socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    """Options of both ends; to be set before bind or connect."""
    zmq_socket.ipv6 = "[" in endpoint  # always on, it would report 127.0.0.1 as [::ffff:127.0.0.1]
    # Not ZeroMQ's own heartbeat: where a full queue's peer goes away, its timer ends the process (libzmq 4364, 4767).
    zmq_socket.tcp_keepalive = 1
    zmq_socket.tcp_keepalive_idle = IDLE_S
    zmq_socket.tcp_keepalive_intvl = PROBE_S
    zmq_socket.tcp_keepalive_cnt = PROBES


def beside(endpoint: str) -> str:
    """Where requests are answered if nothing else is said: the next port, a free one beside a free one."""
    check(endpoint)
    host, port = _parts(endpoint)
    if port is None:
        return f"{endpoint}.requests"
    if port == "65535":
        raise PublishError(f"{endpoint} has no next port for requests: give publish.requests an endpoint of its own")
    return f"tcp://{host}:{port if port == '*' else int(port) + 1}"


def seen_from(endpoint: str, told: str) -> str:
    """Where to connect for what a publisher calls `told`, for one who reached it at `endpoint`: a publisher knows its
    port, not by which address others know it. Raises PublishError for a `told` that cannot be."""
    check(told)
    (host, _), (_, port) = _parts(endpoint), _parts(told)
    return told if port is None or host is None else f"tcp://{host}:{port}"


def is_local(endpoint: str) -> bool:
    """Whether only programs on this machine can connect."""
    host, _ = _parts(endpoint)
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _parts(endpoint: str) -> tuple[str | None, str | None]:
    """Host and port; neither where it is a path."""
    match = _FORM.fullmatch(endpoint)
    return (match["host"], match["port"]) if match else (None, None)
