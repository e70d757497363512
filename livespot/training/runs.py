"""What every training run does, whatever it trains: a folder, a split, a learning rate, and words on how it goes."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from pydantic import BaseModel
from rich.console import Console
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from livespot.errors import SettingsError
from livespot.nets.checkpoint import Checkpoint


class Course(Protocol):
    """What a learning rate depends on."""

    @property
    def steps(self) -> int:
        """Of the whole run."""

    @property
    def warmup_steps(self) -> int:
        """At its beginning."""


def schedule(step: int, course: Course) -> float:
    """Share of the learning rate: a linear start, then a cosine to zero."""
    warm = min(1.0, (step + 1) / course.warmup_steps)
    return warm * (0.5 + 0.5 * math.cos(math.pi * step / course.steps))


def make_folder(out: Path) -> None:
    """Raises SettingsError where `out` can be no folder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out {out} can be no folder: {error.strerror}; give another") from None


def split_faces(names: list[str], unseen: int) -> dict[str, list[str]]:
    """The last `unseen` faces are for validation."""
    if unseen >= len(names):
        raise SettingsError(
            f"validation_faces is {unseen} of {len(names)} portraits: none is left to train on; give more portraits, "
            "or a smaller number"
        )
    return {"training": names[:-unseen], "validation": names[-unseen:]}


@dataclass(frozen=True)
class Run:
    """What one run is of: it goes on from its checkpoint, and from no other's."""

    net: nn.Module
    optimiser: torch.optim.Optimizer
    settings: BaseModel
    split: dict[str, list[str]]
    commit: str

    def checkpoint(self, step: int, metrics: dict[str, float]) -> Checkpoint:
        """The run after so many steps."""
        return Checkpoint(
            step=step,
            weights=self.net.state_dict(),
            optimiser=self.optimiser.state_dict(),
            random=torch.get_rng_state(),
            settings=self.settings.model_dump(),
            split=self.split,
            metrics=metrics,
            commit=self.commit,
        )

    def resume(self, path: Path) -> tuple[int, dict[str, float]]:
        """Be as it was after the steps that are told, with the figures of its last validation.

        Raises SettingsError where the checkpoint belongs to another run.
        """
        kept = Checkpoint.load(path)
        if kept.settings != self.settings.model_dump() or kept.split != self.split:
            raise SettingsError(
                f"{path} belongs to a run with other settings, networks or faces: give another --out, or delete it"
            )
        self.net.load_state_dict(kept.weights)
        self.optimiser.load_state_dict(kept.optimiser)
        torch.set_rng_state(kept.random)
        return kept.step, kept.metrics


class Log:
    """Figures of a run: on the screen with the time that is left, in metrics.jsonl, and as curves for TensorBoard.

    A context manager. A run that goes on from step `first` goes on with both files. Of several at once each has a name.
    """

    def __init__(self, out: Path, first: int, steps: int, name: str = "") -> None:
        self._out, self._first, self._steps = out, first, steps
        self._name = f"{name}  " if name else ""
        self._console, self._begun_s = Console(), time.monotonic()

    def __enter__(self) -> "Log":
        # What an earlier part of the run told beyond its last checkpoint is told again.
        self._curves = SummaryWriter(str(self._out / "curves"), purge_step=self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._curves.close()

    def tell(self, step: int, figures: dict[str, float]) -> None:
        """Figures after so many steps."""
        words = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        left = time_left(self._left_s(step)) if step > self._first else ""
        told = f"{self._name}step {step}/{self._steps}  {words}  {left}".rstrip()
        self._console.print(told, highlight=False, markup=False, soft_wrap=True)
        with (self._out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        for name, value in figures.items():
            self._curves.add_scalar(name, value, step)

    def _left_s(self, step: int) -> float:
        return (time.monotonic() - self._begun_s) / max(step - self._first, 1) * (self._steps - step)


def time_left(seconds: float) -> str:
    """In words."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min left" if minutes >= 60 else f"{minutes} min left"
