"""The scorer on a fake TensorRT and a fake GPU: nothing here has run on a real one."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.config import InferSettings
from livespot.errors import EngineError
from livespot.infer import OnnxScorer, Scorer, building
from livespot.infer.arrays import examples
from livespot.infer.building import build
from livespot.infer.tensorrt import TensorRtScorer
from livespot.records import Calibration
from tests.infer.engines import CLIP, MOTION, MOTION_METADATA, write_engine, write_pairs_and_skin_engine
from tests.infer.fakes import Error, FakeCuda, FakeTensorRt, install

BATCHES = (1, 4)


@pytest.fixture
def model(tmp_path: Path, tensorrt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch) -> str:
    """Built already."""
    monkeypatch.setattr(building, "ROUNDS", 1)
    path = write_engine(tmp_path / "motion.onnx", MOTION_METADATA, MOTION)
    build(path, BATCHES)
    tensorrt.cuda.calls.clear()
    return path


def clips(count: int) -> dict[str, NDArray[np.float32]]:
    return {"clips": np.random.default_rng(3).normal(0, 0.15, (count, *CLIP)).astype(np.float32)}


def open_error(model: str) -> str:
    with pytest.raises(EngineError) as caught, TensorRtScorer(InferSettings(model=model)):
        pass
    return str(caught.value)


def test_scores_are_those_of_onnx_runtime_in_their_order_however_many_clips_there_are(model: str) -> None:
    settings = InferSettings(model=model)
    opened: Scorer = TensorRtScorer(settings)
    with opened as scorer, OnnxScorer(settings) as reference:
        for count in (1, 2, 4, 5, 11, 3, 1):
            scores = scorer.score(clips(count))
            assert scores.shape == (count, 2) and scores.dtype == np.float32
            np.testing.assert_allclose(scores, reference.score(clips(count)), atol=1e-6)
            assert len(np.unique(scores)) == 2 * count


def test_a_network_of_two_inputs_gets_each_by_its_name(
    tmp_path: Path, tensorrt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    del tensorrt
    monkeypatch.setattr(building, "ROUNDS", 1)
    settings = InferSettings(model=write_pairs_and_skin_engine(tmp_path / "both.onnx"))
    build(settings.model, (2,))
    with TensorRtScorer(settings) as scorer, OnnxScorer(settings) as reference:
        inputs = examples(scorer.clip, 3)
        np.testing.assert_allclose(scorer.score(inputs), reference.score(inputs), atol=1e-6)


def test_scores_of_one_call_outlive_the_next(model: str) -> None:
    with TensorRtScorer(InferSettings(model=model)) as scorer:
        first = scorer.score(clips(4))
        kept = first.copy()
        scorer.score({"clips": clips(8)["clips"][4:]})
    np.testing.assert_array_equal(first, kept)


def test_what_it_says_of_itself_comes_from_the_onnx_file(model: str, tensorrt: FakeTensorRt) -> None:
    with TensorRtScorer(InferSettings(model=model)) as scorer:
        assert scorer.clip.references_s == (0.2, 0.8)
        assert scorer.calibration == Calibration(5.0, 0.25, 0.25)
        assert scorer.name == f"motion on TensorRT {tensorrt.version}, Orin, batches of 1, 4"


def test_memory_is_taken_on_opening_alone_and_a_call_is_copies_and_one_graph(model: str, cuda: FakeCuda) -> None:
    with TensorRtScorer(InferSettings(model=model)) as scorer:
        before = set(cuda.device) | set(cuda.host)
        cuda.calls.clear()
        scorer.score(clips(3))
        assert cuda.calls == ["cudaMemcpyAsync", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaStreamSynchronize"]
        scorer.score(clips(9))
        assert cuda.calls.count("cudaGraphLaunch") == 1 + 3
        assert set(cuda.device) | set(cuda.host) == before


def test_leaving_gives_all_back_and_it_can_be_opened_again(model: str, cuda: FakeCuda, tensorrt: FakeTensorRt) -> None:
    scorer = TensorRtScorer(InferSettings(model=model))
    for _ in range(2):
        with scorer:
            assert cuda.device and cuda.host and cuda.alive and tensorrt.alive == len(BATCHES)
            scorer.score(clips(1))
        assert not (cuda.device or cuda.host or cuda.alive or tensorrt.alive)
    with pytest.raises(RuntimeError, match="not open"):
        scorer.score(clips(1))


def test_an_engine_built_meanwhile_is_taken_when_it_is_opened_again(model: str, tensorrt: FakeTensorRt) -> None:
    scorer = TensorRtScorer(InferSettings(model=model))
    with scorer:
        assert scorer.name.endswith("batches of 1, 4")
    build(model, (2, 16))
    with scorer:
        assert scorer.name.endswith("batches of 2, 16")
    assert tensorrt.builds == 2


def test_a_scorer_that_was_never_opened_says_so(model: str) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        TensorRtScorer(InferSettings(model=model)).score(clips(1))


@pytest.mark.parametrize("allocations", range(4))
def test_a_full_gpu_is_told_on_opening_and_nothing_is_left_behind(
    model: str, cuda: FakeCuda, tensorrt: FakeTensorRt, allocations: int
) -> None:
    cuda.fail_after = allocations
    assert "cudaErrorMemoryAllocation" in open_error(model)
    assert not (cuda.device or cuda.host or cuda.alive or tensorrt.alive)


def test_a_gpu_too_full_for_tensorrt_is_told_with_its_words_and_what_to_do(
    model: str, cuda: FakeCuda, tensorrt: FakeTensorRt
) -> None:
    tensorrt.contexts_fail = True
    scorer = TensorRtScorer(InferSettings(model=model))
    with pytest.raises(EngineError) as caught, scorer:
        pass
    told = str(caught.value)
    assert "error: OutOfMemory: requested 12 MiB" in told and "livespot build ONNX --batch 1,8" in told
    with pytest.raises(RuntimeError, match="not open"):
        scorer.score(clips(1))
    assert not (cuda.device or cuda.host or cuda.alive)


def test_a_profile_that_raises_is_an_error_of_the_engine(model: str, cuda: FakeCuda, tensorrt: FakeTensorRt) -> None:
    tensorrt.profiles_raise = True
    told = open_error(model)
    assert f"cannot be opened (Error in set optimization profile async.): livespot build {model} --batch " in told
    assert not (cuda.device or cuda.host or cuda.alive)


def test_a_failure_in_one_call_is_an_error_and_the_next_call_works(model: str, cuda: FakeCuda) -> None:
    with TensorRtScorer(InferSettings(model=model)) as scorer:
        wanted = scorer.score(clips(2))
        for function in ("cudaMemcpyAsync", "cudaGraphLaunch", "cudaStreamSynchronize"):
            cuda.fail[function] = Error.cudaErrorLaunchFailure
            with pytest.raises(EngineError, match=rf"cudaErrorLaunchFailure \({function}\)"):
                scorer.score(clips(2))
            np.testing.assert_array_equal(scorer.score(clips(2)), wanted)


def test_a_graph_that_cannot_be_recorded_is_told_on_opening(model: str, cuda: FakeCuda) -> None:
    cuda.fail["cudaStreamEndCapture"] = Error.cudaErrorStreamCaptureInvalidated
    assert "cudaErrorStreamCaptureInvalidated" in open_error(model)


def test_scores_that_are_no_probabilities_are_refused(model: str, tensorrt: FakeTensorRt) -> None:
    tensorrt.gain = float("nan")
    assert "returned scores from nan to nan" in open_error(model)


def test_a_call_of_another_shape_is_the_callers_mistake(model: str) -> None:
    with TensorRtScorer(InferSettings(model=model)) as scorer:
        with pytest.raises(ValueError, match=r"clips came as float32 \(1, 2, 2, 112, 111\)"):
            scorer.score({"clips": clips(1)["clips"][..., 1:]})
        with pytest.raises(ValueError, match="inputs are none"):
            scorer.score({})


def test_an_engine_of_another_tensorrt_is_not_loaded(
    model: str, cuda: FakeCuda, tensorrt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    was, tensorrt.version = tensorrt.version, "99.0"
    install(monkeypatch, cuda, tensorrt.module())
    told = open_error(model)
    assert f"(TensorRT was {was}, is 99.0): livespot build {model}" in told


def test_an_engine_of_another_gpu_is_not_loaded(model: str, cuda: FakeCuda) -> None:
    cuda.gpu = "Thor"
    assert "(the GPU was Orin (8.7), is Thor (8.7)): livespot build" in open_error(model)


def test_an_engine_that_tensorrt_refuses_is_told_with_its_words(model: str, tensorrt: FakeTensorRt) -> None:
    tensorrt.version = "99.0"  # the module still says the old one
    told = open_error(model)
    assert "does not run here (error: Version tag does not match), build it on this machine: livespot build " in told
    assert f": livespot build {model} --batch " in told


def test_a_truncated_engine_never_reaches_tensorrt(model: str, cache: Path) -> None:
    [path] = cache.glob("*.engine")
    path.write_bytes(path.read_bytes()[:-1])
    assert "is damaged, it is not what was built" in open_error(model)


def test_without_tensorrt_the_packages_are_named(model: str, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cuda, None)
    told = open_error(model)
    assert told.startswith("TensorRT is not installed") and "pip install 'livespot[tensorrt]'" in told


def test_without_cuda_python_the_package_is_named(
    model: str, tensorrt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, None, tensorrt.module())
    assert open_error(model).startswith("cuda-python is not installed")


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (Error.cudaErrorInsufficientDriver, "the NVIDIA driver is missing, or older than cuda-python"),
        (Error.cudaErrorNoDevice, "there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it"),
    ],
)
def test_without_a_driver_or_a_gpu_the_cure_is_told(model: str, cuda: FakeCuda, error: Error, cure: str) -> None:
    cuda.fail["cudaGetDeviceCount"] = error
    assert open_error(model).startswith(f"{error.name} (cudaGetDeviceCount): {cure}")


def test_no_device_without_an_error_is_no_gpu_either(model: str, cuda: FakeCuda) -> None:
    cuda.devices = 0
    assert open_error(model).startswith("no GPU")


def test_running_again_copies_nothing(model: str, tensorrt: FakeTensorRt) -> None:
    with TensorRtScorer(InferSettings(model=model)) as scorer:
        scorer.score(clips(6))
        tensorrt.cuda.calls.clear()
        scorer.again(6)
        launched = [name for name in tensorrt.cuda.calls if "Memcpy" in name or "Launch" in name]
        assert launched == ["cudaGraphLaunch"] * 2
