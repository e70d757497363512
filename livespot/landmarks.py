"""MediaPipe's face mesh: the points livespot names, and the one place where the mesh is computed.

Lengths on a face are given in inter-ocular distances (IOD): the distance between the outer eye corners.
Left and right are the viewer's, as in the picture.
"""

from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.records import CROP_PX, LANDMARKS

EYE_OUTER_LEFT, EYE_INNER_LEFT, EYE_INNER_RIGHT, EYE_OUTER_RIGHT = 33, 133, 362, 263

RIGID = (EYE_OUTER_LEFT, EYE_INNER_LEFT, EYE_INNER_RIGHT, EYE_OUTER_RIGHT, 168, 6, 197, 195)
"""Eye corners, nose bridge and ridge: what no expression moves."""

RIGID_SHAPE_IOD = np.array(
    [[-0.5, 0.0], [-0.19, 0.015], [0.19, 0.015], [0.5, 0.0], [0.0, -0.036], [0.0, 0.043], [0.0, 0.125], [0.0, 0.2]]
)
"""(8, 2) mean frontal shape of `RIGID` over 680 portraits, made symmetric; origin between the eyes, y down."""

CROP_IOD_PX = 56.0
CROP_EYES_PX = ((CROP_PX - 1) / 2, 36.0)
"""Where the crop holds the face: half its width between the outer eye corners, brows to chin inside."""

RIGID_CROP_PX = RIGID_SHAPE_IOD * CROP_IOD_PX + np.array(CROP_EYES_PX)
"""(8, 2) where `RIGID` lies in the crop."""


PLANE = np.array([1, 1j])
"""Takes points (N, 2) to complex numbers (N,)."""

COINCIDE = 1e-9
"""Points as near together as this share of their distance from the origin are one: rounding alone takes them apart."""


def similarity(points: NDArray[Any], targets: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Least-squares similarity (2, 3) that takes points (N, 2) to targets (N, 2); Umeyama 1991 in two dimensions.

    A similarity of the plane is a complex number a and a shift b: z -> a z + b, so least squares has a closed form.
    Raises ValueError where all points coincide.
    """
    z, w = np.asarray(points, np.float64) @ PLANE, np.asarray(targets, np.float64) @ PLANE
    weight = np.ones(len(z)) if weights is None else weights
    total = weight.sum()
    z_mean, w_mean = weight @ z / total, weight @ w / total
    away = weight * np.conj(z - z_mean)
    spread = (away @ (z - z_mean)).real
    if not spread > total * (COINCIDE * abs(z_mean)) ** 2:
        raise ValueError(f"similarity of {len(z)} points that coincide; expected at least two apart")
    a = away @ (w - w_mean) / spread
    b = w_mean - a * z_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def median(values: NDArray[Any]) -> Any:
    """Of numbers (N,), N from 1, none of them a NaN: the same as NumPy's, which takes ten times as long for so few."""
    ordered, middle = np.sort(values), len(values) // 2
    if len(values) % 2:
        return ordered[middle]
    return values.dtype.type((ordered[middle - 1] + ordered[middle]) / 2)  # NumPy 1 takes halves to float64


def apply(transform: NDArray[np.float64], points: NDArray[Any]) -> NDArray[np.float64]:
    """Points (N, 2) moved by an affine transform (2, 3)."""
    return np.asarray(points @ transform[:, :2].T + transform[:, 2], np.float64)


def compose(after: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine transform (2, 3) that does `before`, then `after`."""
    both: NDArray[np.float64] = after[:, :2] @ before
    both[:, 2] += after[:, 2]
    return both


def invert(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine transform (2, 3) that undoes `transform`."""
    return np.asarray(cv2.invertAffineTransform(transform), np.float64)


def crop_transform(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Similarity (2, 3) from the frame to the crop by the rigid landmarks of this frame alone: plain alignment."""
    return similarity(landmarks[list(RIGID)], RIGID_CROP_PX)


def inter_ocular_px(landmarks: NDArray[np.float32]) -> float:
    """Distance of the outer eye corners in pixels of the frame."""
    return float(np.linalg.norm(landmarks[EYE_OUTER_LEFT] - landmarks[EYE_OUTER_RIGHT]))


class FaceMesh:
    """MediaPipe FaceMesh of one source: it tracks, so it belongs to one source and one thread at a time.

    A context manager; entering loads the models (they are inside the wheel).
    """

    def __init__(self, max_faces: int = 1, static: bool = False) -> None:
        self._max_faces = max_faces
        self._static = static
        self._mesh: Any = None

    def __enter__(self) -> "FaceMesh":
        from mediapipe.python.solutions.face_mesh import FaceMesh as MediaPipeFaceMesh

        self._mesh = MediaPipeFaceMesh(
            static_image_mode=self._static, max_num_faces=self._max_faces, refine_landmarks=False
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mesh is not None:
            self._mesh.close()
            self._mesh = None

    def find(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Landmarks float32 (468, 2) in pixels of each face in the BGR image (H, W, 3), in no order."""
        return [points[:, :2] for points in self.find_in_depth(image)]

    def find_in_depth(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The same with a third column, (468, 3): depth in pixels, growing away from the camera, from no origin."""
        if self._mesh is None:
            raise RuntimeError("FaceMesh is not open; use it in a with statement")
        height, width = image.shape[:2]
        found = self._mesh.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).multi_face_landmarks or []
        size = np.array([width, height, width], np.float32)
        return [
            np.array([(point.x, point.y, point.z) for point in face.landmark[:LANDMARKS]], np.float32) * size
            for face in found
        ]
