"""The capacity measurement: real trials as short as they can be, and the search for the border."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from livespot.bench import streams
from livespot.bench.streams import LATE_MS, Capacity, Replay, Trial, to_rich
from livespot.config import InferSettings, Settings
from livespot.engines import ChosenScorer
from livespot.errors import SourceError
from tests.films import FPS, Picture, write_video

MEASURED = Trial(2, 600, 0, 5.0, 20.0, 22.0, 30.0, 29.9, 0.5, FPS)


def settings(engine: Path, processes: int = 1) -> Settings:
    return Settings(method="network", infer=InferSettings(model=str(engine), engine="onnx", processes=processes))


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WARM_UP_S", 0.3), ("MARGIN_S", 1.0), ("TRIES", 1), ("CLIP_FRAMES", 60)):
        monkeypatch.setattr(streams, name, value)


@pytest.fixture
def scorer(engine: Path) -> Iterator[ChosenScorer]:
    with ChosenScorer(settings(engine).infer) as opened:
        yield opened


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_trial_sees_every_camera_at_its_frame_rate_and_says_how_late(
    engine: Path, video: Path, scorer: ChosenScorer, processes: int
) -> None:
    capacity = Capacity(settings(engine, processes), scorer, FPS, clip=video, seconds=1.0)
    said: list[str] = []
    capacity.measure([2], said.append)
    figures = json.loads(json.dumps(capacity.figures(), allow_nan=False))
    [trial] = figures["trials"]
    assert trial["cameras"] == 2
    assert 0 < trial["p50_ms"] <= trial["p99_ms"] <= trial["largest_ms"]
    assert trial["frames"] + trial["dropped"] > FPS
    assert trial["cores_busy"] > 0
    assert said == ["the clip", "2 cameras"]
    assert "ONNX Runtime" in figures["machine"]["engine"]
    assert to_rich(figures).row_count == 1


@pytest.mark.usefixtures("hurry")
def test_files_are_decoded_by_the_reader_of_a_camera(engine: Path, video: Path, scorer: ChosenScorer) -> None:
    capacity = Capacity(settings(engine), scorer, FPS, "cameras", clip=video, seconds=0.5)
    capacity.measure([1], lambda _: None)
    [trial] = capacity.figures()["trials"]
    assert trial["frames"] > 5


def test_a_file_that_ends_too_early_is_refused(engine: Path, video: Path, scorer: ChosenScorer) -> None:
    capacity = Capacity(settings(engine), scorer, FPS, "cameras", clip=video, seconds=5.0)
    with pytest.raises(SourceError, match=r"macro\.avi lasts 4\.0 s; a trial needs 29 s"):
        capacity.measure([1], lambda _: None)


@pytest.mark.usefixtures("hurry")
def test_cameras_that_do_not_come_are_told(
    engine: Path, tmp_path: Path, scorer: ChosenScorer, monkeypatch: pytest.MonkeyPatch, pictures: list[Picture]
) -> None:
    monkeypatch.setattr(streams, "PATIENCE_S", 0.0)
    clip = write_video(tmp_path / "clip.avi", pictures)
    with pytest.raises(SourceError, match="0 of 1 cameras gave a picture"):
        Capacity(settings(engine), scorer, FPS, clip=clip, seconds=0.1).measure([1], lambda _: None)


@pytest.mark.parametrize("carries", [0, 1, 5, 8, 13, 20])
def test_the_search_finds_the_border_and_goes_no_further_than_it_is_told(
    carries: int, engine: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def trial(_: Capacity, makes: list[object]) -> Trial:
        tried.append(len(makes))
        late_ms = LATE_MS if len(makes) <= carries else LATE_MS + 1
        return Trial(len(makes), 0, 0, 1.0, late_ms, 1.0, 1.0, FPS, 0.1, FPS)

    monkeypatch.setattr(Capacity, "_trial", trial)
    assert Capacity(settings(engine), None, FPS, clip=video, most=16).search(lambda _: None) == min(carries, 16)
    assert max(tried) <= 16
    assert all(tried.count(number) == (1 if number <= carries else streams.TRIES) for number in tried)


@pytest.mark.parametrize(
    ("change", "carried"),
    [({}, True), ({"dropped": 1}, False), ({"p99_ms": 101.0}, False), ({"slowest_fps": 28.0}, False)],
    ids=["all well", "a drop", "late", "held up"],
)
def test_carried_means_nothing_dropped_nothing_late_and_no_camera_held_up(
    change: dict[str, float], carried: bool
) -> None:
    assert Trial(**{**MEASURED.__dict__, **change}).carried is carried


def test_a_replay_shows_pictures_forth_and_back_when_they_are_due(tmp_path: Path) -> None:
    pictures = np.zeros((4, 2, 2, 3), np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None, None]
    np.save(tmp_path / "clip.npy", pictures)
    with Replay("cam", tmp_path / "clip.npy", fps=200) as replay:
        shown = list(islice(replay, 9))
    assert [int(frame.image[0, 0, 0]) for frame in shown] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    arrivals_s = np.array([frame.arrival_s for frame in shown])
    assert np.diff(arrivals_s) == pytest.approx(1 / 200)
    assert [frame.t_s for frame in shown] == pytest.approx(arrivals_s - arrivals_s[0])
