"""Webcams: what is asked for and what is given, and links to their device files.

No test has a real camera. The drivers' side is a mock here, a capture that grants what it likes.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livespot.capture import open_source
from livespot.capture.camera import Camera
from livespot.capture.opencv import Webcam, ask_for, device_index
from livespot.capture.source import WEBCAM, source_name
from livespot.config import CaptureSettings, PictureSettings, SourceSettings
from livespot.errors import SettingsError, SourceError
from tests.capture.watching import Watched


class MockCapture:
    """Stands in for cv2.VideoCapture: every property is what was set, up to what it has."""

    def __init__(self, most: dict[int, float]) -> None:
        self.calls: list[int] = []
        self._most = most
        self._now = dict(most)

    def set(self, key: int, value: float) -> bool:
        self.calls.append(key)
        self._now[key] = min(value, self._most[key])
        return self._now[key] == value

    def get(self, key: int) -> float:
        return self._now[key]


def mock(width: int, height: int, fps: float, code: str) -> Any:
    return MockCapture(
        {
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: fps,
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*code),
        }
    )


def test_what_is_granted_is_told() -> None:
    capture = mock(1920, 1080, 60, "MJPG")
    wanted = PictureSettings(size="1280x720", fps=60, pixel_format="MJPG")
    assert ask_for(capture, wanted) == "gives MJPG 1280x720 60/s"
    assert capture.calls == [
        cv2.CAP_PROP_FOURCC,  # decides which sizes there are, and these which rates
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
    ]


def test_what_is_not_granted_is_told_beside_what_is() -> None:
    wanted = PictureSettings(size="1280x720", fps=60)
    assert ask_for(mock(640, 480, 30, "YUYV"), wanted) == "gives YUYV 640x480 30/s, was asked for 1280x720 60/s"


def test_who_is_not_asked_is_left_as_he_is() -> None:
    capture = mock(640, 480, 30, "YUYV")
    assert ask_for(capture, PictureSettings()) == "gives YUYV 640x480 30/s"
    assert capture.calls == []


def test_only_webcams_are_asked_for_a_size(tmp_path: Path) -> None:
    for uri in ("rtsp://camera/live", "face.mp4", str(tmp_path), "demo://"):
        with pytest.raises(SettingsError, match=r"size is 640x480 for .*, but it is for webcams; leave it out"):
            open_source(SourceSettings(uri=uri, size="640x480"), CaptureSettings())
    assert isinstance(open_source(SourceSettings(uri="0", size="640x480", fps=60), CaptureSettings()), Camera)


@pytest.mark.parametrize("key", ["size", "pixel_format"])
def test_what_is_no_size_and_no_format_is_refused(key: str) -> None:
    for value in ("640", "0x480", "640 x 480", "mjpg", ""):
        with pytest.raises(ValueError, match="pattern"):
            SourceSettings.model_validate({"uri": "0", key: value})


def test_a_webcam_is_found_by_a_link_that_stays_its_own(tmp_path: Path) -> None:
    link = tmp_path / "usb-Camera-index0"
    link.symlink_to("/dev/video7")
    assert device_index(str(link)) == 7
    link.unlink()
    with pytest.raises(SourceError, match=r"leads to no camera: it is unplugged"), Webcam(str(link), "cam"):
        pass
    assert WEBCAM.fullmatch("/dev/v4l/by-id/usb-Camera-index0")
    assert source_name("/dev/v4l/by-id/usb-Camera-index0") == "usb-Camera-index0"


def test_a_webcam_that_is_unplugged_is_asked_for_again_and_again() -> None:
    quick = CaptureSettings(retry_s=0.05, retry_max_s=0.1)
    source = open_source(SourceSettings(uri="/dev/v4l/by-id/usb-None-index0"), quick)
    assert isinstance(source, Camera)
    with Watched(source) as seen:
        seen.until(lambda seen: seen.states.count("waiting") >= 2)
    assert "it is unplugged" in seen.told[0].detail


@pytest.mark.parametrize("code", ["BGR3", "H264"])
def test_a_row_of_bytes_is_a_picture_only_where_it_holds_one(code: str) -> None:
    """OpenCV's way with what it does not convert, seen with the kernel's vivid driver."""
    webcam = Webcam(0, "cam")
    webcam._index, webcam._capture = 0, mock(4, 2, 30, code)
    row = np.arange(24, dtype=np.uint8).reshape(1, -1, 1).repeat(3, axis=2)
    if code == "BGR3":
        assert np.array_equal(webcam._whole(row), np.arange(24).reshape(2, 4, 3))
    else:
        with pytest.raises(SourceError, match="gives H264, which OpenCV does not turn into pictures: set"):
            webcam._whole(row)
    assert webcam._whole(np.zeros((2, 4, 3), np.uint8)).shape == (2, 4, 3)
