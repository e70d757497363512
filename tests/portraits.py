"""A public-domain portrait, moved as a test says: where its face is in a picture is known to a fraction of a pixel."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.capture.virtual import ASTRONAUT
from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT, RIGID, FaceMesh, apply, compose, inter_ocular_px
from livespot.records import Face

Picture = NDArray[np.uint8]
Motion = NDArray[np.float64]
"""(2, 3) similarity from the portrait's pixels to a picture's."""

SIZE_PX = (320, 240)
IOD_PX = 64.0
EYES_PX = (160.0, 100.0)
NOISE_LEVELS = 2.0


class Portrait(NamedTuple):
    """A picture of one face."""

    picture: Picture
    landmarks: NDArray[np.float32]
    """float32 (468, 2), as FaceMesh finds them in the picture itself."""

    def at(
        self,
        shift_px: tuple[float, float] = (0.0, 0.0),
        roll: float = 0.0,
        growth: float = 1.0,
        eyes_px: tuple[float, float] = EYES_PX,
        iod_px: float = IOD_PX,
    ) -> Motion:
        """The motion that brings the eyes to `eyes_px` and `iod_px` apart; then the face is shifted, turned by `roll`
        degrees and grown, both about its eyes.
        """
        scale = growth * iod_px / inter_ocular_px(self.landmarks)
        eyes = self.landmarks[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]].mean(axis=0).astype(float)
        motion = np.asarray(cv2.getRotationMatrix2D((float(eyes[0]), float(eyes[1])), -roll, scale), np.float64)
        motion[:, 2] += np.array(eyes_px) + shift_px - eyes
        return motion

    def shown(self, motion: Motion, size_px: tuple[int, int] = SIZE_PX, beyond: int = cv2.BORDER_REPLICATE) -> Picture:
        """The portrait moved; beyond it its border is repeated."""
        picture = cv2.warpAffine(self.picture, motion, size_px, flags=cv2.INTER_CUBIC, borderMode=beyond)
        return np.asarray(picture, np.uint8)

    def places_px(self, face: Face, motion: Motion) -> NDArray[np.float64]:
        """(8, 2) where what is rigid in the face has come to lie in its crop."""
        return apply(compose(face.transform, motion), self.landmarks[list(RIGID)])


@cache
def astronaut() -> Portrait:
    """The portrait that comes with the virtual camera."""
    return _portrait(cv2.imread(str(ASTRONAUT)))


@cache
def mirrored() -> Portrait:
    """As good as another face: her skin is not found in it."""
    return _portrait(cv2.flip(astronaut().picture, 1))


def _portrait(picture: Any) -> Portrait:
    image = np.asarray(picture, np.uint8)
    with FaceMesh(static=True) as mesh:
        return Portrait(image, mesh.find(image)[0])


def noisy(pictures: Sequence[Picture]) -> list[Picture]:
    """Each picture with sensor noise of its own."""
    rng = np.random.default_rng(0)
    height, width = pictures[0].shape[:2]
    tile = rng.normal(0, NOISE_LEVELS, (height + 64, width + 64, 3)).astype(np.float32)
    seen = []
    for picture in pictures:
        row, column = rng.integers(0, 64, 2)
        grain = tile[row : row + height, column : column + width]
        seen.append(np.rint(np.clip(picture + grain, 0, 255)).astype(np.uint8))
    return seen
