"""Building engines on a fake TensorRT and a fake GPU: nothing here has run on a real one."""

import json
from pathlib import Path

import onnx
import pytest

from livespot.errors import EngineError
from livespot.infer import building
from livespot.infer.building import build
from tests.infer.engines import MOTION, MOTION_METADATA, write_engine
from tests.infer.fakes import FakeCuda, FakeTensorRt, install


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "ROUNDS", 2)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return write_engine(tmp_path / "motion.onnx", MOTION_METADATA, MOTION)


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir()) if folder.exists() else []


def test_an_engine_comes_with_its_log_its_speed_and_how_near_it_is(model: str, tensorrt: FakeTensorRt) -> None:
    built = build(model, (1, 2))
    assert built.why == "there was none of this file, with these batches and options"
    assert built.plan.metadata.name == "motion" and built.plan.order.batches == (1, 2)
    assert (built.plan.order.machine.tensorrt, built.plan.order.machine.compute) == (tensorrt.version, "8.7")
    report = built.plan.report()
    assert report["log"] == ["info: fused into 9 kernels"]
    assert set(report["median_ms"]) == {"1", "2"} and all(ms > 0 for ms in report["median_ms"].values())
    assert report["parity"] == {"largest_difference": 0.0, "mean_difference": 0.0, "clips": 9}


def test_types_are_those_of_the_onnx_file(model: str, tensorrt: FakeTensorRt) -> None:
    build(model, (1,))
    assert tensorrt.network_flags == 1 << int(tensorrt.enums["NetworkDefinitionCreationFlag"].STRONGLY_TYPED)
    assert tensorrt.builder_flags == [] and tensorrt.hardware_level is None


def test_the_same_is_not_built_twice_and_another_order_is(model: str, tensorrt: FakeTensorRt) -> None:
    first = build(model, (1, 2))
    again = build(model, (1, 2))
    assert (again.why, again.plan.path, tensorrt.builds) == ("", first.plan.path, 1)
    assert build(model, (1, 4)).plan.path != first.plan.path
    assert build(model, (1, 2), version_compatible=True).plan.path != first.plan.path
    assert tensorrt.builds == 3


def test_another_tensorrt_or_gpu_is_named_as_the_reason(
    model: str, tensorrt: FakeTensorRt, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(model, (1,))
    was, tensorrt.version = tensorrt.version, "99.1"
    install(monkeypatch, cuda, tensorrt.module())
    assert build(model, (1,)).why == f"TensorRT was {was}, is 99.1"
    cuda.gpu, cuda.compute = "Thor", "11.0"
    assert build(model, (1,)).why == "the GPU was Orin (8.7), is Thor (11.0)"
    assert tensorrt.builds == 3


def test_a_damaged_engine_is_built_again(model: str, tensorrt: FakeTensorRt) -> None:
    path = build(model, (1,)).plan.path
    path.write_bytes(path.read_bytes()[:100])
    built = build(model, (1,))
    assert "is damaged" in built.why and built.plan.path == path and tensorrt.builds == 2
    assert build(model, (1,)).why == ""


def test_an_engine_that_scores_differently_is_not_kept(model: str, tensorrt: FakeTensorRt, cache: Path) -> None:
    tensorrt.gain = 0.97
    with pytest.raises(EngineError, match=r"differ from ONNX Runtime's by 3.0e-02; expected at most 2e-02"):
        build(model, (1,))
    assert files(cache) == [".cache"]
    tensorrt.gain = 0.99
    assert build(model, (1,)).plan.report()["parity"]["largest_difference"] == pytest.approx(0.01, abs=1e-5)


def test_what_tensorrt_cannot_build_is_told_with_its_own_words(model: str, tensorrt: FakeTensorRt, cache: Path) -> None:
    tensorrt.builds_fail = True
    with pytest.raises(EngineError, match=r"TensorRT .* cannot build .*motion.onnx: error: no tactic for node Conv_3"):
        build(model, (1,))
    assert files(cache) == [".cache"]


def test_where_no_engine_can_be_kept_none_is_built(
    model: str, tensorrt: FakeTensorRt, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.parent.write_text("a file")
    monkeypatch.setattr(building, "_serialized", lambda *_: pytest.fail("it was built"))
    with pytest.raises(EngineError, match=r"cannot be used: .*: set XDG_CACHE_HOME"):
        build(model, (1,))
    assert tensorrt.builds == 0


def test_what_tensorrt_cannot_read_is_told_with_its_own_words(
    model: str, tensorrt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    del tensorrt
    monkeypatch.setattr("tests.infer.fakes.session", lambda _: 1 / 0)
    with pytest.raises(EngineError, match=r"cannot read .*motion.onnx: In node 0 \(parseGraph\): division by zero"):
        build(model, (1,))


def test_an_onnx_file_without_our_metadata_is_refused(tmp_path: Path, tensorrt: FakeTensorRt) -> None:
    with pytest.raises(EngineError, match="ONNX file without livespot metadata"):
        build(write_engine(tmp_path / "strange.onnx", None), (1,))
    assert tensorrt.builds == 0


def test_timings_of_earlier_builds_are_used_again(model: str, tensorrt: FakeTensorRt, cache: Path) -> None:
    build(model, (1,))
    assert tensorrt.known_timings == b""
    build(model, (2,))
    assert tensorrt.known_timings == b"+"
    [kept] = cache.glob("timings-*.cache")
    assert kept.read_bytes() == b"++"


def test_damaged_timings_are_measured_again(model: str, tensorrt: FakeTensorRt, cache: Path) -> None:
    build(model, (1,))
    [kept] = cache.glob("timings-*.cache")
    kept.write_bytes(b"damaged")
    build(model, (2,))
    assert (tensorrt.known_timings, kept.read_bytes()) == (b"", b"+")


def test_version_compatible_is_a_flag_of_the_build(model: str, tensorrt: FakeTensorRt) -> None:
    assert build(model, (1,), version_compatible=True).plan.order.version_compatible
    assert tensorrt.builder_flags == [tensorrt.enums["BuilderFlag"].VERSION_COMPATIBLE]


def test_hardware_compatible_is_a_level_that_10_3_does_not_have(model: str, tensorrt: FakeTensorRt) -> None:
    levels = tensorrt.enums["HardwareCompatibilityLevel"]
    if tensorrt.version.startswith("10.3"):
        with pytest.raises(EngineError, match=r"TensorRT 10.3.0 has no engines for all GPUs .* leave --hardware-comp"):
            build(model, (1,), hardware_compatible=True)
    else:
        build(model, (1,), hardware_compatible=True)
        assert tensorrt.hardware_level == levels.SAME_COMPUTE_CAPABILITY


@pytest.mark.parametrize("batches", [(), (0, 1), (8, 1), (1, 1)])
def test_batches_that_do_not_rise_are_refused(model: str, tensorrt: FakeTensorRt, batches: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match="expected rising numbers from 1, such as 1,8,64"):
        build(model, batches)
    assert tensorrt.builds == 0


def test_the_file_beside_an_engine_says_all_it_was_built_of(model: str, tensorrt: FakeTensorRt) -> None:
    plan = build(model, (1, 2)).plan
    note = json.loads(plan.path.with_suffix(".json").read_text())
    assert note["key"] == plan.order.key and plan.path.name == f"motion-{plan.order.key[:16]}.engine"
    assert note["order"]["machine"] == {"tensorrt": tensorrt.version, "gpu": "Orin", "compute": "8.7"}
    assert json.loads(note["metadata"])["name"] == "motion"


def test_a_changed_onnx_file_is_another_engine(model: str, tensorrt: FakeTensorRt) -> None:
    first = build(model, (1,)).plan
    changed = onnx.load(model)
    changed.doc_string = "trained again"
    onnx.save(changed, model)
    assert build(model, (1,)).plan.order.onnx != first.order.onnx
    assert tensorrt.builds == 2
