"""Yap 2022: two-stream 3D-CNN with temporal reference frames (https://doi.org/10.1145/3503161.3551570).

Input float32 (N, 2 streams, 2 frames, 112, 112): local contrast normalised pairs (reference, current) of k_micro and
k_macro. Output (N, 2): micro, macro. Both streams share all weights.

    pair -> three depthwise-separable blocks -> global average pooling --+
    pair -> three depthwise-separable blocks -> global average pooling --+-> residual dense -> micro, macro

Where this differs from the paper:
- The pair is (past, current), not (current, future): no look-ahead.
- Normalisation runs before the network, once a frame, not once a pair.
- A kernel over both frames of a pair without padding in time is a 2-D convolution of a two-channel picture. It is
  written as one: the same numbers, three times as fast. After it no time axis is left.
- Global average pooling forgets where a face moved. Here every feature has a learned bias and a learned weight for each
  place: it can answer to brows alone or to lip corners alone. Pooling is still one mean over space per feature. On true
  displacements instead of measured ones, 600 steps gave an area under the ROC curve of .84 (micro) and .88 (macro)
  with it, .60 and .78 without. The pooled means are small and uneven, so batch normalisation follows them.
- In training the last feature map is also asked for the true displacement of the skin (`motion`): the network is taught
  to measure before it judges. That head is not part of the exported network.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livespot.records import CROP_PX, ClipSpec

CLIP = ClipSpec()
"""Test-time distances: 6 and about 19 to 24 frames at 30 fps, the paper's k-th frames for CAS(ME)2."""


DIFFERENCE_GAIN = 2.0
"""The first kernels see mean and difference of the two frames: the same functions as on the frames themselves, but a
faint motion, a few per cent of either frame, is not lost among what both share. The gain evens out their contrast."""


@dataclass(frozen=True)
class Block:
    """One depthwise-separable convolution."""

    features: int
    kernel_px: int
    stride_px: int


@dataclass(frozen=True)
class Yap2022Settings:
    """What the paper leaves open. It publishes no channels, kernels, strides, dropout or dense width."""

    stem_filters: int = 32
    """Space-time filters on the grey pair: several orientations, scales and phases of moving edges."""
    blocks: tuple[Block, Block, Block] = (Block(48, 8, 4), Block(64, 5, 2), Block(128, 5, 1))
    """Stride 4 at once: half of the cost lies in the first block. 8 px kernels see edges move by up to 4 px there,
    the next by 20. The last map has 14x14 cells of 8 px, fine enough to tell a brow from a lid."""
    dense: int = 128
    """Half of the pooled features of both streams: a bottleneck, as in ResNet."""
    dropout: float = 0.0
    """In the blocks: none, since synthesised samples never repeat and dropped features spoil what they measure."""
    dense_dropout: float = 0.1
    """In the residual dense layer, where few numbers decide."""


class SeparableBlock(nn.Module):
    """Depthwise, then pointwise convolution, each with batch normalisation and ReLU as in MobileNet; then dropout.

    Every filter of the `first` block spans both frames of the one grey picture. The last ReLU is left to the caller.
    """

    def __init__(self, inputs: int, filters: int, block: Block, dropout: float, first: bool = False) -> None:
        super().__init__()
        padding = (block.kernel_px - 1) // 2
        groups = 1 if first else inputs
        self.depthwise = nn.Sequential(
            nn.Conv2d(inputs, filters, block.kernel_px, block.stride_px, padding, groups=groups, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        )
        self.pointwise = nn.Sequential(
            nn.Conv2d(filters, block.features, 1, bias=False), nn.BatchNorm2d(block.features)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Features before their activation."""
        features: Tensor = self.dropout(self.pointwise(self.depthwise(x)))
        return features


class PairNetwork(nn.Module):
    """Three blocks that measure every pair of frames, with the same weights for all; `motion` tells what they see."""

    motion: nn.Conv2d
    """Training only: features of a cell to its displacement."""

    def __init__(self, clip: ClipSpec, stem_filters: int, blocks: tuple[Block, Block, Block], dropout: float) -> None:
        super().__init__()
        first, second, third = blocks
        self.clip, self.pairs = clip, len(clip.references_s)
        self.first = SeparableBlock(2, stem_filters, first, dropout, first=True)
        self.second = SeparableBlock(first.features, first.features, second, dropout)
        self.third = SeparableBlock(second.features, second.features, third, dropout)
        self.cells = CROP_PX // (first.stride_px * second.stride_px * third.stride_px)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (N, pairs, 2, 112, 112) to probabilities (N, 2), micro and macro."""
        return torch.sigmoid(self.logits(self.measure(clips)))

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Judgement (N, 2) before the sigmoid, of what `measure` gives."""

    def measure(self, clips: Tensor) -> Tensor:
        """Last feature map before its activation, (N * pairs, features, cells, cells), of (N, pairs, 2, 112, 112)."""
        reference, current = torch.split(clips.flatten(0, 1), 1, dim=1)  # (N * pairs, 1, 112, 112) each
        pairs = torch.cat(((reference + current) / 2, DIFFERENCE_GAIN * (current - reference)), dim=1)
        pairs = torch.relu(self.first(pairs))  # (.., 28, 28)
        pairs = torch.relu(self.second(pairs))  # (.., 14, 14)
        features: Tensor = self.third(pairs)
        return features

    def displacement_px(self, features: Tensor) -> Tensor:
        """Training only: displacement (N, pairs, 2, cells, cells) from reference to current frame."""
        motion: Tensor = self.motion(features)
        return motion.reshape(-1, self.pairs, *motion.shape[1:])


class ResidualDense(nn.Module):
    """Two fully connected layers with a skip."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        changed: Tensor = x + self.layers(x)
        return changed


class Yap2022(PairNetwork):
    """Clips (N, 2, 2, 112, 112) to probabilities (N, 2), micro and macro."""

    def __init__(self, settings: Yap2022Settings | None = None, clip: ClipSpec = CLIP) -> None:
        settings = settings or Yap2022Settings()
        super().__init__(clip, settings.stem_filters, settings.blocks, settings.dropout)
        third = settings.blocks[-1]
        places = (third.features, self.cells, self.cells)
        self.place_bias = nn.Parameter(torch.zeros(places))
        self.place_weight = nn.Parameter(torch.randn(places))
        pooled = len(CLIP.references_s) * third.features
        self.even_out = nn.BatchNorm1d(pooled)
        self.residual = ResidualDense(pooled, settings.dense, settings.dense_dropout)
        self.judge = nn.Linear(pooled, 2)
        self.motion = nn.Conv2d(third.features, 2, 1)

    def logits(self, features: Tensor) -> Tensor:
        """Judgement (N, 2) before the sigmoid."""
        placed = torch.relu(features + self.place_bias) * self.place_weight
        pooled = placed.mean((2, 3))  # (N * streams, features)
        both = self.even_out(pooled.reshape(-1, self.judge.in_features))  # (N, streams * features)
        judged: Tensor = self.judge(torch.relu(self.residual(both)))
        return judged
