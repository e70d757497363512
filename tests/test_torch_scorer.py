"""PyTorch as an engine, on the CPU: its half precision and its graphs need a GPU and have not run on one."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from livespot.config import InferSettings
from livespot.errors import EngineError
from livespot.export import HALF_PARITY, PARITY, export
from livespot.infer import OnnxScorer, Scorer
from livespot.infer.arrays import examples
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.light import Light
from livespot.nets.motion import MotionNet, MotionNetSettings
from livespot.torch_scorer import TorchScorer

SMALL = MotionNetSettings(levels=4, filters=3, width=6, dilations=(4, 8), lookahead_s=0.3)


def write(folder: Path, name: str, seed: int = 0) -> str:
    """NAME.onnx, and its checkpoint beside it."""
    torch.manual_seed(seed)
    net = MotionNet(SMALL) if name == "motion" else Light()
    settings = {"network": name, "seed": 3} | ({"net": vars(SMALL)} if name == "motion" else {})
    checkpoint, onnx = folder / f"{name}.pt", folder / f"{name}.onnx"
    Checkpoint(9, net.state_dict(), {}, torch.get_rng_state(), settings, {}, {"f1": 0.5}, "abc").save(checkpoint)
    export(checkpoint, onnx)
    return str(onnx)


@pytest.mark.parametrize("name", ["light", "motion"])
def test_scores_are_those_of_onnx_runtime_however_many_clips_there_are(tmp_path: Path, name: str) -> None:
    settings = InferSettings(model=write(tmp_path, name))
    opened: Scorer = TorchScorer(settings, "cpu")
    with opened as scorer, OnnxScorer(settings) as reference:
        assert scorer.name == f"{name} on PyTorch {torch.__version__}, cpu"
        assert (scorer.clip, scorer.calibration) == (reference.clip, reference.calibration)
        for clips in (1, 3, 10):
            inputs = examples(scorer.clip, clips)
            assert np.abs(scorer.score(inputs) - reference.score(inputs)).max() <= PARITY


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    model = write(tmp_path, "motion")
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", "motion", seed=1)
    (tmp_path / "other" / "motion.pt").replace(tmp_path / "motion.pt")
    with pytest.raises(EngineError, match=r"motion.pt differ from those of motion.onnx by .* of another training"):
        TorchScorer(InferSettings(model=model), "cpu").__enter__()


def test_without_a_checkpoint_it_is_told_where_it_belongs(tmp_path: Path) -> None:
    model = write(tmp_path, "motion")
    (tmp_path / "motion.pt").unlink()
    with pytest.raises(EngineError, match=r"no checkpoint .*motion.pt: PyTorch takes the weights from it"):
        TorchScorer(InferSettings(model=model), "cpu").__enter__()


@pytest.mark.parametrize("kept", [b"half a file", {"network": "motion"}, {"network": "later"}])
def test_a_checkpoint_that_is_damaged_or_of_another_livespot_is_an_engine_that_does_not_open(
    tmp_path: Path, kept: bytes | dict[str, str]
) -> None:
    model = write(tmp_path, "motion")
    if isinstance(kept, bytes):
        (tmp_path / "motion.pt").write_bytes(kept)
    else:
        replace(Checkpoint.load(tmp_path / "motion.pt"), settings=kept).save(tmp_path / "motion.pt")
    with pytest.raises(EngineError, match=r"motion.pt cannot be used \(.*\): copy the right checkpoint there"):
        TorchScorer(InferSettings(model=model), "cpu").__enter__()


def test_whatever_pytorch_cannot_do_here_is_an_engine_that_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    settings = InferSettings(model=write(tmp_path, "motion"))
    monkeypatch.setattr(MotionNet, "to", fail)
    with pytest.raises(EngineError, match=r"PyTorch .* cannot run .*motion.pt here: CUDA error: no kernel image"):
        TorchScorer(settings, "cpu").__enter__()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="sees no GPU"):
        TorchScorer(InferSettings(model=str(tmp_path / "any.onnx"))).__enter__()


def test_one_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        TorchScorer(InferSettings(), "cpu").score({})


@pytest.mark.parametrize("name", ["light", "motion"])
def test_on_a_gpu_half_precision_and_graphs_score_nearly_the_same(tmp_path: Path, name: str) -> None:
    if not torch.cuda.is_available():
        assert os.environ.get("LIVESPOT_REQUIRE_GPU") != "1", "PyTorch sees no GPU"
        pytest.skip("PyTorch sees no GPU")
    settings = InferSettings(model=write(tmp_path, name))
    with TorchScorer(settings) as scorer, OnnxScorer(settings) as reference:
        for clips in (1, 8, 9, 300):
            inputs = examples(scorer.clip, clips)
            assert np.abs(scorer.score(inputs) - reference.score(inputs)).max() <= HALF_PARITY
