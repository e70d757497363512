"""The losses: equation 2 of Yap 2022, and the true displacement as a second teacher; every moment of long paths."""

import torch
from torch import Tensor
from torch.nn import functional

from livespot.synth.pairs import face_cells
from livespot.training.settings import TrainSettings


def judgement_loss(logits: Tensor, labels: Tensor, visible_iod: Tensor, settings: TrainSettings) -> Tensor:
    """Equation 2 of logits and labels (N, 2), where what nobody could see counts less; visible_iod (N,)."""
    unseen = (labels > 0) & (visible_iod < settings.visible_iod)[:, None]
    weight = torch.where(unseen, settings.invisible_weight, 1.0)
    return (weighted_loss(logits, labels, settings.class_weights, settings.positive_weight) * weight).mean()


def weighted_loss(logits: Tensor, labels: Tensor, class_weights: tuple[float, float], positive_weight: float) -> Tensor:
    """Weighted binary cross-entropy (N, 2) of logits and labels (N, 2), M = `class_weights`, W = `positive_weight`.

    Equation 2 with the sign of its second term corrected: - sum_i M_i [W t_i log s_i + (1 - t_i) log(1 - s_i)].
    """
    loss = functional.binary_cross_entropy_with_logits(
        logits, labels, pos_weight=torch.tensor(positive_weight, device=logits.device), reduction="none"
    )
    return loss * torch.tensor(class_weights, device=logits.device)


def motion_loss(motion_px: Tensor, truth_px: Tensor, settings: TrainSettings) -> Tensor:
    """Smooth L1 between measured and true displacement (N, streams, 2, cells, cells) in px, on the face alone."""
    knee_px = settings.motion_knee_px
    loss = functional.smooth_l1_loss(motion_px, truth_px, beta=knee_px, reduction="none")
    face = torch.from_numpy(face_cells())
    return settings.motion_weight * (loss * face).mean() / face.mean()


def moments_loss(logits: Tensor, labels: Tensor, weights: Tensor, positive_weight: tuple[float, float]) -> Tensor:
    """Weighted binary cross-entropy of logits (N, 2, T), labels (N, T, 2) and weights of moments (N, T)."""
    positive = torch.tensor(positive_weight, device=logits.device)[:, None]
    loss = functional.binary_cross_entropy_with_logits(logits, labels.mT, pos_weight=positive, reduction="none")
    return (loss * weights[:, None]).mean()
