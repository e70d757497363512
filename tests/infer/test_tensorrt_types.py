"""The code against the signatures of every TensorRT that it runs on. No TensorRT, and no GPU, is needed for that.

The signatures are read from NVIDIA's Python bindings, whose source is Apache-2.0, cut down to the classes in use.
"""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import livespot.infer
from tests.infer import fakes

SIGNATURES = Path(__file__).parent / "tensorrt_signatures"
CODE = [Path(livespot.infer.__path__[0]) / name for name in ("tensorrt.py", "building.py")]


def complaints(version: str, *code: Path) -> list[str]:
    """What mypy says of code alone: all but TensorRT is skipped, which takes seconds less."""
    signatures = SIGNATURES / version / "tensorrt.pyi"
    options = ["--config-file=", "--follow-imports=skip", "--no-site-packages", "--ignore-missing-imports"]
    checks = ["--disallow-untyped-calls", "--check-untyped-defs", "--warn-return-any", "--cache-dir=/dev/null"]
    command = [sys.executable, "-m", "mypy", *options, *checks, str(signatures), *map(str, code)]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    assert lines, "mypy did not run"
    return [line for line in lines if any(line.startswith(str(one)) for one in code) and " error: " in line]


@pytest.mark.parametrize("version", ["10.3", "10.13", "11.4"])
def test_the_code_fits_the_signatures_of(version: str) -> None:
    assert complaints(version, *CODE) == []


FAKES = {
    "Builder": fakes.Builder,
    "OnnxParser": fakes.Parser,
    "IBuilderConfig": fakes.Config,
    "IOptimizationProfile": fakes.Profile,
    "ITimingCache": fakes.TimingCache,
    "Runtime": fakes.Runtime,
    "ICudaEngine": fakes.Engine,
    "IExecutionContext": fakes.Context,
}


@pytest.mark.parametrize("version", ["10.3", "10.13", "11.4"])
@pytest.mark.parametrize("name", sorted(FAKES))
def test_the_fakes_of_the_tests_take_what_the_real_ones_take(version: str, name: str) -> None:
    methods = signatures(version, name)
    fake = {key: one for key, one in vars(FAKES[name]).items() if inspect.isfunction(one) and not key.startswith("__")}
    assert fake
    for key, one in fake.items():
        assert len(inspect.signature(one).parameters) in methods[key], key


def signatures(version: str, name: str) -> dict[str, set[int]]:
    """How many parameters each method of a class takes, in each of its overloads."""
    tree = ast.parse((SIGNATURES / version / "tensorrt.pyi").read_text(encoding="utf-8"))
    [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    methods: dict[str, set[int]] = {}
    for node in found.body:
        if isinstance(node, ast.FunctionDef):
            most, least = len(node.args.args), len(node.args.args) - len(node.args.defaults)
            methods.setdefault(node.name, set()).update(range(least, most + 1))
    return methods


def test_what_only_one_of_them_has_would_be_found(tmp_path: Path) -> None:
    code = tmp_path / "half.py"
    code.write_text(
        "import tensorrt as trt\n\n\n"
        "def flags(config: trt.IBuilderConfig, context: trt.IExecutionContext) -> None:\n"
        "    config.set_flag(trt.BuilderFlag.FP16)\n"
        "    context.set_input_shape('clips', 8)\n",
        encoding="utf-8",
    )
    assert [line.partition(": error: ")[0] for line in complaints("10.3", code)] == [f"{code}:6"]
    assert [line.partition(": error: ")[0] for line in complaints("11.4", code)] == [f"{code}:5", f"{code}:6"]
