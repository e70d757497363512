"""Files, webcams and network streams, read by OpenCV."""

import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.capture.source import Picture, redact
from livespot.capture.timeline import Timeline
from livespot.capture.trouble import head_of, why_no_camera, why_no_stream, why_no_video
from livespot.config import CaptureSettings, PictureSettings
from livespot.errors import SourceError
from livespot.records import MAX_FPS, Frame

FPS_OTHERWISE = 30.0
"""Frame rate assumed where none is declared: it places pictures without a time stamp."""

FPS_BELIEVED = (1.0, 1000.0)
"""Containers declare 0 or their clock's 90000 when they do not know."""

STAMP_BELIEVED_S = 1e9
"""OpenCV turns FFmpeg's "no time stamp" into -3.7e17 s."""

RATE_FRAMES = 100
"""The frame rate of a file is taken from its first pictures: what a recording declares may be its clock's 1000."""

COUNT_SLACK_FRAMES = 1
"""Containers without an index estimate their frames from the duration: one off is no damage."""

OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
LOW_DELAY = "fflags;nobuffer|flags;low_delay"

DEAF = cv2.__version__.startswith("4.11.")
"""OpenCV 4.11 takes none of FFmpeg's options; where some are given it asks a camera for TCP, else for UDP."""

APPSINK = "videoconvert ! video/x-raw,format=BGR ! appsink sync=false drop=true max-buffers=8"
"""Ends a pipeline that has no end of its own."""

_OPENING = threading.Lock()


class _Capturing:
    """Holds a capture while it is open."""

    _capture: cv2.VideoCapture | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._capture is not None and not isinstance(error, KeyboardInterrupt):  # nobody waited for who reads it
            self._capture.release()
        self._capture = None

    @property
    def _opened(self) -> cv2.VideoCapture:
        if self._capture is None:
            raise RuntimeError(f"{type(self).__name__} is not open; use it in a with statement")
        return self._capture


class VideoFile(_Capturing):
    """A video file: every frame, however long the consumer takes.

    `loop` starts it over for ever: time and index go on, the epoch rises by one each turn.
    """

    def __init__(self, path: Path, name: str, loop: bool = False) -> None:
        self.name = name
        self.live = False
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.note = ""
        self._path = path
        self._loop = loop

    def __enter__(self) -> "VideoFile":
        head = head_of(self._path)
        self._capture = _open(str(self._path), cv2.CAP_FFMPEG)
        if self._capture is None:
            raise SourceError(f"{self._path} cannot be read as video: {why_no_video(self._path, head)}")
        self.fps = _declared_fps(self._capture)
        self.frame_count = _declared_count(self._capture)
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the file ends. Raises SourceError where none can be decoded, or more than `MAX_FPS` come."""
        interval_s = 1 / (self.fps or FPS_OTHERWISE)
        timeline = Timeline(interval_s)
        index = 0
        for epoch in count():
            first_index = index
            for picture in _pictures(self._opened):
                t_s = timeline.place(picture.stamp_s, index * interval_s)
                yield Frame(picture.image, self.name, index, t_s, picture.arrival_s, epoch)
                index += 1
                if index == RATE_FRAMES:
                    self._check_rate((RATE_FRAMES - 1) / t_s)
            self._check_count(index - first_index)
            if not self._loop:
                return
            self._start_over()
            timeline.restart()

    def _check_rate(self, fps: float) -> None:
        if round(fps) > MAX_FPS:
            raise SourceError(
                f"{self._path} has {fps:.0f} frames a second, too many to be spotted; expected at most {MAX_FPS:g}: "
                f"make a slower one, ffmpeg -i {self._path.name} -vf fps=200 slower.mp4"
            )

    def _check_count(self, read: int) -> None:
        if read == 0:
            raise SourceError(
                f"{self._path} opens, but not one picture can be decoded: it is damaged or has no video in it"
            )
        if self.frame_count is not None and read < self.frame_count - COUNT_SLACK_FRAMES:
            self.note = f"declared {self.frame_count} frames, {read} could be read: the file ends early or is damaged"

    def _start_over(self) -> None:
        self._opened.release()
        self._capture = _open(str(self._path), cv2.CAP_FFMPEG)
        if self._capture is None:
            raise SourceError(f"{self._path} cannot be opened again: it was removed or replaced while it looped")


class Webcam(_Capturing):
    """A local camera by its index or a link to its device file, until it stops; `Camera` opens it again.

    Stream time is the driver's, or the arrival where the driver tells none.
    """

    def __init__(self, device: int | str, name: str, wanted: PictureSettings | None = None) -> None:
        self.name = name
        self.live = True
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.note = ""
        self.granted = ""
        """What it gives, and what it was asked for where that is something else. Known once entered."""
        self._device = device
        self._wanted = wanted or PictureSettings()

    def __enter__(self) -> "Webcam":
        self._index = device_index(self._device)
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        self._capture = _open(self._index, backend)
        if self._capture is None:
            raise SourceError(f"camera {self._index} cannot be opened: {why_no_camera(self._index)}")
        self.granted = ask_for(self._capture, self._wanted)
        self.fps = _declared_fps(self._capture)
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the camera stops. Raises SourceError where it never gives one."""
        return live_frames(self.pictures(), self.name, self.fps)

    def pictures(self) -> Iterator[Picture]:
        """The same before they have their place in stream time."""
        delivered = 0
        for picture in _pictures(self._opened):
            yield replace(picture, image=self._whole(picture.image))
            delivered += 1
        if delivered == 0:
            raise SourceError(f"camera {self._index} opens but gives no picture: is another program using it?")
        self.note = f"camera {self._index} stopped after {delivered} frames: unplugged, or taken by another program"

    def _whole(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture. What OpenCV does not convert it gives as one row of bytes, even where it needs no conversion."""
        if image.shape[0] > 1:
            return image
        given, values = _given(self._opened), image[..., 0]
        width, height = map(int, given["size"].split("x"))
        if given["format"] != "BGR3" or values.size != 3 * width * height:
            raise SourceError(
                f"camera {self._index} gives {given['format']}, which OpenCV does not turn into pictures: "
                "set the source's pixel_format to MJPG or YUYV"
            )
        return values.reshape(height, width, 3)


class GstreamerPipeline(_Capturing):
    """What a GStreamer pipeline gives, until it ends; `Camera` opens it again. A pipeline without appsink gets one."""

    def __init__(self, pipeline: str, name: str) -> None:
        self.name = name
        self.live = True
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.note = ""
        self._pipeline = pipeline if "appsink" in pipeline else f"{pipeline} ! {APPSINK}"

    def __enter__(self) -> "GstreamerPipeline":
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise SourceError(
                "this OpenCV has no GStreamer, as no wheel of PyPI has: a gstreamer: source needs the system's "
                "(JetPack's, or Debian's python3-opencv), in an environment with system packages and without the wheel"
            )
        self._capture = _open(self._pipeline, cv2.CAP_GSTREAMER)
        if self._capture is None:
            raise SourceError(f"the pipeline does not start: try it as gst-launch-1.0 {redact(self._pipeline)}")
        self.fps = _declared_fps(self._capture)
        return self

    def pictures(self) -> Iterator[Picture]:
        """Pictures until it ends. Raises SourceError where none ever comes."""
        delivered = 0
        for picture in _pictures(self._opened):
            yield picture
            delivered += 1
        if delivered == 0:
            raise SourceError(f"the pipeline starts but gives no picture: {redact(self._pipeline)}")
        self.note = f"the pipeline ended after {delivered} frames"


class NetworkStream(_Capturing):
    """A camera or a file behind an rtsp, rtsps, http or https address, until it stops; `Camera` opens it again.

    Iterated itself it is a file on a web server, read like any file, with nothing dropped.
    """

    def __init__(self, url: str, name: str, settings: CaptureSettings) -> None:
        self.name = name
        self.live = False
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.note = ""
        self._url = url
        self._settings = settings

    def __enter__(self) -> "NetworkStream":
        settings = self._settings
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(1000 * settings.open_timeout_s)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * settings.read_timeout_s)),
        ]
        options = f"rtsp_transport;{settings.rtsp_transport}|{LOW_DELAY}"
        options = "" if DEAF and settings.rtsp_transport == "udp" else options
        self._capture = _open(self._url, cv2.CAP_FFMPEG, limits, options)
        if self._capture is None:
            why = why_no_stream(self._url, settings.open_timeout_s)
            raise SourceError(f"{redact(self._url)} cannot be opened: {why}")
        self.fps = _declared_fps(self._capture)
        self.frame_count = _declared_count(self._capture)
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the stream ends or stalls; the two look alike. Raises SourceError where none ever comes."""
        return live_frames(self.pictures(), self.name, self.fps)

    def pictures(self) -> Iterator[Picture]:
        """The same before they have their place in stream time."""
        delivered = 0
        for picture in _pictures(self._opened, self._settings.read_timeout_s):
            yield picture
            delivered += 1
        if delivered == 0:
            raise SourceError(
                f"{redact(self._url)} answers but sends no picture within {self._settings.read_timeout_s:g} s: "
                "check the path of the address and the camera's encoding (H.264, H.265 or MJPEG)"
            )
        if delivered != self.frame_count:
            self.note = f"no more frames after {delivered}: the stream ended, or nothing came within the read timeout"


def device_index(device: int | str) -> int:
    """The index of a webcam, which may be given by a link to its device file.

    Raises SourceError where the link leads nowhere: the camera is unplugged.
    """
    if isinstance(device, int):
        return device
    target = re.fullmatch(r"/dev/video(\d+)", str(Path(device).resolve()))
    if target is None:
        raise SourceError(f"{device} leads to no camera: it is unplugged, or was renamed; see ls /dev/v4l/by-id")
    return int(target[1])


def ask_for(capture: cv2.VideoCapture, wanted: PictureSettings) -> str:
    """Set format, size and rate of a webcam, in the order in which they decide each other, and say what it gives."""
    asked = {}
    if wanted.pixel_format:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.pixel_format))
        asked["format"] = wanted.pixel_format
    if wanted.size:
        width, height = map(int, wanted.size.split("x"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        asked["size"] = wanted.size
    if wanted.fps:
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)
        asked["rate"] = f"{wanted.fps:g}/s"
    given = _given(capture)
    refused = [value for key, value in asked.items() if given[key] != value]
    return f"gives {' '.join(given.values())}" + (f", was asked for {' '.join(refused)}" if refused else "")


def _given(capture: cv2.VideoCapture) -> dict[str, str]:
    width, height, fps = (
        capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
    )
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    return {"format": code.decode("ascii", "replace"), "size": f"{width:.0f}x{height:.0f}", "rate": f"{fps:g}/s"}


def bgr8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8 or uint16 as BGR uint8 (H, W, 3)."""
    shallow = image >> 8 if image.dtype == np.uint16 else image
    channels = 1 if shallow.ndim == 2 else shallow.shape[2]
    if channels != 3:
        shallow = cv2.cvtColor(shallow, cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR)
    return np.asarray(shallow, np.uint8)


def _open(
    address: str | int, backend: int, parameters: Sequence[int] = (), options: str | None = None
) -> cv2.VideoCapture | None:
    """A capture that is open, or None. One at a time: FFmpeg's options go through the environment of the process.

    Empty options are none at all, not even the user's; where they are None, the user's hold.
    """
    with _OPENING:
        _be_quiet()
        users = os.environ.pop(OPTIONS, None)
        given = (
            "|".join(one for one in (options, users) if one) if options != "" else ""
        )  # the user's come last and win
        try:
            os.environ.update({OPTIONS: given} if given else {})
            capture = cv2.VideoCapture(address, backend, list(parameters))
        finally:
            os.environ.pop(OPTIONS, None)
            os.environ.update({OPTIONS: users} if users is not None else {})
    if not capture.isOpened():
        return None
    if backend == cv2.CAP_FFMPEG:  # off in OpenCV 4.11, whatever it documents: phones' videos lay on their side
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _be_quiet() -> None:
    """Why something failed is said by our own message.

    Both hold for the whole process and are not taken back: FFmpeg's level is read once, at the first file, and
    sources are read in threads beside each other, where the end of one would make the others loud again.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.setLogLevel(0)


def declared_frames(path: Path) -> int:
    """How many frames a video says it holds; 0 where it does not say, or cannot be read."""
    try:
        with VideoFile(path, path.stem) as source:
            return source.frame_count or 0
    except SourceError:
        return 0


def _pictures(capture: cv2.VideoCapture, limit_s: float = math.inf) -> Iterator[Picture]:
    """Pictures until one cannot be read. OpenCV allocates each anew, so that each may go to another thread.

    What comes only after the limit that OpenCV was given is no picture that came, but an old one from its decoder.
    """
    while True:
        asked_s = time.monotonic()
        read, image = capture.read()
        arrival_s = time.monotonic()
        if not read or arrival_s - asked_s >= limit_s:
            return
        stamp_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        yield Picture(bgr8(image), stamp_s if abs(stamp_s) < STAMP_BELIEVED_S else None, arrival_s)


def live_frames(pictures: Iterable[Picture], name: str, fps: float | None) -> Iterator[Frame]:
    """Pictures of a stream that is read as it comes, each with its place in stream time."""
    timeline = Timeline(1 / (fps or FPS_OTHERWISE))
    for index, picture in enumerate(pictures):
        t_s = timeline.place(picture.stamp_s, picture.arrival_s)
        yield Frame(picture.image, name, index, t_s, picture.arrival_s)


def _declared_fps(capture: cv2.VideoCapture) -> float | None:
    return believed_fps(capture.get(cv2.CAP_PROP_FPS))


def believed_fps(fps: float) -> float | None:
    """The declared frame rate, None where it cannot be one."""
    return fps if FPS_BELIEVED[0] <= fps <= FPS_BELIEVED[1] else None


def _declared_count(capture: cv2.VideoCapture) -> int | None:
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return frames if frames > 0 else None
