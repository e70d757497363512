from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from livespot import export as exporting
from livespot.config import InferSettings
from livespot.errors import EngineError, LivespotError
from livespot.export import export
from livespot.infer.metadata import EngineMetadata
from livespot.infer.onnx import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.loading import network
from livespot.nets.motion import MotionNet, MotionNetSettings
from livespot.nets.yap2022 import CLIP, Yap2022
from livespot.records import Calibration, ClipSpec

CALIBRATION = Calibration(cutoff_hz=4.0, micro_threshold=0.3, macro_threshold=0.7)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = Yap2022()
    with torch.no_grad():
        for name, value in net.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1)
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    Checkpoint(7, net.state_dict(), {}, torch.get_rng_state(), {"seed": 3}, {}, {"micro_auc": 0.8}, "abc").save(path)
    return path


@pytest.fixture(scope="module")
def engine(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "yap2022.onnx"
    assert export(checkpoint, path, CALIBRATION, {"overall_f1": 0.5}) <= exporting.PARITY
    return path


def test_the_runtime_scores_as_pytorch_does_at_any_batch_size(checkpoint: Path, engine: Path) -> None:
    net = Yap2022().eval()
    net.load_state_dict(Checkpoint.load(checkpoint).weights)
    clips = np.random.default_rng(5).normal(size=(3, *CLIP.shape)).astype(np.float32)
    with OnnxScorer(InferSettings(model=str(engine))) as scorer, torch.no_grad():
        scores, alone = scorer.score({"clips": clips}), scorer.score({"clips": clips[:1]})
        assert np.abs(scores - net(torch.from_numpy(clips)).numpy()).max() <= exporting.PARITY
        assert np.abs(alone - scores[:1]).max() <= exporting.PARITY


def test_an_engine_says_what_it_is_fed_and_how_its_scores_become_events(engine: Path) -> None:
    with OnnxScorer(InferSettings(model=str(engine))) as scorer:
        assert scorer.clip == CLIP
        assert scorer.calibration == CALIBRATION


def test_an_engine_does_without_the_head_that_only_training_needs(engine: Path) -> None:
    assert b"motion.weight" not in engine.read_bytes()


def test_an_engine_that_scores_differently_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PARITY", -1.0)
    with pytest.raises(EngineError, match="differ from PyTorch's"):
        export(checkpoint, tmp_path / "yap2022.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_text("not a checkpoint")
    with pytest.raises(LivespotError, match="is no checkpoint") as refused:
        export(path, tmp_path / "yap2022.onnx")
    assert "weights_only" not in str(refused.value)  # torch advises to run what may be in the file


def test_a_checkpoint_that_cannot_be_read_is_no_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match="cannot be read: Is a directory"):
        export(tmp_path, tmp_path / "yap2022.onnx")


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match="no checkpoint"):
        export(tmp_path / "checkpoint.pt", tmp_path / "yap2022.onnx")


def test_a_checkpoint_comes_back_as_it_was_saved(checkpoint: Path, tmp_path: Path) -> None:
    kept = Checkpoint.load(checkpoint)
    replace(kept, step=8).save(tmp_path / "next.pt")
    again = Checkpoint.load(tmp_path / "next.pt")
    assert (again.step, again.commit, again.metrics) == (8, "abc", {"micro_auc": 0.8})
    assert torch.equal(again.weights["place_bias"], kept.weights["place_bias"])


class _Means(torch.nn.Module):
    """Micro by the frames, macro by the motion."""

    def forward(self, clips: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(torch.stack([clips.mean((1, 2, 3, 4)), motion.mean((1, 2))], dim=1))


def test_a_network_of_two_inputs_is_written_with_both_by_name(tmp_path: Path) -> None:
    clip, path = ClipSpec((0.4,), motion_s=0.5, lookahead_s=0.2), tmp_path / "means.onnx"
    exporting._write(_Means(), clip, path)
    exporting._describe(path, EngineMetadata("means", clip, CALIBRATION, {}))
    assert exporting._checked_parity(_Means(), clip, path) <= exporting.PARITY
    inputs = {name: np.full((3, *shape), len(name), np.float32) for name, shape in clip.shapes.items()}
    with OnnxScorer(InferSettings(model=str(path))) as scorer:
        assert scorer.clip == clip
        np.testing.assert_allclose(scorer.score(inputs), [1 / (1 + np.exp((-5.0, -6.0)))] * 3, atol=1e-5)


MOTION = MotionNetSettings(levels=4, filters=3, width=6, dilations=(4, 8), lookahead_s=0.3)


@pytest.fixture(scope="module")
def motion_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path, weights = tmp_path_factory.mktemp("motion") / "best.pt", MotionNet(MOTION).state_dict()
    settings = {"network": "motion", "seed": 3, "net": vars(MOTION)}
    Checkpoint(9, weights, {}, torch.get_rng_state(), settings, {}, {"f1": 0.5}, "abc").save(path)
    return path


def test_the_network_on_motion_is_written_with_its_window_and_look_ahead(
    motion_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "default.onnx"
    assert export(motion_checkpoint, path, CALIBRATION) <= exporting.PARITY
    net = network(Checkpoint.load(motion_checkpoint))
    assert isinstance(net, MotionNet) and net.settings == MOTION and not net.training
    windows = np.random.default_rng(5).normal(0, 0.01, (3, *net.clip.motion_shape)).astype(np.float32)
    with OnnxScorer(InferSettings(model=str(path))) as scorer, torch.no_grad():
        assert scorer.name.startswith("motion on")
        assert (scorer.clip, scorer.calibration) == (net.clip, CALIBRATION)
        assert scorer.clip.lookahead_s == 0.3 and list(scorer.clip.shapes) == ["motion"]
        scores, alone = scorer.score({"motion": windows}), scorer.score({"motion": windows[:1]})
        assert np.abs(scores - net(torch.from_numpy(windows)).numpy()).max() <= exporting.PARITY
        assert np.abs(alone - scores[:1]).max() <= exporting.PARITY


def test_weights_of_another_network_are_refused(checkpoint: Path, motion_checkpoint: Path, tmp_path: Path) -> None:
    other = replace(Checkpoint.load(motion_checkpoint), weights=Checkpoint.load(checkpoint).weights)
    other.save(tmp_path / "other.pt")
    with pytest.raises(EngineError, match="the weights of the checkpoint are not those of motion"):
        export(tmp_path / "other.pt", tmp_path / "default.onnx")
    assert not (tmp_path / "default.onnx").exists()


def test_a_halved_engine_says_so_and_stays_close(checkpoint: Path, engine: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    assert export(checkpoint, path, CALIBRATION, half=True) <= exporting.HALF_PARITY
    assert path.stat().st_size < engine.stat().st_size
    precisions = []
    for one in (path, engine):
        with OnnxScorer(InferSettings(model=str(one))) as scorer:
            precisions.append(scorer.metadata.trained["precision"])
    assert precisions == ["float16 convolutions", "float32"]
