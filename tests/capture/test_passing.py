"""Recordings that play as if they were cameras."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livespot.capture.opencv import VideoFile
from livespot.capture.passing import Paced
from livespot.records import Frame
from tests.films import BLANK, FPS, Played, write_video


def frames(*times_s: float) -> Iterator[Frame]:
    for index, t_s in enumerate(times_s):
        yield Frame(BLANK, "film", index, t_s, time.monotonic())


def test_a_paced_recording_is_live_and_never_early(tmp_path: Path) -> None:
    with Paced(VideoFile(write_video(tmp_path / "fast.avi", [BLANK] * 20, 200), "face")) as paced:
        assert (paced.live, paced.fps, paced.frame_count) == (True, 200, 20)
        started_s = time.monotonic()
        played = list(paced)
    assert all(frame.arrival_s >= started_s + frame.t_s for frame in played)
    assert len(played) == 20


def test_a_note_is_passed_on() -> None:
    film = Played(frames(0.0), "film")
    film.note = "damaged"
    with Paced(film) as paced:
        assert len(list(paced)) == 1
    assert paced.note == "damaged"


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds


def arrivals(frames: Iterator[Frame], fps: float = FPS) -> list[float]:
    film = Played(frames)
    film.fps = fps
    return [round(frame.arrival_s, 6) for frame in Paced(film)]


def test_nobody_waits_through_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    assert arrivals(frames(5.0, 3600.0, 3600.5)) == [100.0, 101.0, 101.5]


def test_what_is_slow_by_itself_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    assert arrivals(frames(0.0, 4.0, 8.0), fps=0.25) == [100.0, 104.0, 108.0]


def test_no_burst_comes_after_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def stalling() -> Iterator[Frame]:
        for frame in frames(0.0, 0.02, 0.04, 0.06):
            clock.now_s += 0.5 if frame.index == 1 else 0.001
            yield frame

    assert arrivals(stalling()) == [100.001, 100.501, 100.521, 100.541]
