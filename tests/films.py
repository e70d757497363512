"""A face that moves at known times, filmed once for all tests, and what it takes to spot it without training."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.capture.virtual import VirtualCamera
from livespot.pipeline import Step
from livespot.records import Calibration, ClipSpec, Event, Frame

Picture = NDArray[np.uint8]

FPS = 30.0
WIDTH_PX, HEIGHT_PX = 320, 240

MACRO_SEED, MICRO_SEED = 4, 3
"""Films of four seconds: a macro-expression from 1.98 to 2.93 s; a micro-expression from 1.93 to 2.20 s."""

BLANK: Picture = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)


def film(seed: int, seconds: float = 4.0) -> list[Picture]:
    """Pictures of the virtual camera, at half its size."""
    with VirtualCamera(seed=seed, seconds=seconds, realtime=False) as camera:
        return [
            np.asarray(cv2.resize(frame.image, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA), np.uint8)
            for frame in camera
        ]


def write_video(path: Path, pictures: Sequence[Picture], fps: float = FPS) -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def frames(pictures: Iterable[Picture], name: str = "film", first: int = 0, fps: float = FPS) -> Iterator[Frame]:
    """Frames of a source that never lost one, from number `first` on."""
    for index, picture in enumerate(pictures, first):
        yield Frame(picture, name, index, index / fps, time.monotonic())


class Played:
    """A source that plays frames a test has made."""

    def __init__(self, played: Iterable[Frame], name: str = "film", live: bool = False) -> None:
        self.name = name
        self.live = live
        self.fps: float | None = FPS
        self.frame_count: int | None = None
        self.note = ""
        self.is_open = False
        self._played = played

    def __enter__(self) -> "Played":
        self.is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._played)


class MotionScorer:
    """A `Scorer` that needs no training: how much the skin has changed since the reference, beyond noise."""

    clip = ClipSpec()
    calibration = Calibration(cutoff_hz=5.0, micro_threshold=0.25, macro_threshold=0.25)
    name = "motion"
    gathers = False

    def __init__(self, takes_s: float = 0.0) -> None:
        self._takes_s = takes_s

    def __enter__(self) -> "MotionScorer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        time.sleep(self._takes_s)
        clips = inputs["clips"]
        change = np.abs(clips[:, :, 1] - clips[:, :, 0]).mean(axis=(2, 3))
        return np.asarray((5 * (change - 0.1)).clip(0, 1), np.float32)


def events(steps: Iterable[Step], phase: str = "close") -> list[Event]:
    """The events that the steps tell, in one of their phases."""
    told = (item for step in steps for item in step.told)
    return [item for item in told if isinstance(item, Event) and item.phase == phase]
