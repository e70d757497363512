"""Endpoints: which there are, where requests go, who can reach them."""

import pytest

from livespot.errors import PublishError
from livespot.publish.endpoint import beside, is_local, seen_from


@pytest.mark.parametrize(
    ("endpoint", "requests"),
    [
        ("tcp://127.0.0.1:5556", "tcp://127.0.0.1:5557"),
        ("tcp://*:*", "tcp://*:*"),
        ("tcp://[::1]:9", "tcp://[::1]:10"),
        ("ipc:///run/livespot", "ipc:///run/livespot.requests"),
    ],
)
def test_requests_are_answered_beside_the_stream(endpoint: str, requests: str) -> None:
    assert beside(endpoint) == requests


def test_the_last_port_has_none_beside_it() -> None:
    with pytest.raises(PublishError, match=r"publish\.requests"):
        beside("tcp://127.0.0.1:65535")


@pytest.mark.parametrize(
    ("endpoint", "told", "seen"),
    [
        ("tcp://10.0.0.5:5556", "tcp://0.0.0.0:5557", "tcp://10.0.0.5:5557"),
        ("tcp://jetson.local:5556", "tcp://10.0.0.5:7", "tcp://jetson.local:7"),
        ("tcp://[fe80::1]:5556", "tcp://[::]:5557", "tcp://[fe80::1]:5557"),
        ("ipc:///run/a", "ipc:///run/a.requests", "ipc:///run/a.requests"),
        ("ipc:///run/a", "tcp://127.0.0.1:7", "tcp://127.0.0.1:7"),
    ],
)
def test_who_reached_the_stream_reaches_the_requests_at_the_same_address(endpoint: str, told: str, seen: str) -> None:
    assert seen_from(endpoint, told) == seen


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("tcp://127.0.0.1:5556", True),
        ("tcp://127.9.9.9:*", True),
        ("tcp://[::1]:5556", True),
        ("tcp://localhost:5556", True),
        ("ipc:///run/livespot", True),
        ("tcp://*:5556", False),
        ("tcp://0.0.0.0:5556", False),
        ("tcp://[::]:5556", False),
        ("tcp://10.0.0.5:5556", False),
        ("tcp://eth0:5556", False),
        ("tcp://127.0.0.1.example.org:5556", False),
    ],
)
def test_who_can_connect_is_known_from_the_endpoint(endpoint: str, local: bool) -> None:
    assert is_local(endpoint) == local
