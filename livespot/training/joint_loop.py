"""Training of the joint network: first what its two streams see of performing portraits, then the loop of `learning`.

It learns from portraits that both streams learnt from, and is judged by those that neither did.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from livespot.files import PICTURES, files_in
from livespot.nets.checkpoint import commit
from livespot.nets.joint import Joint
from livespot.training.events import Video
from livespot.training.learning import UNKNOWN, learn
from livespot.training.losses import moments_loss
from livespot.training.motion_loop import RECORDERS
from livespot.training.recordings import PERFORMED, Take, by_stem, halves, of_kind, performances, record
from livespot.training.runs import Run, make_folder
from livespot.training.seeing import KeepSeen, Networks, load
from livespot.training.settings import JointRunSettings, JointTrainSettings, SeenSettings, load_train_settings
from livespot.training.validation import event_figures


def train(config_path: Path, out: Path, faces: Path) -> Path:
    """Train as `config_path` says on portraits of `faces`; returns the checkpoint `out`/best.pt.

    What is seen lies in `out`/seen. Seeing and training go on from what is there.
    Raises SettingsError where the settings are wrong or differ from those of the run that is to go on, where both
    streams have no portraits in common, and where `out` can be no folder; LivespotError where a checkpoint cannot be
    used; SourceError where no portraits are found.
    """
    settings = load_train_settings(config_path, JointTrainSettings)
    networks = Networks(Path(settings.light), Path(settings.motion))
    light, motion = networks.load()
    make_folder(out)
    path, folder = out / "checkpoint.pt", out / "seen"
    portraits = by_stem(files_in(faces, PICTURES, "portrait"))
    split = networks.split(list(portraits))
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    net = Joint(light, motion, settings.net)
    told = {"networks": networks.digest, "motion_net": motion.settings, "members": motion.members}
    of_run = JointRunSettings(**settings.model_dump(), **told)
    learnt = [value for value in net.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(learnt, settings.learning_rate, weight_decay=settings.weight_decay)
    run = Run(net, optimiser, of_run, split, commit())
    first, metrics = run.resume(path) if path.exists() else (0, UNKNOWN)

    seen = performances([portraits[name] for name in split["training"]], settings.recordings.faces, settings.recordings)
    unseen = validation_takes([portraits[name] for name in split["validation"]], of_run)
    record_seen([*seen, *unseen], folder, networks, of_run)
    videos = list(load(seen, folder))
    gathered = torch.from_numpy(np.concatenate([video.gathered for video in videos]))
    labels = torch.from_numpy(np.concatenate([video.labels for video in videos]))
    watched, _ = halves(unseen)  # the others test what is calibrated in the end

    def loss(step: int) -> Tensor:
        drawn = np.random.default_rng((settings.seed, step)).integers(len(labels), size=settings.samples_per_step)
        logits = net.train().logits(gathered[drawn])
        return moments_loss(logits.T[None], labels[drawn][None], torch.ones(1, len(drawn)), settings.positive_weight)

    def validate() -> dict[str, float]:
        return event_figures(*(judged(net, of_kind(kind, watched), folder) for kind in PERFORMED))

    return learn(run, settings, out, first, metrics, loss, validate)


def validation_takes(portraits: Sequence[Path], settings: JointTrainSettings) -> list[Take]:
    """What is never learnt from."""
    return performances(portraits, settings.recordings.unseen_faces, settings.recordings)


def record_seen(takes: Sequence[Take], folder: Path, networks: Networks, settings: JointRunSettings) -> None:
    """Into `folder` what is not there yet."""
    seen = SeenSettings(**settings.recordings.model_dump(), networks=settings.networks)
    record(takes, folder, seen, RECORDERS, KeepSeen(networks))


def judged(net: Joint, takes: Sequence[Take], folder: Path) -> list[Video]:
    """What the network says of what was seen; takes that were left out are left out here."""
    net.eval()
    with torch.no_grad():
        return [
            seen.video(torch.sigmoid(net.logits(torch.from_numpy(seen.gathered))).tolist())
            for seen in load(takes, folder)
        ]
