"""A folder of images as a source: what high-speed cameras and most datasets deliver."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.capture.source import printable
from livespot.errors import SourceError
from livespot.records import Frame

IMAGE_TYPES = frozenset((".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))

FOLDER_FPS = 30.0
"""Images carry no time: this many a second where the settings do not say."""


class ImageFolder:
    """Every image of a folder in natural order, 2 before 10, at a constant frame rate.

    An image that cannot be read is skipped: the index jumps, and the note tells. Grey and deeper pictures become
    BGR uint8. Sizes may differ.
    """

    def __init__(self, folder: Path, name: str, fps: float = FOLDER_FPS) -> None:
        self.name = name
        self.live = False
        self.fps: float | None = fps
        self.frame_count: int | None = None
        self.note = ""
        self._interval_s = 1 / fps
        self._folder = folder
        self._paths: list[Path] = []

    def __enter__(self) -> "ImageFolder":
        try:
            paths = list(self._folder.iterdir())
        except OSError as error:
            raise SourceError(f"folder {self._folder} cannot be read: {error.strerror}; check who may") from None
        self._paths = sorted((path for path in paths if path.suffix.lower() in IMAGE_TYPES), key=natural_order)
        if not self._paths:
            raise SourceError(
                f"folder {self._folder} holds no images; expected files ending in {', '.join(sorted(IMAGE_TYPES))}"
            )
        self.frame_count = len(self._paths)
        cv2.setLogLevel(0)  # the note tells what cannot be read; not taken back, as other sources may still be read
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._paths = []

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order. Raises SourceError where not one image can be read."""
        unreadable: list[str] = []
        for index, path in enumerate(self._paths):
            image = _image_of(path)
            if image is None:
                unreadable.append(printable(path.name))
                continue
            t_s = index * self._interval_s
            yield Frame(image, self.name, index, t_s, time.monotonic())
        if unreadable:
            self._tell(unreadable)

    def _tell(self, unreadable: list[str]) -> None:
        told = f"{len(unreadable)} of {self.frame_count} images cannot be read, the first is {unreadable[0]}"
        if len(unreadable) == self.frame_count:
            raise SourceError(f"folder {self._folder}: {told}; are these images?")
        self.note = told


def _image_of(path: Path) -> NDArray[np.uint8] | None:
    """The image, uint8 (H, W, 3), BGR; None where it cannot be read."""
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)  # a name that is no text crashes OpenCV
    except (OSError, cv2.error):  # gone, or empty
        return None
    return None if image is None else np.asarray(image, np.uint8)


def natural_order(path: Path) -> tuple[list[tuple[str, int]], str]:
    """Sort key: runs of digits count as numbers, letters without their case."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", path.name.lower())
    return [(letters, int(digits or 0)) for letters, digits in parts], path.name
