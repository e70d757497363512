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
    """Paths (N, 85, T) to probabilities."""

    def __init__(self, settings: MotionNetSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or MotionNetSettings()
        self.filters = nn.ParameterList(
            nn.Parameter(torch.randn(settings.filters, MOVING, settings.taps) / (MOVING * settings.taps) ** 0.5)
            for _ in range(settings.levels)
        )
        self.trust = nn.Conv1d(NOISES, settings.filters, 1)
        self.join = nn.Conv1d((settings.levels + 1) * settings.filters, settings.width, 1)
        self.over_time = nn.ModuleList(_OverTime(settings.width, settings.dropout) for _ in settings.dilations)
        self.judge = nn.Conv1d(settings.width, 2, 1)

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
        return self._judged(answers, trust, self.settings.dilations)

    def forward(self, window: Tensor) -> Tensor:
        """Probabilities (N, 2) at the end of windows (N, 85, cells)."""
        return torch.sigmoid(self.newest(window))

    def newest(self, window: Tensor) -> Tensor:
        """Judgements (N, 2) before the sigmoid at the end of windows (N, 85, cells)."""
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
        judged = self._judged(answers, trust, tuple(one // step for one in self.settings.dilations))
        return judged[:, :, -1]

    def _judged(self, answers: list[Tensor], trust: Tensor, dilations: tuple[int, ...]) -> Tensor:
        shortest = min(part.shape[-1] for part in (*answers, trust))
        heard = torch.cat([_compressed(_last(part, shortest)) for part in answers] + [_last(trust, shortest)], dim=1)
        features = torch.relu(self.join(heard))
        for layer, dilation in zip(self.over_time, dilations, strict=True):
            features = layer(features, dilation)
        judged: Tensor = self.judge(features)
        return judged


class _OverTime(nn.Module):
    """What was, is added to what is."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(width, width, 3) / (3 * width) ** 0.5)
        self.mix = nn.Conv1d(width, width, 1)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, dilation: int) -> Tensor:
        """Shorter by twice the dilation."""
        changed = torch.relu(self.norm(functional.conv1d(features, self.kernel, dilation=dilation)))
        added: Tensor = features[:, :, 2 * dilation :] + self.dropout(self.mix(changed))
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
    return part[:, :, part.shape[-1] - min(length, part.shape[-1]) :]
