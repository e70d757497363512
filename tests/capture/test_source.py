"""What sources are called, what of an address may be shown, and which source an address means."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livespot.capture import open_recording, open_source, redact, unique_names
from livespot.capture.camera import Camera
from livespot.capture.folder import ImageFolder
from livespot.capture.opencv import NetworkStream, VideoFile
from livespot.capture.pyav import PyavStream
from livespot.capture.source import source_name
from livespot.config import NAME, CaptureSettings, SourceSettings
from livespot.errors import SettingsError, SourceError

CAPTURE = CaptureSettings()


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("0", "cam0"),
        ("/dev/video12", "cam12"),
        ("clips/interview.two.mp4", "interview-two"),
        ("recordings/session 7/", "session-7"),
        (".hidden", "hidden"),
        ("rtsp://admin:secret@192.168.1.20:554/stream1", "192-168-1-20"),
        ("https://camera.example.org/video?pwd=secret", "camera-example-org"),
        ("demo://?seed=3", "demo"),
        ("демо.mp4", "source"),
    ],
)
def test_a_source_is_named_after_its_address(uri: str, name: str) -> None:
    assert source_name(uri) == name


@given(st.text(min_size=1))
def test_every_derived_name_fits_a_topic(uri: str) -> None:
    assert NAME.fullmatch(source_name(uri))


@given(st.text(alphabet="s3cr€T", min_size=4), st.sampled_from(["", "@", "/", "?", "#", ":"]))
def test_no_password_is_ever_shown(secret: str, odd: str) -> None:
    password = secret + odd + secret
    for uri in (f"rtsp://admin:{password}@camera:554/live", f"rtsps://:{password}@camera/live"):
        assert secret not in redact(uri)
        assert redact(uri).endswith("***@camera:554/live") or redact(uri).endswith("***@camera/live")
        assert secret not in source_name(uri)


def test_secrets_in_the_query_are_not_shown() -> None:
    assert redact("http://camera/video.cgi?user=me&pwd=secret") == "http://camera/video.cgi?user=***&pwd=***"


def test_paths_are_shown_as_they_are() -> None:
    assert redact("/home/a@b/take=3.mp4") == "/home/a@b/take=3.mp4"


def names(*sources: SourceSettings | str) -> list[str | None]:
    return [source.name for source in unique_names([SourceSettings.model_validate(source) for source in sources])]


def test_sources_whose_names_meet_are_numbered() -> None:
    assert names("a/face.mp4", "b/face.mp4", "c/face.mp4") == ["face", "face-2", "face-3"]


def test_a_name_the_user_gave_is_never_changed() -> None:
    assert names("a/face.mp4", SourceSettings(uri="1", name="face"), "b/face-2.mp4") == ["face-2", "face", "face-2-2"]


def test_the_same_name_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="named left"):
        names(SourceSettings(uri="0", name="left"), SourceSettings(uri="1", name="left"))


@given(st.lists(st.sampled_from(["0", "face.mp4", "face-2.mp4", "x" * 80 + ".mp4"]), max_size=30))
def test_no_two_sources_share_a_name(uris: list[str]) -> None:
    given_names = names(*uris)
    assert len(set(given_names)) == len(uris)
    assert all(name and NAME.fullmatch(name) for name in given_names)


def opened(uri: str, fps: float | None = None) -> object:
    return open_source(SourceSettings(uri=uri, fps=fps), CAPTURE)


def test_the_address_decides_the_kind_of_source(tmp_path: Path) -> None:
    assert isinstance(opened("0"), Camera)
    assert isinstance(opened("/dev/video3"), Camera)
    assert isinstance(opened("rtsp://camera/live.mp4"), Camera)
    assert isinstance(opened("HTTP://camera/live"), Camera)
    assert isinstance(opened("http://camera/video.cgi?file=.mp4"), Camera)
    assert isinstance(opened("http://server/take.MP4?token=t"), NetworkStream)
    assert isinstance(opened("https://server/take.MP4?token=t"), PyavStream)
    assert isinstance(opened("/dev/v4l/by-id/usb-Cam-video-index0"), Camera)
    assert isinstance(opened("gstreamer:videotestsrc"), Camera)
    assert isinstance(opened(str(tmp_path)), ImageFolder)
    assert isinstance(opened("face.mp4"), VideoFile)
    assert isinstance(opened("rtsp://camera/live?token=" + 300 * "t"), Camera)
    assert isinstance(opened(300 * "f"), VideoFile)


def test_a_camera_is_no_recording(tmp_path: Path) -> None:
    assert isinstance(open_recording(SourceSettings(uri=str(tmp_path)), CAPTURE), ImageFolder)
    for uri in ("0", "http://camera/live", "demo://"):
        with pytest.raises(SettingsError, match="is live and has no end"):
            open_recording(SourceSettings(uri=uri), CAPTURE)


def test_recordings_play_at_their_own_speed_only_where_that_is_asked_for(tmp_path: Path) -> None:
    asked = CAPTURE.model_copy(update={"realtime": True})
    for uri in (str(tmp_path), "face.mp4", "http://server/take.mp4", "demo://?realtime=0"):
        source = SourceSettings(uri=uri, mirror=uri == "face.mp4")
        assert (open_source(source, CAPTURE).live, open_source(source, asked).live) == (False, True)
        assert not open_recording(source, asked).live


def test_an_unknown_kind_of_address_is_refused_without_its_password() -> None:
    with pytest.raises(SourceError, match=r"rtmp://.*expected.*rtsp://") as raised:
        opened("rtmp://me:secret@server/live")
    assert "secret" not in str(raised.value)


def test_a_frame_rate_is_taken_for_folders_of_images_only(tmp_path: Path) -> None:
    folder = opened(str(tmp_path), fps=200.0)
    assert isinstance(folder, ImageFolder)
    assert folder.fps == 200.0
    with pytest.raises(SettingsError, match=r"fps is 25 for face\.mp4"):
        opened("face.mp4", fps=25.0)
