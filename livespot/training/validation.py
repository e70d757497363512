"""How well a network measures, judges and spots on faces it was never shown."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from livespot.export import PROVISIONAL
from livespot.motion.window import channels
from livespot.nets.motion import MotionNet
from livespot.nets.yap2022 import PairNetwork
from livespot.records import EXPRESSION_TYPES, MOTION_HZ, Scores
from livespot.synth.pairs import Batch, face_cells
from livespot.training.events import Video, choose, counts, overall
from livespot.training.recordings import PERFORMED, Recording, Take, load, of_kind

FEW_THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Enough to compare one step with another; `calibrate` looks more closely."""


def roc_auc(scores: NDArray[np.float32], labels: NDArray[np.float32]) -> float:
    """Chance that a positive scores above a negative, ties counting half; both float32 (N,). NaN without either."""
    positive, negative = scores[labels > 0], np.sort(scores[labels == 0])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(below.mean() / 2 / len(negative))


def validate(net: PairNetwork, samples: Sequence[Batch]) -> dict[str, float]:
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


def validate_events(net: MotionNet, takes: Sequence[Take], folder: Path) -> dict[str, float]:
    """Event F1 of the whole decoder with the thresholds that suit it best; false alarms where nothing shows."""
    return event_figures(*(judged(net, of_kind(kind, takes), folder) for kind in PERFORMED))


def event_figures(expressive: Sequence[Video], neutral: Sequence[Video]) -> dict[str, float]:
    """The same of videos that were judged, with expressions and without."""
    calibration = choose([*expressive, *neutral], FEW_THRESHOLDS, (PROVISIONAL.cutoff_hz,), rounds=1)
    found, alarms = counts([*expressive, *neutral], calibration), overall(counts(neutral, calibration))
    minutes = sum(video.seconds for video in neutral) / 60
    return {
        **{f"{kind}_f1": found[kind].f1 for kind in EXPRESSION_TYPES},
        "f1": overall(found).f1,
        "false_alarms_per_minute": alarms.fp / minutes if minutes else 0.0,
    }


def judged(net: MotionNet, takes: Sequence[Take], folder: Path) -> list[Video]:
    """What the network says of recordings; takes that were left out are left out here."""
    net.eval()
    recorded = [load(take.file(folder)) for take in takes if take.file(folder).exists()]
    videos = [_judged(net, recordings) for recordings in recorded if recordings]
    net.train()
    return videos


def _judged(net: MotionNet, recordings: Sequence[Recording]) -> Video:
    """Stretch by stretch; the decoder sees the gaps between them by their times."""
    scores = tuple(one for recording in recordings for one in _scores(net, recording))
    return Video(recordings[0].truth, scores, MOTION_HZ)


def _scores(net: MotionNet, recording: Recording) -> list[Scores]:
    """At the middle of each cell that is judged, as `motion.window` shows the face: at rest before it was watched."""
    paths = channels(recording.cells)
    watched = np.concatenate([np.repeat(paths[:1], net.cells - 1, axis=0), paths])
    with torch.no_grad():
        inputs = torch.from_numpy(watched.T[None].copy()).to(net.trust.weight.device)
        values = torch.sigmoid(net.dense(inputs))[0].cpu().T.tolist()
    first = net.judged(len(watched)).start - (net.cells - 1)  # in the recording
    cells = np.arange(first, first + len(values))
    begin, times_s = round(recording.begin_s * MOTION_HZ + 0.5), recording.begin_s + (cells + 0.5) / MOTION_HZ
    return [
        Scores(micro, macro, 0, "video", begin + cell, t_s, t_s)
        for cell, t_s, (micro, macro) in zip(cells.tolist(), times_s.tolist(), values, strict=True)
        if cell >= 0
    ]
