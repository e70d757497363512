"""The wheel alone is enough: installed into an empty environment, it runs the demo from any folder, without torch."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import livespot

REPOSITORY = Path(livespot.__file__ or "").parents[1]
DEMO_S = 8


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is made from, in which somebody has built an engine for the GPU at hand."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("livespot", "engines", "configs"):
        shutil.copytree(REPOSITORY / folder, copy / folder)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, copy)
    (copy / "engines" / "yap2022.engine").touch()
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder=checkout
    )  # fmt: skip
    assert build.returncode == 0, build.stdout + build.stderr
    (path,) = folder.glob("livespot-*.whl")
    return path


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of an environment lie into which only the wheel was installed."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    install = run(environment / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, folder=environment)
    assert install.returncode == 0, install.stdout + install.stderr
    return environment / "bin"


def test_the_wheel_carries_engine_settings_schema_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for file in (
        "livespot/engines/default.md",
        "livespot/engines/default.onnx",
        "livespot/engines/yap2022.onnx",
        "livespot/engines/yap2022.md",
        "livespot/capture/astronaut.jpg",
        "livespot/configs/live.yaml",
        "livespot/configs/jetson.yaml",
        "livespot/publish/schema.json",
        "livespot-0.1.0.dist-info/licenses/LICENSE",
    ):
        assert file in names
    assert not [name for name in names if name.startswith("tests") or "__pycache__" in name]
    assert not [name for name in names if name.endswith(".engine")]


def test_the_demo_runs_from_another_folder_without_torch(scripts: Path, tmp_path: Path) -> None:
    assert run(scripts / "python", "-c", "import torch", folder=tmp_path).returncode == 1
    demo = run(scripts / "livespot", "demo", "--seconds", str(DEMO_S), folder=tmp_path)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "Traceback" not in demo.stderr
    picture = (tmp_path / "timeline.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
