"""Thresholds and cut-off of a trained network, and how well it then spots: on faces it was never trained on.

Whole videos of a virtual camera go through the live path, frame by frame. One half of the unseen faces chooses the
calibration, also on calm videos, since life is mostly calm; the other half is only scored. Everything is synthetic:
figures on real faces will be lower.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from livespot.capture.virtual import Expression, VirtualCamera
from livespot.config import DecodeSettings, InferSettings, Settings
from livespot.decode import Decoder
from livespot.evaluation.matching import Counts, Interval, hits, match
from livespot.export import PROVISIONAL, export
from livespot.infer import Scorer
from livespot.infer.onnx import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.pipeline import Pipeline
from livespot.records import Calibration, ExpressionType, Scores

KINDS: tuple[ExpressionType, ExpressionType] = ("micro", "macro")

FPS = 30.0
SECONDS = 20.0
"""Length of one video: about three micro- and three macro-expressions."""

CUTOFFS_HZ = (2.0, 3.0, 4.0, 6.0, 9.0)
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
ROUNDS = 3
"""Times that each of the three numbers is chosen anew with the other two held."""

AMPLITUDES_IOD: dict[ExpressionType, tuple[float, ...]] = {
    "micro": (0.012, 0.018, 0.024, 0.03),
    "macro": (0.04, 0.06, 0.08, 0.10),
}
"""Recall is told for each stretch between these."""


@dataclass(frozen=True)
class Video:
    """What the network said of one video, and what the video showed."""

    truth: tuple[Expression, ...]
    scores: tuple[Scores, ...]

    def intervals(self, kind: ExpressionType) -> list[Interval]:
        """Frames of each true expression of a class, both ends inclusive."""
        return [(ceil(one.onset_s * FPS), ceil(one.offset_s * FPS) - 1) for one in self.truth if one.type == kind]


def calibrate(checkpoint: Path, faces: Path, onnx_path: Path) -> dict[str, Any]:
    """Export the network of `checkpoint` to `onnx_path` with its calibration; returns the figures stored beside it.

    `faces` holds the portraits of the run; of its validation faces every other one calibrates, the rest test. What lies
    at `onnx_path` is replaced at the end, and only if all went well.
    """
    kept = Checkpoint.load(checkpoint)
    paths = [faces / f"{name}.jpg" for name in kept.split["validation"]]
    with TemporaryDirectory() as folder:
        provisional = Path(folder) / "provisional.onnx"
        export(checkpoint, provisional, PROVISIONAL)
        test, calm, chosen = _watched(provisional, paths)
    found = figures(test, calm, chosen)
    export(checkpoint, onnx_path, chosen, found)
    return found


def _watched(engine: Path, paths: Sequence[Path]) -> tuple[list[Video], list[Video], Calibration]:
    """Videos of the testing faces, with and without expressions, and the calibration that the others choose."""
    with OnnxScorer(InferSettings(model=str(engine))) as scorer:
        chosen = choose([*_recorded(scorer, paths[::2]), *_recorded(scorer, paths[::4], calm=True)])
        return _recorded(scorer, paths[1::2]), _recorded(scorer, paths[1::4], calm=True), chosen


def record(scorer: Scorer, portrait: Path, seed: int, calm: bool = False) -> Video:
    """Scores of a virtual video through the live path; a `calm` one sways and blinks, and shows no expression."""
    camera = VirtualCamera(portrait, portrait.stem, seed, FPS, SECONDS, realtime=False)
    if calm:
        camera.truth = ()
    with Pipeline(Settings(method="network"), [camera], scorer) as pipeline:
        steps = list(chain.from_iterable(pipeline))
    return Video(camera.truth, tuple(score for step in steps for score in step.scores))


def _recorded(scorer: Scorer, portraits: Sequence[Path], calm: bool = False) -> list[Video]:
    """One video of each portrait; its name is its seed, so that no two faces do the same."""
    return [record(scorer, portrait, _seed(portrait.stem), calm) for portrait in portraits]


def _seed(name: str) -> int:
    return int(name) if name.isdigit() else crc32(name.encode())


def choose(videos: Sequence[Video]) -> Calibration:
    """The calibration with the highest overall F1: one number after the other, `ROUNDS` times."""

    def overall_f1(calibration: Calibration) -> float:
        return sum(counts(videos, calibration).values(), Counts()).f1

    best = PROVISIONAL
    for _ in range(ROUNDS):
        best = max((replace(best, micro_threshold=value) for value in THRESHOLDS), key=overall_f1)
        best = max((replace(best, macro_threshold=value) for value in THRESHOLDS), key=overall_f1)
        best = max((replace(best, cutoff_hz=value) for value in CUTOFFS_HZ), key=overall_f1)
    return best


def counts(videos: Sequence[Video], calibration: Calibration) -> dict[ExpressionType, Counts]:
    """The official rule's counts of each class, summed over videos."""
    total = dict.fromkeys(KINDS, Counts())
    for video in videos:
        for kind, predictions in spotted(video, calibration).items():
            total[kind] += match(video.intervals(kind), predictions)
    return total


def spotted(video: Video, calibration: Calibration) -> dict[ExpressionType, list[Interval]]:
    """Frames of what the decoder makes of the scores, both ends inclusive."""
    decoder = Decoder(DecodeSettings(), calibration, "video", 0)
    events = [event for scores in video.scores for event in decoder.push(scores)] + decoder.flush()
    found: dict[ExpressionType, list[Interval]] = {kind: [] for kind in KINDS}
    for event in events:
        if event.last_frame is not None:
            found[event.type].append((event.onset_frame, event.last_frame))
    return found


def figures(test: Sequence[Video], calm: Sequence[Video], calibration: Calibration) -> dict[str, Any]:
    """F1, precision and recall of each class and overall, recall by amplitude, and false alarms where nothing shows."""
    by_class = counts(test, calibration)
    overall = sum(by_class.values(), Counts())
    alarms = counts(calm, calibration)
    minutes = len(calm) * SECONDS / 60
    return {
        "protocol": "official rule, IoU >= 0.5; virtual camera, unseen faces, live path at 30 fps",
        "videos": len(test),
        "expressions": {kind: found.tp + found.fn for kind, found in by_class.items()},
        "f1": {**{kind: round(found.f1, 3) for kind, found in by_class.items()}, "overall": round(overall.f1, 3)},
        "precision": {kind: round(found.precision, 3) for kind, found in by_class.items()},
        "recall": {kind: round(found.recall, 3) for kind, found in by_class.items()},
        "recall_by_amplitude": recall_by_amplitude(test, calibration),
        "false_alarms_per_minute": {kind: round(found.fp / minutes, 2) for kind, found in alarms.items()},
    }


def recall_by_amplitude(videos: Sequence[Video], calibration: Calibration) -> dict[ExpressionType, dict[str, str]]:
    """ "Hit of shown" for each stretch of peak displacement in IOD: one F1 hides that faint ones are missed."""
    found: dict[ExpressionType, list[tuple[float, bool]]] = {kind: [] for kind in KINDS}
    for video in videos:
        for kind, predictions in spotted(video, calibration).items():
            amplitudes = [one.amplitude_iod for one in video.truth if one.type == kind]
            found[kind] += zip(amplitudes, hits(video.intervals(kind), predictions), strict=True)
    return {kind: _binned(pairs, AMPLITUDES_IOD[kind]) for kind, pairs in found.items()}


def _binned(found: Sequence[tuple[float, bool]], edges: Sequence[float]) -> dict[str, str]:
    bins = {}
    for low, high in pairwise(edges):
        inside = [hit for amplitude_iod, hit in found if low <= amplitude_iod < high]
        bins[f"{low:.1%} to {high:.1%}"] = f"{sum(inside)} of {len(inside)}"
    return bins
