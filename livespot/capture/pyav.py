"""Network streams read by PyAV, an extra: it verifies certificates, says why a camera refuses, and follows a new size.

The FFmpeg of OpenCV's wheels, 5.1, believes every certificate of an rtsps address, whatever it is told, and whatever
name is in one of an https address.
"""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespot.capture.opencv import believed_fps, live_frames
from livespot.capture.source import Picture, encrypted, redact
from livespot.capture.trouble import why_no_stream
from livespot.config import CaptureSettings
from livespot.errors import SourceError
from livespot.records import Frame

CA_FILES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
"""Where systems keep the certificates that they trust: Debian, Fedora, others. The wheel's own path fits few."""


VERIFYING = 62
"""Major version of libavformat, FFmpeg 8, from which rtsps certificates are verified; older ones believe all."""


def library() -> Any:
    """PyAV, silenced. Raises SourceError where it is not installed, or too old to verify anything."""
    try:
        import av
        from av import library_versions
    except ModuleNotFoundError:
        raise SourceError("PyAV is not installed: pip install 'livespot[pyav]'") from None
    if library_versions["libavformat"][0] < VERIFYING:
        raise SourceError(
            f"PyAV {av.__version__} is too old, its FFmpeg believes every certificate: "
            "pip install --upgrade 'livespot[pyav]'"
        )
    av.logging.set_level(None)
    return av


def trusted(settings: CaptureSettings) -> Path:
    """The file of certificates that vouch for cameras. Raises SourceError where there is none."""
    chosen = settings.tls_ca_file or ssl.get_default_verify_paths().cafile
    found = [Path(chosen)] if chosen else [path for path in CA_FILES if path.is_file()]
    if not found:
        raise SourceError("no certificates are found that this system trusts: give capture.tls_ca_file")
    return found[0]


class PyavStream:
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
        self._container: Any = None

    def __enter__(self) -> "PyavStream":
        av, settings = library(), self._settings
        verified = settings.tls_verify and encrypted(self._url)
        authorities = trusted(settings) if verified else None
        transport = "tcp" if encrypted(self._url) else settings.rtsp_transport
        options: dict[str, str] = {"rtsp_transport": transport} if self._url.lower().startswith("rtsp") else {}
        options |= {"tls_verify": "1", "ca_file": str(authorities)} if verified else {}
        limits_s = (settings.open_timeout_s, settings.read_timeout_s)
        try:
            self._container = av.open(self._url, options=options, timeout=limits_s)
        except av.HTTPUnauthorizedError:
            raise self._refused("user or password is wrong (401)") from None
        except av.HTTPNotFoundError:
            raise self._refused("there is no such path (404); try the address in a player such as VLC") from None
        except (OSError, ValueError):  # what FFmpeg says of anything else is "invalid data" or "input/output error"
            raise self._refused(why_no_stream(self._url, settings.open_timeout_s, authorities)) from None
        if not self._container.streams.video:
            raise self._refused("it sends no video")
        self._prepare(self._container.streams.video[0])
        return self

    def _prepare(self, stream: Any) -> None:
        stream.codec_context.thread_count = 1  # with several, slices of x264's zerolatency come out wrong (FFmpeg 8)
        stream.codec_context.flags |= library().codec.context.Flags.low_delay  # else a picture waits for the next one
        self.fps = believed_fps(float(stream.average_rate or stream.guessed_rate or 0))
        self.frame_count = stream.frames or None

    def _refused(self, why: str) -> SourceError:
        return SourceError(f"{redact(self._url)} cannot be opened: {why}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is not None:
            self._container.close()
        self._container = None

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the stream ends or stalls. Raises SourceError where none ever comes."""
        return live_frames(self.pictures(), self.name, self.fps)

    def pictures(self) -> Iterator[Picture]:
        """The same before they have their place in stream time."""
        delivered = 0
        for picture in self._pictures():
            yield picture
            delivered += 1
        if delivered == 0:
            raise self._refused(f"it answers but sends no picture within {self._settings.read_timeout_s:g} s")
        if delivered != self.frame_count:
            self.note = f"no more frames after {delivered}: the stream ended, or nothing came within the read timeout"

    def _pictures(self) -> Iterator[Picture]:
        av = library()
        try:
            asked_s = time.monotonic()
            for packet in self._container.demux(video=0):
                if time.monotonic() - asked_s >= self._settings.read_timeout_s:  # an old one, from the decoder
                    return
                yield from _decoded(packet, av.InvalidDataError)
                asked_s = time.monotonic()
        except av.FFmpegError:  # an end, a silence and a reset are all told in `note`
            return


def _decoded(packet: Any, damaged: type[Exception]) -> Iterator[Picture]:
    try:
        frames = packet.decode()
    except damaged:  # packets before it were lost: later ones may be whole
        return
    for frame in frames:
        yield Picture(_upright(frame), frame.time, time.monotonic())


def _upright(frame: Any) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) BGR, turned as the stream says that it was held."""
    image = frame.to_ndarray(format="bgr24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
