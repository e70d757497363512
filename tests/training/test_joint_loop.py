"""The joint network learns from embeddings, as they are live, of faces that neither of its streams learnt from."""

import pickle
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
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
from livespot.nets.motion import MotionNet, MotionNetSettings
from livespot.pipeline import Pipeline
from livespot.training import calibrate as calibrating
from livespot.training import joint_loop
from livespot.training.events import choose
from livespot.training.joint_loop import judged, record_seen, train
from livespot.training.recordings import Take, halves, performances, validation_takes
from livespot.training.seeing import KeepSeen, Seen, joint_of, load, save
from livespot.training.settings import (
    JointRunSettings,
    JointTrainSettings,
    MotionTrainSettings,
    RecordingSettings,
    load_train_settings,
    network_of,
)
from livespot.training.validation import event_figures
from tests.training import made_up

SHIPPED = made_up.SHIPPED.with_name("joint.yaml")
FPS = 30.0
LEARNT, KEPT = ["000", "001"], ["002", "003", "004", "005", "006", "007"]
TINY: dict[str, Any] = {
    "net": {"hidden": 4, "dropout": 0.2},
    "faces": 2,
    "samples_per_step": 64,
    "steps": 8,
    "validate_every": 4,
    "patience": 2,
}
RECORDED = RecordingSettings(faces=2, unseen_faces=4, seconds=12, fps=(FPS,), most_frames=2400)


def load_joint(path: Path) -> Joint:
    return joint_of(Checkpoint.load(path), path)


class Streams(NamedTuple):
    """Checkpoints."""

    light: Path
    motion: Path


@pytest.fixture(autouse=True, scope="module")
def in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_loop, "RECORDERS", 0)
        yield


def checkpoint(
    path: Path, net: torch.nn.Module, settings: dict[str, Any], kept: Sequence[str] = KEPT, step: int = 8
) -> Path:
    """Of a training of `net` that kept some of the portraits for validation."""
    split = {"training": LEARNT, "validation": list(kept)}
    Checkpoint(step, net.state_dict(), {}, torch.get_rng_state(), settings, split, {}, "abc").save(path)
    return path


def light(path: Path, **more: Any) -> Path:
    return checkpoint(path, Light(), {"network": "light", "seed": 0, "steps": 8}, **more)


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Streams:
    """Both as their trainings begin."""
    folder = tmp_path_factory.mktemp("streams")
    torch.manual_seed(0)
    settings = load_train_settings(made_up.written(folder / "tiny.yaml"), MotionTrainSettings)
    settings = settings.model_copy(update={"recordings": RECORDED})
    motion = checkpoint(folder / "motion.pt", MotionNet(settings.net), settings.model_dump())
    return Streams(light(folder / "light.pt"), motion)


def written(path: Path, streams: Streams, **changes: Any) -> Path:
    """The shipped settings, with these streams and changes and all else small."""
    named = {"light": str(streams.light), "motion": str(streams.motion)}
    path.write_text(yaml.safe_dump(yaml.safe_load(SHIPPED.read_text()) | TINY | named | changes))
    return path


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.faces(tmp_path_factory.mktemp("portraits") / "faces")


@pytest.fixture(scope="module")
def config(streams: Streams) -> Path:
    return written(streams.light.with_name("joint.yaml"), streams)


@pytest.fixture(scope="module")
def whole(faces: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a run from beginning to end, on what nobody saw."""
    return train(config, fresh(tmp_path_factory.mktemp("joint"), config, faces), faces)


def fresh(out: Path, config: Path, faces: Path) -> Path:
    """A run that found embeddings of every take that it asks for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeepSeen, "__call__", _keep_made_up)
        patch.setattr(joint_loop, "learn", lambda *_: None)
        train(config, out, faces)
    return out


def _keep_made_up(keep: KeepSeen, take: Take, path: Path) -> int:
    save(path, made_up_seen(take, keep._net))
    return 1


def made_up_seen(take: Take, net: Joint) -> Seen:
    """Noise, of which one number tells when something shows."""
    frames = np.arange(50, 330)
    rng = np.random.default_rng(crc32(take.name.encode()))
    truth = (Expression("micro", 3.0, 3.2, 3.4, 0.0, "12", 0.02), Expression("macro", 6.0, 7.0, 8.0, 0.0, "1", 0.05))
    embeddings = rng.normal(0, 1, (len(frames), net.width)).astype(np.float32)
    seen = Seen(embeddings, frames, frames / FPS, truth if take.kind == "expressive" else (), FPS)
    embeddings[:, 0] += 5 * seen.labels.max(axis=1)
    return seen


def test_a_killed_run_goes_on_and_ends_with_the_weights_of_one_that_was_not(
    whole: Path, faces: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, validated = fresh(tmp_path / "run", config, faces), iter([True, True])
    with monkeypatch.context() as patch:  # the last validation is not lived to see
        patch.setattr(joint_loop, "event_figures", lambda *videos: next(validated) and event_figures(*videos))
        with pytest.raises(StopIteration):
            train(config, out, faces)
    assert Checkpoint.load(out / "checkpoint.pt").step == 4
    train(config, out, faces)
    ended, wanted = (Checkpoint.load(folder / "checkpoint.pt") for folder in (out, whole.parent))
    assert all(torch.equal(ended.weights[name], wanted.weights[name]) for name in wanted.weights)
    assert ended.metrics == wanted.metrics


def test_what_has_learnt_nothing_is_kept_where_nothing_better_comes(
    config: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, f1 = fresh(tmp_path / "run", config, faces), iter([0.5, 0.4, 0.5])
    monkeypatch.setattr(joint_loop, "event_figures", lambda *_: {"f1": next(f1)})
    best = load_joint(train(config, out, faces))
    assert not best.judge.weight.any()
    assert Checkpoint.load(out / "checkpoint.pt").metrics == {"f1": 0.5, "best_f1": 0.5, "best_step": 0.0}
    assert [line.split('"step": ')[1][0] for line in (out / "metrics.jsonl").read_text().splitlines()] == list("048")


def test_what_joins_the_streams_learns_and_the_streams_do_not(whole: Path, streams: Streams) -> None:
    net = load_joint(whole.with_name("checkpoint.pt"))
    for learnt, path in ((net.light, streams.light), (net.motion, streams.motion)):
        given = Checkpoint.load(path).weights
        assert all(torch.equal(value, learnt.state_dict()[name]) for name, value in given.items())
    assert net.judge.weight.any()


def test_it_learns_from_and_is_judged_by_faces_that_neither_stream_learnt_from(whole: Path) -> None:
    split = Checkpoint.load(whole).split
    portraits = [Path(f"{name}.jpg") for name in KEPT]
    of_motion, of_joint = (
        halves(validation_takes(some, RECORDED))
        for some in (portraits, [Path(f"{x}.jpg") for x in split["validation"]])
    )
    assert of_joint == of_motion, "the same faces choose, the same test"
    watched = {take.path.stem for half in of_motion for take in half}
    assert split == {"training": sorted(set(KEPT) - watched), "validation": sorted(watched)}
    assert len(split["training"]) == 2


def test_other_streams_are_another_run(whole: Path, streams: Streams, faces: Path, tmp_path: Path) -> None:
    other = Streams(light(tmp_path / "light.pt"), streams.motion)
    with pytest.raises(SettingsError, match="was begun with other checkpoints"):
        train(written(tmp_path / "other.yaml", other), whole.parent, faces)
    out = shutil.copytree(whole.parent / "seen", tmp_path / "run" / "seen").parent
    with pytest.raises(SettingsError, match="made under other settings"):
        train(tmp_path / "other.yaml", out, faces)
    assert not (out / "checkpoint.pt").exists()


def test_a_run_needs_its_streams_no_more_once_it_began(streams: Streams, faces: Path, tmp_path: Path) -> None:
    copied = Streams(*(Path(shutil.copy(path, tmp_path / path.name)) for path in streams))
    config = written(tmp_path / "joint.yaml", copied)
    out = fresh(tmp_path / "run", config, faces)
    for path in copied:
        path.unlink()
    train(config, out, faces)
    assert Checkpoint.load(out / "checkpoint.pt").step == 8


def test_checkpoints_that_cannot_be_joined_are_refused_and_nothing_is_written(
    streams: Streams, faces: Path, tmp_path: Path
) -> None:
    watched = sorted({take.path.name for take in validation_takes([Path(name) for name in KEPT], RECORDED)})
    sooner = {"levels": 4, "taps": 5, "filters": 2, "width": 4, "dilations": [4, 8], "lookahead_s": 0.2}
    kept = Checkpoint.load(streams.motion)
    net = MotionNet(MotionNetSettings(**sooner))  # type: ignore[arg-type]
    looking = checkpoint(tmp_path / "sooner.pt", net, kept.settings | {"net": sooner})
    for wrong, why in (
        (Streams(streams.motion, streams.motion), r"motion\.pt is no training of configs/train/light\.yaml"),
        (Streams(streams.light, streams.light), r"light\.pt is no training of configs/train/default\.yaml"),
        (Streams(tmp_path / "none.pt", streams.motion), "no checkpoint"),
        (Streams(light(tmp_path / "half.pt", step=5), streams.motion), r"half\.pt is of step 5 of 8: let its training"),
        (Streams(streams.light, looking), r"cannot be joined: the streams look ahead 0\.4 and 0\.2 s"),
        (Streams(light(tmp_path / "few.pt", kept=KEPT[1:]), streams.motion), r"002 performs for .* learnt from it"),
        (
            Streams(light(tmp_path / "all.pt", kept=watched), streams.motion),
            r"all 4 portraits .* none is left to",
        ),
    ):
        with pytest.raises(LivespotError, match=why):
            train(written(tmp_path / "wrong.yaml", wrong), tmp_path / "run", faces)
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_go_on_without_its_portraits(whole: Path, config: Path, tmp_path: Path) -> None:
    fewer = made_up.faces(tmp_path / "faces", 5)
    with pytest.raises(SettingsError, match=r"has no portrait 00\d: give the folder that the run began with"):
        train(config, whole.parent, fewer)


def test_it_is_calibrated_on_what_was_seen_of_faces_that_it_never_saw(
    whole: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "choose", partial(choose, thresholds=(0.5, 0.9), cutoffs_hz=(4.0,), rounds=1))
    found = calibrating.calibrate(whole, faces, tmp_path / "joint.onnx")
    assert found["videos"] == 2 and found["expressions"] == {"micro": 2, "macro": 2}
    assert "appearance and regional motion as recorded live, frames/s 30" in found["protocol"]
    with OnnxScorer(InferSettings(model=str(tmp_path / "joint.onnx"))) as scorer:
        assert set(scorer.clip.shapes) == {"clips", "motion"} and scorer.clip.lookahead_s == 0.4


def test_what_is_seen_is_judged_as_the_exported_network_judges_live(whole: Path, tmp_path: Path) -> None:
    portrait = Path(shutil.copy(ASTRONAUT, tmp_path / "000.jpg"))
    take = Take("expressive", portrait, FPS, 4.0)
    run = Path(shutil.copy(whole.with_name("checkpoint.pt"), tmp_path / "checkpoint.pt"))
    record_seen([take], run, JointRunSettings.model_validate(Checkpoint.load(run).settings).streams)
    (video,) = judged(load_joint(run), [take], tmp_path / "seen")
    (seen,) = load([take], tmp_path / "seen")
    export(run, tmp_path / "joint.onnx")
    with (
        OnnxScorer(InferSettings(model=str(tmp_path / "joint.onnx"))) as scorer,
        take.performance() as performance,
        Pipeline(Settings(method="network"), [performance], scorer) as pipeline,
    ):
        live = [score for step in chain.from_iterable(pipeline) for score in step.scores]
        assert (seen.truth, video.truth) == (performance.truth, performance.truth)
    assert len(live) > 50
    for told, wanted in zip(video.scores, live, strict=True):
        assert (told.index, told.t_s) == (wanted.index, wanted.t_s)
        assert (told.micro, told.macro) == pytest.approx((wanted.micro, wanted.macro), abs=1e-4)


def test_who_looks_can_be_sent_to_another_process(whole: Path) -> None:
    keep = KeepSeen(whole)
    assert pickle.loads(pickle.dumps(keep)) == keep


def test_kept_videos_come_back_as_they_were(whole: Path, tmp_path: Path) -> None:
    take = Take("expressive", tmp_path / "000.jpg", FPS, 12.0)
    seen = made_up_seen(take, load_joint(whole))
    save(take.file(tmp_path), seen)
    (kept,) = load([take, Take("neutral", tmp_path / "000.jpg")], tmp_path)
    assert kept.truth == seen.truth and kept.fps == FPS
    for name in ("labels", "embeddings", "frames", "times_s"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(seen, name))
    assert seen.labels.sum(axis=0).tolist() == [12, 60]
    with pytest.raises(ValueError, match="expected as many of each"):
        Seen(seen.embeddings[1:], seen.frames, seen.times_s, (), FPS)


def test_the_command_trains_it_on_portraits_alone(config: Path, faces: Path, tmp_path: Path) -> None:
    assert network_of(SHIPPED) == "joint"
    with pytest.raises(SettingsError, match="leave --clips out"):
        learning.train(config, tmp_path / "run", faces, faces)


def test_every_shipped_setting_is_there() -> None:
    assert set(yaml.safe_load(SHIPPED.read_text())) == set(JointTrainSettings.model_fields)
    assert load_train_settings(SHIPPED, JointTrainSettings).net.hidden > 0


def test_a_checkpoint_of_another_network_is_no_joint_one(streams: Streams) -> None:
    assert isinstance(network(Checkpoint.load(streams.light)), Light)
    with pytest.raises(LivespotError, match="is no checkpoint of configs/train/joint"):
        load_joint(streams.light)


def test_a_second_counts_as_much_at_any_frame_rate(whole: Path) -> None:
    fast, slow = (made_up_seen(Take("neutral", Path(f"{x}.jpg"), FPS, 12.0), load_joint(whole)) for x in "ab")
    chances = joint_loop.chances([replace(fast, fps=3 * FPS), slow])
    assert chances[: len(fast.frames)].sum() == pytest.approx(1 / 4)
    assert chances.sum() == pytest.approx(1)


def test_performances_of_a_face_are_those_of_motion(whole: Path) -> None:
    streams = JointRunSettings.model_validate(Checkpoint.load(whole).settings).streams
    assert streams.recordings == RECORDED
    assert [take.seconds for take in performances([Path("000.jpg")], 1, streams.recordings)] == [12, 12]
    assert (streams.light_trained["commit"], streams.motion_trained["step"]) == ("abc", 8)
