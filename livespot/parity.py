"""An exported engine against the network it was exported from: on the clips of a video, and by the events in it."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespot.config import InferSettings, Settings
from livespot.errors import SourceError
from livespot.infer import OnnxScorer, Scorer
from livespot.pipeline import Pipeline
from livespot.records import Event
from livespot.spotting import Findings, recording
from livespot.torch_scorer import TorchScorer


@dataclass(frozen=True)
class Parity:
    """Two engines on the same video."""

    clips: int
    largest_difference: float
    """Of any score of the same clip."""
    mean_difference: float
    events: int
    """That the exported engine finds."""
    same_events: bool
    """The network itself finds the same, with the same frames of onset, apex and offset."""


def compare(onnx_path: Path, checkpoint: Path, video: str) -> Parity:
    """Spot `video`, a file, a folder of images or demo://?realtime=0, with both, each through the live path.

    Raises SourceError where no face is in it.
    """
    settings = Settings(method="network", infer=InferSettings(model=str(onnx_path), engine="onnx"))
    by_onnx, events = _spotted(OnnxScorer(settings.infer), settings, video)
    by_torch, wanted = _spotted(TorchScorer(settings.infer, "cpu", checkpoint), settings, video)
    if not len(by_onnx):
        raise SourceError(f"no clip is in {video}: give a video with a face, of some seconds")
    differences = np.abs(by_onnx - by_torch)
    return Parity(
        len(by_onnx),
        float(differences.max()),
        float(differences.mean()),
        len(events),
        _frames(events) == _frames(wanted),
    )


def _spotted(scorer: Scorer, settings: Settings, video: str) -> tuple[NDArray[np.float64], list[Event]]:
    """Scores (clips, 2) in their order, and the events."""
    findings = Findings()
    scores: list[tuple[float, float]] = []
    with scorer, Pipeline(settings, [recording(video, settings)], scorer) as pipeline:
        for step in chain.from_iterable(pipeline):
            findings.add(step)
            scores.extend((one.micro, one.macro) for one in step.scores)
    return np.array(scores).reshape(-1, 2), findings.events


def _frames(events: list[Event]) -> list[tuple[object, ...]]:
    return [(one.type, one.face, one.onset_frame, one.apex_frame, one.offset_frame) for one in events]
