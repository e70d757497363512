"""`livespot build` on a fake TensorRT and a fake GPU: nothing here has run on a real one."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from livespot.cli import app
from livespot.errors import EngineError, SettingsError
from livespot.infer import building
from tests.infer.fakes import FakeCuda, FakeTensorRt, install


@pytest.fixture
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(building, "ROUNDS", 1)
    made = FakeTensorRt(FakeCuda())
    install(monkeypatch, made.cuda, made.module())
    return made


def test_an_engine_is_built_once_and_its_place_speed_and_parity_are_told(engine: str, tensorrt: FakeTensorRt) -> None:
    first = CliRunner().invoke(app, ["build", engine, "--batch", "1,2"])
    assert first.exit_code == 0 and Path(first.stdout.strip()).is_file()
    assert "built: there was none of this file" in first.stderr
    assert "at most 0.0e+00 from ONNX Runtime" in first.stderr
    again = CliRunner().invoke(app, ["build", engine, "--batch", "1,2"])
    assert again.stdout == first.stdout and "built already" in again.stderr and tensorrt.builds == 1


def test_options_reach_the_build_and_json_holds_the_figures(engine: str, tensorrt: FakeTensorRt) -> None:
    told = CliRunner().invoke(app, ["build", engine, "--batch", "3", "--version-compatible", "--json"])
    figures = json.loads(told.stdout)
    assert set(figures) == {"engine", "built", "build_s", "median_ms", "parity"} and set(figures["median_ms"]) == {"3"}
    assert [flag.name for flag in tensorrt.builder_flags] == ["VERSION_COMPATIBLE"]


def test_without_batches_it_is_built_for_those_that_are_usual(engine: str, tensorrt: FakeTensorRt) -> None:
    told = CliRunner().invoke(app, ["build", engine, "--json"])
    assert tuple(map(int, json.loads(told.stdout)["median_ms"])) == building.BATCHES and tensorrt.builds == 1


@pytest.mark.parametrize("batch", ["", "1,two", "1;8"])
def test_batches_that_are_no_numbers_are_refused(batch: str) -> None:
    told = CliRunner().invoke(app, ["build", "yap2022", "--batch", batch])
    assert isinstance(told.exception, SettingsError) and "such as 1,8,64" in str(told.exception)


def test_without_tensorrt_it_is_told_what_to_install(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    told = CliRunner().invoke(app, ["build", engine])
    assert isinstance(told.exception, EngineError) and "pip install 'livespot[tensorrt]'" in str(told.exception)


def test_a_run_on_the_engine_that_was_built_finds_what_the_cpu_finds(
    engine: str, tensorrt: FakeTensorRt, video: Path
) -> None:
    CliRunner().invoke(app, ["build", engine, "--batch", "1,2"])
    command = ["spot", str(video), "--model", engine, "--json", "--engine"]
    by_gpu, by_cpu = (CliRunner().invoke(app, [*command, name]) for name in ("tensorrt", "onnx"))
    assert by_gpu.stdout == by_cpu.stdout and json.loads(by_gpu.stdout.splitlines()[0])["type"] == "macro"
    assert "motion on TensorRT 10.3.0, Orin, batches of 1, 2" in by_gpu.stderr
    assert tensorrt.cuda.calls.count("cudaGraphLaunch") > 50


def test_auto_tells_why_there_is_no_faster_engine(engine: str, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livespot.engines.nvidia", lambda: False)
    told = CliRunner().invoke(app, ["spot", str(video), "--model", engine])
    assert "motion on ONNX Runtime CPU, 1 thread\nno engine for a GPU: there is no NVIDIA GPU" in told.stderr


def test_an_engine_for_a_method_without_a_network_is_refused(video: Path) -> None:
    told = CliRunner().invoke(app, ["spot", str(video), "--method", "motion", "--engine", "onnx"])
    assert isinstance(told.exception, SettingsError) and "leave --engine out" in str(told.exception)
