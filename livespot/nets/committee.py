"""Several networks on motion, alike but for their seeds, as one: their judgements are averaged before the sigmoid.

What one of them takes for an expression by chance the others seldom do, so false alarms fall most.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from livespot.errors import LivespotError
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.motion import MotionNet, MotionNetSettings
from livespot.records import ClipSpec


class MotionCommittee(nn.Module):
    """Paths (N, 85, T) to probabilities, as `MotionNet`."""

    def __init__(self, settings: MotionNetSettings, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(MotionNet(settings) for _ in range(members))

    @property
    def clip(self) -> ClipSpec:
        """What it is fed."""
        return self._first.clip

    @property
    def cells(self) -> int:
        """Cells that one judgement depends on."""
        return self._first.cells

    def judged(self, length: int) -> slice:
        """The cells that `dense` judges in paths of `length` cells."""
        return self._first.judged(length)

    def dense(self, paths: Tensor) -> Tensor:
        """Judgements (N, 2, T - cells + 1) before the sigmoid."""
        return torch.stack([member.dense(paths) for member in self._all]).mean(dim=0)

    def forward(self, window: Tensor) -> Tensor:
        """Probabilities (N, 2) at the end of windows (N, 85, cells)."""
        return torch.sigmoid(torch.stack([member.newest(window) for member in self._all]).mean(dim=0))

    @property
    def _all(self) -> list[MotionNet]:
        return [member for member in self.members if isinstance(member, MotionNet)]

    @property
    def _first(self) -> MotionNet:
        return self._all[0]


def join(paths: Sequence[Path]) -> Checkpoint:
    """The checkpoint of a committee of those of `paths`, at least two, whose runs differ in their seeds alone.

    Raises LivespotError where they differ in more, are the same, or are of other networks.
    """
    kept = [Checkpoint.load(path) for path in paths]
    first, seeds = kept[0], [int(one.settings["seed"]) for one in kept]
    for path, one in zip(paths, kept, strict=True):
        if one.settings.get("network") != "motion" or one.seeds:
            raise LivespotError(f"{path} is no single network on motion: only those can be joined")
        if _but_seed(one) != _but_seed(first):
            raise LivespotError(f"{path} was trained by other settings or on other faces than {paths[0]}")
    if len(set(seeds)) < max(len(seeds), 2):
        raise LivespotError(f"the seeds are {', '.join(map(str, seeds))}: give at least two runs, of a seed each")
    weights = {
        f"members.{place}.{name}": value for place, one in enumerate(kept) for name, value in one.weights.items()
    }
    return replace(first, weights=weights, optimiser={}, random=None, metrics={}, seeds=seeds)


def _but_seed(kept: Checkpoint) -> tuple[dict[str, Any], dict[str, list[str]]]:
    return {name: value for name, value in kept.settings.items() if name != "seed"}, kept.split
