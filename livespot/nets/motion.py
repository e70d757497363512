"""A small causal network on regional motion: learned filters at the time scales of `motion.search`, read over time.

Input float32 (N, 85 channels, cells): a window of `motion.window`, which ends now. Output (N, 2): micro, macro, at
`lookahead_s` before its end.

    paths  --means over 1, 2, 4 .. 64 cells--  filters of 7 means each  --one layer--  read at several times  -->  2

A filter sums to zero over its means: where skin rests, and how far it has drifted, changes nothing. Filters are to
leaving and returning what those of `motion.search` are, but which regions move together, in which direction and against
what else, is learned. What they answer is compressed, since lips open ten times as far as a micro-expression moves.

Training reads every moment of long paths at once (`dense`); the exported network reads one moment from one window
(`forward`). Both are the same sums: a filter of 7 means over 2^l cells is a convolution with dilation 2^l of the means.
"""

from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

from livespot.records import MOTION_HZ, ClipSpec

DISPLACEMENTS, NOISES, HEAD, LIDS = 52, 26, 6, 1
"""The rows of `records.MOTION_CHANNELS`."""
MOVING = DISPLACEMENTS + HEAD + LIDS
"""What filters read; the errors tell how far to trust them."""

PERCENT = 100.0
"""Displacements are told to the network in % of the inter-ocular distance."""
NOISE_CELLS = 16
"""The errors are read as a mean over so many cells."""


@dataclass(frozen=True)
class MotionNetSettings:
    """Shape of the network."""

    levels: int = 7
    """Means over 20 ms to 1.28 s: the longest filter spans 9 s."""
    taps: int = 7
    filters: int = 16
    """At each level."""
    width: int = 64
    dilations: tuple[int, ...] = (4, 8, 16, 32)
    """In cells, of the layers that read over time: three moments each."""
    dropout: float = 0.1
    lookahead_s: float = 0.4


class MotionNet(nn.Module):
    """Paths (N, 85, T) to probabilities.

    Of several `members` each has its own channels of every layer, which are groups, and their judgements are averaged.
    """

    def __init__(self, settings: MotionNetSettings | None = None, members: int = 1) -> None:
        super().__init__()
        self.settings = settings = settings or MotionNetSettings()
        self.members = members
        filters, width = members * settings.filters, members * settings.width
        self.filters = nn.ParameterList(
            nn.Parameter(torch.randn(filters, MOVING, settings.taps) / (MOVING * settings.taps) ** 0.5)
            for _ in range(settings.levels)
        )
        self.trust = nn.Conv1d(NOISES, filters, 1)
        self.join = nn.Conv1d((settings.levels + 1) * filters, width, 1, groups=members)
        self.over_time = nn.ModuleList(_OverTime(width, settings.dropout, members) for _ in settings.dilations)
        self.judge = nn.Conv1d(width, 2 * members, 1, groups=members)

    @property
    def clip(self) -> ClipSpec:
        """What it is fed."""
        return ClipSpec((), motion_s=self.cells / MOTION_HZ, lookahead_s=self.settings.lookahead_s)

    @property
    def cells(self) -> int:
        """Cells that one judgement depends on."""
        longest: int = 2 ** (self.settings.levels - 1)
        return self.settings.taps * longest + self._reach

    def judged(self, length: int) -> slice:
        """The cells that `dense` judges in paths of `length` cells: one for every window.

        The judged moment lies `lookahead_s` before the newest frame, which comes less than a cell after a window's end:

            |----|----|----|judg|----|..   newest frame
                           <---------->    look-ahead of two cells
        """
        first = min(self.cells - round(self.settings.lookahead_s * MOTION_HZ), self.cells - 1)
        return slice(first, first + length - self.cells + 1)

    @property
    def width(self) -> int:
        """Numbers that are judged by."""
        return self.members * self.settings.width

    @property
    def _reach(self) -> int:
        return 2 * sum(self.settings.dilations)

    def dense(self, paths: Tensor) -> Tensor:
        """Judgements (N, 2, T - cells + 1) before the sigmoid, of all moments whose window lies in paths (N, 85, T)."""
        moving, length = _moving(paths), paths.shape[-1]
        answers = []
        for level, taps in enumerate(self.filters):
            wide = 2**level
            means = functional.avg_pool1d(moving, wide, 1)
            answers.append(_last(functional.conv1d(means, _zero_sum(taps), dilation=wide), length))
        trust = _last(self.trust(functional.avg_pool1d(_noise(paths), NOISE_CELLS, 1)), length)
        return self._judged(self._read(answers, trust, [(dilation, 1) for dilation in self.settings.dilations]))

    def forward(self, window: Tensor) -> Tensor:
        """Probabilities (N, 2) at the end of windows (N, 85, cells)."""
        return torch.sigmoid(self.logits(self.embedding(window)))

    def embedding(self, window: Tensor) -> Tensor:
        """The embedding that is judged at the end of windows (N, 85, cells): (N, `width`)."""
        moving = _moving(window)
        step = self.settings.dilations[0]
        moments = self._reach // step + 1
        answers = []
        means = moving
        for level, taps in enumerate(self.filters):
            wide = 2**level
            if wide < step:
                recent = moving[:, :, -(step * (moments - 1) + self.settings.taps * wide) :]
                near = functional.avg_pool1d(recent, wide, 1)
                answers.append(functional.conv1d(near, _zero_sum(taps), stride=step, dilation=wide))
            else:  # from here on, what is read lies on a grid of whole steps
                means = _wider(means, wide // step // 2) if wide > step else functional.avg_pool1d(moving, step)
                apart = wide // step
                recent = means[:, :, -(moments + (self.settings.taps - 1) * apart) :]
                answers.append(functional.conv1d(recent, _zero_sum(taps), dilation=apart))
        noise = _noise(window[:, :, -(self._reach + NOISE_CELLS) :])
        trust = self.trust(functional.avg_pool1d(noise, NOISE_CELLS, step))
        return self._read(answers, trust, strides(self.settings))[:, :, -1]

    def logits(self, embedding: Tensor) -> Tensor:
        """Judgement (N, 2) before the sigmoid, of an embedding."""
        return self._judged(embedding[:, :, None])[:, :, 0]

    def _read(self, answers: list[Tensor], trust: Tensor, reads: list[tuple[int, int]]) -> Tensor:
        shortest = min(map(_length, (*answers, trust)))
        answered = torch.cat([_last(part, shortest) for part in answers], dim=1)
        heard = torch.cat([_compressed(answered), _last(trust, shortest)], dim=1)
        features = torch.relu(self.join(self._by_member(heard)))
        for layer, (dilation, stride) in zip(self.over_time, reads, strict=True):
            features = layer(features, dilation, stride)
        return features

    def _judged(self, features: Tensor) -> Tensor:
        judged: Tensor = self.judge(features)
        return judged if self.members == 1 else judged.reshape(-1, self.members, 2, _length(judged)).mean(dim=1)

    def _by_member(self, heard: Tensor) -> Tensor:
        """What was heard (N, levels x members x filters, T), level by level, as all of one member before the next."""
        if self.members == 1:
            return heard
        apart = heard.reshape(-1, self.settings.levels + 1, self.members, self.settings.filters, _length(heard))
        return apart.transpose(1, 2).reshape(-1, int(heard.shape[1]), _length(heard))


def strides(settings: MotionNetSettings) -> list[tuple[int, int]]:
    """Of each layer over time, dilation and stride in the moments that it is given; the first are a step apart.

    Only every so many of its moments are read by the layers after it, counted back from the newest.
    """
    apart = settings.dilations[0]
    reads = []
    for place, dilation in enumerate(settings.dilations):
        wanted = gcd(*settings.dilations[place + 1 :]) or apart
        stride = wanted // apart if wanted % apart == 0 else 1
        reads.append((dilation // apart, stride))
        apart *= stride
    return reads


class _OverTime(nn.Module):
    """What was, is added to what is."""

    def __init__(self, width: int, dropout: float, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.kernel = nn.Parameter(torch.randn(width, width // groups, 3) / (3 * width // groups) ** 0.5)
        self.mix = nn.Conv1d(width, width, 1, groups=groups)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, dilation: int, stride: int) -> Tensor:
        """Shorter by twice the dilation, and of that every so many moments, the newest among them."""
        if left_over := (_length(features) - 2 * dilation - 1) % stride:
            features = features[:, :, left_over:]
        changed = functional.conv1d(features, self.kernel, dilation=dilation, stride=stride, groups=self.groups)
        changed = torch.relu(self.norm(changed))
        added: Tensor = features[:, :, 2 * dilation :: stride] + self.dropout(self.mix(changed))
        return added


def _moving(paths: Tensor) -> Tensor:
    """Displacement, head and lids, in % and hundredths."""
    displacement, _, rest = torch.split(paths, [DISPLACEMENTS, NOISES, HEAD + LIDS], dim=1)
    return PERCENT * torch.cat((displacement, rest), dim=1)


def _noise(paths: Tensor) -> Tensor:
    """Logarithm of the errors in %; where none is told, of a hundredth."""
    return torch.log(PERCENT * paths[:, DISPLACEMENTS : DISPLACEMENTS + NOISES].clamp(min=0) + 0.01)


def _wider(means: Tensor, apart: int) -> Tensor:
    """Means over twice as many cells."""
    return (means[:, :, apart:] + means[:, :, :-apart]) / 2


def _zero_sum(taps: Tensor) -> Tensor:
    return taps - taps.mean(dim=-1, keepdim=True)


def _compressed(answer: Tensor) -> Tensor:
    """The area hyperbolic sine of four times the answer; ONNX's has no exporter."""
    size = 4 * answer.abs()
    return answer.sign() * torch.log(size + torch.sqrt(size * size + 1))


def _last(part: Tensor, length: int) -> Tensor:
    return part if length >= _length(part) else part[:, :, _length(part) - length :]


def _length(part: Tensor) -> int:
    """As a plain number: an exported network reads windows of one length, and need not work it out each time."""
    return int(part.shape[-1])
