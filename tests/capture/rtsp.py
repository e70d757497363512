"""A real RTSP server as a process, and a wire to it that can be cut, silenced and fouled."""

import os
import random
import selectors
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

PYTHON = "/usr/bin/python3"
"""The system's: it has GStreamer's bindings, where they are installed."""

SCRIPT = Path(__file__).with_name("rtsp_server.py")
BLOCKS = 16

NEEDED = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "from gi.repository import Gio; assert Gio.TlsBackend.get_default().supports_tls();"
    "assert all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay', 'appsrc', 'videoconvert')))"
)


@cache
def why_no_server() -> str:
    """Why the server cannot run here; empty where it can."""
    if not Path(PYTHON).exists():
        return f"no {PYTHON}"
    done = subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, text=True, timeout=60)
    return f"GStreamer's RTSP server is not installed ({done.stderr.strip()[-80:]})" if done.returncode else ""


def shot_number(image: NDArray[np.uint8]) -> int:
    """The number in the picture: `floor(time.monotonic() * fps)` when it was shot, modulo 65536."""
    height, width, _ = image.shape
    row = image[height // 4 : -height // 4, :, 0].mean(axis=0)
    centres = ((np.arange(BLOCKS) + 0.5) * width / BLOCKS).astype(int)
    return sum(1 << bit for bit, column in enumerate(centres) if row[column] > 128)


class Server:
    """The server as a process. A context manager; started again it keeps its port.

    `within` is a command that runs another, in a network of its own, say, where the server has another `address`.
    """

    def __init__(self, *options: str, address: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        self._options = options
        self._address = address
        self._within = within
        self.port = 0

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def url(self, mount: str = "live", login: str = "", scheme: str = "rtsp") -> str:
        return f"{scheme}://{login}{'@' if login else ''}{self._address}:{self.port}/{mount}"

    def start(self, *options: str) -> None:
        """With `options` in place of those it was made with, where there are any."""
        where = ["--address", self._address, "--port", str(self.port)]
        command = [*self._within, PYTHON, str(SCRIPT), *where, *(options or self._options)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """At once; the kernel closes its connections."""
        self._process.kill()
        with self._process:
            self._process.wait()

    def grow(self) -> None:
        """Its pictures are twice as wide and high from now on, in the same connections."""
        self._process.send_signal(signal.SIGUSR1)

    def reset_clock(self) -> None:
        """The time stamps of its packets go back by an hour. It must have been started with --spoil."""
        self._process.send_signal(signal.SIGUSR2)

    def pause(self) -> None:
        """It keeps its connections but does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


Mode: TypeAlias = Literal["through", "silent", "mute", "garbage"]
"""through: all passes; silent: nothing passes, nothing is closed, as where a cable is cut; mute: once PLAY is answered
nothing follows; garbage: once SETUP is answered noise follows."""


@dataclass(eq=False)
class _Wire:
    client: socket.socket
    server: socket.socket
    asked: list[bytes] = field(default_factory=list)
    """Methods that the client has asked for."""
    noise: int = 0


class Proxy:
    """A wire to a server on this machine, to be spoiled at will. A context manager with one thread."""

    def __init__(self, port: int, mode: Mode = "through") -> None:
        self.mode: Mode = mode
        self.connections = 0
        """Accepted so far."""
        self._server_port = port
        self._wires: list[_Wire] = []
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="proxy")

    def __enter__(self) -> "Proxy":
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._thread.join()
        for wire in list(self._wires):
            self._close(wire)
        self._selector.close()
        self._listening.close()

    def url(self, mount: str = "live", login: str = "") -> str:
        return f"rtsp://{login}{'@' if login else ''}127.0.0.1:{self.port}/{mount}"

    def spoil(self) -> None:
        """Put noise into what is on its way now; new connections are clean."""
        for wire in self._wires:
            wire.noise = 1

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._listening:
                    self._accept()
                elif self.mode != "silent":
                    wire, from_client = key.data
                    with suppress(OSError, KeyError):  # closed by the other side a moment ago
                        self._carry(wire, from_client)
            for wire in self._wires:
                if wire.noise:
                    with suppress(OSError):
                        wire.client.send(random.Random(wire.noise).randbytes(4000))
                        wire.noise += 1

    def _accept(self) -> None:
        client, _ = self._listening.accept()
        self.connections += 1
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port), 5)
        except OSError:
            client.close()
            return
        wire = _Wire(client, server)
        self._wires.append(wire)
        client.settimeout(1.0)
        self._selector.register(client, selectors.EVENT_READ, (wire, True))
        self._selector.register(server, selectors.EVENT_READ, (wire, False))

    def _carry(self, wire: _Wire, from_client: bool) -> None:
        data = (wire.client if from_client else wire.server).recv(65536)
        if not data:
            self._close(wire)
        elif from_client:
            wire.asked.append(data.split(b" ", 1)[0])
            if self.mode == "garbage" and data.startswith(b"PLAY"):
                wire.noise = wire.noise or 1
            else:
                wire.server.sendall(data)
        elif not wire.noise:
            if self.mode == "mute" and b"PLAY" in wire.asked:
                data = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if data.startswith(b"RTSP/") else b""
            wire.client.sendall(data)

    def _close(self, wire: _Wire) -> None:
        self._wires.remove(wire)
        for end in (wire.client, wire.server):
            self._selector.unregister(end)
            end.close()


def check_server() -> None:
    """Skips the test where the server cannot run; fails it where it must."""
    if why := why_no_server():
        if os.environ.get("LIVESPOT_REQUIRE_RTSP"):
            pytest.fail(why)
        pytest.skip(why)
