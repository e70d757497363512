"""Training of the network on regional motion: first recordings, then the loop of `learning`.

Both can be killed at any moment and go on where they were.
"""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from livespot.files import PICTURES, VIDEOS, files_in
from livespot.nets.checkpoint import commit
from livespot.nets.motion import MotionNet
from livespot.records import MOTION_HZ
from livespot.training import pasting
from livespot.training.learning import UNKNOWN, learn
from livespot.training.losses import moments_loss
from livespot.training.pasting import Material, material
from livespot.training.recordings import Take, by_stem, halves, performances, record, validation_takes
from livespot.training.runs import Run, make_folder, split_faces
from livespot.training.settings import MotionTrainSettings, load_train_settings
from livespot.training.validation import validate_events

RECORDERS = os.cpu_count() or 1
PASTERS = max(1, min(4, RECORDERS // 2))
"""Processes: one pastes several times as fast as one core learns; a GPU is faster."""


def train(config_path: Path, out: Path, faces: Path, clips: Path | None = None) -> Path:
    """Train as `config_path` says on portraits of `faces` and videos of `clips`; returns the checkpoint `out`/best.pt.

    What is recorded lies in `out`/recordings and may be copied from another run's. Recording and training go on from
    what is there. Progress goes to the screen, to `out`/metrics.jsonl and, for TensorBoard, to `out`/curves.
    Raises SettingsError where the settings are wrong or differ from those of the run that is to go on, and where
    `out` can be no folder; SourceError where no portraits or clips are found.
    """
    settings = load_train_settings(config_path, MotionTrainSettings)
    make_folder(out)
    path, recordings = out / "checkpoint.pt", out / "recordings"
    portraits = by_stem(files_in(faces, PICTURES, "portrait"))
    videos = by_stem(files_in(clips, VIDEOS, "video")) if clips else {}
    split = {**split_faces(list(portraits), settings.validation_faces), "clips": list(videos)}
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = MotionNet(settings.net).to(device)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    run = Run(net, optimiser, settings, split, commit())
    first, metrics = run.resume(path) if path.exists() else (0, UNKNOWN)

    seen = training_takes([portraits[name] for name in split["training"]], list(videos.values()), settings)
    unseen = validation_takes([portraits[name] for name in split["validation"]], settings.recordings)
    record([*seen, *unseen], recordings, settings.recordings, RECORDERS)
    examples = _examples(seen, recordings, net, settings, first)
    watched, _ = halves(unseen)  # the others test what is calibrated in the end

    def loss(_: int) -> Tensor:
        paths, labels, weights = (part.to(device) for part in next(examples))
        judged = net.judged(paths.shape[-1])
        return moments_loss(net.dense(paths), labels[:, judged], weights[:, judged], settings.positive_weight)

    return learn(run, settings, out, first, metrics, loss, lambda: validate_events(net, watched, recordings))


def training_takes(portraits: Sequence[Path], clips: Sequence[Path], settings: MotionTrainSettings) -> list[Take]:
    """What is learnt from: clips, how every portrait answers to the units, and some that perform."""
    shown = performances(portraits, settings.recordings.faces, settings.recordings)
    return [*(Take("clip", path) for path in clips), *(Take("response", path) for path in portraits), *shown]


class _Pasted(Dataset[pasting.Example]):
    """The examples of each step, by its number."""

    def __init__(self, takes: Sequence[Take], folder: Path, length: int, settings: MotionTrainSettings) -> None:
        self._takes, self._folder, self._length, self._settings = takes, folder, length, settings

    @cached_property
    def _material(self) -> Material:
        return material(self._takes, self._folder)

    def __getitem__(self, step: int) -> pasting.Example:
        settings = self._settings
        size = settings.sequences_per_step
        return pasting.batch(step, size, self._length, self._material, settings.pasting, settings.seed)


def _examples(
    takes: Sequence[Take], folder: Path, net: MotionNet, settings: MotionTrainSettings, first: int
) -> Iterator[Sequence[Tensor]]:
    """Paths, labels and weights of each step from `first` on, pasted in processes of their own."""
    length = net.cells - 1 + round(settings.judged_s * MOTION_HZ)
    loader = DataLoader(
        _Pasted(takes, folder, length, settings),
        batch_size=None,
        sampler=range(first, settings.steps),
        num_workers=PASTERS,
        prefetch_factor=4 if PASTERS else None,
        multiprocessing_context="spawn" if PASTERS else None,
    )
    return iter(loader)
