"""Appearance and motion as two streams of one network: the embeddings of `Light` and of `MotionNet`, judged together.

Inputs: clips float32 (N, 5, 2, 112, 112), as `nets.light`; motion float32 (N, 85, cells), as `nets.motion`.
Output (N, 2): micro, macro, at the look-ahead of both before the newest frame.

    clips   --Light-->      128 --------------------+-- standardised, two layers --+
                                                    |                              |
    motion  --MotionNet-->  64 for each member  ----+                             (+)--> micro, macro
                                   `-- the judgement of motion --------------------+

This project's own; of no paper. Both streams are trained before, each on what it learns most from: portraits that are
warped, and motion that expressions are pasted into, which pictures do not allow. They stay as they are. Learned is what
is added to motion's judgement, and before anything is learned that is nothing. Like every network on pairs it is silent
until a face has been watched for as long as its farthest reference.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livespot.nets.light import Light
from livespot.nets.motion import MotionNet
from livespot.records import ClipSpec

MOST = 5.0
"""Standard deviations that a number of an embedding may be from its mean: one that hardly varied in training would
outshout all others where it does."""


@dataclass(frozen=True)
class JointSettings:
    """Shape of what joins both streams."""

    hidden: int = 32
    dropout: float = 0.5


class Joint(nn.Module):
    """Clips (N, 5, 2, 112, 112) and motion (N, 85, cells) to probabilities (N, 2), micro and macro."""

    def __init__(self, light: Light, motion: MotionNet, settings: JointSettings | None = None) -> None:
        """Both streams are frozen as they are. Raises ValueError where they judge different moments."""
        super().__init__()
        settings = settings or JointSettings()
        if light.clip.lookahead_s != motion.clip.lookahead_s:
            looks = f"{light.clip.lookahead_s:g} and {motion.clip.lookahead_s:g} s"
            raise ValueError(f"the streams look ahead {looks}; expected both alike")
        self.light, self.motion = light.requires_grad_(False), motion.requires_grad_(False)
        width = light.width + motion.width
        self.standardise = nn.BatchNorm1d(width, affine=False)
        self.hidden = nn.Linear(width, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.judge = nn.Linear(settings.hidden, 2)
        nn.init.zeros_(self.judge.weight)
        nn.init.zeros_(self.judge.bias)
        self.train()

    def train(self, mode: bool = True) -> "Joint":
        """The streams stay as they judge."""
        super().train(mode)
        self.light.eval()
        self.motion.eval()
        return self

    @property
    def clip(self) -> ClipSpec:
        """What it is fed: as much as both streams."""
        light, motion = self.light.clip, self.motion.clip
        return ClipSpec(light.references_s, motion_s=motion.motion_s, lookahead_s=light.lookahead_s)

    @property
    def width(self) -> int:
        """Numbers that are judged by."""
        return self.light.width + self.motion.width

    def forward(self, clips: Tensor, motion: Tensor) -> Tensor:
        """Probabilities."""
        return torch.sigmoid(self.logits(self.embedding(clips, motion)))

    def embedding(self, clips: Tensor, motion: Tensor) -> Tensor:
        """Those of both streams side by side, (N, `width`)."""
        return torch.cat((self.light.embedding(self.light.measure(clips)), self.motion.embedding(motion)), dim=1)

    def logits(self, embedding: Tensor) -> Tensor:
        """Judgement (N, 2) before the sigmoid, of an embedding."""
        standard = self.standardise(embedding).clamp(-MOST, MOST)
        added: Tensor = self.judge(self.dropout(torch.relu(self.hidden(standard))))
        return self.motion.logits(embedding[:, self.light.width :]) + added
