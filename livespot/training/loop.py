"""Training of two-stream 3D-CNNs: one visible loop that can be killed at any moment and goes on where it was."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from livespot.nets import PAIR_NETWORKS
from livespot.nets.checkpoint import commit
from livespot.records import ClipSpec
from livespot.synth.pairs import Batch, Portrait, batches, load_portraits
from livespot.training.losses import judgement_loss, motion_loss
from livespot.training.runs import Log, Run, make_folder, schedule, split_faces
from livespot.training.settings import TrainSettings, load_train_settings
from livespot.training.validation import validate

VALIDATION_SAMPLES = 1024
REPORT_EVERY = 100


def train(config_path: Path, out: Path, faces: Path) -> Path:
    """Train on the portraits of `faces` as `config_path` says; returns the checkpoint `out`/checkpoint.pt.

    Where the checkpoint exists the run goes on from it. Progress goes to the screen, to `out`/metrics.jsonl and, for
    TensorBoard, to `out`/curves.
    Raises SettingsError where the settings are wrong or differ from those of the run that is to go on, and where
    `out` can be no folder; SourceError where `faces` holds none.
    """
    settings = load_train_settings(config_path, TrainSettings)
    make_folder(out)
    path = out / "checkpoint.pt"
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    portraits = load_portraits(faces)
    split = split_faces(sorted(portraits), settings.validation_faces)
    net = PAIR_NETWORKS[settings.network]()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    run = Run(net, optimiser, settings, split, commit())
    metrics: dict[str, float] = {}
    first = 0
    if path.exists():
        first, metrics = run.resume(path)
    samples = _samples([portraits[name] for name in split["training"]], settings, net.clip, first)
    unseen = validation_samples([portraits[name] for name in split["validation"]], settings.seed, net.clip)
    saved_s = time.monotonic()

    with Log(out, first, settings.steps) as log:
        for step in range(first, settings.steps):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * schedule(step, settings)
            clips, labels, visible_iod, truth_px = next(samples)
            features = net.measure(clips)
            judged = judgement_loss(net.logits(features), labels, visible_iod, settings)
            measured = motion_loss(net.displacement_px(features), truth_px, settings)
            optimiser.zero_grad()
            torch.autograd.backward(judged + measured)
            torch.nn.utils.clip_grad_norm_(net.parameters(), settings.gradient_norm)
            optimiser.step()

            done = step + 1
            if done % REPORT_EVERY == 0:
                log.tell(done, {"judgement_loss": judged.item(), "motion_loss": measured.item()})
            if done % settings.validate_every == 0 or done == settings.steps:
                metrics = validate(net, unseen)
                log.tell(done, metrics)
            if time.monotonic() - saved_s > settings.checkpoint_every_s or done == settings.steps:
                run.checkpoint(done, metrics).save(path)
                saved_s = time.monotonic()
    return path


def validation_samples(portraits: list[Portrait], seed: int, clip: ClipSpec) -> list[Batch]:
    """The same samples for every validation, drawn apart from those of training."""
    size = 64
    return list(islice(batches(portraits, size, seed + 1, clip=clip), VALIDATION_SAMPLES // size))


class _Stream(IterableDataset[tuple[Tensor, ...]]):
    """Rendered samples of one worker process, each followed by its mirror image, as one batch a step."""

    def __init__(self, portraits: list[Portrait], settings: TrainSettings, clip: ClipSpec, first: int) -> None:
        self._portraits, self._settings, self._clip, self._first = portraits, settings, clip, first

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        cv2.setNumThreads(1)
        settings = self._settings
        for batch in batches(self._portraits, settings.samples_per_step, settings.seed, self._first, clip=self._clip):
            yield with_mirror_images(batch)


def with_mirror_images(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clips, labels, visible_iod and truth_px of `batch` and of every face seen in a mirror: the paper's flip."""
    clips, labels, visible_iod, truth_px = (torch.from_numpy(array) for array in vars(batch).values())
    mirrored_px = truth_px.flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None]
    return (
        torch.cat((clips, clips.flip(-1))),
        labels.repeat(2, 1),
        visible_iod.repeat(2),
        torch.cat((truth_px, mirrored_px)),
    )


def _samples(
    portraits: list[Portrait], settings: TrainSettings, clip: ClipSpec, first: int
) -> Iterator[tuple[Tensor, ...]]:
    loader = DataLoader(
        _Stream(portraits, settings, clip, first),
        batch_size=None,
        num_workers=1,
        prefetch_factor=8,
        # A fresh process, not a fork: OpenCV's and MediaPipe's threads do not survive one.
        multiprocessing_context="spawn",
        # Its own, or it would draw from the generator of a run that is to go on as if it had not been killed.
        generator=torch.Generator(),
    )
    return iter(loader)
