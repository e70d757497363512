"""The enums and the logger of the real TensorRT 11 bindings, without TensorRT.

`tensorrt_cu13_bindings` holds no TensorRT: it needs three libraries that are gigabytes and need a GPU. It is content
with empty ones, which a C compiler makes in a moment. They can do nothing; what the bindings themselves define is real.
"""

import ctypes
import functools
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

SYMBOLS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL "
        "getBuilderPluginRegistry getPluginRegistry"
    ),
    "nvonnxparser": "createNvOnnxParser_INTERNAL createNvOnnxParserRefitter_INTERNAL getNvOnnxParserVersion",
    "nvinfer_plugin": "initLibNvInferPlugins",
}
NAMES = ("ILogger", "NetworkDefinitionCreationFlag", "BuilderFlag", "HardwareCompatibilityLevel")


def enums_of_11() -> dict[str, Any]:
    """Skips the test where the bindings or a C compiler are missing."""
    bindings = _bindings()
    return {name: getattr(bindings, name) for name in NAMES}


@functools.cache
def _bindings() -> Any:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("no C compiler makes stub libraries for the bindings of TensorRT: apt install gcc")
    if importlib.util.find_spec("tensorrt_bindings") is None:
        pytest.skip("the bindings of TensorRT are not installed: pip install 'tensorrt_cu13_bindings>=11,<12'")
    folder = Path(mkdtemp(prefix="livespot-stubs-"))
    try:
        for library, symbols in SYMBOLS.items():
            ctypes.CDLL(str(_stub(folder, compiler, f"lib{library}.so.11", symbols.split())), ctypes.RTLD_GLOBAL)
        return importlib.import_module("tensorrt_bindings")
    finally:
        shutil.rmtree(folder)


def _stub(folder: Path, compiler: str, name: str, symbols: list[str]) -> Path:
    """A library whose functions all return nothing; its name in it is what the bindings look for."""
    code, library = folder / f"{name}.c", folder / name
    code.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols), encoding="ascii")
    command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(library), str(code)]
    subprocess.run(command, check=True, capture_output=True)
    return library
