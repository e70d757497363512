"""A camera that ends and comes back, by an HTTP server that sends twenty pictures to each who asks."""

import socket
import subprocess
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path

import cv2
import psutil
import pytest

from livespot.capture import camera
from livespot.capture.camera import Camera, retry_pause_s
from livespot.capture.handover import LiveHandOver
from livespot.capture.timeline import with_gaps
from livespot.config import CaptureSettings
from livespot.records import Frame, Gap, Status
from tests.capture.media import number_of, picture, write_video
from tests.capture.test_opencv import camera_server
from tests.capture.watching import PATIENCE_S, Watched, settled

QUICK = CaptureSettings(open_timeout_s=5.0, read_timeout_s=2.0, retry_s=0.05, retry_max_s=0.1)


def test_each_connection_is_an_epoch_and_time_and_index_go_on() -> None:
    with camera_server() as host, Watched(Camera(f"http://{host}/live", "cam", QUICK)) as seen:
        seen.until(lambda seen: len(seen.frames) >= 50)
    frames = seen.frames[:50]
    assert [number_of(frame.image) for frame in frames] == [*range(20), *range(20), *range(10)]
    assert [frame.epoch for frame in frames] == [0] * 20 + [1] * 20 + [2] * 10
    assert all(before.index < after.index and before.t_s < after.t_s for before, after in pairwise(frames))
    assert frames[-1].t_s == pytest.approx(frames[-1].arrival_s - frames[0].arrival_s, abs=0.2)
    gaps = [item for item in with_gaps(seen.items) if isinstance(item, Gap)]
    assert [(gap.reason, gap.from_s, gap.to_s) for gap in gaps[:1]] == [("reconnect", frames[19].t_s, frames[20].t_s)]


def test_what_it_is_doing_is_told_in_its_place() -> None:
    with camera_server() as host, Watched(Camera(f"http://{host}/live", "cam", QUICK)) as seen:
        seen.until(lambda seen: len(seen.frames) >= 30)
    told = [item for item in seen.items if isinstance(item, Status)]
    assert [status.state for status in told[:4]] == ["running", "waiting", "connecting", "running"]
    assert [status.reconnects for status in told[:4]] == [0, 0, 0, 1]
    assert [status.reconnects_per_hour for status in told[:4]] == [0, 0, 0, 1]
    assert "no more frames after 20" in told[1].detail
    assert isinstance(seen.items[0], Status)
    assert isinstance(seen.items[1], Frame)
    assert told[3].t_s == seen.frames[20].t_s


def test_a_file_on_a_server_is_read_to_its_end_once(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", "mp4v", 30, 40).read_bytes()
    with camera_server(video) as host, Camera(f"http://{host}/take", "web", QUICK) as source:
        items = list(source)
    assert len([item for item in items if isinstance(item, Frame)]) == 40
    assert [item.state for item in items if isinstance(item, Status)] == ["running"]


def test_a_file_that_comes_faster_than_it_plays_loses_nothing(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.avi", "MJPG", 80, 120).read_bytes()
    frames = []
    with (
        camera_server(video) as host,
        Camera(f"http://{host}/take", "web", QUICK) as source,
        LiveHandOver(source, 64, staleness_s=PATIENCE_S) as line,
    ):
        for item in line:
            time.sleep(0.005)
            frames += [item] if isinstance(item, Frame) else []
    assert (len(frames), line.dropped) == (120, 0)
    assert frames[-1].arrival_s - frames[0].arrival_s >= frames[-1].t_s - 0.01


def test_a_camera_that_nobody_answers_for_is_told_and_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with Watched(Camera(f"rtsp://me:s3cret@{address}/live", "cam", QUICK)) as seen:
        seen.until(lambda seen: seen.states.count("waiting") >= 2)
    assert f"rtsp://***@{address}/live cannot be opened: {address}: Connection refused" in seen.told[0].detail
    assert "s3cret" not in repr(seen.items)


def test_stopping_does_not_wait_for_the_end_of_a_pause() -> None:
    slow = QUICK.model_copy(update={"retry_s": 10 * PATIENCE_S, "retry_max_s": 10 * PATIENCE_S})
    with Watched(Camera(63, "cam63", slow)) as seen:
        seen.until(lambda seen: seen.states == ["waiting"])
    assert seen.states == ["waiting"]


def test_stopping_does_not_wait_for_a_camera_that_does_not_answer() -> None:
    slow = QUICK.model_copy(update={"open_timeout_s": 10 * PATIENCE_S})
    before = set(psutil.Process().children())
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"
        with Watched(Camera(url, "cam", slow)):
            connection, _ = server.accept()
        connection.close()
    assert settled(lambda: set(psutil.Process().children()) - before) == set()


def test_a_killed_reader_that_takes_its_time_to_die_is_not_left_as_a_zombie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "GRACE_S", 0.0)
    before = set(psutil.Process().children())
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"
        with Watched(Camera(url, "cam", QUICK.model_copy(update={"open_timeout_s": PATIENCE_S}))):
            connection, _ = server.accept()
            reader = set(psutil.Process().children()) - before
        connection.close()
    left = settled(lambda: set(psutil.Process().children()) - before)
    assert (len(reader), left) == (1, set())


def test_where_no_process_can_be_had_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    python = sys.executable
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with camera_server() as host, Watched(Camera(f"http://{host}/live", "cam", QUICK)) as seen:
        seen.until(lambda seen: seen.states.count("waiting") >= 2)
        monkeypatch.setattr(sys, "executable", python)
        seen.until(lambda seen: len(seen.frames) >= 5)
    assert "its reader cannot be started: No such file" in seen.told[0].detail


class Growing(BaseHTTPRequestHandler):
    """Ten small pictures and then larger ones in one stream; only larger ones in the next."""

    asked = 0

    def do_GET(self) -> None:
        small = 0 if type(self).asked else 10
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(200):
            width, height = (160, 120) if number < small else (320, 240)
            jpeg = cv2.imencode(".jpg", picture(number % 40, width, height))[1]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            with suppress(ConnectionError):
                self.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        pass


def test_a_stream_that_changes_its_size_is_opened_again_where_opencv_shows_its_last_picture_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("livespot.capture.camera.STILL_S", 0.5)
    with camera_server(handler=Growing) as host, Watched(Camera(f"http://{host}/", "cam", QUICK)) as seen:
        seen.until(lambda seen: any(frame.image.shape == (240, 320, 3) for frame in seen.frames))
    assert seen.states[:3] == ["running", "waiting", "connecting"]
    assert "the same picture again and again for 0.5 s" in seen.told[1].detail
    [gap, *_] = [item for item in seen.items if isinstance(item, Gap)]
    assert gap.from_s == seen.frames[9].t_s
    assert 0.5 < gap.to_s - gap.from_s < 1.0
    first = next(frame for frame in seen.frames if frame.image.shape == (240, 320, 3))
    assert first.epoch == 1
    [*_, still] = [frame for frame in seen.frames if frame.epoch == 0]
    assert (still.image.shape, number_of(still.image)) == ((120, 160, 3), 9)


class Still(BaseHTTPRequestHandler):
    """The same picture again and again, as of a camera whose lens is covered."""

    def do_GET(self) -> None:
        jpeg = cv2.imencode(".jpg", picture(0))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with suppress(ConnectionError):
            for _ in range(200):
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        pass


def test_a_picture_that_is_still_from_the_beginning_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livespot.capture.camera.STILL_S", 0.2)
    with camera_server(handler=Still) as host, Watched(Camera(f"http://{host}/", "cam", QUICK)) as seen:
        seen.until(lambda seen: len(seen.frames) >= 60)
    assert seen.states == ["running"]


class Silent(BaseHTTPRequestHandler):
    """Ten pictures, and then nothing for longer than anybody waits."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with suppress(ConnectionError):
            for number in range(10):
                jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.01)
            self.connection.settimeout(PATIENCE_S)
            self.connection.recv(1)  # until it is closed

    def log_message(self, *_: object) -> None:
        pass


def test_a_camera_that_gives_a_few_frames_and_is_silent_is_asked_ever_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[int] = []

    def no_pause_s(in_a_row: int, _: CaptureSettings) -> float:
        failures.append(in_a_row)
        return 0.0

    monkeypatch.setattr("livespot.capture.camera.STEADY_S", 0.4)
    monkeypatch.setattr("livespot.capture.camera.retry_pause_s", no_pause_s)
    short = QUICK.model_copy(update={"read_timeout_s": 0.6})
    with camera_server(handler=Silent) as host, Watched(Camera(f"http://{host}/", "cam", short)) as seen:
        seen.until(lambda seen: seen.states.count("waiting") >= 2)
    assert len(seen.frames) >= 20
    assert failures[:2] == [0, 1]


def test_the_process_that_reads_is_named_while_there_is_one() -> None:
    source = Camera("http://127.0.0.1:9/nobody", "cam", QUICK)
    assert source.reader_pid is None
    with camera_server(handler=Silent) as host:
        source = Camera(f"http://{host}/", "cam", QUICK)
        with Watched(source) as seen:
            seen.until(lambda seen: len(seen.frames) >= 5)
            assert source.reader_pid is not None
            assert psutil.Process(source.reader_pid).is_running()
    assert source.reader_pid is None


def test_pauses_double_up_to_their_cap_and_are_cut_by_chance() -> None:
    settings = CaptureSettings(retry_s=0.5, retry_max_s=30.0)
    for failures, longest_s in ((0, 0.5), (1, 1.0), (5, 16.0), (6, 30.0), (10_000, 30.0)):
        pauses_s = [retry_pause_s(failures, settings) for _ in range(200)]
        assert longest_s / 2 <= min(pauses_s) < 0.6 * longest_s
        assert 0.9 * longest_s < max(pauses_s) <= longest_s


WATCH = """
import sys
from livespot.capture.camera import Camera
from livespot.config import CaptureSettings

list(Camera(sys.argv[1], "cam", CaptureSettings(open_timeout_s=600)))
"""


def test_a_reader_that_is_busy_does_not_outlive_who_started_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", WATCH, f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"]
        with subprocess.Popen(command) as process:
            connection, _ = server.accept()
            [reader] = psutil.Process(process.pid).children()
            process.kill()
            process.wait()
        assert psutil.wait_procs([reader], timeout=PATIENCE_S)[1] == []
        connection.close()
