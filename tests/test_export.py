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
    with pytest.raises(LivespotError, match="is no checkpoint"):
        export(path, tmp_path / "yap2022.onnx")


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
