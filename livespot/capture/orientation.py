"""Pictures of cameras that hang upside down, stand on their side, or look into a mirror."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.capture.passing import Passing
from livespot.capture.source import Source
from livespot.config import PictureSettings
from livespot.records import Frame

TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def oriented(image: NDArray[np.uint8], wanted: PictureSettings) -> NDArray[np.uint8]:
    """The picture uint8 (H, W, 3), turned clockwise by `rotate` degrees, then mirrored where that is wanted."""
    turned = cv2.rotate(image, TURNS[wanted.rotate]) if wanted.rotate else image
    return np.asarray(cv2.flip(turned, 1) if wanted.mirror else turned, np.uint8)


class Oriented(Passing):
    """A source whose pictures are turned or mirrored."""

    def __init__(self, source: Source, wanted: PictureSettings) -> None:
        super().__init__(source)
        self._wanted = wanted

    def passed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Each upright."""
        for frame in frames:
            yield replace(frame, image=oriented(frame.image, self._wanted))
