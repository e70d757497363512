from pathlib import Path

import cv2
import pytest
import torch

from livespot.capture.virtual import ASTRONAUT, Expression
from livespot.config import InferSettings
from livespot.evaluation.matching import Counts
from livespot.infer import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.yap2022 import Yap2022
from livespot.records import Calibration, ExpressionType, Scores
from livespot.training import calibrate as calibrating
from livespot.training.calibrate import FPS
from livespot.training.events import THRESHOLDS, Video, choose, counts, figures, spotted

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
