"""Several trained networks on motion, alike but for their seeds, become one: their judgements are averaged.

What one of them takes for an expression by chance the others seldom do, so false alarms fall most. Each layer of the
joined network has the channels of all, as groups: one graph, with no more operations in it than that of one.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from livespot.errors import LivespotError
from livespot.nets.checkpoint import Checkpoint


def join(paths: Sequence[Path]) -> Checkpoint:
    """One checkpoint of those of `paths`, at least two, whose runs differ in their seeds alone.

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
        name: value if value.dim() == 0 else torch.cat([one.weights[name] for one in kept])  # counts of batches are one
        for name, value in first.weights.items()
    }
    return replace(first, weights=weights, optimiser={}, random=None, metrics={}, seeds=seeds)


def _but_seed(kept: Checkpoint) -> tuple[dict[str, Any], dict[str, list[str]]]:
    return {name: value for name, value in kept.settings.items() if name != "seed"}, kept.split
