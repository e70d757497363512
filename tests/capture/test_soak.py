"""Cameras for a long time, and cables that are cut: `make soak`. What needs its own network needs root."""

import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from livespot.capture.camera import Camera
from livespot.config import CaptureSettings
from livespot.records import Frame
from tests.capture.network import CAMERA_ADDRESS, ip, network
from tests.capture.rtsp import Server, check_server
from tests.capture.watching import PATIENCE_S, Watched, check_losses, shots

pytestmark = pytest.mark.soak

FPS = 25
LENGTH_S = float(os.environ.get("LIVESPOT_SOAK_S", "600"))
SAMPLES = 60
SETTINGS = CaptureSettings(read_timeout_s=2.5, stall_s=1.0, retry_s=0.2, retry_max_s=1.0)


@pytest.fixture(autouse=True, scope="module")
def _server_is_there() -> None:
    check_server()


def test_memory_threads_and_delay_stay_as_they_are() -> None:
    process = psutil.Process()
    memory_mb: list[float] = []
    delays_s: list[float] = []
    threads: set[int] = set()
    with Server() as server, Camera(server.url(), "cam", SETTINGS) as camera:
        began_s, latest_s = time.monotonic(), list[float]()
        for item in camera:
            if not isinstance(item, Frame):
                continue
            [shot] = shots([item], FPS)
            latest_s += [item.arrival_s - shot / FPS] if shot is not None else []
            if item.arrival_s - began_s > (len(memory_mb) + 1) * LENGTH_S / SAMPLES:
                gc.collect()
                ours = [one for one in process.children() if "livespot.capture.reader" in one.cmdline()]
                memory_mb.append(sum(one.memory_info().rss for one in (process, *ours)) / 2**20)
                delays_s.append(float(np.median(latest_s)))
                latest_s.clear()
                threads.add(threading.active_count())
            if len(memory_mb) == SAMPLES:
                break
    settled = SAMPLES // 4
    hours = np.arange(SAMPLES - settled) * LENGTH_S / SAMPLES / 3600
    slope_mb, slope_s = (float(np.polyfit(hours, values[settled:], 1)[0]) for values in (memory_mb, delays_s))
    print(f"{slope_mb:.2f} MB/h of {memory_mb[-1]:.0f} MB, {slope_s:.3f} s/h of {delays_s[-1]:.3f} s delay")
    assert memory_mb[-1] - memory_mb[settled] < 1.0
    assert delays_s[-1] - delays_s[settled] < 1 / FPS
    assert len(threads) == 1


@pytest.fixture
def within() -> Iterator[list[str]]:
    with network() as command:
        yield command


def test_a_cable_that_is_pulled_out_and_put_back(within: list[str]) -> None:
    with (
        Server(address=CAMERA_ADDRESS, within=within) as server,
        Watched(Camera(server.url(), "cam", SETTINGS)) as seen,
    ):
        seen.frames_more(20)
        for number in range(3):
            ip("link", "set", "lspot1", "down", within=within)
            seen.until(lambda seen: seen.states[-1] == "waiting")
            ip("link", "set", "lspot1", "up", within=within)
            seen.reconnected(number + 1)
    assert seen.states[:3] == ["running", "stalled", "waiting"]
    assert [gap.reason for gap in check_losses(seen.items, FPS)].count("reconnect") == 3


SILENT_NAMES = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
    names.bind(("127.0.0.1", 53))
    print("bound", flush=True)
    while True:
        names.recv(512)
"""

TWO_CAMERAS = """
import sys, threading
from livespot.capture.camera import Camera
from livespot.config import CaptureSettings
from livespot.records import Status

settings = CaptureSettings(open_timeout_s=1.0, retry_s=0.1, retry_max_s=0.1)
unknown, known = Camera("rtsp://camera.example.org/live", "unknown", settings), Camera(sys.argv[1], "known", settings)

def hear():
    for status in unknown:
        print("unknown", status.state, status.detail, flush=True)
        unknown.stop()

hearing = threading.Thread(target=hear)
hearing.start()
refused = [status for _, status in zip(range(3), known) if status.state == "waiting"]
print("known", len(refused), flush=True)
known.stop()
hearing.join()
"""


def test_a_name_server_that_does_not_answer_holds_nobody_else_up(within: list[str]) -> None:
    """While one camera waits for its name, which no limit of OpenCV's ends, another is opened twice."""
    folder = Path("/etc/netns") / within[-1]
    folder.mkdir(parents=True)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="utf-8")
    with subprocess.Popen([*within, sys.executable, "-c", SILENT_NAMES], stdout=subprocess.PIPE) as names:
        try:
            assert names.stdout is not None and names.stdout.readline() == b"bound\n"
            command = [*within, sys.executable, "-c", TWO_CAMERAS, "rtsp://127.0.0.1:9/live"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        finally:
            names.kill()
            shutil.rmtree(folder)
    first, second = done.stdout.splitlines()
    assert first == "known 2"
    assert second.startswith("unknown waiting does not open within 3 s")
