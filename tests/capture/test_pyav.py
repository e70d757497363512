"""Streams through PyAV: encrypted ones, whose certificate counts, from a real RTSP server, and errors.

What all cameras must survive is in `test_faults`, for both libraries.
"""

import sys
from pathlib import Path

import av
import numpy as np
import pytest
import trustme

from livespot.capture import open_source
from livespot.capture.camera import Camera
from livespot.capture.network import network_stream
from livespot.capture.opencv import NetworkStream, VideoFile
from livespot.capture.pyav import PyavStream
from livespot.config import CaptureSettings, SourceSettings
from livespot.errors import SettingsError, SourceError
from livespot.records import Frame
from tests.capture.media import number_of, write_video
from tests.capture.rtsp import Server, check_server
from tests.capture.test_opencv import camera_server
from tests.capture.watching import Watched

SETTINGS = CaptureSettings(open_timeout_s=5.0, read_timeout_s=3.0, retry_s=0.1, retry_max_s=0.1)
PYAV = SETTINGS.model_copy(update={"backend": "pyav"})


@pytest.fixture
def server_is_there() -> None:
    check_server()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """Who signs certificates, and its own as a file."""
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return ca, file


def certificate(ca: trustme.CA, name: str, folder: Path) -> str:
    """A file with a certificate for `name` and its key."""
    file = folder / f"{name}.pem"
    ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(file))
    return str(file)


def watched(url: str, settings: CaptureSettings) -> Watched:
    source = open_source(SourceSettings(uri=url), settings)
    assert isinstance(source, Camera)
    return Watched(source)


@pytest.mark.usefixtures("server_is_there")
def test_a_camera_whose_certificate_is_vouched_for_is_watched(
    authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    ca, file = authority
    trusting = SETTINGS.model_copy(update={"tls_ca_file": file})
    with (
        Server("--certificate", certificate(ca, "127.0.0.1", tmp_path)) as server,
        watched(server.url(scheme="rtsps"), trusting) as seen,
    ):
        seen.until(lambda seen: len(seen.frames) >= 10)
    assert seen.states == ["running"]


@pytest.mark.usefixtures("server_is_there")
@pytest.mark.parametrize(
    ("name", "told"),
    [("127.0.0.1", "unable to get local issuer certificate"), ("elsewhere.example", "IP address mismatch")],
)
def test_a_camera_whose_certificate_nobody_vouches_for_is_refused(
    authority: tuple[trustme.CA, Path], tmp_path: Path, name: str, told: str
) -> None:
    """It is signed by a stranger, or for somebody else."""
    ca, file = authority
    signed_by = trustme.CA() if name == "127.0.0.1" else ca
    trusting = SETTINGS.model_copy(update={"tls_ca_file": file})
    with Server("--certificate", certificate(signed_by, name, tmp_path)) as server:
        with watched(server.url(scheme="rtsps"), trusting) as seen:
            seen.until(lambda seen: "waiting" in seen.states)
        assert told in seen.told[0].detail
        assert "capture.tls_ca_file" in seen.told[0].detail
        assert seen.frames == []
        believing = SETTINGS.model_copy(update={"tls_verify": False})
        with watched(server.url(scheme="rtsps"), believing) as seen:
            seen.until(lambda seen: len(seen.frames) >= 5)


@pytest.mark.usefixtures("server_is_there")
def test_what_this_system_trusts_counts_where_nothing_else_is_given(
    authority: tuple[trustme.CA, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, file = authority
    with Server("--certificate", certificate(ca, "127.0.0.1", tmp_path)) as server:
        url = server.url(scheme="rtsps")
        with pytest.raises(SourceError, match="not to be trusted"), network_stream(url, "cam", SETTINGS):
            pass
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        with network_stream(url, "cam", SETTINGS) as source:
            assert next(iter(source.pictures())).image.shape == (120, 160, 3)


@pytest.mark.usefixtures("server_is_there")
def test_a_wrong_password_is_told_from_a_wrong_path() -> None:
    with Server("--login", "me:right") as server:
        for login, mount, told in (("me:s3cret", "live", r"\(401\)"), ("me:right", "none", r"\(404\)")):
            with pytest.raises(SourceError, match=told) as raised, PyavStream(server.url(mount, login), "cam", PYAV):
                pass
            assert "s3cret" not in str(raised.value)


@pytest.mark.usefixtures("server_is_there")
def test_a_stream_that_grows_goes_on_in_the_same_connection() -> None:
    with Server() as server, watched(server.url(), PYAV) as seen:
        seen.frames_more(20)
        server.grow()
        seen.until(lambda seen: seen.frames[-1].image.shape == (240, 320, 3))
    assert seen.states == ["running"]
    assert seen.frames[-1].epoch == 1


def test_a_file_on_a_web_server_is_the_same_as_with_opencv(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", "mp4v", 30, 40)
    with VideoFile(video, "file") as file:
        expected = list(file)
    with camera_server(video.read_bytes()) as host, PyavStream(f"http://{host}/a.mp4", "web", PYAV) as source:
        frames: list[Frame] = list(source)
        assert (source.fps, source.frame_count, source.note) == (30, 40, "")
    assert [frame.t_s for frame in frames] == pytest.approx([frame.t_s for frame in expected])
    for frame, other in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - other.image).max() <= 4


def test_an_http_camera_is_read() -> None:
    with camera_server() as host, PyavStream(f"http://{host}/live", "cam", PYAV) as source:
        assert [number_of(picture.image) for picture in source.pictures()] == list(range(20))
    assert "no more frames after 20" in source.note


def test_what_does_not_open_is_told_as_with_opencv() -> None:
    with camera_server() as host:
        pass
    for stream in (PyavStream, NetworkStream):
        with pytest.raises(SourceError, match=f"{host}: Connection refused"), stream(f"http://{host}/", "cam", PYAV):
            pass


def test_without_pyav_only_what_needs_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for url, settings in (("rtsps://me:s3cret@camera/live", SETTINGS), ("rtsp://camera/live", PYAV)):
        with pytest.raises(SettingsError, match=r"pip install 'livespot\[pyav\]'") as raised:
            open_source(SourceSettings(uri=url), settings)
        assert "s3cret" not in str(raised.value)
    open_source(SourceSettings(uri="rtsp://camera/live"), SETTINGS)
    open_source(SourceSettings(uri="rtsps://camera/live"), SETTINGS.model_copy(update={"tls_verify": False}))


def test_certificates_that_are_not_there_are_refused(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"tls_ca_file": tmp_path / "none.pem"})
    with pytest.raises(SettingsError, match=r"none\.pem: there is no such file"):
        open_source(SourceSettings(uri="rtsps://camera/live"), settings)


def test_a_pyav_that_would_believe_every_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "library_versions", {"libavformat": (61, 7, 100)})
    with pytest.raises(SettingsError, match=r"too old, its FFmpeg believes every certificate: pip install --upgrade"):
        open_source(SourceSettings(uri="rtsps://camera/live"), SETTINGS)
