"""Pictures of cameras that hang upside down, stand on their side, or look into a mirror."""

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.capture.source import Source
from livespot.config import PictureSettings
from livespot.records import Frame

TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def oriented(image: NDArray[np.uint8], wanted: PictureSettings) -> NDArray[np.uint8]:
    """The picture uint8 (H, W, 3), turned clockwise by `rotate` degrees, then mirrored where that is wanted."""
    turned = cv2.rotate(image, TURNS[wanted.rotate]) if wanted.rotate else image
    return np.asarray(cv2.flip(turned, 1) if wanted.mirror else turned, np.uint8)


class Oriented:
    """A source whose pictures are turned or mirrored; all else is its own."""

    def __init__(self, source: Source, wanted: PictureSettings) -> None:
        self.name = source.name
        self.live = source.live
        self.fps = source.fps
        self.frame_count = source.frame_count
        self.note = ""
        self._source = source
        self._wanted = wanted

    def __enter__(self) -> "Oriented":
        self._source.__enter__()
        self.fps, self.frame_count = self._source.fps, self._source.frame_count
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Frame]:
        """Frames as the source gives them, upright."""
        for frame in self._source:
            yield replace(frame, image=oriented(frame.image, self._wanted))
        self.note = self._source.note
