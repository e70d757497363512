"""A process that reads one live source and sends its pictures: what hangs, leaks or crashes in it can be killed.

    python -m livespot.capture.reader < order

The order is one line of JSON on standard input, never an argument: an address may hold a password, and everybody can
read the arguments of a process. Pictures go to standard output, as `wire` says. When standard input ends, the process
that gave the order is gone, and so is this one.
"""

import json
import os
import sys
import threading
from contextlib import suppress
from typing import IO, TextIO

from livespot.capture.opencv import NetworkStream, Webcam
from livespot.capture.wire import Failed, Opened, Ready, send
from livespot.config import CaptureSettings
from livespot.errors import SourceError


def main() -> None:
    """Read what the order names until it ends, then say why."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what libraries print is no message
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    settings = CaptureSettings(**order["settings"])
    address = order["address"]
    source = Webcam(address, "") if isinstance(address, int) else NetworkStream(address, "", settings)
    with suppress(BrokenPipeError):
        read(source, pipe)


def read(source: Webcam | NetworkStream, pipe: IO[bytes]) -> None:
    """Send every picture of the source, and before and after them how it goes."""
    send(pipe, Ready())
    try:
        with source:
            send(pipe, Opened(source.fps, source.frame_count))
            for picture in source.pictures():
                send(pipe, picture)
    except SourceError as error:
        send(pipe, Failed(str(error)))
    else:
        send(pipe, Failed(source.note, finished=not source.note))


def _end_with(order: TextIO) -> None:
    order.read()
    os._exit(0)


if __name__ == "__main__":
    main()
