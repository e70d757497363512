"""Which library reads a network stream: OpenCV, or PyAV where it is chosen or where a certificate is to be verified."""

from livespot.capture.opencv import NetworkStream
from livespot.capture.pyav import PyavStream, library, trusted
from livespot.capture.source import encrypted, redact
from livespot.config import CaptureSettings
from livespot.errors import SettingsError, SourceError


def network_stream(url: str, name: str, settings: CaptureSettings) -> NetworkStream | PyavStream:
    """What reads the address; entering it opens it."""
    return (PyavStream if _needs_pyav(url, settings) else NetworkStream)(url, name, settings)


def check_readable(url: str, settings: CaptureSettings) -> None:
    """Raises SettingsError where what the settings ask for cannot be had here, however often it is tried."""
    if not _needs_pyav(url, settings):
        return
    try:
        library()
    except SourceError as error:
        cure = "; capture.tls_verify: false does without, and believes whoever answers" if encrypted(url) else ""
        raise SettingsError(f"{redact(url)} is read by PyAV: {error}{cure}") from None
    if encrypted(url) and settings.tls_verify and not trusted(settings).is_file():
        raise SettingsError(f"capture.tls_ca_file is {trusted(settings)}: there is no such file")


def _needs_pyav(url: str, settings: CaptureSettings) -> bool:
    return settings.backend == "pyav" or (settings.tls_verify and encrypted(url))
