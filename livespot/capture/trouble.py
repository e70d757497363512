"""Why a source does not open: the likely reason in plain words, and what to try."""

import os
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from livespot.capture.source import printable, without_login
from livespot.errors import SourceError

HEAD_BYTES = 4096

DEVICES = Path("/dev")

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


def head_of(path: Path) -> bytes:
    """The first bytes of a file that is there and not empty. A name that is no text crashes OpenCV."""
    if (shown := printable(str(path))) != str(path):
        raise SourceError(f"{shown} cannot be opened: its name, or that of a folder, is no UTF-8; rename it")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise SourceError(f"no file {path}: check the path (the folder is {path.absolute().parent})") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be opened: {error.strerror}") from None
    if not head:
        raise SourceError(f"{path} is empty (0 bytes): its recording or its copy failed; make it again")
    return head


def why_no_video(path: Path, head: bytes) -> str:
    """The likely reason why a file that begins with `head` does not open."""
    if b"\0" not in head:
        return "it holds text, whatever its name says; expected a video such as mp4, mov, avi or mkv"
    if head[4:8] == b"ftyp" and b"moov" not in _boxes(path):
        return "its index (moov) is missing, so the recording was cut off or is still being written"
    return "it is damaged, or in no format that FFmpeg knows; expected a video such as mp4, mov, avi or mkv"


def found_cameras() -> list[str]:
    """Device files of local cameras, in order; empty where the system has none or names them otherwise."""
    return [str(path) for path in sorted(DEVICES.glob("video[0-9]*"), key=lambda path: int(path.name[5:]))]


def why_no_camera(index: int) -> str:
    """The likely reason why a camera does not open, and what to try."""
    found = found_cameras()
    device = str(DEVICES / f"video{index}")
    if not found:
        return f"no {DEVICES}/video* exists; plug a camera in, or hand it into the container (--device {device})"
    if device not in found:
        return f"{device} does not exist; found {', '.join(found)}: give one of these numbers"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"no permission for {device}; sudo usermod -aG video $USER, then log in again"
    return f"{device} exists but does not give video; another program may use it, or try the next number"


def why_no_stream(url: str, timeout_s: float, authorities: Path | None = None) -> str:
    """The likely reason why an address does not open, found by knocking at its port; no request is sent.

    `authorities` is the file of certificates that must vouch for who answers, None where nobody must.
    """
    try:
        parts = urlsplit(without_login(url))  # what stands in a login is no name to ask for
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme.lower()]
    except ValueError:
        return "the address is malformed; expected scheme://user:password@host:port/path"
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            if authorities:
                ssl.create_default_context(cafile=authorities).wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return (
            f"the certificate of {host}:{port} is not to be trusted, {error.verify_message}; give the file of who "
            "signed it as capture.tls_ca_file, or believe whoever answers with capture.tls_verify: false"
        )
    except ssl.SSLError:
        return f"{host}:{port} does not speak TLS; try the address without the s of {parts.scheme}"
    except socket.gaierror:
        return f"the name {host} is not known; check its spelling and the network"
    except TimeoutError:
        return f"nothing answers at {host}:{port} within {timeout_s:g} s; is the camera on, and in this network?"
    except OSError as error:
        return f"{host}:{port}: {error.strerror}; is the camera on, and is the port right?"
    return (
        f"{host}:{port} accepts connections but gives no video; "
        "check path, user and password, and try the address in a player such as VLC"
    )


def _boxes(path: Path) -> list[bytes]:
    """Types of the top-level boxes of an MP4 file, as far as it goes."""
    types, start, end = [], 0, path.stat().st_size
    with path.open("rb") as file:
        while start + 8 <= end:
            file.seek(start)
            header = file.read(16)
            types.append(header[4:8])
            size = int.from_bytes(header[:4], "big")
            size = int.from_bytes(header[8:], "big") if size == 1 else size or end  # 1: 64 bits follow; 0: to the end
            start += max(size, 8)
    return types
