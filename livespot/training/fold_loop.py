"""Training of the two-stream 3D-CNN on labelled videos, one fold of them: one visible loop, run twice.

First a network learns from some of the videos that are not left out, and the others of these choose: the epoch after
which it spotted most in them, and the thresholds that suited them then. Then a network learns anew, for so many epochs
and at the same learning rates, from all of them. It judges the videos that were left out, once.

Everything may be killed at any moment and goes on where it was: what is drawn depends on seed and step alone.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import torch

from livespot.datasets.cache import Cache
from livespot.errors import LivespotError, SettingsError
from livespot.evaluation.labels import Span
from livespot.files import replacing
from livespot.nets.checkpoint import commit
from livespot.nets.yap2022 import Yap2022
from livespot.training.folds import Fold
from livespot.training.judging import choose, spotted, watch
from livespot.training.losses import weighted_loss
from livespot.training.moments import Material
from livespot.training.runs import Log, Run, schedule
from livespot.training.settings import DatasetTrainSettings

REPORT_EVERY = 50
RESULT = "result.json"


@dataclass(frozen=True)
class Result:
    """What one fold came to."""

    fold: str
    epoch: int
    """After so many the choosing network was at its best."""
    levels: tuple[float, float]
    """Thresholds of micro and macro, or Moilanen's p."""
    choosing_f1: float
    """In the videos that chose: higher than elsewhere, since they chose for it."""
    commit: str
    predictions: dict[str, tuple[Span, ...]]
    """In each video that was left out."""

    def save(self, path: Path) -> None:
        """Whole or not at all: where there is a result, the fold is done."""
        with replacing(path) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Result":
        """What `save` wrote. Raises LivespotError for anything else."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            predictions = {name: tuple(Span(**span) for span in spans) for name, spans in values["predictions"].items()}
            return cls(**values | {"levels": tuple(values["levels"]), "predictions": predictions})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LivespotError(f"{path} is no result of a fold, {error}: delete it, and train again") from None


def run_fold(fold: Fold, data: Cache, out: Path, settings: DatasetTrainSettings, origin: str) -> Result:
    """Choose, train and judge in the folder `out`, from wherever that was left; `origin` tells data from others.

    Raises SettingsError where what lies in `out` began with other settings or data, or there is no video to learn from
    or to choose by.
    """
    for part, names in (("learn from", fold.training), ("choose by", fold.choosing)):
        if not prepared(names, data):
            why = "; ".join(f"{name}: {data.left_out[name]}" for name in names)
            raise SettingsError(f"none of the videos to {part} could be prepared: {why}")
    left_out = {"left_out": list(fold.test), "data": [origin]}
    choosing = {"training": list(fold.training), "choosing": list(fold.choosing), **left_out}
    _, chosen = fit(out / "choosing", data, choosing, settings.epochs, settings, f"{fold.name} choosing")
    epoch, levels = int(chosen["best_epoch"]), (chosen["micro"], chosen["macro"])
    everything = {"training": list(fold.seen), "choosing": [], **left_out}
    net, _ = fit(out / "training", data, everything, epoch, settings, f"{fold.name} training")
    watched = [watch(net, data, name, settings) for name in prepared(fold.test, data)]
    predictions = {one.video.name: spotted(one, levels, settings.spotting) for one in watched}
    result = Result(fold.name, epoch, levels, chosen["best_f1"], commit(), predictions)
    result.save(out / RESULT)
    return result


def fit(
    out: Path, data: Cache, split: dict[str, list[str]], epochs: int, settings: DatasetTrainSettings, name: str
) -> tuple[Yap2022, dict[str, float]]:
    """A network after so many epochs on the "training" videos of `split`, and what its "choosing" ones chose.

    Its checkpoint lies in `out`, with the figures in metrics.jsonl and, for TensorBoard, in curves.
    """
    out.mkdir(parents=True, exist_ok=True)
    path, last = out / "checkpoint.pt", epochs * settings.steps_per_epoch
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = Yap2022(settings.net, settings.distances.clip)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    run = Run(net, optimiser, settings, split, commit())
    metrics = {"best_f1": -1.0, "best_auc": -1.0, "best_epoch": 0.0, "micro": 1.0, "macro": 1.0}
    first, metrics = run.resume(path) if path.exists() else (0, metrics)
    if first == last:
        return net, metrics
    material = Material(data, prepared(split["training"], data), settings)
    saved_s = time.monotonic()

    with Log(out, first, last, name) as log:
        for step in range(first, last):
            torch.manual_seed(settings.seed * settings.steps + step)
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * schedule(step, settings)
            clips, labels = (torch.from_numpy(part).to(device) for part in material.batch(step))
            logits = net.logits(net.measure(clips))
            loss = weighted_loss(logits, labels, settings.class_weights, settings.positive_weight).mean()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), settings.gradient_norm)
            optimiser.step()

            done = step + 1
            epoch, rest = divmod(done, settings.steps_per_epoch)
            if done % REPORT_EVERY == 0:
                log.tell(done, {"loss": loss.item()})
            if not rest and split["choosing"]:
                found = _validated(net, data, split["choosing"], settings)
                log.tell(done, found)
                if (found["f1"], found["auc"]) > (metrics["best_f1"], metrics["best_auc"]):
                    metrics = _best(epoch, found)
            if not rest or time.monotonic() - saved_s > settings.checkpoint_every_s:
                run.checkpoint(done, metrics).save(path)
                saved_s = time.monotonic()
    return net, metrics


def prepared(names: Iterable[str], data: Cache) -> list[str]:
    """Those that were not left out: the others show nothing to a network, and what they are labelled is missed."""
    return [name for name in names if name not in data.left_out]


def _validated(net: Yap2022, data: Cache, names: Sequence[str], settings: DatasetTrainSettings) -> dict[str, float]:
    """F1 of what is spotted in the videos that choose, with the levels that suit them."""
    watched = [watch(net, data, name, settings) for name in prepared(names, data)]
    choice = choose(watched, settings.spotting)
    micro, macro = choice.levels
    return {"f1": choice.f1, "auc": choice.auc, "micro": micro, "macro": macro}


def _best(epoch: int, found: dict[str, float]) -> dict[str, float]:
    return {"best_f1": found["f1"], "best_auc": found["auc"], "best_epoch": float(epoch)} | {
        name: found[name] for name in ("micro", "macro")
    }
