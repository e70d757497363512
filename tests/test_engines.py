"""Which engine runs a network, and why."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from livespot import engines
from livespot.config import Engine, InferSettings
from livespot.engines import ENGINES, ChosenScorer
from livespot.errors import EngineError
from livespot.infer import OnnxScorer, Scorer
from livespot.infer.arrays import blank
from livespot.torch_scorer import TorchScorer

TORCH = ENGINES["torch"]


class Missing:
    """An engine that does not open."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __enter__(self) -> Scorer:
        raise EngineError(self._reason)

    def __exit__(self, *_: object) -> None: ...


def missing(reason: str) -> Callable[[InferSettings], Scorer]:
    return lambda _: Missing(reason)  # type: ignore[return-value]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were one; no engine opens on it."""
    monkeypatch.setattr(engines, "NVIDIA_FILES", (Path("/"),))
    for name in ("tensorrt", "torch", "onnx-cuda"):
        monkeypatch.setitem(ENGINES, name, missing(f"no library of {name}"))


def test_without_a_gpu_it_is_the_cpu_and_nothing_else_is_tried(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "nvidia", lambda: False)
    monkeypatch.setitem(ENGINES, "tensorrt", lambda _: pytest.fail("it was tried"))
    with ChosenScorer(InferSettings(model=engine)) as scorer:
        assert scorer.name == "motion on ONNX Runtime CPU, 1 thread"
        assert scorer.why == ("no engine for a GPU: there is no NVIDIA GPU",)


def test_the_reason_of_each_engine_that_is_passed_over_is_told(engine: str, gpu: None) -> None:
    del gpu
    with ChosenScorer(InferSettings(model=engine)) as scorer:
        assert scorer.name.startswith("motion on ONNX Runtime CPU")
        assert scorer.why == tuple(f"no {name}: no library of {name}" for name in ("tensorrt", "torch", "onnx-cuda"))


def test_the_first_that_opens_is_taken(engine: str, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del gpu
    two_threads: Callable[[InferSettings], Scorer] = lambda one: OnnxScorer(one.model_copy(update={"threads": 2}))  # noqa: E731
    monkeypatch.setitem(ENGINES, "torch", two_threads)
    with ChosenScorer(InferSettings(model=engine)) as scorer:
        assert scorer.name.endswith("2 threads")
        assert scorer.why == ("no tensorrt: no library of tensorrt",)


@pytest.mark.parametrize("name", ["tensorrt", "torch", "onnx-cuda"])
def test_an_engine_that_was_asked_for_is_not_replaced_by_another(engine: str, gpu: None, name: Engine) -> None:
    del gpu
    with (
        pytest.raises(EngineError, match=f"no library of {name}"),
        ChosenScorer(InferSettings(model=engine, engine=name)),
    ):
        pass


def test_where_no_engine_opens_the_error_of_the_last_is_told(gpu: None, tmp_path: Path) -> None:
    del gpu
    with pytest.raises(EngineError, match="no file"), ChosenScorer(InferSettings(model=str(tmp_path / "no.onnx"))):
        pass


def test_it_scores_as_the_chosen_engine_does(engine: str) -> None:
    settings = InferSettings(model=engine, engine="onnx")
    chosen: Scorer = ChosenScorer(settings)
    with pytest.raises(RuntimeError, match="not open"):
        chosen.score({})
    with chosen as scorer, OnnxScorer(settings) as reference:
        assert (scorer.clip, scorer.calibration) == (reference.clip, reference.calibration)
        inputs = blank(scorer.clip, 3)
        np.testing.assert_array_equal(scorer.score(inputs), reference.score(inputs))
    with pytest.raises(RuntimeError, match="not open"):
        chosen.score({})


def test_torch_is_not_loaded_where_there_is_no_checkpoint_for_it(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livespot.torch_scorer", None)
    settings = InferSettings(model=engine, engine="torch")
    with pytest.raises(EngineError, match=r"no checkpoint .*motion.pt"), ChosenScorer(settings):
        pass
    checkpoint = Path(engine).with_suffix(".pt")
    checkpoint.touch()
    try:
        with pytest.raises(EngineError, match=r"pip install 'livespot\[train\]'"), ChosenScorer(settings):
            pass
    finally:
        checkpoint.unlink()


def test_a_library_of_torch_that_does_not_load_is_told_and_passed_over(
    engine: str, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del gpu

    class Broken:
        def __getattr__(self, name: str) -> None:
            raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setitem(ENGINES, "torch", TORCH)
    monkeypatch.setitem(sys.modules, "livespot.torch_scorer", Broken())
    checkpoint = Path(engine).with_suffix(".pt")
    checkpoint.touch()
    try:
        with ChosenScorer(InferSettings(model=engine)) as scorer:
            assert scorer.name.startswith("motion on ONNX Runtime CPU")
            assert "no torch: PyTorch is not installed (libcudart.so.12: cannot open shared object" in scorer.why[1]
    finally:
        checkpoint.unlink()


def test_a_damaged_checkpoint_is_told_and_passed_over(engine: str, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del gpu
    monkeypatch.setitem(ENGINES, "torch", lambda settings: TorchScorer(settings, "cpu"))
    checkpoint = Path(engine).with_suffix(".pt")
    checkpoint.touch()
    try:
        with ChosenScorer(InferSettings(model=engine)) as scorer:
            assert scorer.name.startswith("motion on ONNX Runtime CPU")
            assert "motion.pt cannot be used" in scorer.why[1]
    finally:
        checkpoint.unlink()


@pytest.mark.skipif(engines.nvidia(), reason="this machine may have a GPU")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tensorrt", "TensorRT is not installed|the NVIDIA driver is missing"),
        ("torch", "no checkpoint .*motion.pt: PyTorch takes the weights from it"),
        ("onnx-cuda", "this ONNX Runtime has no CUDA"),
    ],
)
def test_each_real_engine_says_what_it_lacks_here(engine: str, name: Engine, reason: str) -> None:
    with pytest.raises(EngineError, match=reason), ChosenScorer(InferSettings(model=engine, engine=name)):
        pass
