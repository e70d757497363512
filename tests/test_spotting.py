"""Spotting in files and folders, as a program in Python does it."""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import livespot
from livespot.config import AlignSettings, InferSettings, Settings
from livespot.errors import EngineError, SettingsError, SourceError
from livespot.pipeline import Pipeline
from livespot.records import Frame
from livespot.spotting import Findings, recording
from tests.capture.test_opencv import camera_server
from tests.films import BLANK, FPS, MotionScorer, Picture, Played, frames


@pytest.fixture
def settings(engine: str) -> Settings:
    return Settings(infer=InferSettings(model=engine))


def found(played: Iterator[Frame], name: str = "film", note: str = "") -> tuple[Findings, float]:
    findings = Findings()
    source = Played(played, name)
    source.note = note
    with Pipeline(Settings(method="network", align=AlignSettings(max_faces=2)), [source], MotionScorer()) as pipeline:
        for step in chain.from_iterable(pipeline):
            findings.add(step)
        return findings, pipeline.delay_s


def test_a_file_gives_its_closed_events(video: Path, settings: Settings) -> None:
    [event] = livespot.spot(video, settings)
    assert (event.type, event.phase, event.source, event.face) == ("macro", "close", "macro", 0)
    assert event.offset_s is not None
    assert 1.9 < event.onset_s < event.apex_s < event.offset_s < 4.0


def test_a_folder_of_images_is_spotted_like_the_file(
    pictures: list[Picture], tmp_path: Path, settings: Settings
) -> None:
    for number, picture in enumerate(pictures):
        assert cv2.imwrite(str(tmp_path / f"{number}.bmp"), picture)
    [event] = livespot.spot(str(tmp_path), settings)
    assert event.type == "macro"
    assert event.onset_s == pytest.approx(event.onset_frame / FPS)


def test_a_file_on_a_web_server_is_spotted_like_the_file(video: Path, settings: Settings) -> None:
    with camera_server(video.read_bytes()) as host:
        [event] = livespot.spot(f"http://{host}/{video.name}", settings)
    [same] = livespot.spot(video, settings)
    assert (event.type, event.onset_frame, event.offset_frame) == (same.type, same.onset_frame, same.offset_frame)


def test_events_come_while_the_file_is_read_and_may_be_left(video: Path, settings: Settings) -> None:
    for event in livespot.spot(video, settings):
        assert event.type == "macro"
        break


def test_nothing_is_opened_before_the_first_event_is_asked_for() -> None:
    livespot.spot("missing.mp4")
    with pytest.raises(SettingsError, match="cam0 is live and has no end"):
        list(livespot.spot("0"))


def test_what_cannot_be_read_or_run_is_said(video: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file missing\.mp4"):
        list(livespot.spot("missing.mp4", settings))
    missing = Settings(method="network", infer=InferSettings(model=str(tmp_path / "missing.onnx")))
    with pytest.raises(EngineError, match=r"no file .*missing\.onnx"):
        list(livespot.spot(video, missing))


@pytest.mark.parametrize("uri", ["0", "/dev/video3", "rtsp://10.0.0.7/main", "demo://", "demo://?seed=3"])
def test_a_camera_is_no_recording(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"is live and has no end: watch it with `livespot run --source`"):
        recording(uri, Settings())


def test_a_name_that_is_no_text_and_a_rate_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"recording: sources\.0\.uri is 'v\\udce9\.mp4': input should be a valid"):
        recording(os.fsdecode(b"v\xe9.mp4"), Settings())
    with pytest.raises(
        SettingsError, match=r"recording: sources\.0\.fps is 300\.0: input should be less than or equal"
    ):
        recording(str(tmp_path), Settings(), fps=300.0)


def test_files_folders_and_the_virtual_camera_at_full_speed_are_recordings(tmp_path: Path) -> None:
    for uri in ("interview.mp4", str(tmp_path), "demo://?realtime=0&seconds=5"):
        assert not recording(uri, Settings()).live


def test_findings_count_frames_and_the_faces_in_them(pictures: list[Picture]) -> None:
    findings, _ = found(frames([*[BLANK] * 5, *pictures[:10]]))
    assert (findings.frames, findings.frames_with_face) == (15, 10)
    assert findings.last_s == pytest.approx(14 / FPS)
    assert not (findings.events or findings.gaps or findings.notes)


def test_findings_keep_closed_events_gaps_and_notes(pictures: list[Picture]) -> None:
    lacking = (frame for frame in frames(pictures) if frame.index not in range(10, 13))
    findings, _ = found(lacking, "door", note="the file ends early")
    assert [event.phase for event in findings.events] == ["close"]
    assert [(gap.reason, gap.frames) for gap in findings.gaps] == [("frames_lost", 3)]
    assert findings.notes == ["door: the file ends early"]


def lag_frames(early: NDArray[np.float64], late: NDArray[np.float64]) -> int:
    """The lag at which the two are most alike."""
    return max(range(10), key=lambda lag: np.corrcoef(early[: len(early) - lag], late[lag:])[0, 1])


def test_traces_hold_the_scores_of_every_face(pictures: list[Picture], micro_pictures: list[Picture]) -> None:
    beside = [np.hstack(pair) for pair in zip(pictures, micro_pictures, strict=True)]
    findings, delay_s = found(frames(beside))
    traces = findings.traces(delay_s)
    assert sorted((trace.source, trace.face) for trace in traces) == [("film", 0), ("film", 1)]
    for trace in traces:
        assert trace.delay_s == delay_s > 0
        assert len(trace.t_s) > 80
        assert (np.diff(trace.t_s) > 0).all()
        assert 1 <= lag_frames(trace.micro, trace.micro_smoothed) <= 1 + delay_s * FPS


def test_without_a_face_there_are_no_traces() -> None:
    findings, delay_s = found(frames([BLANK] * 3))
    assert findings.traces(delay_s) == []
