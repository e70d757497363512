"""Training of the joint network: first the embeddings of performing portraits, then the loop of `learning`.

All portraits are of those that neither stream learnt from: on faces that a stream knows it is surer than it will ever
be again, and what joins them would learn to trust it too far. The portraits that the training on motion kept to choose
and to test by do so here too, performing the same; others of those that were kept are learnt from.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from livespot.errors import LivespotError, SettingsError
from livespot.files import PICTURES, files_in
from livespot.nets.checkpoint import Checkpoint, commit
from livespot.nets.joint import Joint
from livespot.nets.light import Light
from livespot.nets.loading import network
from livespot.nets.motion import MotionNet
from livespot.training.events import Video
from livespot.training.learning import learn
from livespot.training.losses import moments_loss
from livespot.training.motion_loop import RECORDERS
from livespot.training.recordings import (
    PERFORMED,
    Take,
    by_stem,
    claim,
    halves,
    of_kind,
    performances,
    record,
    validation_takes,
)
from livespot.training.runs import Run, make_folder
from livespot.training.seeing import KeepSeen, Seen, joint_of, load
from livespot.training.settings import (
    JointRunSettings,
    JointTrainSettings,
    SeenSettings,
    StreamsSettings,
    load_train_settings,
)
from livespot.training.validation import event_figures


def train(config_path: Path, out: Path, faces: Path) -> Path:
    """Train as `config_path` says on portraits of `faces`; returns the checkpoint `out`/best.pt.

    The checkpoint holds both streams from the beginning; embeddings lie in `out`/seen. Recording and training go on
    from what is there. Raises SettingsError where the settings are wrong or differ from those of the run that is to go
    on, where no portraits are left to learn from, and where `out` can be no folder; LivespotError where a checkpoint
    cannot be used; SourceError where no portraits are found.
    """
    settings = load_train_settings(config_path, JointTrainSettings)
    path, folder = out / "checkpoint.pt", out / "seen"
    portraits = by_stem(files_in(faces, PICTURES, "portrait"))
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    net, streams, split = _begun(path, settings) if path.exists() else _fresh(settings, list(portraits))
    make_folder(out)
    learnt = [value for value in net.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(learnt, settings.learning_rate, weight_decay=settings.weight_decay)
    run = Run(net, optimiser, JointRunSettings(**settings.model_dump(), streams=streams), split, commit())
    if path.exists():
        first, metrics = run.resume(path)
    else:
        first, metrics = 0, {}
        claim(folder, _seen_by(streams))  # what other networks saw is no use to this run, which is not to begin then
        run.checkpoint(first, metrics).save(path)  # who looks needs the streams

    seen = performances(_paths(split["training"], portraits), settings.faces, streams.recordings)
    unseen = validation_takes(_paths(split["validation"], portraits), streams.recordings)
    record_seen([*seen, *unseen], path, streams)
    videos = [video for video in load(seen, folder) if len(video.frames)]
    if not videos:
        raise SettingsError(f"none of the portraits to learn from shows a face: look into {faces}")
    embeddings = torch.from_numpy(np.concatenate([video.embeddings for video in videos]))
    labels = torch.from_numpy(np.concatenate([video.labels for video in videos]))
    drawing = chances(videos)
    watched, _ = halves(unseen)  # the others test what is calibrated in the end

    def loss(step: int) -> Tensor:
        rng, size = np.random.default_rng((settings.seed, step)), settings.samples_per_step
        drawn = rng.choice(len(labels), size, p=drawing)
        logits = net.train().logits(embeddings[drawn])
        return moments_loss(logits.T[None], labels[drawn][None], torch.ones(1, size), settings.positive_weight)

    def validate() -> dict[str, float]:
        return event_figures(*(judged(net, of_kind(kind, watched), folder) for kind in PERFORMED))

    return learn(run, settings, out, first, metrics, loss, validate)


def chances(videos: Sequence[Seen]) -> NDArray[np.float64]:
    """That a moment is drawn, of all videos one after the other: a second is a second, however many frames it has."""
    seconds = np.concatenate([np.full(len(video.frames), 1 / video.fps) for video in videos])
    return np.asarray(seconds / seconds.sum())


def record_seen(takes: Sequence[Take], checkpoint: Path, streams: StreamsSettings) -> None:
    """Beside the checkpoint of a joint network what is not there yet."""
    record(takes, checkpoint.parent / "seen", _seen_by(streams), RECORDERS, KeepSeen(checkpoint))


def judged(net: Joint, takes: Sequence[Take], folder: Path) -> list[Video]:
    """What the network says of what was seen; takes that were left out are left out here."""
    net.eval()
    with torch.no_grad():
        return [
            seen.video(torch.sigmoid(net.logits(torch.from_numpy(seen.embeddings))).tolist())
            for seen in load(takes, folder)
        ]


def _seen_by(streams: StreamsSettings) -> SeenSettings:
    return SeenSettings(**streams.recordings.model_dump(), digest=streams.digest)


def _begun(path: Path, settings: JointTrainSettings) -> tuple[Joint, StreamsSettings, dict[str, list[str]]]:
    """Of a run that is to go on. Raises SettingsError where its streams have been trained anew since it began."""
    kept = Checkpoint.load(path)
    net, streams = joint_of(kept, path), JointRunSettings.model_validate(kept.settings).streams
    paths = settings.checkpoints
    if all(one.exists() for one in paths) and _digest(paths) != streams.digest:
        raise SettingsError(
            f"{path} was begun with other checkpoints than {paths[0]} and {paths[1]}: give another --out"
        )
    return net, streams, kept.split


def _digest(paths: Sequence[Path]) -> str:
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in paths)).hexdigest()


def _fresh(settings: JointTrainSettings, names: Sequence[str]) -> tuple[Joint, StreamsSettings, dict[str, list[str]]]:
    """Of the checkpoints that the settings name. Raises LivespotError where they cannot be joined."""
    paths = settings.checkpoints
    of_light, of_motion = (Checkpoint.load(path) for path in paths)
    light, motion = network(of_light), network(of_motion)
    if not isinstance(light, Light):
        raise LivespotError(f"{settings.light} is no training of configs/train/light.yaml: give one as light")
    if not isinstance(motion, MotionNet):
        raise LivespotError(f"{settings.motion} is no training of configs/train/default.yaml: give one as motion")
    if of_light.step < of_light.settings["steps"]:
        raise LivespotError(
            f"{settings.light} is of step {of_light.step} of {of_light.settings['steps']}: let its training end first"
        )
    try:
        net = Joint(light, motion, settings.net)
    except ValueError as error:
        raise LivespotError(f"{settings.light} and {settings.motion} cannot be joined: {error}") from None
    streams = StreamsSettings(
        digest=_digest(paths),
        light_trained=_trained(of_light),
        motion_trained=_trained(of_motion),
        motion_net=motion.settings,
        members=motion.members,
        recordings=of_motion.settings["recordings"],
    )
    return net, streams, _split(settings, (of_light, of_motion), names, streams)


def _trained(kept: Checkpoint) -> dict[str, str | int | list[int]]:
    return {"commit": kept.commit, "step": kept.step, "seed": kept.seeds or int(kept.settings["seed"])}


def _split(
    settings: JointTrainSettings, kept: Sequence[Checkpoint], names: Sequence[str], streams: StreamsSettings
) -> dict[str, list[str]]:
    """Portraits that performed for the validation of motion, and others that both kept for theirs."""
    of_light, of_motion = (one.split.get("validation", []) for one in kept)
    watched = [take.path.name for take in validation_takes([Path(name) for name in of_motion], streams.recordings)]
    unseen = set(of_light) & set(of_motion)
    if strange := [name for name in watched if name not in unseen.intersection(names)]:
        raise SettingsError(
            f"{strange[0]} performs for the validation of {settings.motion}, but {settings.light} learnt from it, or "
            "--faces does not have it: give the folder that both were trained on, and as many validation_faces to both"
        )
    others = [name for name in names if name in unseen and name not in watched]
    if not others:
        raise SettingsError(
            f"all {len(unseen)} portraits that {settings.light} and {settings.motion} both kept for validation perform "
            "for it: none is left to learn from; train both with more validation_faces"
        )
    return {"training": others, "validation": list(dict.fromkeys(watched))}


def _paths(names: Sequence[str], portraits: Mapping[str, Path]) -> list[Path]:
    """Raises SettingsError where one is missing."""
    if strange := [name for name in names if name not in portraits]:
        raise SettingsError(f"--faces has no portrait {strange[0]}: give the folder that the run began with")
    return [portraits[name] for name in names]
