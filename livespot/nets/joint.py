"""Appearance and motion as two streams of one network: what `Light` and `MotionNet` judge by, judged together.

Inputs: clips float32 (N, 5, 2, 112, 112), as `nets.light`; motion float32 (N, 85, cells), as `nets.motion`.
Output (N, 2): micro, macro, at the look-ahead of both before the newest frame.

    clips   --Light-->      128 numbers --+-- evened out, two layers --+
                                          |                            |
    motion  --MotionNet-->  64 numbers  --+                           (+)--> micro, macro
                                  `----- the judgement of motion ------+

Both streams are trained before, each on what it learns most from: portraits that are warped, and motion that
expressions are pasted into, which pictures do not allow. They stay as they are; learned is what is added to motion's
judgement, and before anything is learned that is nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livespot.nets.light import Light
from livespot.nets.motion import MotionNet
from livespot.records import ClipSpec


@dataclass(frozen=True)
class JointSettings:
    """Shape of what joins both streams."""

    hidden: int = 32
    dropout: float = 0.5


class Joint(nn.Module):
    """Clips (N, 5, 2, 112, 112) and motion (N, 85, cells) to probabilities (N, 2), micro and macro."""

    def __init__(self, light: Light, motion: MotionNet, settings: JointSettings | None = None) -> None:
        """Raises ValueError where the streams judge different moments."""
        super().__init__()
        settings = settings or JointSettings()
        if light.clip.lookahead_s != motion.clip.lookahead_s:
            looks = f"{light.clip.lookahead_s:g} and {motion.clip.lookahead_s:g} s"
            raise ValueError(f"the streams look ahead {looks}; expected both alike")
        self.light, self.motion = light.requires_grad_(False), motion.requires_grad_(False)
        width = light.width + motion.width
        self.even_out = nn.BatchNorm1d(width, affine=False)
        self.narrow = nn.Linear(width, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.judge = nn.Linear(settings.hidden, 2)
        nn.init.zeros_(self.judge.weight)
        nn.init.zeros_(self.judge.bias)

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

    def forward(self, clips: Tensor, motion: Tensor) -> Tensor:
        """Probabilities."""
        return torch.sigmoid(self.logits(self.gathered(clips, motion)))

    def gathered(self, clips: Tensor, motion: Tensor) -> Tensor:
        """What both streams judge by, (N, their widths)."""
        return torch.cat((self.light.gathered(self.light.measure(clips)), self.motion.gathered(motion)), dim=1)

    def logits(self, gathered: Tensor) -> Tensor:
        """Judgement (N, 2) before the sigmoid, of what `gathered` gives."""
        added: Tensor = self.judge(self.dropout(torch.relu(self.narrow(self.even_out(gathered)))))
        return self.motion.logits(gathered[:, self.light.width :]) + added
