"""A network of its own for a camera, with a cable that can be pulled out and a firewall: Linux, as root."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

CAMERA_ADDRESS, OUR_ADDRESS = "10.213.77.2", "10.213.77.1"

RULES = """
table inet livespot {{
    chain leaving {{ type filter hook output priority 0; policy accept; {leaving}; }}
    chain arriving {{ type filter hook input priority 0; policy accept; {arriving}; }}
}}
"""


@contextmanager
def network(*tools: str) -> Iterator[list[str]]:
    """The command that runs another in a network where CAMERA_ADDRESS is. Skips the test where none can be made.

    It also skips in CI: a container mostly lacks CAP_NET_ADMIN, and nothing that it may install gives it that.
    """
    for tool in ("ip", *tools):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed, to make a network: apt install iproute2 nftables")
    name = f"livespot-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no network can be made here, that takes root (CAP_NET_ADMIN): {made.stderr.strip()}")
    within = ["ip", "netns", "exec", name]
    try:
        ip("link", "add", "lspot0", "type", "veth", "peer", "name", "lspot1", "netns", name)
        ip("addr", "add", f"{OUR_ADDRESS}/24", "dev", "lspot0")
        ip("link", "set", "lspot0", "up")
        for words in (("addr", "add", f"{CAMERA_ADDRESS}/24", "dev", "lspot1"), ("link", "set", "lspot1", "up")):
            ip(*words, within=within)
        ip("link", "set", "lo", "up", within=within)
        yield within
    finally:
        subprocess.run(["ip", "link", "del", "lspot0"], capture_output=True)
        ip("netns", "del", name)


def ip(*words: str, within: Sequence[str] = ()) -> None:
    """Runs iproute2's ip."""
    subprocess.run([*within, "ip", *words], check=True, capture_output=True)


def filtered(within: Sequence[str], leaving: str = "", arriving: str = "") -> None:
    """The camera's firewall has these rules and no others: `drop`, say, or `udp sport 1-65535 drop`."""
    rules = "flush ruleset\n" + RULES.format(leaving=leaving, arriving=arriving)
    subprocess.run([*within, "nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True)
