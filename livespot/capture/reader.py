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
from dataclasses import replace
from typing import IO, TextIO, TypeAlias

from livespot.capture.network import network_stream
from livespot.capture.opencv import GstreamerPipeline, NetworkStream, Webcam
from livespot.capture.orientation import oriented
from livespot.capture.pyav import PyavStream
from livespot.capture.source import GSTREAMER, WEBCAM
from livespot.capture.wire import Failed, Opened, Ready, send
from livespot.config import CaptureSettings, PictureSettings
from livespot.errors import SourceError

LiveSource: TypeAlias = Webcam | NetworkStream | PyavStream | GstreamerPipeline


def main() -> None:
    """Read what the order names until it ends, then say why."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what libraries print is no message
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    wanted = PictureSettings(**order["wanted"])
    source = source_of(order["address"], CaptureSettings(**order["settings"]), wanted)
    with suppress(BrokenPipeError):
        read(source, pipe, wanted)


def source_of(address: int | str, settings: CaptureSettings, wanted: PictureSettings) -> LiveSource:
    """What reads the address."""
    if isinstance(address, int) or WEBCAM.fullmatch(address):
        return Webcam(address, "", wanted)
    if address.startswith(GSTREAMER):
        return GstreamerPipeline(address.removeprefix(GSTREAMER), "")
    return network_stream(address, "", settings)


def read(source: LiveSource, pipe: IO[bytes], wanted: PictureSettings) -> None:
    """Send every picture of the source, and before and after them how it goes."""
    send(pipe, Ready())
    try:
        with source:
            granted = source.granted if isinstance(source, Webcam) else ""
            send(pipe, Opened(source.fps, source.frame_count, granted))
            for picture in source.pictures():
                send(pipe, replace(picture, image=oriented(picture.image, wanted)))
    except SourceError as error:
        send(pipe, Failed(str(error)))
    else:
        send(pipe, Failed(source.note, finished=not source.note))


def _end_with(order: TextIO) -> None:
    order.read()
    os._exit(0)


if __name__ == "__main__":
    main()
