"""livespot's own light two-stream 3D-CNN: it measures how skin has moved between frames, then judges where and when.

Input float32 (N, 5 pairs, 2 frames, 112, 112): local contrast normalised pairs (reference, newest), as `Yap2022` takes
two of them. Output (N, 2): micro, macro, at `LOOKAHEAD_S` before the newest frame.

    five pairs --separable blocks, shared--> features per cell --+--> displacement of the cell (taught, not exported)
                                                                 |
    near pairs: the micro stream --+                             |
    far pairs: the macro stream  --+-- joined per cell <---------+
                                   +-- a bias and a weight for each place, mean, residual dense --> micro, macro

What it has from Yap 2022: pairs against references at two distances, separable blocks whose weights are shared by the
streams, a residual dense layer. What is different, and why:
- Five references instead of two. Against one, a face that has moved and one that is moving back look alike; five lie on
  both sides of the judged moment, and tell leaving from returning.
- A stream joins its pairs at each cell before anything is pooled: a movement is one place over time.
- As in this project's `Yap2022`, pooling keeps place, and the true displacement is taught beside the judgement.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livespot.nets.yap2022 import Block, PairNetwork, ResidualDense
from livespot.records import ClipSpec

LOOKAHEAD_S = 0.4
CLIP = ClipSpec((0.1, 0.25, 0.5, 0.9, 1.6), lookahead_s=LOOKAHEAD_S)
"""The first pairs span the end of a micro-expression at the judged moment, its apex and its onset; the others a macro-
expression's."""
STREAMS = (slice(0, 3), slice(2, 5))
"""Pairs of the micro and of the macro stream."""


@dataclass(frozen=True)
class LightSettings:
    """Shape of the network."""

    stem_filters: int = 24
    blocks: tuple[Block, Block, Block] = (Block(32, 8, 4), Block(48, 5, 2), Block(64, 5, 1))
    """Those of `Yap2022`, narrower: five pairs have to cost what two do there."""
    joined: int = 64
    dense: int = 96
    dense_dropout: float = 0.1


class Light(PairNetwork):
    """Clips (N, 5, 2, 112, 112) to probabilities (N, 2), micro and macro."""

    def __init__(self, settings: LightSettings | None = None) -> None:
        settings = settings or LightSettings()
        super().__init__(CLIP, settings.stem_filters, settings.blocks, 0.0)
        third = settings.blocks[-1]
        self.motion = nn.Conv2d(third.features, 2, 1)
        self.streams = nn.ModuleList(
            nn.Conv2d((stream.stop - stream.start) * third.features, settings.joined, 1) for stream in STREAMS
        )
        places = (len(STREAMS) * settings.joined, self.cells, self.cells)
        self.place_bias = nn.Parameter(torch.zeros(places))
        self.place_weight = nn.Parameter(torch.randn(places))
        self.even_out = nn.BatchNorm1d(places[0])
        self.residual = ResidualDense(places[0], settings.dense, settings.dense_dropout)
        self.judge = nn.Linear(places[0], 2)

    def logits(self, features: Tensor) -> Tensor:
        """Judgement (N, 2) before the sigmoid."""
        judged: Tensor = self.judge(self.embedding(features))
        return judged

    def embedding(self, features: Tensor) -> Tensor:
        """The embedding that is judged, (N, `width`): all places and pairs of what `measure` gives."""
        apart = torch.relu(features).reshape(-1, self.pairs, *features.shape[1:])
        joined = [join(apart[:, of].flatten(1, 2)) for of, join in zip(STREAMS, self.streams, strict=True)]
        placed = torch.relu(torch.cat(joined, dim=1) + self.place_bias) * self.place_weight
        return torch.relu(self.residual(self.even_out(placed.mean((2, 3)))))

    @property
    def width(self) -> int:
        """Numbers that are judged by."""
        return int(self.judge.in_features)
