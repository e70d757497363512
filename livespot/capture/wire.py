"""What a reader in a process of its own sends through its pipe, and how it is received within time limits.

A message is its lengths, a JSON head, and for a picture its pixels:

    | head bytes, uint32 | pixel bytes, uint32 | {"kind": "picture", "height": ..} | pixels uint8 (H, W, 3) |
"""

import json
import os
import select
import struct
import time
from dataclasses import asdict, dataclass
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from livespot.capture.source import Picture

LENGTHS = struct.Struct("<II")
PIPE_BYTES = 1 << 20
"""Wanted capacity of the pipe, where the system lets it be chosen: a picture of 640 x 480 in one go."""
F_SETPIPE_SZ = 1031
WHOLE_S = 5.0
"""A message that has begun is there within this time, or its sender hangs."""


@dataclass(frozen=True)
class Ready:
    """The reader runs and begins to open its source: from now on the time for that counts."""


@dataclass(frozen=True)
class Opened:
    """The source is open."""

    fps: float | None
    frame_count: int | None
    granted: str = ""
    """What a webcam gives of what it was asked for."""


@dataclass(frozen=True)
class Failed:
    """The source could not be opened, or has ended."""

    why: str
    finished: bool = False
    """All that it declared was read: there is nothing to come back for."""


Message: TypeAlias = Ready | Opened | Failed | Picture
KINDS = {"ready": Ready, "opened": Opened, "failed": Failed}


def send(pipe: IO[bytes], message: Message) -> None:
    """Waits while the pipe is full. Raises OSError where nobody receives any more."""
    if isinstance(message, Picture):
        height, width, _ = message.image.shape
        head = {"kind": "picture", "height": height, "width": width}
        head |= {"stamp_s": message.stamp_s, "arrival_s": message.arrival_s}
        pixels = np.ascontiguousarray(message.image)
    else:
        head = {"kind": type(message).__name__.lower(), **asdict(message)}
        pixels = np.empty(0, np.uint8)
    text = json.dumps(head).encode()
    _write(pipe, LENGTHS.pack(len(text), pixels.nbytes) + text)
    _write(pipe, pixels.data.cast("B"))


class Receiver:
    """The other end of the pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._file = pipe.fileno()
        os.set_blocking(self._file, False)
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)
        _widen(self._file)

    def receive(self, timeout_s: float) -> Message | None:
        """The next message; None where none begins within `timeout_s`.

        Raises EOFError where the sender has gone, or stops in the middle of a message.
        """
        if not self._waits(timeout_s):
            return None
        until_s = time.monotonic() + WHOLE_S
        head_bytes, pixel_bytes = LENGTHS.unpack(self._read(LENGTHS.size, until_s).data)
        head = json.loads(self._read(head_bytes, until_s).tobytes())
        kind = head.pop("kind")
        if kind in KINDS:
            message: Message = KINDS[kind](**head)
            return message
        image = self._read(pixel_bytes, until_s).reshape(head["height"], head["width"], 3)
        return Picture(image, head["stamp_s"], head["arrival_s"])

    def _waits(self, timeout_s: float) -> bool:
        """Whether something can be read, the end included, within so long."""
        return bool(self._poll.poll(max(0.0, 1000 * timeout_s)))

    def _read(self, size: int, until_s: float) -> NDArray[np.uint8]:
        """So many bytes, uint8 (size,)."""
        data = np.empty(size, np.uint8)
        view, read = data.data, 0
        while read < size:
            if not self._waits(until_s - time.monotonic()):
                raise EOFError("stopped in the middle of a message")
            got = os.readv(self._file, [view[read:]])
            if got == 0:
                raise EOFError("ended")
            read += got
        return data


def _write(pipe: IO[bytes], data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(pipe.fileno(), rest) :]


def _widen(file: int) -> None:
    try:
        import fcntl

        fcntl.fcntl(file, F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, OSError):  # another system, or the user's share of pipes is used up: it only gets slower
        pass
