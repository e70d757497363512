"""Recordings that play as if they were cameras."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livespot.capture import source as sources
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


def test_nobody_waits_through_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST_WAIT_S", 0.05)
    begun_s = time.monotonic()
    first, after, last = Paced(Played(frames(0.0, 3600.0, 3600.0 + 1 / FPS)))
    assert after.arrival_s - first.arrival_s >= 0.05
    assert last.arrival_s - after.arrival_s >= 1 / FPS - 0.001
    assert time.monotonic() - begun_s < 60


def test_no_burst_comes_after_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST_WAIT_S", 0.05)

    def stalling() -> Iterator[Frame]:
        for frame in frames(0.0, 0.02, 0.04, 0.06):
            if frame.index == 1:
                time.sleep(0.2)
            yield frame

    played = list(Paced(Played(stalling())))
    assert played[3].arrival_s - played[1].arrival_s >= 0.04 - 0.001
