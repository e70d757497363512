"""A run can be killed at any moment, keeps its best step by whole events, and never learns from a validation face."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from livespot.cli import learning
from livespot.errors import LivespotError, SettingsError
from livespot.nets.checkpoint import Checkpoint
from livespot.training import motion_loop
from livespot.training.motion_loop import train, training_takes
from livespot.training.recordings import validation_takes
from livespot.training.settings import MotionTrainSettings, TrainSettings, load_train_settings, network_of
from tests.training import made_up
from tests.training.made_up import SHIPPED, written

YAP2022 = SHIPPED.with_name("yap2022.yaml")

IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from livespot.training import motion_loop
motion_loop.PASTERS = motion_loop.RECORDERS = 0
motion_loop.train(*map(Path, sys.argv[1:]))
"""


@pytest.fixture(autouse=True, scope="module")
def in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motion_loop, "PASTERS", 0)
        patch.setattr(motion_loop, "RECORDERS", 0)
        yield


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.faces(tmp_path_factory.mktemp("portraits") / "faces")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("config") / "tiny.yaml")


@pytest.fixture(scope="module")
def fresh(faces: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has recorded and not trained yet."""
    out = tmp_path_factory.mktemp("runs") / "fresh"
    made_up.recordings(out, faces, config)
    return out


@pytest.fixture(scope="module")
def whole(fresh: Path, faces: Path, config: Path) -> Path:
    """The best checkpoint of a run from beginning to end."""
    return train(config, shutil.copytree(fresh, fresh.with_name("whole")), faces)


@pytest.fixture
def out(fresh: Path, tmp_path: Path) -> Path:
    """A run that is the test's own."""
    return shutil.copytree(fresh, tmp_path / "run")


def weights(checkpoint: Path) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in Checkpoint.load(checkpoint).weights.values()])


def spotting(*f1: float) -> Callable[..., dict[str, float]]:
    """Validations that find so much, one after the other."""
    found = iter(f1)
    return lambda *_: {"f1": next(found)}


def test_a_killed_run_goes_on_and_ends_with_the_weights_of_one_that_was_not(
    whole: Path, out: Path, config: Path, faces: Path
) -> None:
    checkpoint = out / "checkpoint.pt"
    with subprocess.Popen([sys.executable, "-c", IN_ANOTHER_PROCESS, str(config), str(out), str(faces)]) as process:
        while not checkpoint.exists():
            assert process.poll() is None
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    assert 0 < Checkpoint.load(checkpoint).step < 8
    train(config, out, faces)
    for name in ("checkpoint.pt", "best.pt"):
        assert torch.equal(weights(out / name), weights(whole.with_name(name)))


def test_a_run_leaves_its_figures_settings_and_split(whole: Path, config: Path) -> None:
    kept = Checkpoint.load(whole.with_name("checkpoint.pt"))
    assert kept.step == 8
    assert kept.split == {
        "training": ["000", "001", "002", "003"], "validation": ["004", "005", "006", "007"], "clips": []
    }  # fmt: skip
    assert MotionTrainSettings.model_validate(kept.settings) == load_train_settings(config, MotionTrainSettings)
    lines = [json.loads(line) for line in (whole.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    assert set(lines[0]) == {"step", "micro_f1", "macro_f1", "f1", "false_alarms_per_minute"}
    assert kept.metrics["best_f1"] == max(line["f1"] for line in lines)
    assert kept.metrics["best_step"] == Checkpoint.load(whole).step


def test_a_run_draws_curves(whole: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    curves = EventAccumulator(str(whole.parent / "curves")).Reload()
    assert [point.step for point in curves.Scalars("f1")] == [4, 8]


def test_the_best_step_is_kept_and_a_run_that_gets_no_better_ends(
    out: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(motion_loop, "validate_events", spotting(0.2, 0.6, 0.5, 0.6))
    best = train(written(tmp_path / "long.yaml", steps=100, validate_every=1), out, faces)
    assert (Checkpoint.load(best).step, Checkpoint.load(best).metrics["f1"]) == (2, 0.6)
    ended = Checkpoint.load(out / "checkpoint.pt")
    assert (ended.step, ended.metrics["f1"], ended.metrics["best_f1"]) == (4, 0.6, 0.6)
    train(tmp_path / "long.yaml", out, faces)
    assert Checkpoint.load(out / "checkpoint.pt").step == 4


def test_a_validation_face_is_never_learnt_from() -> None:
    settings = load_train_settings(SHIPPED, MotionTrainSettings)
    portraits = [Path(f"{place:03}.jpg") for place in range(20)]
    learnt = {take.path for take in training_takes(portraits[:12], [Path("clip.mp4")], settings)}
    assert learnt == {*portraits[:12], Path("clip.mp4")}
    watched = {take.path for take in validation_takes(portraits[12:], settings.recordings)}
    assert watched == set(portraits[12:])


def test_a_run_does_not_go_on_under_other_settings(whole: Path, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="other settings, networks or faces"):
        train(written(tmp_path / "other.yaml", learning_rate=0.1), whole.parent, faces)


def test_a_run_does_not_begin_on_a_damaged_checkpoint(out: Path, config: Path, faces: Path) -> None:
    (out / "checkpoint.pt").write_bytes(b"half of it")
    with pytest.raises(LivespotError, match="is no checkpoint"):
        train(config, out, faces)
    assert (out / "checkpoint.pt").read_bytes() == b"half of it"


def test_the_settings_of_another_network_are_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"yap2022\.yaml: network"):
        train(YAP2022, tmp_path / "run", faces)
    assert not (tmp_path / "run").exists()


def test_settings_say_which_network_they_train(tmp_path: Path) -> None:
    assert network_of(SHIPPED) == "motion"
    assert network_of(YAP2022) == load_train_settings(YAP2022, TrainSettings).network == "yap2022"
    with pytest.raises(SettingsError, match="network is 'resnet'; expected one of yap2022, light, motion"):
        network_of(written(tmp_path / "odd.yaml", network="resnet"))


def test_clips_are_refused_where_they_would_not_be_learnt_from(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave --clips out"):
        learning.train(YAP2022, faces, tmp_path / "run", faces)
    assert not (tmp_path / "run").exists()


def test_a_setting_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"odd\.yaml: net\.depth"):
        load_train_settings(written(tmp_path / "odd.yaml", net={"depth": 3}), MotionTrainSettings)


def test_every_shipped_setting_is_there_and_has_its_reason_beside_it() -> None:
    assert set(yaml.safe_load(SHIPPED.read_text())) == set(MotionTrainSettings.model_fields)
    lines = [line for line in SHIPPED.read_text().splitlines() if ":" in line and " #" not in line and line[0] != "#"]
    sections, above = {"net", "recordings", "pasting"}, {"network", "sequences_per_step", "judged_s", "steps"}
    assert {line.split(":")[0] for line in lines} == sections | above
