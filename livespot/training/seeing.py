"""What two trained networks see of performing portraits, moment by moment: what their joint network learns from.

A video goes through the live path once, with a scorer that keeps what both judge by; pictures are not kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import chain
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from livespot.capture.virtual import Expression
from livespot.config import Settings
from livespot.errors import LivespotError, SettingsError
from livespot.export import PROVISIONAL
from livespot.files import replacing
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.joint import Joint
from livespot.nets.light import Light
from livespot.nets.loading import network
from livespot.nets.motion import MotionNet
from livespot.pipeline import Pipeline
from livespot.records import ClipSpec, Scores, ShapesInRepr
from livespot.training.events import Video
from livespot.training.pasting import label
from livespot.training.recordings import Take, truth_arrays, truth_of


@dataclass(frozen=True, repr=False, eq=False)
class Seen(ShapesInRepr):
    """What both networks judge one video by."""

    gathered: NDArray[np.float32]
    """(T, numbers) at each judged moment, as `Joint.gathered`."""
    frames: NDArray[np.int64]
    times_s: NDArray[np.float64]
    """(T,): of the judged moments."""
    truth: tuple[Expression, ...]
    """What the whole video shows."""
    fps: float

    @property
    def labels(self) -> NDArray[np.float32]:
        """(T, 2): 1 where a micro-, a macro-expression shows."""
        labels = np.zeros((len(self.times_s), 2), np.float32)
        for expression in self.truth:
            label(labels, self.times_s, expression)
        return labels

    def video(self, values: Sequence[tuple[float, float]]) -> Video:
        """What the judgements (T, 2) of all moments are, for the decoder."""
        moments = zip(values, self.frames.tolist(), self.times_s.tolist(), strict=True)
        return Video(
            self.truth,
            tuple(Scores(micro, macro, 0, "video", frame, t_s, t_s) for (micro, macro), frame, t_s in moments),
            self.fps,
        )


@dataclass(frozen=True)
class Networks:
    """Checkpoints of a light network and of one on motion."""

    light: Path
    motion: Path

    @property
    def digest(self) -> str:
        """Of both files: other checkpoints see something else."""
        return sha256(b"".join(sha256(path.read_bytes()).digest() for path in (self.light, self.motion))).hexdigest()

    def split(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Those of the portraits that both learnt from, and those that both kept for validation.

        Raises SettingsError where there are none.
        """
        splits = [Checkpoint.load(path).split for path in (self.light, self.motion)]
        parts = {
            part: [name for name in names if all(name in split.get(part, ()) for split in splits)]
            for part in ("training", "validation")
        }
        if not all(parts.values()):
            learnt, kept = map(len, parts.values())
            raise SettingsError(
                f"{self.light} and {self.motion} both learnt from {learnt} of {len(names)} portraits and both kept "
                f"{kept} for validation; expected some of each: give those that both were trained on"
            )
        return parts

    def load(self) -> tuple[Light, MotionNet]:
        """Both. Raises LivespotError where a checkpoint is missing, or of another network."""
        light, motion = (network(Checkpoint.load(path)) for path in (self.light, self.motion))
        if not isinstance(light, Light):
            raise LivespotError(f"{self.light} is no training of configs/train/light.yaml: give one as light")
        if not isinstance(motion, MotionNet):
            raise LivespotError(f"{self.motion} is no training of configs/train/default.yaml: give one as motion")
        return light, motion


@dataclass(frozen=True)
class KeepSeen:
    """Watches a take and writes what the networks see of it; returns the frames that were played."""

    networks: Networks

    def __call__(self, take: Take, path: Path) -> int:
        """Watch, and write to `path`."""
        source = take.performance()
        looking = _Looking(self._joint)
        with Pipeline(Settings(method="network"), [source], looking) as pipeline:
            scores = [score for step in chain.from_iterable(pipeline) for score in step.scores]
        width = self._joint.light.width + self._joint.motion.width
        save(
            path,
            Seen(
                np.concatenate([np.empty((0, width), np.float32), *looking.gathered]),
                np.array([score.index for score in scores], np.int64),
                np.array([score.t_s for score in scores], np.float64),
                source.truth,
                take.fps,
            ),
        )
        return source.frame_count or 0

    @cached_property
    def _joint(self) -> Joint:
        torch.set_num_threads(1)
        return Joint(*self.networks.load()).eval()


class _Looking:
    """A scorer that judges nothing and keeps what would be judged by."""

    name, gathers, calibration = "looking", False, PROVISIONAL

    def __init__(self, joint: Joint) -> None:
        self._joint = joint
        self.gathered: list[NDArray[np.float32]] = []

    def __enter__(self) -> "_Looking":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def clip(self) -> ClipSpec:
        return self._joint.clip

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            self.gathered.append(self._joint.gathered(*(torch.from_numpy(array) for array in inputs.values())).numpy())
        return np.zeros((len(self.gathered[-1]), 2), np.float32)


def save(path: Path, of: Seen) -> None:
    """Whole or not at all."""
    with replacing(path) as part:
        np.savez(
            part, gathered=of.gathered.astype(np.float16), frames=of.frames, times_s=of.times_s, fps=of.fps,
            **truth_arrays(of.truth),
        )  # fmt: skip


def load(takes: Sequence[Take], folder: Path) -> Iterator[Seen]:
    """What `save` wrote of those that were not left out."""
    for path in (take.file(folder) for take in takes):
        if path.exists():
            with np.load(path) as kept:
                gathered = kept["gathered"].astype(np.float32)
                yield Seen(gathered, kept["frames"], kept["times_s"], truth_of(kept), float(kept["fps"]))
