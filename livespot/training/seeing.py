"""The embeddings that a joint network judges by, of performing portraits: what is joined learns from them.

A video goes through the live path once, with a scorer that keeps embeddings; pictures are not kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from livespot.capture.virtual import Expression
from livespot.config import Settings
from livespot.errors import LivespotError
from livespot.export import PROVISIONAL
from livespot.files import replacing
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.joint import Joint
from livespot.nets.loading import network
from livespot.pipeline import Pipeline
from livespot.records import ClipSpec, Scores, ShapesInRepr
from livespot.training.events import Video
from livespot.training.recordings import Take, labels_at, truth_arrays, truth_of


@dataclass(frozen=True, repr=False, eq=False)
class Seen(ShapesInRepr):
    """What one video looks like to both streams."""

    embeddings: NDArray[np.float32]
    """(T, numbers) at each judged moment, as `Joint.embedding`."""
    frames: NDArray[np.int64]
    times_s: NDArray[np.float64]
    """(T,): of the judged moments."""
    truth: tuple[Expression, ...]
    """What the whole video shows."""
    fps: float

    def __post_init__(self) -> None:
        counts = {len(self.embeddings), len(self.frames), len(self.times_s)}
        if len(counts) > 1:
            raise ValueError(f"Seen has {counts} embeddings, frames and times; expected as many of each")

    @property
    def labels(self) -> NDArray[np.float32]:
        """(T, 2): 1 where a micro-, a macro-expression shows."""
        return labels_at(self.times_s, self.truth)

    def video(self, values: Sequence[tuple[float, float]]) -> Video:
        """What the judgements (T, 2) of all moments are, for the decoder."""
        moments = zip(values, self.frames.tolist(), self.times_s.tolist(), strict=True)
        return Video(
            self.truth,
            tuple(Scores(micro, macro, 0, "video", frame, t_s, t_s) for (micro, macro), frame, t_s in moments),
            self.fps,
        )


@dataclass(frozen=True)
class KeepSeen:
    """Watches a take and writes its embeddings; returns the frames that were played."""

    checkpoint: Path
    """Of the joint network, as early as before it learnt anything: it holds both streams."""

    def __call__(self, take: Take, path: Path) -> int:
        """Watch, and write to `path`."""
        source = take.performance()
        looking = _Looking(self._net)
        with Pipeline(Settings(method="network"), [source], looking) as pipeline:
            scores = [score for step in chain.from_iterable(pipeline) for score in step.scores]
        save(
            path,
            Seen(
                np.concatenate([np.empty((0, self._net.width), np.float32), *looking.embeddings]),
                np.array([score.index for score in scores], np.int64),
                np.array([score.t_s for score in scores], np.float64),
                source.truth,
                take.fps,
            ),
        )
        return source.frame_count or 0

    @cached_property
    def _net(self) -> Joint:
        torch.set_num_threads(1)
        return joint_of(Checkpoint.load(self.checkpoint), self.checkpoint)


def joint_of(kept: Checkpoint, path: Path) -> Joint:
    """The network of the checkpoint at `path`, ready to judge. Raises LivespotError where it is another's."""
    net = network(kept)
    if not isinstance(net, Joint):
        raise LivespotError(f"{path} is no checkpoint of configs/train/joint.yaml: give another --out, or delete it")
    return net


class _Looking:
    """A scorer that judges nothing and keeps what would be judged."""

    name, gathers, calibration = "looking", False, PROVISIONAL

    def __init__(self, net: Joint) -> None:
        self._net = net
        self.embeddings: list[NDArray[np.float32]] = []

    def __enter__(self) -> "_Looking":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def clip(self) -> ClipSpec:
        return self._net.clip

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        clips, motion = (torch.from_numpy(inputs[name]) for name in ("clips", "motion"))
        with torch.inference_mode():
            self.embeddings.append(self._net.embedding(clips, motion).numpy())
        return np.zeros((len(clips), 2), np.float32)


def save(path: Path, of: Seen) -> None:
    """Whole or not at all."""
    with replacing(path) as part:
        np.savez(
            part, embeddings=of.embeddings, frames=of.frames, times_s=of.times_s, fps=of.fps, **truth_arrays(of.truth)
        )


def load(takes: Sequence[Take], folder: Path) -> Iterator[Seen]:
    """What `save` wrote of those that were not left out."""
    for path in (take.file(folder) for take in takes):
        if path.exists():
            with np.load(path) as kept:
                yield Seen(kept["embeddings"], kept["frames"], kept["times_s"], truth_of(kept), float(kept["fps"]))
