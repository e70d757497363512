"""Pictures of every kind, from real files: deep, grey, of odd size, turned by what the file says or by setting."""

import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.capture import open_source
from livespot.capture.camera import Camera
from livespot.capture.opencv import VideoFile
from livespot.capture.orientation import oriented
from livespot.capture.pyav import PyavStream
from livespot.config import CaptureSettings, PictureSettings, SourceSettings
from livespot.records import Frame
from tests.capture.media import number_of, picture, write_video
from tests.capture.test_opencv import camera_server
from tests.capture.watching import Watched

CAPTURE = CaptureSettings(retry_s=0.05, retry_max_s=0.1)
FRAMES = 10
WHITE_HALF = 20
"""The picture of this number is white on its left half."""


def encoded(path: Path, codec: str, pixels: str, width: int, height: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"x265-params": "log-level=none"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for number in range(FRAMES):
            shown = av.VideoFrame.from_ndarray(picture(4 * number, width, height), format="bgr24")
            container.mux(stream.encode(shown.reformat(format=pixels)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "width", "height"),
    [
        ("hevc10.mp4", "libx265", "yuv420p10le", 160, 120),
        ("avc10.mp4", "libx264", "yuv420p10le", 160, 120),
        ("prores.mov", "prores_ks", "yuv422p10le", 160, 120),
        ("grey.avi", "ffv1", "gray", 160, 120),
        ("grey16.avi", "ffv1", "gray16le", 160, 120),
        ("alpha.mov", "png", "rgba", 160, 120),
        ("odd.mkv", "ffv1", "yuv420p", 641, 479),
        ("odd.avi", "mjpeg", "yuvj420p", 641, 479),
        ("odd.mp4", "libx264", "yuv444p", 641, 479),
    ],
)
def test_pictures_of_every_kind_become_bgr_of_8_bits(
    tmp_path: Path, name: str, codec: str, pixels: str, width: int, height: int
) -> None:
    with VideoFile(encoded(tmp_path / name, codec, pixels, width, height), "face") as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == [4 * number for number in range(FRAMES)]
    assert {(frame.image.shape, str(frame.image.dtype)) for frame in frames} == {((height, width, 3), "uint8")}
    assert (frames[5].image.min(), frames[5].image.max()) == (pytest.approx(0, abs=4), pytest.approx(255, abs=4))


def held(path: Path, degrees: int) -> Path:
    """The same file, which says that the camera was held so: clockwise by so much it is upright."""
    content = bytearray(path.read_bytes())
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    at = content.index(b"tkhd") + 44
    one = 1 << 16
    struct.pack_into(">9i", content, at, cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.fixture
def half_white(tmp_path: Path) -> Path:
    path = tmp_path / "half.mp4"
    return write_video(path, "mp4v", 30, WHITE_HALF + 1)


def sides(image: NDArray[np.uint8]) -> str:
    """Which of its four sides are white."""
    middles = {"left": image[:, 4], "right": image[:, -5], "top": image[4], "bottom": image[-5]}
    return " ".join(name for name, line in middles.items() if line.mean() > 200)


@pytest.mark.parametrize(("degrees", "side"), [(90, "top"), (180, "right"), (270, "bottom")])
def test_a_video_is_turned_as_it_says_it_was_held(half_white: Path, degrees: int, side: str) -> None:
    video = held(half_white, degrees)
    with VideoFile(video, "face") as source:
        *_, last = list(source)
    with camera_server(video.read_bytes()) as host, PyavStream(f"http://{host}/a.mp4", "web", CAPTURE) as stream:
        *_, same = list(stream)
    assert sides(last.image) == sides(same.image) == side
    assert last.image.shape == same.image.shape == ((120, 160, 3) if degrees == 180 else (160, 120, 3))


@pytest.mark.parametrize(
    ("rotate", "mirror", "side"),
    [(0, False, "left"), (90, False, "top"), (180, False, "right"), (270, False, "bottom"), (0, True, "right")],
)
def test_a_picture_is_turned_and_mirrored_as_wanted(rotate: int, mirror: bool, side: str) -> None:
    wanted = PictureSettings.model_validate({"rotate": rotate, "mirror": mirror})
    image = oriented(picture(WHITE_HALF), wanted)
    assert sides(image) == side
    assert image.flags.c_contiguous


def test_a_picture_is_turned_before_it_is_mirrored() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = 255
    assert oriented(image, PictureSettings(rotate=90, mirror=True))[0, 0].tolist() == [255, 255, 255]


def test_a_file_and_a_folder_are_turned_by_their_settings(half_white: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), picture(WHITE_HALF))
    for uri in (str(half_white), str(folder)):
        with open_source(SourceSettings(uri=uri, rotate=90), CAPTURE) as source:
            *_, last = list(source)
        assert isinstance(last, Frame)
        assert (sides(last.image), last.image.shape) == ("top", (160, 120, 3))
        assert source.frame_count == last.index + 1


def test_a_camera_is_turned_by_its_settings() -> None:
    with camera_server() as host:
        source = open_source(SourceSettings(uri=f"http://{host}/live", rotate=180, mirror=True), CAPTURE)
        assert isinstance(source, Camera)
        with Watched(source) as seen:
            seen.until(lambda seen: len(seen.frames) >= 10)
    assert sides(seen.frames[9].image) == "left"
    with camera_server() as host:
        source = open_source(SourceSettings(uri=f"http://{host}/live", mirror=True), CAPTURE)
        assert isinstance(source, Camera)
        with Watched(source) as seen:
            seen.until(lambda seen: len(seen.frames) >= 10)
    assert sides(seen.frames[9].image) == "right"
