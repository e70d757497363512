"""Sources of frames: webcams, streams, files, folders of images, the virtual camera."""

import re
from pathlib import Path

from livespot.capture.camera import Camera
from livespot.capture.folder import FOLDER_FPS, ImageFolder
from livespot.capture.opencv import NetworkStream, VideoFile
from livespot.capture.secrets import filled
from livespot.capture.source import WEBCAM, Source, redact, source_name, unique_names
from livespot.capture.virtual import VirtualCamera
from livespot.config import CaptureSettings, SourceSettings
from livespot.errors import SettingsError, SourceError

__all__ = ["Camera", "Source", "open_recording", "open_source", "redact", "unique_names"]

STREAMS = ("http", "https", "rtsp", "rtsps")

RECORDING = re.compile(r"^https?://[^?#]*\.(?:avi|m4v|mkv|mov|mp4|webm)(?:[?#]|$)", re.IGNORECASE)
"""A file on a web server: read once from its beginning to its end."""


def open_source(settings: SourceSettings, capture: CaptureSettings) -> Source | Camera:
    """The source that a uri means; entering it opens it. A camera is opened, again and again, by iterating.

    Raises SourceError for a kind of address that livespot does not know, SettingsError for `fps` where the source
    has a clock of its own, and for a password that is not where the address says.
    """
    uri, name = settings.uri, settings.name or source_name(settings.uri)
    webcam = WEBCAM.fullmatch(uri)
    if webcam is None and _is_folder(uri):
        return ImageFolder(Path(uri), name, settings.fps or FOLDER_FPS)
    if settings.fps is not None:
        raise SettingsError(f"fps is {settings.fps:g} for {redact(uri)}, which has a clock of its own; leave it out")
    if webcam is not None:
        return Camera(int(webcam[1]), name, capture)
    if uri.startswith("demo://"):
        return VirtualCamera.from_uri(uri, name)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if scheme is None:
        return VideoFile(Path(uri), name)
    if scheme[1].lower() in STREAMS:
        return (NetworkStream if RECORDING.search(uri) else Camera)(filled(uri), name, capture)
    raise SourceError(
        f"{redact(uri)} is no address that can be opened: expected a webcam's index, "
        f"{'://, '.join(STREAMS)}://, demo://, a file or a folder of images"
    )


def open_recording(settings: SourceSettings, capture: CaptureSettings) -> Source:
    """The same for what has an end. Raises SettingsError for a camera or a stream."""
    source = open_source(settings, capture)
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
