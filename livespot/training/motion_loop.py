"""Training of the network on regional motion: first recordings, then one visible loop.

Both can be killed at any moment and go on where they were. The best network is the one that spots most on faces that it
was never trained on, by the F1 of whole events: the loss falls for long after that has stopped to rise.
"""

import os
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from livespot.files import PICTURES, VIDEOS, files_in
from livespot.nets.checkpoint import commit
from livespot.nets.motion import MotionNet
from livespot.records import MOTION_HZ
from livespot.training import pasting
from livespot.training.losses import moments_loss
from livespot.training.pasting import Material, material
from livespot.training.recordings import Take, by_stem, halves, performances, record
from livespot.training.runs import Log, Run, make_folder, schedule, split_faces
from livespot.training.settings import MotionTrainSettings, load_train_settings
from livespot.training.validation import validate_events

REPORT_EVERY = 50
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
    first, metrics = run.resume(path) if path.exists() else (0, {"best_f1": -1.0, "best_step": 0.0})

    seen = training_takes([portraits[name] for name in split["training"]], list(videos.values()), settings)
    unseen = validation_takes([portraits[name] for name in split["validation"]], settings)
    record([*seen, *unseen], recordings, settings.recordings, RECORDERS)
    examples = _examples(seen, recordings, net, settings, first)
    watched, _ = halves(unseen)  # the others test what is calibrated in the end
    saved_s = time.monotonic()

    with Log(out, first, settings.steps) as log:
        for step in range(first, settings.steps):
            if step - metrics["best_step"] >= settings.patience * settings.validate_every:
                break
            torch.manual_seed(settings.seed * settings.steps + step)
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * schedule(step, settings)
            paths, labels, weights = (part.to(device) for part in next(examples))
            judged = net.judged(paths.shape[-1])
            loss = moments_loss(net.dense(paths), labels[:, judged], weights[:, judged], settings.positive_weight)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), settings.gradient_norm)
            optimiser.step()

            done = step + 1
            if done % REPORT_EVERY == 0:
                log.tell(done, {"loss": loss.item()})
            if validates := done % settings.validate_every == 0 or done == settings.steps:
                found = validate_events(net, watched, recordings)
                log.tell(done, found)
                if is_best := found["f1"] > metrics["best_f1"]:
                    metrics |= {"best_f1": found["f1"], "best_step": float(done)}
                metrics |= found
                if is_best:
                    run.checkpoint(done, metrics).save(out / "best.pt")
            if validates or time.monotonic() - saved_s > settings.checkpoint_every_s:
                run.checkpoint(done, metrics).save(path)
                saved_s = time.monotonic()
    return out / "best.pt"


def training_takes(portraits: Sequence[Path], clips: Sequence[Path], settings: MotionTrainSettings) -> list[Take]:
    """What is learnt from: clips, how every portrait answers to the units, and some that perform."""
    shown = performances(portraits, settings.recordings.faces, settings.recordings)
    return [*(Take("clip", path) for path in clips), *(Take("response", path) for path in portraits), *shown]


def validation_takes(portraits: Sequence[Path], settings: MotionTrainSettings) -> list[Take]:
    """What is never learnt from."""
    return performances(portraits, settings.recordings.unseen_faces, settings.recordings)


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
) -> Iterator[Sequence[torch.Tensor]]:
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
