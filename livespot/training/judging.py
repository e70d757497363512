"""What a network says of labelled videos, watched as live, and the thresholds that turn it into expressions.

    faces -> buffer -> network -+- micro scores -> decoder -> micro-expressions
                                +- macro scores -> decoder -> macro-expressions
                                                      ^
                                    thresholds, from videos that are not tested

Each output is spotted for itself, as in Yap 2022: an expression is of the class whose score it is, however long it is,
and a micro-expression within a macro-expression is both. Live, one decoder tells both as one, typed by its duration.

Two ways to a threshold, both with numbers that other videos chose:
- roc: one for all videos, where the ROC curve of their moments is highest above chance (true minus false positives);
- moilanen: one for each video, mean + p (max - mean) of its scores, with the p that spots best. It has to see a video
  to its end, so it is for comparison only: nothing live can use it. So it is with scores that are normalised.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from livespot.buffer import ClipBuffer
from livespot.datasets.cache import Cache, Prepared
from livespot.decode import Decoder
from livespot.evaluation.labels import Span, Video
from livespot.evaluation.matching import Counts, match
from livespot.nets.yap2022 import Yap2022
from livespot.normalise import local_contrast
from livespot.records import EXPRESSION_TYPES, Calibration, Clip, ClipSpec, ExpressionType, Gap, Scores
from livespot.training.moments import labels_of, max_gap_s
from livespot.training.settings import DatasetTrainSettings, SpottingSettings
from livespot.training.validation import roc_auc

BATCH = 64
"""Clips judged at once."""

LEAST = 1e-3
"""Of a threshold: no score falls below 0, so that no expression would end."""

NEVER = 2.0
"""Level of a class that the choosing videos do not show. Not 1: normalised scores touch it, the low-pass overshoots."""

SHARES = tuple(twentieth / 20 for twentieth in range(1, 20))
"""Moilanen's p is one of these."""

ROUNDS = 2
"""Times that the p of each class is chosen anew with the other's held."""

Levels: TypeAlias = tuple[float, float]
"""What was chosen for micro and macro: thresholds, or Moilanen's p; `NEVER` where a class is not shown."""


@dataclass(frozen=True, eq=False)
class Watched:
    """What a network said of one video."""

    video: Video
    said: tuple[Scores | Gap, ...]
    smoothed: NDArray[np.float32]
    """(scores, 2): after the decoder's low-pass."""
    labels: NDArray[np.bool_]
    """(scores, 2): what showed at the moments that `smoothed` belongs to."""


@dataclass(frozen=True)
class Choice:
    """How well a network does on the videos that choose, with the levels that suit them."""

    f1: float
    """Of expressions, by the official rule, both classes pooled."""
    auc: float
    """Area under the ROC curve of moments, mean of both classes."""
    levels: Levels


def watch(net: Yap2022, data: Cache, name: str, settings: DatasetTrainSettings) -> Watched:
    """Judge a video by its aligned faces, from its beginning to its end."""
    prepared = data[name]
    spotting, fps = settings.spotting, prepared.video.fps or settings.distances.fps
    every = max(1, round(fps / spotting.judged_per_s))
    said = list(_scored(net, _clips(prepared, settings.distances.clip, every, max_gap_s(data))))
    if spotting.scores == "normalised":
        said = _normalised(said)
    smoothed, late_s = _smoothed(said, spotting)
    frames = np.array([one.index for one in said if isinstance(one, Scores)], np.int64)
    judged = np.maximum(np.rint(frames - late_s * fps), 0).astype(np.int64)
    return Watched(prepared.video, tuple(said), smoothed, labels_of(prepared.video, len(prepared.seen))[judged])


def choose(videos: Sequence[Watched], settings: SpottingSettings) -> Choice:
    """The levels that suit labelled videos best."""
    levels = {"roc": _roc_levels, "moilanen": _moilanen_levels}[settings.threshold](videos, settings)
    return Choice(counts(videos, levels, settings).f1, _auc(videos), levels)


def spotted(watched: Watched, levels: Levels, settings: SpottingSettings) -> tuple[Span, ...]:
    """The expressions of one video, of both classes, by time."""
    micro, macro = _thresholds(watched, levels, settings)
    found = _of_class("micro", micro, watched.said, settings), _of_class("macro", macro, watched.said, settings)
    return tuple(sorted(chain(*found)))


def _of_class(
    kind: ExpressionType, threshold: float, said: Sequence[Scores | Gap], settings: SpottingSettings
) -> Iterator[Span]:
    """Where the score of this class lies above its threshold, whatever the other's does."""
    decoder = _decoder(settings, (threshold, threshold))
    alone = (one if isinstance(one, Gap) else _with(one, **{kind: getattr(one, kind)}) for one in said)
    for event in [event for one in alone for event in decoder.push(one)] + decoder.flush():
        if event.last_frame is not None:
            yield Span(event.onset_frame, event.last_frame, kind, event.confidence)


def counts(videos: Sequence[Watched], levels: Levels, settings: SpottingSettings) -> Counts:
    """By the official rule, of both classes and all videos."""
    total = Counts()
    for one in videos:
        found = spotted(one, levels, settings)
        for kind in EXPRESSION_TYPES:
            truths, predictions = (
                [span.frames for span in of if span.type == kind] for of in (one.video.truths, found)
            )
            total += match(truths, predictions)
    return total


def _clips(prepared: Prepared, spec: ClipSpec, every: int, longest_s: float) -> Iterator[Clip | Gap]:
    """Of every so many-th frame, with the gaps in which the face was lost, or frames for as long as a face may be."""
    buffer = ClipBuffer(spec)
    for item in prepared.faces():
        if not isinstance(item, Gap):
            clips = buffer.push(item, local_contrast(item.crop))
            yield from (clip for clip in clips if clip.index % every == 0)
        elif item.face is not None or item.to_s - item.from_s > longest_s:
            buffer.reset()
            yield item


def _scored(net: Yap2022, clips: Iterator[Clip | Gap]) -> Iterator[Scores | Gap]:
    """Batch by batch, in their order."""
    waiting: list[Clip | Gap] = []
    for one in clips:
        waiting.append(one)
        if len(waiting) == BATCH:
            yield from _judged(net, waiting)
            waiting.clear()
    yield from _judged(net, waiting)


def _judged(net: Yap2022, items: Sequence[Clip | Gap]) -> Iterator[Scores | Gap]:
    clips = [one for one in items if isinstance(one, Clip)]
    values = iter(_probabilities(net, clips) if clips else [])
    for one in items:
        if isinstance(one, Clip):
            micro, macro = next(values)
            yield Scores(micro, macro, 0, one.source, one.index, one.t_s, one.arrival_s)
        else:
            yield one


def _probabilities(net: Yap2022, clips: Sequence[Clip]) -> list[list[float]]:
    inputs = torch.from_numpy(np.stack([clip.inputs["clips"] for clip in clips])).to(net.judge.weight.device)
    net.eval()
    with torch.no_grad():
        values: list[list[float]] = net(inputs).cpu().tolist()
    net.train()
    return values


def _normalised(said: Sequence[Scores | Gap]) -> list[Scores | Gap]:
    """The scores of each class from 0 to 1, over the whole video."""
    values = np.array([(one.micro, one.macro) for one in said if isinstance(one, Scores)], np.float64).reshape(-1, 2)
    if not len(values):
        return list(said)
    low = values.min(axis=0)
    stretched = iter(((values - low) / np.maximum(values.max(axis=0) - low, 1e-9)).clip(0, 1).tolist())
    return [_with(one, *next(stretched)) if isinstance(one, Scores) else one for one in said]


def _with(scores: Scores, micro: float = 0.0, macro: float = 0.0) -> Scores:
    return replace(scores, micro=micro, macro=macro)


def _smoothed(said: Sequence[Scores | Gap], settings: SpottingSettings) -> tuple[NDArray[np.float32], float]:
    """Scores (N, 2) after the low-pass, and how long before each of them it belongs."""
    decoder = _decoder(settings, (1.0, 1.0))
    smoothed = []
    for one in said:
        decoder.push(one)
        if isinstance(one, Scores):
            smoothed.append(decoder.smoothed)
    return np.array(smoothed, np.float32).reshape(-1, 2), decoder.latency_s


def _decoder(settings: SpottingSettings, thresholds: Levels) -> Decoder:
    return Decoder(settings.decode, Calibration(settings.cutoff_hz, *thresholds), "video", 0)


def _thresholds(watched: Watched, levels: Levels, settings: SpottingSettings) -> Levels:
    if settings.threshold == "roc" or not len(watched.smoothed):
        return levels
    mean, highest = watched.smoothed.mean(axis=0), watched.smoothed.max(axis=0)
    own = np.clip(mean + np.array(levels) * (highest - mean), LEAST, 1)
    micro, macro = np.where(np.array(levels) == NEVER, NEVER, own).tolist()
    return micro, macro


def _roc_levels(videos: Sequence[Watched], _: SpottingSettings) -> Levels:
    smoothed = np.concatenate([one.smoothed for one in videos])
    labels = np.concatenate([one.labels for one in videos])
    micro, macro = (roc_threshold(smoothed[:, place], labels[:, place]) for place in range(2))
    return micro, macro


def roc_threshold(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """The score (of N) from which true exceed false positive rates most; `NEVER` where nothing shows."""
    order = np.argsort(-scores, kind="stable")
    falling, shown = scores[order], labels[order]
    if not shown.any() or shown.all():
        return NEVER
    above_chance = np.cumsum(shown) / shown.sum() - np.cumsum(~shown) / (~shown).sum()
    last_of_its_value = np.append(falling[1:] != falling[:-1], True)
    best = np.argmax(np.where(last_of_its_value, above_chance, -1.0))
    return float(np.clip(falling[best], LEAST, 1))


def _moilanen_levels(videos: Sequence[Watched], settings: SpottingSettings) -> Levels:
    """One class after the other, so many times."""
    shown = np.concatenate([one.labels for one in videos]).any(axis=0).tolist()
    micro, macro = (0.5 if shows else NEVER for shows in shown)
    for _ in range(ROUNDS):
        if micro != NEVER:
            micro = max(SHARES, key=lambda share: counts(videos, (share, macro), settings).f1)
        if macro != NEVER:
            macro = max(SHARES, key=lambda share: counts(videos, (micro, share), settings).f1)
    return micro, macro


def _auc(videos: Sequence[Watched]) -> float:
    """Half, as by chance, where a class is not shown."""
    smoothed = np.concatenate([one.smoothed for one in videos])
    labels = np.concatenate([one.labels for one in videos]).astype(np.float32)
    areas = [roc_auc(smoothed[:, place], labels[:, place]) for place in range(2)]
    return float(np.nan_to_num(areas, nan=0.5).mean())
