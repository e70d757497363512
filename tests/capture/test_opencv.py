"""Files and streams through OpenCV: real files, cut and damaged; a real HTTP server."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from livespot.capture import trouble
from livespot.capture.opencv import NetworkStream, VideoFile, Webcam, bgr8
from livespot.config import CaptureSettings
from livespot.errors import SourceError
from tests.capture.media import number_of, picture, write_video

SHORT = CaptureSettings(open_timeout_s=1.0, read_timeout_s=1.0)


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("mp4") / "video.mp4", "mp4v", 30, 40)


@pytest.fixture(scope="module")
def avi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("avi") / "video.avi", "MJPG", 25, 40)


def cut(path: Path, to: Path, share: float) -> Path:
    content = path.read_bytes()
    to.write_bytes(content[: int(len(content) * share)])
    return to


def test_every_frame_of_a_file_arrives_with_its_own_time(mp4: Path, avi: Path) -> None:
    for path, fps in ((mp4, 30), (avi, 25)):
        with VideoFile(path, "face") as source:
            assert (source.fps, source.frame_count, source.live) == (fps, 40, False)
            frames = list(source)
        assert [number_of(frame.image) for frame in frames] == list(range(40))
        assert [frame.index for frame in frames] == list(range(40))
        assert [frame.t_s for frame in frames] == pytest.approx([number / fps for number in range(40)])
        assert {frame.source for frame in frames} == {"face"}
        assert {frame.epoch for frame in frames} == {0}
        assert source.note == ""


def test_arrival_is_monotonic_time(mp4: Path) -> None:
    before_s = time.monotonic()
    with VideoFile(mp4, "face") as source:
        arrivals_s = [frame.arrival_s for frame in source]
    times_s = [before_s, *arrivals_s, time.monotonic()]
    assert times_s == sorted(times_s)


def test_no_two_frames_share_their_memory(mp4: Path) -> None:
    with VideoFile(mp4, "face") as source:
        frames = list(islice(source, 10))
    assert not any(np.shares_memory(one.image, other.image) for one, other in pairwise(frames))


def test_a_looping_file_goes_on_in_time_and_index_and_counts_its_turns(mp4: Path) -> None:
    with VideoFile(mp4, "face", loop=True) as source:
        frames = list(islice(source, 100))
    assert [frame.index for frame in frames] == list(range(100))
    assert [frame.epoch for frame in frames] == [0] * 40 + [1] * 40 + [2] * 20
    assert [frame.t_s for frame in frames] == pytest.approx([number / 30 for number in range(100)])
    assert number_of(frames[85].image) == 5


def test_a_file_with_more_frames_a_second_than_can_be_spotted_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "fast.avi", "MJPG", 500, frames=120)
    with VideoFile(path, "fast") as source, pytest.raises(SourceError, match=r"500 frames a second.*at most 240: make"):
        list(source)


@pytest.mark.parametrize("fps", [240, 240.4])
def test_a_file_as_fast_as_can_be_spotted_is_read(tmp_path: Path, fps: float) -> None:
    with VideoFile(write_video(tmp_path / "fast.avi", "MJPG", fps, frames=120), "fast") as source:
        assert len(list(source)) == 120


def test_a_truncated_file_gives_what_is_readable_and_says_what_is_not(avi: Path, tmp_path: Path) -> None:
    with VideoFile(cut(avi, tmp_path / "cut.avi", 0.5), "face") as source:
        read = len(list(source))
    assert 0 < read < 40
    assert source.note == f"declared 40 frames, {read} could be read: the file ends early or is damaged"


def test_a_damaged_file_gives_what_is_readable_and_says_what_is_not(mp4: Path, tmp_path: Path) -> None:
    content = bytearray(mp4.read_bytes())
    middle = len(content) // 3
    content[middle : 2 * middle] = bytes(middle)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    with VideoFile(damaged, "face") as source:
        assert 0 < len(list(source)) < 40
    assert source.note.startswith("declared 40 frames, ")


def refusal(source: VideoFile | Webcam | NetworkStream) -> str:
    with pytest.raises(SourceError) as raised, source as entered:
        list(entered)
    return str(raised.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(VideoFile(tmp_path / "none.mp4", "face")).startswith(f"no file {tmp_path}/none.mp4")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "empty.mp4 is empty (0 bytes)" in refusal(VideoFile(tmp_path / "empty.mp4", "face"))


def test_a_file_whose_name_is_no_text_is_refused(mp4: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"v\xe9.mp4")
    path.write_bytes(mp4.read_bytes())
    assert refusal(VideoFile(path, "face")).startswith(f"{tmp_path}/v?.mp4 cannot be opened: its name, or that of a")


def test_text_renamed_to_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("frame,type\n" * 1000)
    assert "it holds text" in refusal(VideoFile(tmp_path / "text.mp4", "face"))


def test_a_recording_that_was_cut_off_before_its_index_is_refused(mp4: Path, tmp_path: Path) -> None:
    assert "its index (moov) is missing" in refusal(VideoFile(cut(mp4, tmp_path / "cut.mp4", 0.5), "face"))


def test_bytes_of_no_video_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "it is damaged, or in no format" in refusal(VideoFile(tmp_path / "noise.mp4", "face"))


def test_a_video_without_one_picture_is_refused(avi: Path, tmp_path: Path) -> None:
    content = avi.read_bytes()
    (tmp_path / "head.avi").write_bytes(content[: content.index(b"movi") + 4])
    assert "not one picture can be decoded" in refusal(VideoFile(tmp_path / "head.avi", "face"))


OPEN_WHAT_IS_NONE = """
import os, sys
from contextlib import suppress
from pathlib import Path
from livespot.capture.opencv import VideoFile, Webcam
from livespot.errors import SourceError

assert "OPENCV_FFMPEG_LOGLEVEL" not in os.environ, "importing is no reason to change the environment"
for source in (VideoFile(Path(sys.argv[1]), "face"), Webcam(97, "cam97")):
    with suppress(SourceError), source:
        print(source.name, "opens")
"""


def test_nothing_but_our_message_is_printed(tmp_path: Path) -> None:
    """In a process of its own: FFmpeg's level is read once, at the first file."""
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    environment = {name: value for name, value in os.environ.items() if name != "OPENCV_FFMPEG_LOGLEVEL"}
    command = [sys.executable, "-c", OPEN_WHAT_IS_NONE, str(tmp_path / "noise.mp4")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_camera_that_does_not_exist_is_refused_with_those_that_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "DEVICES", tmp_path)
    assert f"no {tmp_path}/video* exists; plug a camera in" in refusal(Webcam(97, "cam97"))
    for number in (10, 2):
        (tmp_path / f"video{number}").touch()
    assert f"found {tmp_path}/video2, {tmp_path}/video10: give one of these" in refusal(Webcam(97, "cam97"))


@pytest.mark.parametrize(
    "image",
    [
        np.full((4, 5), 100, np.uint8),
        np.full((4, 5, 1), 100, np.uint8),
        np.full((4, 5, 4), 100, np.uint8),
        np.full((4, 5), 100 * 256, np.uint16),
        np.full((4, 5, 3), 100, np.uint8),
    ],
)
def test_every_kind_of_picture_becomes_bgr_of_8_bits(image: np.ndarray) -> None:  # type: ignore[type-arg]
    assert np.array_equal(bgr8(image), np.full((4, 5, 3), 100, np.uint8))


class Camera(BaseHTTPRequestHandler):
    """An HTTP camera: /live is MJPEG of 20 pictures, any other path one file, /none nothing at all."""

    video = b""

    def do_GET(self) -> None:
        if self.path == "/none":
            self.send_error(404)
        elif self.path == "/live":
            self._stream()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.video)))
            self.end_headers()
            self.wfile.write(self.video)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(20):
            jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            with suppress(ConnectionError):
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.01)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def camera_server(video: bytes = b"", handler: type[BaseHTTPRequestHandler] = Camera) -> Iterator[str]:
    handler = type("CameraWithVideo", (handler,), {"video": video})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_http_camera_without_time_stamps_is_timed_by_arrival() -> None:
    with camera_server() as host, NetworkStream(f"http://{host}/live", "cam", SHORT) as source:
        assert source.frame_count is None
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(20))
    shown_s = [frame.t_s for frame in frames]
    assert shown_s[0] == 0
    assert all(before < after for before, after in pairwise(shown_s))
    assert shown_s[-1] == pytest.approx(frames[-1].arrival_s - frames[0].arrival_s, abs=0.05)
    assert "no more frames after 20" in source.note


def test_a_file_on_a_web_server_is_read_like_a_file(mp4: Path) -> None:
    with camera_server(mp4.read_bytes()) as host, NetworkStream(f"http://{host}/a.mp4", "web", SHORT) as source:
        assert not source.live
        assert [frame.t_s for frame in source] == pytest.approx([number / 30 for number in range(40)])
    assert source.note == ""


def test_a_server_that_has_no_such_video_is_told_from_one_that_is_not_there() -> None:
    with camera_server() as host:
        told = refusal(NetworkStream(f"http://me:secret@{host}/none", "cam", SHORT))
    assert told.startswith(f"http://***@{host}/none cannot be opened: {host} accepts connections but gives no video")
    assert "refused" in refusal(NetworkStream(f"http://{host}/none", "cam", SHORT))


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_never_answers_is_given_up(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://me:secret@127.0.0.1:{server.getsockname()[1]}/live"
        told = refusal(NetworkStream(url, "cam", SHORT))
    assert "accepts connections but gives no video; check path" in told
    assert "secret" not in told


def test_a_malformed_address_is_told() -> None:
    assert "address is malformed" in refusal(NetworkStream("rtsp://camera:nowhere/live", "cam", SHORT))


@pytest.mark.parametrize("login", ["admin:1234/abc", "admin:12/34", "admin:p?q", "ad@min:p#q", "admin:[x"])
def test_no_part_of_a_login_that_is_not_escaped_is_taken_for_the_machine(login: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    assert trouble.why_no_stream(f"rtsp://{login}@{address}/live", 1.0).startswith(f"{address}: Connection refused")


def test_a_name_that_is_not_known_is_told() -> None:
    assert "is not known; check its spelling" in refusal(NetworkStream("http://camera.invalid/live", "cam", SHORT))


def test_options_for_ffmpeg_leave_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "tls_verify;1")
    with camera_server() as host, NetworkStream(f"http://{host}/live", "cam", SHORT):
        assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "tls_verify;1"
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS")
    with camera_server() as host, NetworkStream(f"http://{host}/live", "cam", SHORT):
        assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ
