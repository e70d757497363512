"""Several networks on motion, alike but for their seeds, as one: their judgements are averaged before the sigmoid.

What one of them takes for an expression by chance the others seldom do, so false alarms fall most.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from livespot.errors import LivespotError
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.motion import MotionNet, MotionNetSettings, aligned, compressed, every, listen, strides
from livespot.records import ClipSpec

NORM = ("running_mean", "running_var", "weight", "bias")
"""What batch normalisation takes, in its order."""


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
        """Probabilities (N, 2) at the end of windows (N, 85, cells).

        The members' layers are groups of one: to run them one after the other would cost twice as much as one.
        """
        members, count = self._all, len(self.members)
        settings = self._first.settings
        levels = zip(*(member.filters for member in members), strict=True)
        answers, noise = listen(window, [torch.cat(level) for level in levels], settings)
        parts = aligned([*answers, _grouped(noise, [member.trust for member in members], 1)])
        heard = _by_member([compressed(torch.cat(parts[:-1], dim=1)), parts[-1]], count, settings.filters)
        features = torch.relu(_grouped(heard, [one.join for one in members], count))
        layers = zip(*(member.over_time for member in members), strict=True)
        for layer, (dilation, stride) in zip(layers, strides(settings), strict=True):
            features = every(features, dilation, stride)
            kernel = torch.cat([one.kernel for one in layer])
            changed = functional.conv1d(features, kernel, dilation=dilation, stride=stride, groups=count)
            changed = torch.relu(_normalised(changed, [one.norm for one in layer]))
            features = features[:, :, 2 * dilation :: stride] + _grouped(changed, [one.mix for one in layer], count)
        judged = _grouped(features[:, :, -1:], [member.judge for member in members], count)
        return torch.sigmoid(judged.reshape(-1, count, 2).mean(dim=1))

    @property
    def _all(self) -> list[MotionNet]:
        return [member for member in self.members if isinstance(member, MotionNet)]

    @property
    def _first(self) -> MotionNet:
        return self._all[0]


def _grouped(features: Tensor, layers: Sequence[nn.Conv1d], groups: int) -> Tensor:
    """What the layers, each of kernel 1, give of their own part of the channels; of all channels with one group."""
    weight, bias = torch.cat([one.weight for one in layers]), torch.cat([_bias(one) for one in layers])
    return functional.conv1d(features, weight, bias, groups=groups)


def _by_member(parts: list[Tensor], members: int, filters: int) -> Tensor:
    """Parts (N, levels x members x filters, T) as one, all levels of the first member before those of the next."""
    together = torch.cat(parts, dim=1)
    levels, moments = int(together.shape[1]) // (members * filters), int(together.shape[2])
    apart = together.reshape(-1, levels, members, filters, moments).transpose(1, 2)
    return apart.reshape(-1, members * levels * filters, moments)


def _normalised(features: Tensor, norms: Sequence[nn.BatchNorm1d]) -> Tensor:
    """What each norm makes of its own part of the channels."""
    mean, variance, weight, bias = (torch.cat([getattr(one, name) for one in norms]) for name in NORM)
    return functional.batch_norm(features, mean, variance, weight, bias, eps=norms[0].eps)


def _bias(layer: nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


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
