"""The real CUDA runtime of cuda-python, as far as it goes without a GPU; where there is one, see test_gpu.py."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from livespot.errors import EngineError
from livespot.infer import cuda
from livespot.infer.cuda import Stream, gpu
from tests.infer.fakes import FakeCuda

CALLED = set(re.findall(r"\.(cuda[A-Z]\w+)", Path(cuda.__file__).read_text(encoding="utf-8")))


@pytest.fixture
def real() -> Any:
    return pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")


def test_all_that_is_called_exists_and_the_fake_takes_the_same_arguments(real: Any) -> None:
    functions = {name for name in CALLED if inspect.isfunction(getattr(FakeCuda, name, None))}
    assert len(functions) >= 14
    for name in functions:
        fake = list(inspect.signature(getattr(FakeCuda, name)).parameters)[1:]
        assert len(fake) == len(inspect.signature(getattr(real, name)).parameters), name


def test_the_values_of_the_fake_are_the_real_ones(real: Any) -> None:
    assert real.cudaStreamNonBlocking == FakeCuda.cudaStreamNonBlocking
    for kind in (FakeCuda.cudaMemcpyKind, FakeCuda.cudaStreamCaptureMode):
        for value in kind:
            assert getattr(getattr(real, kind_name(kind)), value.name) == value.value


def kind_name(kind: type) -> str:
    return next(name for name, value in vars(FakeCuda).items() if value is kind)


def test_without_a_driver_the_real_library_leads_to_the_same_words(real: Any) -> None:
    del real
    if any(path.exists() for path in (Path("/dev/nvidia0"), Path("/etc/nv_tegra_release"), Path("/dev/dxg"))):
        pytest.skip("this machine has an NVIDIA GPU")
    for attempt in (gpu, Stream().__enter__):
        with pytest.raises(EngineError, match="the NVIDIA driver is missing, or older than cuda-python"):
            attempt()
