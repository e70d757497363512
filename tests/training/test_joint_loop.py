"""The joint network learns from what its streams see, as they see it live, and from no face that either kept unseen."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
import yaml

from livespot.capture.virtual import ASTRONAUT, Expression
from livespot.cli import learning
from livespot.config import InferSettings, Settings
from livespot.errors import LivespotError, SettingsError
from livespot.export import export
from livespot.infer import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.joint import Joint
from livespot.nets.light import Light
from livespot.nets.loading import network
from livespot.nets.motion import MotionNet
from livespot.pipeline import Pipeline
from livespot.training import calibrate as calibrating
from livespot.training import joint_loop
from livespot.training.events import choose
from livespot.training.joint_loop import judged, record_seen, train, validation_takes
from livespot.training.recordings import Take, performances
from livespot.training.seeing import Networks, Seen, load, save
from livespot.training.settings import (
    JointRunSettings,
    JointTrainSettings,
    MotionTrainSettings,
    load_train_settings,
    network_of,
)
from livespot.training.validation import event_figures
from tests.training import made_up

SHIPPED = made_up.SHIPPED.with_name("joint.yaml")
FPS = 30.0
LEARNT, KEPT = ["000", "001", "002", "003"], ["004", "005", "006", "007"]
TINY: dict[str, Any] = {
    "net": {"hidden": 4, "dropout": 0.2},
    "recordings": {"faces": 2, "unseen_faces": 4, "seconds": 12, "fps": [FPS], "most_frames": 2400},
    "samples_per_step": 64,
    "steps": 8,
    "validate_every": 4,
    "patience": 2,
}


@pytest.fixture(autouse=True, scope="module")
def in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_loop, "RECORDERS", 0)
        yield


def checkpoint(path: Path, net: torch.nn.Module, settings: dict[str, Any], kept: Sequence[str] = KEPT) -> Path:
    """Of a training of `net` that kept some of the portraits for validation."""
    split = {"training": [*LEARNT, *KEPT[: len(KEPT) - len(kept)]], "validation": list(kept)}
    Checkpoint(1, net.state_dict(), {}, torch.get_rng_state(), settings, split, {}, "abc").save(path)
    return path


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """Both as their trainings begin."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    settings = load_train_settings(made_up.written(folder / "tiny.yaml"), MotionTrainSettings)
    return Networks(
        checkpoint(folder / "light.pt", Light(), {"network": "light", "seed": 0}),
        checkpoint(folder / "motion.pt", MotionNet(settings.net), settings.model_dump()),
    )


def written(path: Path, networks: Networks, **changes: Any) -> Path:
    """The shipped settings, with these networks and changes and all else small."""
    named = {"light": str(networks.light), "motion": str(networks.motion)}
    path.write_text(yaml.safe_dump(yaml.safe_load(SHIPPED.read_text()) | TINY | named | changes))
    return path


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.faces(tmp_path_factory.mktemp("portraits") / "faces")


@pytest.fixture(scope="module")
def config(networks: Networks) -> Path:
    return written(networks.light.with_name("joint.yaml"), networks)


def of_run(config: Path, networks: Networks) -> JointRunSettings:
    settings, (_, motion) = load_train_settings(config, JointTrainSettings), networks.load()
    told = {"networks": networks.digest, "motion_net": motion.settings, "members": motion.members}
    return JointRunSettings(**settings.model_dump(), **told)


@pytest.fixture(scope="module")
def whole(networks: Networks, faces: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a run from beginning to end, on what nobody saw."""
    out, settings = tmp_path_factory.mktemp("joint"), of_run(config, networks)
    record_seen([], out / "seen", networks, settings)
    learnt = performances([faces / f"{name}.jpg" for name in LEARNT], 2, settings.recordings)
    for take in (*learnt, *validation_takes([faces / f"{name}.jpg" for name in KEPT], settings)):
        save(take.file(out / "seen"), made_up_seen(take, networks))
    return train(config, out, faces)


def made_up_seen(take: Take, networks: Networks) -> Seen:
    """Noise, of which one number tells when something shows."""
    frames = np.arange(50, 330)
    light, motion = networks.load()
    rng = np.random.default_rng(crc32(take.name.encode()))
    truth = (Expression("micro", 3.0, 3.2, 3.4, 0.0, "12", 0.02), Expression("macro", 6.0, 7.0, 8.0, 0.0, "1", 0.05))
    shown = truth if take.kind == "expressive" else ()
    gathered = rng.normal(0, 1, (len(frames), light.width + motion.width)).astype(np.float32)
    seen = Seen(gathered, frames, frames / FPS, shown, FPS)
    gathered[:, 0] += 5 * seen.labels.max(axis=1)
    return seen


def test_a_killed_run_goes_on_and_ends_with_the_weights_of_one_that_was_not(
    whole: Path, faces: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(whole.parent / "seen", tmp_path / "run" / "seen").parent
    validated = iter([True])
    with monkeypatch.context() as patch:  # the second validation is not lived to see
        patch.setattr(joint_loop, "event_figures", lambda *videos: next(validated) and event_figures(*videos))
        with pytest.raises(StopIteration):
            train(config, out, faces)
    assert Checkpoint.load(out / "checkpoint.pt").step == 4
    train(config, out, faces)
    ended, wanted = (Checkpoint.load(folder / "checkpoint.pt").weights for folder in (out, whole.parent))
    assert all(torch.equal(ended[name], wanted[name]) for name in wanted)


def test_what_joins_the_streams_learns_and_the_streams_do_not(whole: Path, networks: Networks) -> None:
    net = network(Checkpoint.load(whole))
    assert isinstance(net, Joint)
    for learnt, given in zip((net.light, net.motion), networks.load(), strict=True):
        assert all(torch.equal(value, learnt.state_dict()[name]) for name, value in given.state_dict().items())
    assert net.judge.weight.abs().sum() > 0


def test_it_learns_from_faces_that_both_learnt_from_and_is_judged_by_those_that_neither_did(
    whole: Path, networks: Networks, tmp_path: Path
) -> None:
    assert Checkpoint.load(whole).split == {"training": LEARNT, "validation": KEPT}
    fewer = checkpoint(tmp_path / "light.pt", Light(), {"network": "light", "seed": 0}, KEPT[2:])
    split = Networks(fewer, networks.motion).split([*LEARNT, *KEPT])
    assert split == {"training": LEARNT, "validation": KEPT[2:]}


def test_portraits_of_other_trainings_are_refused(networks: Networks) -> None:
    with pytest.raises(SettingsError, match=r"both learnt from 0 of 2 portraits and both kept 0 for validation"):
        networks.split(["a", "b"])


def test_what_other_networks_saw_is_not_learnt_from(
    whole: Path, networks: Networks, faces: Path, tmp_path: Path
) -> None:
    other = Networks(checkpoint(tmp_path / "light.pt", Light(), {"network": "light", "seed": 0}), networks.motion)
    assert other.digest != networks.digest
    settings = of_run(written(tmp_path / "other.yaml", other), other)
    with pytest.raises(SettingsError, match="made under other settings"):
        record_seen([], whole.parent / "seen", other, settings)
    with pytest.raises(SettingsError, match="other settings or faces"):
        train(tmp_path / "other.yaml", whole.parent, faces)


def test_a_checkpoint_of_another_network_is_refused_and_nothing_is_written(
    networks: Networks, faces: Path, tmp_path: Path
) -> None:
    twice = written(tmp_path / "twice.yaml", Networks(networks.motion, networks.motion))
    with pytest.raises(LivespotError, match=r"motion\.pt is no training of configs/train/light\.yaml"):
        train(twice, tmp_path / "run", faces)
    missing = written(tmp_path / "missing.yaml", Networks(tmp_path / "none.pt", networks.motion))
    with pytest.raises(LivespotError, match="no checkpoint"):
        train(missing, tmp_path / "run", faces)
    assert not (tmp_path / "run").exists()


def test_it_is_calibrated_on_what_was_seen_of_faces_that_it_never_saw(
    whole: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "choose", partial(choose, thresholds=(0.5, 0.9), cutoffs_hz=(4.0,), rounds=1))
    found = calibrating.calibrate(whole, faces, tmp_path / "joint.onnx")
    assert found["videos"] == 2 and found["expressions"] == {"micro": 2, "macro": 2}
    assert "appearance and regional motion" in found["protocol"]
    with OnnxScorer(InferSettings(model=str(tmp_path / "joint.onnx"))) as scorer:
        assert set(scorer.clip.shapes) == {"clips", "motion"} and scorer.clip.lookahead_s == 0.4
    alone = Path(shutil.copy(whole, tmp_path / "best.pt"))
    with pytest.raises(LivespotError, match=r"give best\.pt in the folder of its run"):
        calibrating.calibrate(alone, faces, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_what_is_seen_is_judged_as_the_exported_network_judges_live(
    whole: Path, networks: Networks, config: Path, tmp_path: Path
) -> None:
    portrait = shutil.copy(ASTRONAUT, tmp_path / "000.jpg")
    take = Take("expressive", Path(portrait), FPS, 4.0)
    record_seen([take], tmp_path / "seen", networks, of_run(config, networks))
    net = network(Checkpoint.load(whole))
    assert isinstance(net, Joint)
    (video,) = judged(net, [take], tmp_path / "seen")
    export(whole, tmp_path / "joint.onnx")
    with (
        OnnxScorer(InferSettings(model=str(tmp_path / "joint.onnx"))) as scorer,
        Pipeline(Settings(method="network"), [take.performance()], scorer) as pipeline,
    ):
        live = [score for step in chain.from_iterable(pipeline) for score in step.scores]
    assert len(live) > 50
    for told, wanted in zip(video.scores, live, strict=True):
        assert (told.index, told.t_s) == (wanted.index, wanted.t_s)
        assert (told.micro, told.macro) == pytest.approx(
            (wanted.micro, wanted.macro), abs=5e-3
        )  # kept in half precision


def test_kept_videos_come_back_as_they_were(networks: Networks, tmp_path: Path) -> None:
    take = Take("expressive", tmp_path / "000.jpg", FPS, 12.0)
    seen = made_up_seen(take, networks)
    save(take.file(tmp_path), seen)
    (kept,) = load([take, Take("neutral", tmp_path / "000.jpg")], tmp_path)
    assert kept.truth == seen.truth and kept.fps == FPS
    np.testing.assert_array_equal(kept.labels, seen.labels)
    np.testing.assert_allclose(kept.gathered, seen.gathered, atol=5e-3)
    assert seen.labels.sum(axis=0).tolist() == [12, 60]


def test_the_command_trains_it_on_portraits_alone(config: Path, faces: Path, tmp_path: Path) -> None:
    assert network_of(SHIPPED) == "joint"
    with pytest.raises(SettingsError, match="leave --clips out"):
        learning.train(config, tmp_path / "run", faces, faces)


def test_every_shipped_setting_is_there() -> None:
    assert set(yaml.safe_load(SHIPPED.read_text())) == set(JointTrainSettings.model_fields)
    assert load_train_settings(SHIPPED, JointTrainSettings).net.hidden > 0
