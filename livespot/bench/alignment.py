"""How still the aligner holds a face: on a clip, and on a still picture that is moved along a known path."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.align import Aligner
from livespot.config import Settings
from livespot.errors import SourceError
from livespot.landmarks import CROP_EYES_PX, CROP_IOD_PX, RIGID, FaceMesh, apply, compose, crop_transform
from livespot.records import CROP_PX, Face, Frame

Image: TypeAlias = NDArray[np.uint8]
Transform: TypeAlias = NDArray[np.float64]
Landmarks: TypeAlias = NDArray[np.float32]

WARM_UP_FRAMES = 20

PATH_FPS, PATH_S = 30.0, 10.0
PATH_NOISE_LEVELS = 4.0
PATH_SWAY_PX, PATH_NOD, PATH_ROLL_RAD = 6.0, 0.02, np.radians(2.0)
"""The known path of a still: sideways and down, growth, rotation, at periods that have nothing in common."""

RIGID_GRID_IOD = np.stack(np.meshgrid(np.arange(-0.18, 0.181, 0.06), np.arange(-0.14, 0.35, 0.06)), -1).reshape(-1, 2)
"""(63, 2) where residual motion is measured: nose bridge and ridge, and the eye corners beside them."""


def plain_crop(image: Image, transform: Transform) -> Image:
    """The crop uint8 (112, 112) that a transform cuts out of a BGR image."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    crop = cv2.warpAffine(grey, transform, (CROP_PX, CROP_PX), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def residual_px(crops: Sequence[Image | None]) -> dict[str, float]:
    """Motion of the rigid region between consecutive crops: per pair the median over `RIGID_GRID_IOD`, in crop px.

    Raises SourceError where no two crops follow each other.
    """
    grid = (RIGID_GRID_IOD * CROP_IOD_PX + CROP_EYES_PX).astype(np.float32)
    motion_px = []
    for before, after in pairwise(crops):
        if before is not None and after is not None:
            moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, grid, grid.copy(), winSize=(15, 15), maxLevel=2)
            shifts_px = np.linalg.norm(moved - grid, axis=1)[found.ravel() > 0]
            motion_px += [float(np.median(shifts_px))] if len(shifts_px) else []
    if not motion_px:
        raise SourceError("the face is never in two pictures that follow each other: give a clip in which it stays")
    return {"median": round(float(np.median(motion_px)), 4), "p90": round(float(np.percentile(motion_px, 90)), 4)}


def known_path(still: Image) -> Iterator[tuple[Image, Transform]]:
    """A still picture moved along a known path with noise: each frame, and the similarity that moved the still."""
    rng = np.random.default_rng(0)
    for index in range(round(PATH_FPS * PATH_S)):
        phase = 2 * np.pi * index / PATH_FPS
        sway_px = PATH_SWAY_PX * np.array([np.sin(phase / 5.1 + 0.5), 0.7 * np.sin(phase / 4.3)])
        image, motion = _moved(
            still, PATH_ROLL_RAD * np.sin(phase / 3.7), 1 + PATH_NOD * np.sin(phase / 2.9 + 1), sway_px
        )
        noisy = image + rng.normal(0, PATH_NOISE_LEVELS, image.shape)
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8), motion


def wander_px(
    transforms: Sequence[Transform | None], motions: Sequence[Transform], points: NDArray[np.float32]
) -> float:
    """Standard deviation over time of where points (N, 2) of the moved still come to lie in the crop, in its pixels.

    Raises SourceError where there is no transform at all.
    """
    places = [
        apply(compose(transform, motion), points)
        for transform, motion in zip(transforms, motions, strict=True)
        if transform is not None
    ]
    if not places:
        raise SourceError("the face is lost as soon as it moves: give a clip in which it is larger")
    return round(float(np.std(places, axis=0).mean()), 4)


def _moved(still: Image, roll_rad: float, growth: float, sway_px: NDArray[np.float64]) -> tuple[Image, Transform]:
    """The still turned, grown about its middle, and shifted; and the similarity (2, 3) that did it."""
    height, width = still.shape[:2]
    motion = cv2.getRotationMatrix2D((width / 2, height / 2), float(np.degrees(roll_rad)), growth)
    motion = np.hstack([motion[:, :2], motion[:, 2:] + sway_px[:, None]])
    image = cv2.warpAffine(still, motion, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(image, np.uint8), np.asarray(motion, np.float64)


def step_followed(still: Image, points: NDArray[np.float32], settings: Settings) -> float:
    """Share of a sudden turn and nod that the crop has followed in the very frame in which it happens; 1: no lag.

    The still is shown calm, then at once moved by as much as `known_path` at its farthest; `points` (N, 2) lie on it.
    """
    turned = _moved(still, PATH_ROLL_RAD, 1 + PATH_NOD, np.array([PATH_SWAY_PX, 0.7 * PATH_SWAY_PX]))
    calm = [still] * WARM_UP_FRAMES
    faces = [face for face, _ in aligned([*calm, turned[0]], PATH_FPS, settings)]
    before, after = faces[-2], faces[-1]
    if before is None or after is None:
        return 0.0
    rest_px = apply(before.transform, points)
    went_px = apply(compose(before.transform, turned[1]), points) - rest_px
    left_px = apply(compose(after.transform, turned[1]), points) - rest_px
    return round(float(1 - np.linalg.norm(left_px) / np.linalg.norm(went_px)), 4)


def measure_alignment(
    frames: Sequence[Image], fps: float, landmarks: Sequence[Landmarks | None], settings: Settings
) -> dict[str, Any]:
    """Residual motion of a clip, whose landmarks are given, and of its first face on the known path."""
    faces = [face for face, _ in aligned(frames, fps, settings)]
    plain_crops = [
        None if transform is None else plain_crop(image, transform)
        for image, transform in zip(frames, _plain(landmarks), strict=True)
    ]
    still, points = next(
        (image, found[list(RIGID)]) for image, found in zip(frames, landmarks, strict=True) if found is not None
    )
    images, motions = map(list, zip(*known_path(still), strict=True))
    plain_path = _plain(facemesh(images)[1])
    tracked_path = [face.transform if face else None for face, _ in aligned(images, PATH_FPS, settings)]
    return {
        "residual_plain_px": residual_px(plain_crops),
        "residual_px": residual_px([face.crop if face else None for face in faces]),
        "known_path_plain_px": wander_px(plain_path, motions, points),
        "known_path_px": wander_px(tracked_path, motions, points),
        "step_followed": step_followed(still, points, settings),
    }


def _plain(landmarks: Sequence[Landmarks | None]) -> list[Transform | None]:
    """What plain alignment makes of the landmarks of each frame."""
    return [None if found is None else crop_transform(found) for found in landmarks]


def aligned(images: Iterable[Image], fps: float, settings: Settings) -> Iterator[tuple[Face | None, float]]:
    """The oldest face of each picture, and the seconds that aligning took."""
    with Aligner(settings.align, "bench") as aligner:
        for index, image in enumerate(images):
            frame = Frame(image, "bench", index, index / fps, 0.0)
            began_s = time.perf_counter()
            found = aligner.push(frame)
            took_s = time.perf_counter() - began_s
            yield next((face for face in found if isinstance(face, Face)), None), took_s


def facemesh(frames: Sequence[Image]) -> tuple[float, list[Landmarks | None]]:
    """Frames per second of FaceMesh alone, and the landmarks of the first face of each frame."""
    with FaceMesh() as mesh:
        for image in frames[:WARM_UP_FRAMES]:
            mesh.find(image)
        began_s = time.perf_counter()
        found = [mesh.find(image) for image in frames]
        rate = len(frames) / (time.perf_counter() - began_s)
    return rate, [landmarks[0] if landmarks else None for landmarks in found]
