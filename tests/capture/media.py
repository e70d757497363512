"""Real videos whose pictures say which one they are: the n-th is white for n fortieths of its width."""

import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.records import Frame

STEPS = 40


def picture(number: int, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : number * width // STEPS] = 255
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    return round(float((image.mean(axis=(0, 2)) > 128).mean()) * STEPS)


def write_video(path: Path, codec: str, fps: float, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (160, 120))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(picture(number))
    writer.release()
    return path


def frame_at(t_s: float, index: int = 0, epoch: int = 0, waited_s: float = 0.0) -> Frame:
    arrival_s = time.monotonic() - waited_s
    return Frame(np.zeros((2, 2, 3), np.uint8), "cam0", index, t_s, arrival_s, epoch)
