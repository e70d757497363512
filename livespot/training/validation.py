"""How well the network measures and judges on faces it was never shown."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from livespot.nets.yap2022 import Yap2022
from livespot.synth.pairs import Batch, face_cells


def roc_auc(scores: NDArray[np.float32], labels: NDArray[np.float32]) -> float:
    """Chance that a positive scores above a negative, ties counting half; both float32 (N,). NaN without either."""
    positive, negative = scores[labels > 0], np.sort(scores[labels == 0])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(below.mean() / 2 / len(negative))


def validate(net: Yap2022, samples: Sequence[Batch]) -> dict[str, float]:
    """Area under the ROC curve of each class over all samples; exactness of displacement."""
    net.eval()
    with torch.no_grad():
        features = [net.measure(torch.from_numpy(batch.clips)) for batch in samples]
        logits = np.concatenate([net.logits(part).numpy() for part in features])
        motion = np.concatenate([net.displacement_px(part).numpy() for part in features])
    net.train()
    labels = np.concatenate([batch.labels for batch in samples])
    truth = np.concatenate([batch.truth_px for batch in samples])
    on_face = face_cells() > 0.5
    truth, error = truth[..., on_face], (motion - truth)[..., on_face]
    return {
        "micro_auc": roc_auc(logits[:, 0], labels[:, 0]),
        "macro_auc": roc_auc(logits[:, 1], labels[:, 1]),
        "motion_r2": float(1 - (error**2).sum() / (truth**2).sum()),
        "motion_error_px": float(np.linalg.norm(error, axis=2).mean()),
    }
