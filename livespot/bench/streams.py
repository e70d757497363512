"""How many cameras this machine carries: a clip is played as so many live sources at once, through the real pipeline.

Counts rise until one is not carried, then the border is sought between. From each source's pictures to the event stream
all is real; where the pictures come from is a choice:

    memory     decoded before, all sources show the same pictures, each from another one on: what livespot costs
    cameras    each source has a file and the reader process of a camera: decoding and the way between processes, too
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray
from rich.table import Table

from livespot.capture.camera import Camera
from livespot.capture.opencv import VideoFile
from livespot.capture.source import Source
from livespot.capture.virtual import VirtualCamera
from livespot.config import Settings
from livespot.errors import SourceError
from livespot.infer import Scorer
from livespot.live import serve
from livespot.pipeline import Pipeline
from livespot.publish.zmq import Publisher
from livespot.records import Frame

Say: TypeAlias = Callable[[str], None]
Origin = ("memory", "cameras")

WARM_UP_S = 3.0
"""Of every trial: all faces are found at once, and no network looks back before."""
CLIP_PICTURES = 300
"""Held in memory, played forth and back."""
LATE_MS = 100.0
"""p99 of arrival to published, up to which a number of sources is carried."""
PHASE = 0.618034
"""Cameras are not in step: each begins this share of a frame interval after the one before."""


class Replay:
    """Pictures as a camera of its own would show them: live, at a frame rate, for ever, forth and back.

    A frame arrives when it is due. That its thread woke later is a delay like any other.
    """

    def __init__(self, name: str, pictures: Sequence[NDArray[np.uint8]], fps: float, first: int = 0) -> None:
        """`first` is the picture that it begins with, of those that are played forth and back."""
        self.name = name
        self.live = True
        self.fps: float | None = fps
        self.frame_count: int | None = None
        self.note = ""
        self._pictures = [*pictures, *pictures[-2:0:-1]]
        self._first = first
        self._interval_s = 1 / fps

    def __enter__(self) -> "Replay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Frames at the times at which they are due."""
        begun_s = time.monotonic() + self._first * PHASE % 1 * self._interval_s
        for index in count():
            due_s = begun_s + index * self._interval_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            picture = self._pictures[(self._first + index) % len(self._pictures)]
            yield Frame(picture, self.name, index, index * self._interval_s, due_s)
