"""Sources of frames: webcams, streams, files, folders of images, the virtual camera."""

import re
from pathlib import Path

from livespot.capture.camera import Camera
from livespot.capture.folder import FOLDER_FPS, ImageFolder
from livespot.capture.network import check_readable, network_stream
from livespot.capture.opencv import VideoFile
from livespot.capture.orientation import Oriented
from livespot.capture.passing import Paced
from livespot.capture.secrets import filled
from livespot.capture.source import GSTREAMER, WEBCAM, Source, redact, source_name, unique_names
from livespot.capture.virtual import VirtualCamera
from livespot.config import CaptureSettings, PictureSettings, SourceSettings
from livespot.errors import SettingsError, SourceError

__all__ = ["Camera", "Source", "open_recording", "open_source", "redact", "unique_names"]

STREAMS = ("http", "https", "rtsp", "rtsps")

RECORDING = re.compile(r"^https?://[^?#]*\.(?:avi|m4v|mkv|mov|mp4|webm)(?:[?#]|$)", re.IGNORECASE)
"""A file on a web server: read once from its beginning to its end."""


def open_source(settings: SourceSettings, capture: CaptureSettings) -> Source | Camera:
    """The source that a uri means; entering it opens it. A camera is opened, again and again, by iterating.

    Raises SourceError for a kind of address that livespot does not know, SettingsError for what the source cannot be
    asked for, for a password that is not where the address says, and where a library or file that it needs is missing.
    """
    uri, name = settings.uri, settings.name or source_name(settings.uri)
    webcam = WEBCAM.fullmatch(uri)
    if webcam is not None:
        return Camera(int(webcam[1]) if webcam[1] else uri, name, capture, settings)
    _check_not_asked(settings, "size", "pixel_format")
    if _is_folder(uri):
        return _played(ImageFolder(Path(uri), name, settings.fps or FOLDER_FPS), capture, settings)
    _check_not_asked(settings, "fps")
    if uri.startswith("demo://"):
        return _played(VirtualCamera.from_uri(uri, name), capture, settings)
    if uri.startswith(GSTREAMER):
        return Camera(filled(uri), name, capture, settings)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if scheme is None:
        return _played(VideoFile(Path(uri), name), capture, settings)
    if scheme[1].lower() in STREAMS:
        return _stream(filled(uri), name, capture, settings)
    raise SourceError(
        f"{redact(uri)} is no address that can be opened: expected a webcam's index, "
        f"{'://, '.join(STREAMS)}://, {GSTREAMER}, demo://, a file or a folder of images"
    )


def _stream(url: str, name: str, capture: CaptureSettings, wanted: PictureSettings) -> Source | Camera:
    check_readable(url, capture)
    if RECORDING.search(url):
        return _played(network_stream(url, name, capture), capture, wanted)
    return Camera(url, name, capture, wanted)


def _played(source: Source, capture: CaptureSettings, wanted: PictureSettings) -> Source:
    """Upright, and at its own speed where that is asked for."""
    upright = Oriented(source, wanted) if wanted.rotate or wanted.mirror else source
    return Paced(upright) if capture.realtime and not upright.live else upright


def _check_not_asked(settings: SourceSettings, *keys: str) -> None:
    """Raises SettingsError for what only others can be asked for."""
    for key in keys:
        if (value := getattr(settings, key)) is not None:
            others = "webcams and folders of images" if key == "fps" else "webcams"
            shown = f"{value:g}" if isinstance(value, float) else value
            raise SettingsError(f"{key} is {shown} for {redact(settings.uri)}, but it is for {others}; leave it out")


def open_recording(settings: SourceSettings, capture: CaptureSettings) -> Source:
    """The same for what has an end. Raises SettingsError for a camera or a stream."""
    source = open_source(settings, capture.model_copy(update={"realtime": False}))
    if isinstance(source, Camera) or source.live:
        raise SettingsError(
            f"{source.name} is live and has no end: watch it with `livespot run --source`, "
            "or give a video file, a folder of images or demo://?realtime=0"
        )
    return source


def _is_folder(uri: str) -> bool:
    try:
        return Path(uri).is_dir()
    except OSError:  # longer than a name may be, as addresses are, or behind a folder that is not ours
        return False
