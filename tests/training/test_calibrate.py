from functools import partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from livespot.capture.opencv import VideoFile
from livespot.capture.virtual import ASTRONAUT, Expression
from livespot.config import InferSettings, Settings
from livespot.errors import LivespotError
from livespot.evaluation.matching import Counts
from livespot.export import export
from livespot.infer import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.loading import network
from livespot.nets.motion import MotionNet
from livespot.nets.yap2022 import Yap2022
from livespot.pipeline import Pipeline
from livespot.records import MOTION_HZ, Calibration, ExpressionType, Scores
from livespot.training import calibrate as calibrating
from livespot.training.calibrate import FPS
from livespot.training.events import THRESHOLDS, Video, choose, counts, figures, spotted
from livespot.training.recordings import Take, load, record
from livespot.training.settings import MotionTrainSettings, load_train_settings
from livespot.training.validation import judged
from tests.training import made_up

CALIBRATION = Calibration(cutoff_hz=6.0, micro_threshold=0.5, macro_threshold=0.5)


def shown(kind: ExpressionType, onset_s: float, offset_s: float, amplitude_iod: float = 0.02) -> Expression:
    middle_s = (onset_s + offset_s) / 2
    return Expression(kind, onset_s, middle_s, offset_s, 0.0, "12", amplitude_iod)


def video(*truth: Expression, seconds: float = 8.0, high: float = 0.8, low: float = 0.05) -> Video:
    """One on which both classes score high exactly while an expression shows."""
    scores = []
    for index in range(round(seconds * FPS)):
        t_s = index / FPS
        score = high if any(one.onset_s <= t_s < one.offset_s for one in truth) else low
        scores.append(Scores(score, score, 0, "video", index, t_s, t_s))
    return Video(truth, tuple(scores), FPS)


EXAMPLE = video(shown("micro", 1.5, 1.9), shown("macro", 4.0, 5.5, 0.09))


def test_truth_in_seconds_becomes_the_frames_inside_it() -> None:
    assert video(shown("micro", 1.0, 1.2)).intervals("micro") == [(30, 35)]
    assert video(shown("micro", 1.01, 1.21)).intervals("micro") == [(31, 36)]
    assert video(shown("micro", 1.0, 1.2)).intervals("macro") == []


def test_scores_that_follow_the_truth_spot_it() -> None:
    assert counts([EXAMPLE], CALIBRATION) == {"micro": Counts(tp=1), "macro": Counts(tp=1)}


def test_a_threshold_out_of_reach_spots_nothing() -> None:
    deaf = Calibration(cutoff_hz=6.0, micro_threshold=0.9, macro_threshold=0.9)
    assert spotted(EXAMPLE, deaf) == {"micro": [], "macro": []}


def test_thresholds_are_chosen_where_the_expressions_are_told_from_the_rest() -> None:
    faint = video(shown("micro", 1.5, 1.9), shown("macro", 4.0, 5.5), high=0.3, low=0.15)
    chosen = choose([faint])
    assert 0.15 < chosen.macro_threshold <= 0.3
    assert sum(counts([faint], chosen).values(), Counts()).f1 == 1


def test_figures_tell_recall_by_amplitude_and_alarms_without_expressions() -> None:
    restless = Video((), EXAMPLE.scores, FPS)
    found = figures([EXAMPLE], [restless], CALIBRATION, "made up")
    assert found["f1"] == {"micro": 1.0, "macro": 1.0, "overall": 1.0}
    assert found["recall_by_amplitude"]["micro"]["1.8% to 2.4%"] == "1 of 1"
    assert found["recall_by_amplitude"]["macro"]["8.0% to 10.0%"] == "1 of 1"
    assert found["false_alarms_per_minute"] == {"micro": 7.5, "macro": 7.5}


def test_a_checkpoint_becomes_an_engine_that_carries_its_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "SECONDS", 2.0)
    for name in ("000", "001"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), cv2.imread(str(ASTRONAUT))[:256, 96:352])
    torch.manual_seed(0)
    split = {"training": [], "validation": ["000", "001"]}
    path = tmp_path / "checkpoint.pt"
    Checkpoint(1, Yap2022().state_dict(), {}, torch.get_rng_state(), {"seed": 3}, split, {}, "abc").save(path)
    found = calibrating.calibrate(path, tmp_path, tmp_path / "yap2022.onnx")
    assert found["videos"] == 1
    with OnnxScorer(InferSettings(model=str(tmp_path / "yap2022.onnx"))) as scorer:
        assert scorer.calibration.micro_threshold in THRESHOLDS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network on motion as its training begins, its recordings beside it, its portraits in faces/."""
    folder = tmp_path_factory.mktemp("motion")
    portraits, config = made_up.faces(folder / "faces"), made_up.written(folder / "tiny.yaml")
    made_up.recordings(folder / "run", portraits, config)
    settings = load_train_settings(config, MotionTrainSettings)
    torch.manual_seed(0)
    weights, split = MotionNet(settings.net).state_dict(), {"validation": ["004", "005", "006", "007"]}
    kept = Checkpoint(1, weights, {}, torch.get_rng_state(), settings.model_dump(), split, {}, "abc")
    kept.save(folder / "run" / "best.pt")
    return folder / "run"


def test_a_network_on_motion_is_calibrated_on_the_recordings_of_faces_it_never_saw(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = partial(choose, thresholds=(0.5, 0.9), cutoffs_hz=(4.0,), rounds=1)
    monkeypatch.setattr(calibrating, "choose", few)
    engine = run / "default.onnx"
    found = calibrating.calibrate(run / "best.pt", run.parent / "faces", engine)
    assert found["videos"] == 2 and found["expressions"] == {"micro": 2, "macro": 2}
    assert "regional motion" in found["protocol"] and found["false_alarms_per_minute"].keys() == {"micro", "macro"}
    with OnnxScorer(InferSettings(model=str(engine))) as scorer:
        assert scorer.calibration.cutoff_hz == 4.0 and scorer.calibration.micro_threshold in (0.5, 0.9)
        assert scorer.clip.lookahead_s == 0.4


def test_portraits_of_another_training_are_refused(run: Path, tmp_path: Path) -> None:
    faces = made_up.faces(tmp_path / "faces", 5)
    with pytest.raises(LivespotError, match="has no portrait 005"):
        calibrating.calibrate(run / "best.pt", faces, tmp_path / "default.onnx")
    assert not (tmp_path / "default.onnx").exists()


def test_a_recording_is_judged_as_the_video_is_live(run: Path, video: Path, tmp_path: Path) -> None:
    take = Take("clip", video)
    record([take], tmp_path, load_train_settings(made_up.SHIPPED, MotionTrainSettings).recordings, 0)
    net = network(Checkpoint.load(run / "best.pt"))
    assert isinstance(net, MotionNet)
    (seen,) = judged(net, [take], tmp_path)
    export(run / "best.pt", tmp_path / "default.onnx")
    with (
        OnnxScorer(InferSettings(model=str(tmp_path / "default.onnx"))) as scorer,
        Pipeline(Settings(method="network"), [VideoFile(video, "video")], scorer) as pipeline,
    ):
        live = [scores for step in chain.from_iterable(pipeline) for scores in step.scores]
    (recording,) = load(take.file(tmp_path))
    edges_s = recording.begin_s + np.arange(1, len(recording.cells) + 1) / MOTION_HZ
    windows = [int(np.searchsorted(edges_s, scores.decided_s, "right")) - 20 for scores in live]
    for scores, window in zip(live, windows, strict=True):
        near = seen.scores[window]
        assert (near.micro, near.macro) == pytest.approx((scores.micro, scores.macro), abs=1e-4)
        assert abs(near.t_s - scores.t_s) <= 0.5 / MOTION_HZ + 0.001  # the file has whole milliseconds
    assert len(live) > 90 and np.ptp([scores.micro for scores in live]) > 1e-3
