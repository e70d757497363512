"""A webcam or a network stream that may fail in every way at any time, and is opened again for ever.

OpenCV cannot be interrupted, and not all that it does ends in time: while a name server does not answer, opening takes
10 s whatever limit it was given, and all others that want to open wait behind it. So each connection has a process of
its own, which is killed when it is over, silent or late; a decoder that crashes on what a camera sends ends with it.

    connecting --> running --> waiting --> connecting ...
                   |    ^ |    ^
                   v    | +----|      closed, or silent for read_timeout_s
                  stalled -----+
"""

import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from livespot.capture.opencv import FPS_OTHERWISE
from livespot.capture.source import Picture
from livespot.capture.timeline import LiveTimeline, Placed
from livespot.capture.wire import Failed, Message, Opened, Ready, Receiver
from livespot.config import CaptureSettings, PictureSettings
from livespot.metrics import LastHour
from livespot.records import Frame, Gap, State, Status

TICK_S = 1.0
"""The watchdog looks at least this often."""

START_S = 30.0
"""A process that has not begun by then never will; a busy Jetson needs seconds."""

GRACE_S = 1.0
"""A reader keeps its own limits and says why it failed; it is killed when it is so much later."""

STEADY_S = 2.0
"""A connection that gave frames for so long was no failure: the next pause is the shortest again."""

STILL_S = 10.0
"""A picture that stays the same to the last bit for so long is no camera's: OpenCV shows its last one for ever where a
stream changes its size, and some cameras when they hang. One that is still from the beginning of a connection on is
believed; so is a shorter while, for which a sparing encoder sends nothing of a scene where nothing moves."""

ROOT = Path(__file__).parents[2]
"""Where the reader's process finds livespot, whatever lies in the folder that we were started in."""

Item: TypeAlias = Frame | Gap | Status


class Camera:
    """A live source that comes back. Entering opens nothing: whoever iterates opens it, again and again.

    Each connection is an epoch. What was lost in between lies between the times and the indices of its frames. What
    declares a length is a recording: it comes at its own speed, not at that of the network, and only once.
    """

    def __init__(
        self, address: int | str, name: str, settings: CaptureSettings, wanted: PictureSettings | None = None
    ) -> None:
        """`address` is the index of a webcam or a link to it, a url, or gstreamer: and a pipeline."""
        self.name = name
        self.live = True
        self.frame_count: int | None = None
        self.note = ""
        self._address = address
        self._settings = settings
        self._wanted = wanted or PictureSettings()
        self._granted = ""
        self._stopping = threading.Event()
        self._reader: _Reader | None = None
        self._timeline = LiveTimeline(1 / FPS_OTHERWISE)
        self._status = Status(name, "connecting", 0.0)
        self._reconnects, self._stalls = LastHour(), LastHour()
        self._last: Frame | None = None
        self._moved: Frame | None = None
        self._still = False
        self._running_since_s: float | None = None
        self._recorded = False
        self._playing_since_s = -math.inf

    def __enter__(self) -> "Camera":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def fps(self) -> float | None:
        """Frames per second as measured lately; None before the first frame."""
        return None if self._last is None else 1 / self._timeline.interval_s

    @property
    def reader_pid(self) -> int | None:
        """The process of the connection, None where there is none. Any thread may ask."""
        return None if self._reader is None else self._reader.pid

    def stop(self) -> None:
        """Ends whoever iterates, within a moment. Any thread may call it."""
        self._stopping.set()
        if self._reader is not None:
            self._reader.kill()

    def __iter__(self) -> Iterator[Item]:
        """Frames, each change of what the source is doing, and what its clock did."""
        failures = 0
        while True:
            try:
                failed = yield from self._connection()
            except OSError as error:  # no process or no pipe to be had: others may give theirs back
                failed = Failed(f"its reader cannot be started: {error.strerror}")
            if failed.finished or self._stopping.is_set():
                return
            failures = 0 if self._was_steady() else failures
            pause_s = retry_pause_s(failures, self._settings)
            failures += 1
            yield self._says("waiting", f"{failed.why}; opened again in {pause_s:.1f} s")
            if self._stopping.wait(pause_s):
                return
            yield self._says("connecting")

    def _was_steady(self) -> bool:
        """Up to the last frame: the silence after it is the failure."""
        if self._running_since_s is None or self._last is None:
            return False
        return self._last.arrival_s - self._running_since_s > STEADY_S

    def _connection(self) -> Generator[Item, None, Failed]:
        """One connection, from opening to why it ended."""
        self._running_since_s = self._moved = None
        with _Reader(self._address, self._settings, self._wanted) as self._reader:
            if self._stopping.is_set():
                return Failed("stopped")
            opened = self._reader.opened()
            if isinstance(opened, Failed):
                return opened
            self.frame_count, self._granted = opened.frame_count, opened.granted
            self._recorded, self._playing_since_s = opened.frame_count is not None, -math.inf
            self._timeline.reset(1 / opened.fps if opened.fps else None, self._recorded)
            failed = yield from self._watch(self._reader)
            yield from self._frames(self._timeline.flush())
            return failed

    def _watch(self, reader: "_Reader") -> Generator[Item, None, Failed]:
        """What comes of an open connection until it fails or is silent for too long."""
        news_s = time.monotonic()
        while True:
            message = reader.receive(TICK_S)
            now_s = time.monotonic()
            if isinstance(message, Failed):
                return message
            if isinstance(message, Picture):
                placed = self._timeline.push(message)
                yield from self._frames(placed)
                news_s = time.monotonic() if placed or self._timeline.holding else news_s
            if self._moved and self._last and self._last.t_s - self._moved.t_s > STILL_S:
                yield Gap(self.name, self._moved.t_s, self._last.t_s, "frames_lost")
                return Failed(f"the same picture again and again for {STILL_S:g} s")
            if now_s - news_s > self._settings.read_timeout_s + GRACE_S:
                return Failed(f"no new picture for {now_s - news_s:.1f} s")
            if self._status.state == "running" and now_s - news_s > self._stall_s():
                self._status = replace(self._status, stalls=self._status.stalls + 1)
                self._stalls.push(now_s)
                yield self._says("stalled", f"no new picture for {now_s - news_s:.1f} s")

    def _stall_s(self) -> float:
        return max(self._settings.stall_s, 2 * self._timeline.interval_s)

    def _frames(self, placed: Iterable[Placed]) -> Iterator[Item]:
        for one in placed:
            yield from self._frame(self._in_real_time(one) if self._recorded else one)

    def _in_real_time(self, placed: Placed) -> Placed:
        """The same at the time that it shows. After the network was too slow nothing is made up for."""
        self._playing_since_s = max(self._playing_since_s, time.monotonic() - placed.t_s)
        self._stopping.wait(self._playing_since_s + placed.t_s - time.monotonic())
        return replace(placed, picture=replace(placed.picture, arrival_s=time.monotonic()))

    def _frame(self, placed: Placed) -> Iterator[Item]:
        """A frame, and before it what must be told of it."""
        before, again = self._last, self._running_since_s is None
        if placed.jumped and before is not None:
            yield Gap(self.name, before.t_s, placed.t_s, "clock_jump", frames=placed.lost)
        self._last = self._numbered(placed, before, again)
        same = before is not None and _equal(self._last.image, before.image)
        self._still = before is None or (same and (self._still or again))
        self._moved = self._last if self._still or not same else self._moved
        if self._status.state != "running":
            came_back = again and before is not None
            self._status = replace(self._status, reconnects=self._status.reconnects + came_back)
            if came_back:
                self._reconnects.push(time.monotonic())
            yield self._says("running", self._granted)
        self._running_since_s = self._running_since_s or time.monotonic()
        yield self._last

    def _numbered(self, placed: Placed, before: Frame | None, again: bool) -> Frame:
        """The frame that follows `before`, in the same connection or in another."""
        image, t_s = placed.picture.image, placed.t_s
        if before is None:
            index, epoch = 0, 0
        elif again:
            index, epoch = before.index + self._frames_since(before, t_s), before.epoch + 1
        else:
            index = before.index + 1 + placed.lost
            epoch = before.epoch + (image.shape != before.image.shape)  # as good as another camera
        return Frame(image, self.name, index, t_s, placed.picture.arrival_s, epoch)

    def _frames_since(self, before: Frame, t_s: float) -> int:
        return max(1, round((t_s - before.t_s) / self._timeline.interval_s))

    def _says(self, state: State, detail: str = "") -> Status:
        now_s = time.monotonic()
        self._status = replace(
            self._status,
            state=state,
            t_s=self._last.t_s if self._last else 0.0,
            detail=detail,
            reconnects_per_hour=self._reconnects.count(now_s),
            stalls_per_hour=self._stalls.count(now_s),
        )
        return self._status


def _equal(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Two pictures, uint8 (H, W, 3); most that differ do so in the first look at few of their pixels."""
    return np.array_equal(one[::8, ::8], other[::8, ::8]) and np.array_equal(one, other)


def retry_pause_s(failures: int, settings: CaptureSettings) -> float:
    """Doubles at each failure up to its cap, and is cut by chance: many cameras do not come back at once."""
    longest_s = min(settings.retry_s * 2.0 ** min(failures, 32), settings.retry_max_s)
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 no secret


class _Reader:
    """The process of one connection. A context manager: leaving kills it."""

    def __init__(self, address: int | str, settings: CaptureSettings, wanted: PictureSettings) -> None:
        order = {"address": address, "settings": settings.model_dump(mode="json")}
        order["wanted"] = wanted.model_dump(include=set(PictureSettings.model_fields))
        self._order = json.dumps(order)
        self._limit_s = 2 * settings.open_timeout_s + GRACE_S
        """To open, and to find out why it does not."""

    def __enter__(self) -> "_Reader":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "livespot.capture.reader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it is gone already: receiving tells
            self._process.stdin.write(f"{self._order}\n".encode())
        self._receiver = Receiver(self._process.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:  # a driver that hangs keeps even a killed process; it holds nobody else
            with suppress(RuntimeError):  # no thread is to be had: the next process that is started reaps it
                threading.Thread(target=self._process.wait, name="livespot-reaper", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Of the process; None once it is over, when another may be called so."""
        return self._process.pid if self._process.returncode is None else None

    def kill(self) -> None:
        """At once; a reader has nothing to tidy up. Any thread may call it."""
        self._process.kill()

    def opened(self) -> Opened | Failed:
        """How opening went."""
        ready = self.receive(START_S)
        message = self.receive(self._limit_s) if isinstance(ready, Ready) else ready
        if isinstance(message, (Opened, Failed)):
            return message
        return Failed(f"does not open within {self._limit_s:g} s")

    def receive(self, timeout_s: float) -> Message | None:
        """The next message, None where none comes within `timeout_s`."""
        try:
            return self._receiver.receive(timeout_s)
        except EOFError as error:
            return Failed(f"its reader {error}")
