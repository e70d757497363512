"""A firewall before a real RTSP server, in a network of its own: connections that are cut, packets that are lost."""

from collections.abc import Iterator

import pytest

from livespot.capture.camera import Camera
from livespot.config import CaptureSettings
from tests.capture.network import CAMERA_ADDRESS, filtered, network
from tests.capture.rtsp import Server, check_server
from tests.capture.watching import Watched, check_losses

FPS = 25
BRISK = CaptureSettings(open_timeout_s=3.0, read_timeout_s=1.5, stall_s=1.0, retry_s=0.2, retry_max_s=1.0)
ONE_OF_TWENTY = "udp length > 200 numgen random mod 20 0 drop"
"""Of the packets with pictures, not of those that keep the connection."""


@pytest.fixture
def within() -> Iterator[list[str]]:
    check_server()
    with network("nft") as command:
        yield command


def test_a_connection_that_a_firewall_cuts_without_a_word_is_opened_again(within: list[str]) -> None:
    """No FIN and no RST comes through, and none leaves: both sides believe in the connection."""
    with Server(address=CAMERA_ADDRESS, within=within) as server, Watched(Camera(server.url(), "cam", BRISK)) as seen:
        seen.frames_more(20)
        filtered(within, leaving="drop", arriving="drop")
        seen.until(lambda seen: seen.states.count("waiting") >= 2)
        filtered(within)
        seen.reconnected()
    assert seen.states[:3] == ["running", "stalled", "waiting"]
    assert "nothing answers at 10.213.77.2" in [told for told in seen.told if told.state == "waiting"][1].detail
    gaps = check_losses(seen.items, FPS)
    assert [gap.reason for gap in gaps].count("reconnect") == 1


def test_udp_packets_that_a_firewall_drops_are_holes_of_the_right_length(within: list[str]) -> None:
    """Of JPEG. What is predicted from a lost picture FFmpeg makes up, and does not say so."""
    settings = BRISK.model_copy(update={"rtsp_transport": "udp"})
    jpeg = Server("--codec", "jpeg", "--spoil", "--reorder", "9", address=CAMERA_ADDRESS, within=within)
    with jpeg as server, Watched(Camera(server.url(), "cam", settings)) as seen:
        seen.frames_more(10)
        filtered(within, leaving=ONE_OF_TWENTY)
        seen.until(lambda seen: seen.frames[-1].index > len(seen.frames) + 2)
    assert seen.states == ["running"]
    gaps = check_losses(seen.items, FPS, slack_s=0.001)
    assert {gap.reason for gap in gaps} == {"frames_lost"}
