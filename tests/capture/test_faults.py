"""What cameras and networks do to a stream, against a real RTSP server: each time it runs again, and says what it lost.

Every picture of the server tells when it was shot, so that what was lost is known to the frame.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal

import psutil
import pytest

from livespot.capture import open_source
from livespot.capture.camera import Camera
from livespot.config import CaptureSettings, SourceSettings
from livespot.records import Gap
from tests.capture.rtsp import Mode, Proxy, Server, check_server
from tests.capture.watching import Watched, check_losses, settled, shots

FPS = 25
PATIENT = CaptureSettings(open_timeout_s=5.0, read_timeout_s=2.5, stall_s=1.0, retry_s=0.2, retry_max_s=1.0)
BRISK = PATIENT.model_copy(update={"open_timeout_s": 3.0, "read_timeout_s": 1.5})
UDP = PATIENT.model_copy(update={"rtsp_transport": "udp"})
FRAMES_KEPT_MB = 60.0
"""What is watched is kept: some 600 pictures of 58 kB."""
BACKEND = "opencv"
BACKENDS = ["opencv", pytest.param("pyav", marks=pytest.mark.soak)]


@pytest.fixture(autouse=True, params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """What reads the streams. Both survive the same; the second does so under `make soak`."""
    global BACKEND
    BACKEND = str(request.param)
    return BACKEND


@pytest.fixture(autouse=True, scope="module")
def _server_is_there() -> None:
    check_server()


@pytest.fixture(autouse=True)
def _no_process_no_thread_and_no_file_is_left_behind() -> Iterator[None]:
    process = psutil.Process()
    files, threads = process.num_fds(), set(threading.enumerate())
    children = set(process.children(recursive=True))

    def left() -> tuple[set[psutil.Process], int, set[threading.Thread]]:
        return (
            set(process.children(recursive=True)) - children,
            max(0, process.num_fds() - files),
            set(threading.enumerate()) - threads,
        )

    yield
    assert settled(left) == (set(), 0, set())


def camera(url: str, settings: CaptureSettings = PATIENT, name: str = "cam") -> Camera:
    return Camera(url, name, settings.model_copy(update={"backend": BACKEND}))


def test_a_camera_that_works_gives_every_picture_at_its_time() -> None:
    with Server() as server, Watched(camera(server.url())) as seen:
        seen.until(lambda seen: len(seen.frames) >= 75)
    assert seen.states == ["running"]
    numbers = shots(seen.frames, FPS)
    assert all(frame.epoch == 0 for frame in seen.frames)
    first = numbers[0]
    assert first is not None
    assert [frame.index for frame in seen.frames] == [number - first for number in numbers if number is not None]
    assert [frame.t_s for frame in seen.frames] == pytest.approx([frame.index / FPS for frame in seen.frames], abs=1e-3)


def test_a_server_that_is_killed_and_started_again_is_found_again() -> None:
    killed_and_restarted(times=2)


@pytest.mark.soak
def test_a_server_that_is_killed_and_started_again_twenty_times_is_found_again() -> None:
    process = psutil.Process()
    killed_and_restarted(times=2)
    before_mb = process.memory_info().rss / 2**20
    killed_and_restarted(times=20)
    assert process.memory_info().rss / 2**20 < before_mb + FRAMES_KEPT_MB


def killed_and_restarted(times: int) -> None:
    with Server() as server, Watched(camera(server.url())) as seen:
        seen.frames_more(20)
        for number in range(times):
            server.kill()
            seen.until(lambda seen: seen.states[-1] == "waiting")
            server.start()
            seen.reconnected(number + 1)
    gaps = check_losses(seen.items, FPS)
    assert [gap.reason for gap in gaps if gap.frames is None] == ["reconnect"] * times
    assert seen.frames[-1].epoch == times
    assert "stalled" not in seen.states


def test_a_server_that_pauses_for_five_seconds_stalls_and_comes_back() -> None:
    with Server() as server, Watched(camera(server.url())) as seen:
        seen.frames_more(20)
        server.pause()
        paused_s = time.monotonic()
        seen.until(lambda seen: "stalled" in seen.states)
        seen.until(lambda seen: "waiting" in seen.states)
        time.sleep(max(0.0, paused_s + 5 - time.monotonic()))
        server.go_on()
        seen.reconnected()
    [gap] = [gap for gap in check_losses(seen.items, FPS) if gap.reason == "reconnect"]
    assert gap.to_s - gap.from_s > 4.5
    assert seen.told[-1].stalls == 1


def test_a_short_pause_is_told_as_a_stall_and_needs_no_new_connection() -> None:
    patient = PATIENT.model_copy(update={"read_timeout_s": 20.0})
    with Server() as server, Watched(camera(server.url(), patient)) as seen:
        seen.frames_more(20)
        server.pause()
        seen.until(lambda seen: "stalled" in seen.states)
        server.go_on()
        seen.frames_more(20)
    assert seen.states == ["running", "stalled", "running"]
    gaps = check_losses(seen.items, FPS)
    assert max(gap.to_s - gap.from_s for gap in gaps) > 0.8
    assert {gap.reason for gap in gaps} == {"frames_lost"}
    assert seen.frames[-1].epoch == 0


def test_a_wrong_password_is_told_without_it_and_the_right_one_is_taken_up() -> None:
    with Server("--login", "me:right") as server, Watched(camera(server.url(login="me:s3cret"))) as seen:
        seen.until(lambda seen: "waiting" in seen.states)
        assert "password" in seen.told[-1].detail
        server.kill()
        server.start("--login", "me:s3cret")
        seen.until(lambda seen: len(seen.frames) >= 10)
    assert "s3cret" not in repr(seen.items)
    assert seen.told[-1].reconnects == 0


@pytest.mark.parametrize("mode", ["silent", "mute", "garbage"])
def test_a_camera_that_does_not_answer_as_it_should_is_asked_again(mode: Mode) -> None:
    with Server() as server, Proxy(server.port, mode) as wire, Watched(camera(wire.url(), BRISK)) as seen:
        seen.until(lambda seen: seen.states.count("waiting") >= 2)
        assert seen.frames == []
        wire.mode = "through"
        seen.until(lambda seen: len(seen.frames) >= 10)
    assert set(seen.states[:-1]) == {"waiting", "connecting"}
    assert seen.states[-1] == "running"


def test_a_connection_that_is_cut_without_a_word_is_opened_again() -> None:
    with Server() as server, Proxy(server.port) as wire, Watched(camera(wire.url(), BRISK)) as seen:
        seen.frames_more(20)
        wire.mode = "silent"
        seen.until(lambda seen: "waiting" in seen.states)
        wire.mode = "through"
        seen.reconnected()
    assert seen.states[:3] == ["running", "stalled", "waiting"]
    assert "reconnect" in [gap.reason for gap in check_losses(seen.items, FPS)]


def test_noise_in_a_running_stream_is_survived() -> None:
    with Server() as server, Proxy(server.port) as wire, Watched(camera(wire.url(), BRISK)) as seen:
        seen.frames_more(20)
        wire.spoil()
        seen.reconnected()
    assert "reconnect" in [gap.reason for gap in check_losses(seen.items, FPS)]


def test_another_size_and_rate_are_another_epoch_and_measured() -> None:
    with Server() as server, Watched(camera(server.url())) as seen:
        seen.frames_more(20)
        server.kill()
        server.start("--width", "320", "--height", "240", "--fps", "50")
        seen.reconnected(frames=50)
    assert [frame.image.shape for frame in seen.frames[:: len(seen.frames) - 1]] == [(120, 160, 3), (240, 320, 3)]
    assert seen.camera.fps == pytest.approx(50, rel=0.01)
    assert {frame.image.shape for frame in seen.frames if frame.epoch == 1} == {(240, 320, 3)}


def test_a_stream_that_grows_while_it_runs_is_seen_in_its_new_size(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr("livespot.capture.camera.STILL_S", 1.0)
    with Server() as server, Watched(camera(server.url(), BRISK)) as seen:
        seen.frames_more(20)
        server.grow()
        seen.until(lambda seen: seen.frames[-1].image.shape == (240, 320, 3))
        seen.frames_more(10)
    gaps = check_losses(seen.items, FPS)
    if backend == "opencv":  # it shows its last picture for ever
        assert "the same picture again and again" in seen.told[1].detail
        assert "reconnect" in [gap.reason for gap in gaps]
    else:
        assert seen.states == ["running"]


def test_a_clock_that_is_set_back_is_told_and_time_goes_on() -> None:
    with Server("--spoil") as server, Watched(camera(server.url())) as seen:
        seen.frames_more(20)
        server.reset_clock()
        seen.frames_more(40)
    assert seen.states == ["running"]
    [jump] = [gap for gap in check_losses(seen.items, FPS, slack_s=0.06) if gap.reason == "clock_jump"]
    assert jump.to_s - jump.from_s == pytest.approx((1 + (jump.frames or 0)) / FPS, abs=0.01)


def test_packets_that_overtake_each_other_are_put_in_order() -> None:
    """Every seventh of them leaves after the next two."""
    with Server("--spoil", "--reorder", "7") as server, Watched(camera(server.url(), UDP)) as seen:
        seen.until(lambda seen: len(seen.frames) >= 100)
    assert seen.states == ["running"]
    numbers = shots(seen.frames, FPS)
    assert None not in numbers
    assert [frame.index for frame in seen.frames] == [(number or 0) - (numbers[0] or 0) for number in numbers]


@pytest.mark.parametrize(("transport", "sockets"), [("tcp", 0), ("udp", 2)])
def test_pictures_come_by_the_transport_that_was_chosen(
    transport: Literal["tcp", "udp"], sockets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "user_agent;mine")
    chosen = PATIENT.model_copy(update={"rtsp_transport": transport})
    with Server() as server, Watched(camera(server.url(), chosen)) as seen:
        seen.frames_more(5)
        [reader] = [child for child in psutil.Process().children() if "livespot.capture.reader" in child.cmdline()]
        assert len(reader.net_connections(kind="udp")) == sockets


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_packets_that_are_lost_are_holes_of_the_right_length(transport: Literal["tcp", "udp"]) -> None:
    """Of JPEG. What is predicted from a lost picture FFmpeg makes up, and does not say so."""
    settings = PATIENT.model_copy(update={"rtsp_transport": transport})
    with Server("--codec", "jpeg", "--loss", "0.05") as server, Watched(camera(server.url(), settings)) as seen:
        seen.until(lambda seen: len(seen.frames) >= 100 and seen.frames[-1].index > len(seen.frames))
    assert seen.states == ["running"]
    gaps = check_losses(seen.items, FPS, slack_s=0.001)
    assert {gap.reason for gap in gaps} == {"frames_lost"}


def test_a_stream_that_loses_packets_runs_on() -> None:
    with Server("--loss", "0.05") as server, Watched(camera(server.url(), UDP)) as seen:
        seen.frames_more(100)
    assert seen.states == ["running"]
    assert [item for item in seen.items if isinstance(item, Gap) and item.reason != "frames_lost"] == []


def test_one_of_two_streams_dies_and_the_other_does_not_notice() -> None:
    with Server() as dying, Server() as living, ExitStack() as stack:
        lost = stack.enter_context(Watched(camera(dying.url(), name="lost")))
        kept = stack.enter_context(Watched(camera(living.url(), name="kept")))
        lost.frames_more(10)
        kept.frames_more(10)
        dying.kill()
        lost.until(lambda seen: seen.states.count("waiting") >= 2)
        kept.frames_more(25)
    assert kept.states == ["running"]
    first, *_, last = kept.frames
    assert [gap for gap in check_losses(kept.items, FPS) if gap.reason != "frames_lost"] == []
    assert last.epoch == first.epoch == 0


def test_a_password_of_odd_characters_opens_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "s3@/?#% cret")
    with Server("--login", "me:s3@/?#% cret") as server:
        url = server.url(login="me:${CAMERA_PASSWORD}")
        source = open_source(SourceSettings(uri=url), PATIENT.model_copy(update={"backend": BACKEND}))
        assert isinstance(source, Camera)
        with Watched(source) as seen:
            seen.until(lambda seen: len(seen.frames) >= 5)


def test_a_reader_that_crashes_is_replaced() -> None:
    with Server() as server, Watched(camera(server.url())) as seen:
        seen.frames_more(10)
        [reader] = [child for child in psutil.Process().children() if "livespot.capture.reader" in child.cmdline()]
        os.kill(reader.pid, signal.SIGSEGV)
        seen.reconnected()
    assert "its reader ended" in seen.told[1].detail
    assert "reconnect" in [gap.reason for gap in check_losses(seen.items, FPS)]


def test_a_reader_that_hangs_is_killed_and_replaced() -> None:
    with Server() as server, Watched(camera(server.url(), BRISK)) as seen:
        seen.frames_more(10)
        [reader] = [child for child in psutil.Process().children() if "livespot.capture.reader" in child.cmdline()]
        os.kill(reader.pid, signal.SIGSTOP)
        seen.reconnected()
    assert seen.states[:3] == ["running", "stalled", "waiting"]
    assert "reconnect" in [gap.reason for gap in check_losses(seen.items, FPS)]


def test_no_argument_and_no_variable_of_a_process_holds_the_password() -> None:
    with Server("--login", "me:s3cret") as server, Watched(camera(server.url(login="me:s3cret"))) as seen:
        seen.frames_more(5)
        [reader] = [child for child in psutil.Process().children() if "livespot.capture.reader" in child.cmdline()]
        assert "s3cret" not in repr((reader.cmdline(), reader.environ()))
    assert "s3cret" not in repr((seen.items, seen.camera))
