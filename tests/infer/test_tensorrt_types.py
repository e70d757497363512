"""The code against the signatures of every TensorRT that it runs on. No TensorRT, and no GPU, is needed for that.

The signatures are read from NVIDIA's Python bindings, whose source is Apache-2.0, cut down to the classes in use.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import livespot.infer

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
