import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml

from livespot.capture.virtual import ASTRONAUT
from livespot.config import InferSettings
from livespot.errors import SettingsError
from livespot.export import export
from livespot.infer.onnx import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.light import CLIP
from livespot.training import loop
from livespot.training.runs import schedule
from livespot.training.settings import TrainSettings, load_train_settings

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
SHORT: dict[str, Any] = {
    "steps": 4,
    "samples_per_step": 2,
    "validation_faces": 1,
    "validate_every": 2,
    "checkpoint_every_s": 1e-6,
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    portrait = cv2.imread(str(ASTRONAUT))[:256, 96:352]
    for name, picture in {"000": portrait, "001": portrait[:, ::-1]}.items():
        cv2.imwrite(str(folder / f"{name}.jpg"), picture)
    return folder


@pytest.fixture(autouse=True, scope="module")
def few_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "VALIDATION_SAMPLES", 64)
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("config") / "short.yaml", **SHORT)


@pytest.fixture(scope="module")
def run(config: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run from beginning to end."""
    return loop.train(config, tmp_path_factory.mktemp("runs") / "whole", faces)


def written(path: Path, network: str = "yap2022", **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load((CONFIGS / f"{network}.yaml").read_text()) | changes))
    return path


def weights(checkpoint: Path) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in Checkpoint.load(checkpoint).weights.values()])


def killed_at(step: int) -> Callable[..., dict[str, float]]:
    """A validation during which the machine goes down, at the given call."""
    calls = iter(range(1, step + 1))

    def validate(*_: Any) -> dict[str, float]:
        if next(calls) == step:
            raise KeyboardInterrupt
        return {}

    return validate


def test_a_killed_run_goes_on_and_ends_with_the_weights_of_one_that_was_not(
    run: Path, config: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", killed_at(2))
        with pytest.raises(KeyboardInterrupt):
            loop.train(config, tmp_path, faces)
    assert Checkpoint.load(tmp_path / "checkpoint.pt").step == 3
    assert torch.equal(weights(loop.train(config, tmp_path, faces)), weights(run))


def test_a_run_leaves_its_figures_settings_and_split(run: Path, config: Path) -> None:
    kept = Checkpoint.load(run)
    assert kept.step == 4
    assert kept.split == {"training": ["000"], "validation": ["001"]}
    assert TrainSettings.model_validate(kept.settings) == load_train_settings(config, TrainSettings)
    assert set(kept.metrics) == {"micro_auc", "macro_auc", "motion_r2", "motion_error_px"}
    lines = [json.loads(line) for line in (run.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]


def test_the_light_network_is_trained_and_exported_by_its_own_settings(faces: Path, tmp_path: Path) -> None:
    light = written(tmp_path / "light.yaml", network="light", **SHORT)
    export(loop.train(light, tmp_path / "run", faces), tmp_path / "light.onnx")
    with OnnxScorer(InferSettings(model=str(tmp_path / "light.onnx"))) as scorer:
        assert scorer.clip == CLIP


def test_a_run_does_not_go_on_under_other_settings(run: Path, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="other settings, networks or faces"):
        loop.train(written(tmp_path / "other.yaml", **SHORT, learning_rate=0.1), run.parent, faces)


def test_a_run_does_not_begin_without_faces_to_train_on(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="validation_faces is 2 of 2 portraits: none is left to train on"):
        loop.train(written(tmp_path / "greedy.yaml", **SHORT | {"validation_faces": 2}), tmp_path / "run", faces)


def test_a_run_does_not_begin_where_its_folder_is_a_file(config: Path, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(SettingsError, match="run can be no folder: File exists; give another"):
        loop.train(config, tmp_path / "run", faces)


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    settings = load_train_settings(CONFIGS / "yap2022.yaml", TrainSettings)
    rates = [schedule(step, settings) for step in range(settings.steps)]
    assert rates[0] < 0.01 and max(rates) > 0.99 and rates[-1] < 1e-6


def test_a_setting_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"odd\.yaml: momentum"):
        load_train_settings(written(tmp_path / "odd.yaml", momentum=0.9), TrainSettings)
