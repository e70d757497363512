"""A made-up GPU with TensorRT, and an empty cache of engines."""

from pathlib import Path

import pytest

from tests.infer.fakes import ENUMS_OF_10_3, FakeCuda, FakeTensorRt, install
from tests.infer.real_enums import enums_of_11


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where built engines go."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "livespot" / "engines"


@pytest.fixture
def cuda() -> FakeCuda:
    return FakeCuda()


@pytest.fixture(params=["10.3, enums by hand", "11.4, its own enums"])
def tensorrt(
    request: pytest.FixtureRequest, cuda: FakeCuda, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeTensorRt:
    del cache
    old = request.param.startswith("10.3")
    made = FakeTensorRt(cuda, "10.3.0", ENUMS_OF_10_3) if old else FakeTensorRt(cuda, "11.4.0.106", enums_of_11())
    install(monkeypatch, cuda, made.module())
    return made
