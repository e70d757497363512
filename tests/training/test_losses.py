from pathlib import Path

import numpy as np
import pytest
import torch

from livespot.training.losses import judgement_loss, moments_loss, motion_loss
from livespot.training.settings import TrainSettings, load_train_settings
from livespot.training.validation import roc_auc

SETTINGS = load_train_settings(Path(__file__).parents[2] / "configs" / "train" / "yap2022.yaml", TrainSettings)
SEEN = torch.tensor([1.0])


def weighted(**changes: object) -> TrainSettings:
    return SETTINGS.model_copy(update=changes)


def test_equation_2_with_its_sign_corrected() -> None:
    logits, labels = torch.tensor([[0.4, -1.2]]), torch.tensor([[1.0, 0.0]])
    s = torch.sigmoid(logits)[0]
    loss = judgement_loss(logits, labels, SEEN, weighted(class_weights=(0.9, 0.1), positive_weight=3.0))
    assert loss.item() == pytest.approx(-(0.9 * 3 * np.log(s[0]) + 0.1 * np.log(1 - s[1])).item() / 2, rel=1e-5)


def test_an_event_that_nobody_could_see_counts_less() -> None:
    logits, labels = torch.tensor([[-2.0, -30.0]]), torch.tensor([[1.0, 0.0]])
    seen, unseen = (judgement_loss(logits, labels, torch.tensor([v]), SETTINGS) for v in (0.02, 0.0))
    assert (unseen / seen).item() == pytest.approx(SETTINGS.invisible_weight)


def test_motion_in_the_background_is_not_asked_for() -> None:
    truth = torch.zeros(1, 2, 2, 14, 14)
    on_face, beside = truth.clone(), truth.clone()
    on_face[..., 7, 7] = beside[..., 13, 0] = 1.0
    assert motion_loss(beside, truth, SETTINGS) == 0
    assert motion_loss(on_face, truth, SETTINGS) > 0


def test_the_area_under_the_curve_counts_ties_half() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.1], np.float32)
    assert roc_auc(scores, np.array([1, 1, 0, 0], np.float32)) == 0.875
    assert roc_auc(scores, np.array([0, 0, 1, 1], np.float32)) == 0.125
    assert np.isnan(roc_auc(scores, np.ones(4, np.float32)))


def test_a_moment_counts_by_its_weight_and_an_expression_by_that_of_its_class() -> None:
    logits, labels = torch.tensor([[[0.5, -1.0], [2.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    s = torch.sigmoid(logits)[0]
    first = 3 * -torch.log(s[0, 0]) - torch.log(1 - s[1, 0])
    second = -torch.log(1 - s[0, 1]) + 1.5 * -torch.log(s[1, 1])
    loss = moments_loss(logits, labels, torch.tensor([[1.0, 0.25]]), (3.0, 1.5))
    assert loss.item() == pytest.approx(((first + 0.25 * second) / 4).item(), rel=1e-5)
