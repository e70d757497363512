"""The cache of engines: what fits, what is refused, what is never loaded."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from livespot.errors import EngineError, LivespotError
from livespot.infer import plans
from livespot.infer.metadata import EngineMetadata
from livespot.infer.plans import Machine, Order, Plan
from livespot.records import Calibration, ClipSpec

ORIN = Machine("10.3.0", "Orin", "8.7")
METADATA = EngineMetadata("net", ClipSpec(), Calibration(5.0, 0.4, 0.6), {})


@pytest.fixture
def onnx_path(tmp_path: Path, cache: Path) -> Path:
    del cache
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a network")
    return path


def order_for(onnx_path: Path, machine: Machine = ORIN, batches: tuple[int, ...] = (1, 8)) -> Order:
    return Order(plans.digest(onnx_path), machine, batches)


def written(order: Order) -> Plan:
    made = plans.plan(order, METADATA, Path("net.onnx"))
    made.write(b"an engine", {"log": []})
    return made


ORDER = Order("abc", ORIN, (1, 8))


@pytest.mark.parametrize(
    "other",
    [
        replace(ORDER, onnx="abd"),
        replace(ORDER, machine=replace(ORIN, tensorrt="10.3.1")),
        replace(ORDER, machine=replace(ORIN, gpu="Orin Nano")),
        replace(ORDER, machine=replace(ORIN, compute="8.6")),
        replace(ORDER, batches=(1, 16)),
        replace(ORDER, version_compatible=True),
        replace(ORDER, hardware_compatible=True),
    ],
)
def test_whatever_an_engine_is_made_of_changes_its_key(other: Order) -> None:
    assert other.key != ORDER.key
    assert other.key == replace(other).key


def test_an_engine_fits_one_version_and_one_gpu() -> None:
    assert ORDER.misfits(ORIN) == []
    assert ORDER.misfits(replace(ORIN, tensorrt="10.13.2")) == ["TensorRT was 10.3.0, is 10.13.2"]
    assert ORDER.misfits(replace(ORIN, gpu="Orin Nano")) == ["the GPU was Orin (8.7), is Orin Nano (8.7)"]
    assert len(ORDER.misfits(Machine("11.4.0", "H200", "9.0"))) == 2


def test_a_version_compatible_engine_fits_later_ones_of_the_same_major_version() -> None:
    order = replace(ORDER, version_compatible=True)
    assert order.misfits(replace(ORIN, tensorrt="10.13.2")) == []
    assert order.misfits(replace(ORIN, tensorrt="10.2.9")) == ["TensorRT was 10.3.0, is 10.2.9"]
    assert order.misfits(replace(ORIN, tensorrt="11.0.0")) == ["TensorRT was 10.3.0, is 11.0.0"]


def test_a_hardware_compatible_engine_fits_other_gpus_of_the_same_capability() -> None:
    order = replace(ORDER, hardware_compatible=True)
    assert order.misfits(replace(ORIN, gpu="Orin Nano")) == []
    assert order.misfits(Machine("10.3.0", "Orin", "8.6")) == ["the GPU was Orin (8.7), is Orin (8.6)"]


def test_what_was_written_is_found_again(onnx_path: Path) -> None:
    made = written(order_for(onnx_path))
    found = plans.find(onnx_path, ORIN)
    assert found == replace(made, onnx_path=onnx_path)
    assert found.read() == b"an engine" and found.report() == {"log": []}


def test_of_several_that_fit_the_one_built_last_is_taken(onnx_path: Path) -> None:
    written(order_for(onnx_path, batches=(1, 8)))
    written(order_for(onnx_path, batches=(1, 256)))
    written(order_for(onnx_path, replace(ORIN, gpu="Thor"), batches=(1, 512)))
    assert plans.find(onnx_path, ORIN).order.batches == (1, 256)


def test_where_there_is_none_the_command_is_told(onnx_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        plans.find(onnx_path, ORIN)
    assert str(caught.value) == (
        f"no engine of {onnx_path} is built for TensorRT 10.3.0 on Orin, compute capability 8.7: "
        f"livespot build {onnx_path}"
    )


def test_where_only_another_is_built_the_difference_is_told(onnx_path: Path) -> None:
    written(order_for(onnx_path))
    with pytest.raises(EngineError, match=r"\(TensorRT was 10.3.0, is 10.13.2\): livespot build"):
        plans.find(onnx_path, replace(ORIN, tensorrt="10.13.2"))


def test_an_engine_of_another_file_is_not_taken(onnx_path: Path) -> None:
    written(order_for(onnx_path))
    onnx_path.write_bytes(b"another network")
    with pytest.raises(EngineError, match=r"compute capability 8.7: livespot build"):
        plans.find(onnx_path, ORIN)


@pytest.mark.parametrize("content", [b"an engi", b"", b"an engine, and more"])
def test_an_engine_that_is_not_what_was_written_is_not_loaded(onnx_path: Path, content: bytes) -> None:
    made = written(order_for(onnx_path))
    made.path.write_bytes(content)
    with pytest.raises(EngineError, match="is damaged, it is not what was built"):
        plans.find(onnx_path, ORIN).read()


def test_the_command_that_builds_it_again_can_be_pasted(tmp_path: Path) -> None:
    order = replace(ORDER, version_compatible=True)
    plan = Plan(order, METADATA, tmp_path / "my net.onnx", tmp_path / "net.engine")
    with pytest.raises(EngineError) as caught:
        plan.read()
    command = f"livespot build '{tmp_path}/my net.onnx' --batch 1,8 --version-compatible"
    assert str(caught.value).endswith(f"cannot be read: No such file or directory: {command}")
    assert replace(plan, order=replace(ORDER, hardware_compatible=True)).cure.endswith("1,8 --hardware-compatible")


def test_an_engine_without_its_file_is_an_error_and_not_a_crash(onnx_path: Path) -> None:
    written(order_for(onnx_path)).path.unlink()
    with pytest.raises(EngineError, match="cannot be read: No such file"):
        plans.find(onnx_path, ORIN).read()


@pytest.mark.parametrize("note", ["", "{}", '{"format": 2}', "not JSON"])
def test_a_note_that_cannot_be_read_is_passed_over(onnx_path: Path, note: str) -> None:
    made = written(order_for(onnx_path))
    made.path.with_suffix(".json").write_text(note)
    with pytest.raises(EngineError, match="no engine of"):
        plans.find(onnx_path, ORIN)
    with pytest.raises(EngineError, match="is not what `livespot build` wrote"):
        made.read()


@pytest.mark.parametrize("batches", [[1, 64], [64, 1]])
def test_a_note_that_was_changed_is_passed_over(onnx_path: Path, batches: list[int]) -> None:
    made = written(order_for(onnx_path, batches=(1, 8)))
    note = made.path.with_suffix(".json")
    changed = json.loads(note.read_text())
    changed["order"]["batches"] = batches
    note.write_text(json.dumps(changed))
    with pytest.raises(EngineError, match="no engine of"):
        plans.find(onnx_path, ORIN)
    changed["key"] = "0" * 64
    note.write_text(json.dumps(changed))
    with pytest.raises(EngineError, match="is damaged, it is not what was built"):
        made.read()


def test_an_engine_is_written_whole_or_not_at_all(onnx_path: Path, cache: Path) -> None:
    made = plans.plan(order_for(onnx_path), METADATA, onnx_path)
    made.path.with_suffix(".json").mkdir(parents=True)  # nothing can be written there
    with pytest.raises(LivespotError, match="cannot be written"):
        made.write(b"an engine", {})
    with pytest.raises(EngineError, match="no engine of"):
        plans.find(onnx_path, ORIN)
    assert not list(cache.glob(".part*"))


def test_a_folder_that_others_may_write_to_is_not_trusted(onnx_path: Path, cache: Path) -> None:
    written(order_for(onnx_path))
    cache.chmod(0o777)
    with pytest.raises(EngineError, match=r"others may write to .*engines are code that runs"):
        plans.find(onnx_path, ORIN)
    cache.chmod(0o755)
    assert plans.find(onnx_path, ORIN).read() == b"an engine"


@pytest.mark.parametrize("suffix", [".engine", ".json"])
def test_a_file_that_others_may_write_to_is_not_trusted(onnx_path: Path, suffix: str) -> None:
    made = written(order_for(onnx_path))
    made.path.with_suffix(suffix).chmod(0o664)
    with pytest.raises(EngineError, match=rf"others may write to .*{suffix}, and engines are code that runs"):
        made.read()
    made.path.with_suffix(suffix).chmod(0o644)
    assert plans.find(onnx_path, ORIN).read() == b"an engine"


def test_files_are_for_their_owner_alone_whatever_the_umask(onnx_path: Path) -> None:
    before = os.umask(0o002)
    try:
        made = written(order_for(onnx_path))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in made.path.parent.iterdir()} == {0o600}
    assert plans.find(onnx_path, ORIN).read() == b"an engine"


def test_the_folder_is_made_for_its_owner_alone(cache: Path) -> None:
    assert plans.folder(make=True) == cache
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_says_what_to_set(cache: Path) -> None:
    cache.parent.parent.write_text("a file")
    with pytest.raises(EngineError, match=r"engines cannot be used: .*: set XDG_CACHE_HOME to a folder that is yours"):
        plans.folder(make=True)


def test_a_folder_that_takes_no_file_says_what_to_set(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    assert plans.folder(make=True) == cache
    monkeypatch.setattr(plans, "TemporaryFile", full)
    assert plans.folder() == cache
    with pytest.raises(EngineError, match="cannot be used: No space left on device: set XDG_CACHE_HOME"):
        plans.folder(make=True)


def test_without_a_setting_the_folder_is_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert plans.folder() == tmp_path / ".cache" / "livespot" / "engines"


def test_the_name_of_a_network_is_no_path(onnx_path: Path, cache: Path) -> None:
    made = plans.plan(order_for(onnx_path), replace(METADATA, name="../../etc/net work"), onnx_path)
    assert made.path.parent == cache and made.path.name.startswith("------etc-net-work-")
