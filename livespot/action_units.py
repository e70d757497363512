"""Facial action units as smooth displacement fields of the skin, for faces that are animated rather than filmed.

A unit is a handful of Gaussian pushes at points of the MediaPipe mesh, after the Facial Action Coding System (Ekman and
Friesen 1978). Every unit is scaled so that intensity 1 moves its fastest point by one inter-ocular distance (IOD):
intensity 0.015 is a peak displacement of 1.5 % of the IOD, whatever the unit and whatever the face.

Left and right are the viewer's; directions follow the face: x along the line of the eyes, y down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT, inter_ocular_px

GRID_IOD = 0.05
"""Spacing of the grid on which a field is summed; below the narrowest push, so bilinear enlargement is close."""

FIXED_POINT_STEPS = 3
"""Steps that invert a displacement; pushes stretch skin by less than half, so the error left is below a tenth of it."""


@dataclass(frozen=True)
class Push:
    """Skin around one mesh point, moved along (dx, dy) with Gaussian fall-off of standard deviation `radius_iod`."""

    landmark: int
    dx: float
    dy: float
    radius_iod: float


def _sided(name: str, *pushes: tuple[int, int, float, float, float]) -> dict[str, tuple[Push, ...]]:
    """The left and the right half of a unit from (left point, right point, dx of the left, dy, radius)."""
    return {
        f"{name}_left": tuple(Push(left, dx, dy, radius) for left, _, dx, dy, radius in pushes),
        f"{name}_right": tuple(Push(right, -dx, dy, radius) for _, right, dx, dy, radius in pushes),
    }


UNITS: Mapping[str, tuple[Push, ...]] = {
    # inner brow raiser
    **_sided("AU1", (107, 336, 0.1, -1.0, 0.15), (66, 296, 0.0, -0.6, 0.14)),
    # outer brow raiser
    **_sided("AU2", (70, 300, 0.0, -0.7, 0.15), (63, 293, 0.0, -1.0, 0.16), (105, 334, 0.0, -0.6, 0.14)),
    # brow lowerer: down and together
    **_sided("AU4", (107, 336, 0.5, 0.8, 0.14), (55, 285, 0.5, 0.7, 0.13), (65, 295, 0.3, 0.7, 0.14)),
    # cheek raiser
    **_sided("AU6", (50, 280, 0.1, -1.0, 0.19), (117, 346, 0.25, -0.8, 0.16), (118, 347, 0.1, -0.7, 0.15)),
    # lid tightener: the lower lid comes up, the upper one a little down
    **_sided("AU7", (145, 374, 0.0, -1.0, 0.09), (23, 253, 0.0, -0.6, 0.10), (159, 386, 0.0, 0.3, 0.08)),
    # nose wrinkler
    **_sided("AU9", (48, 278, 0.1, -1.0, 0.12), (129, 358, 0.1, -0.9, 0.13), (193, 417, 0.0, 0.5, 0.10)),
    # upper lip raiser
    **_sided("AU10", (39, 269, 0.0, -1.0, 0.13), (165, 391, 0.0, -0.9, 0.14), (129, 358, 0.0, -0.5, 0.12)),
    # lip corner puller
    **_sided("AU12", (61, 291, -0.75, -0.7, 0.17), (205, 425, -0.3, -0.6, 0.20), (40, 270, -0.4, -0.3, 0.13)),
    # dimpler
    **_sided("AU14", (61, 291, -0.9, -0.2, 0.13), (57, 287, -0.5, 0.0, 0.12)),
    # lip corner depressor
    **_sided("AU15", (61, 291, -0.1, 1.0, 0.13), (146, 375, 0.0, 0.6, 0.13), (202, 422, 0.0, 0.5, 0.15)),
    # chin raiser
    "AU17": (Push(199, 0.0, -0.9, 0.20), Push(18, 0.0, -1.0, 0.16), Push(17, 0.0, -0.6, 0.13)),
    # lip pucker: the corners come together
    "AU18": (
        Push(61, 1.0, 0.0, 0.13),
        Push(291, -1.0, 0.0, 0.13),
        Push(0, 0.0, -0.2, 0.12),
        Push(17, 0.0, 0.2, 0.12),
    ),
    # lip stretcher
    **_sided("AU20", (61, 291, -1.0, 0.2, 0.15), (146, 375, -0.6, 0.2, 0.14), (185, 409, -0.5, 0.1, 0.12)),
    # lip tightener: both lips narrow
    "AU23": (
        Push(0, 0.0, 0.8, 0.10),
        Push(17, 0.0, -0.8, 0.11),
        Push(61, 0.35, 0.0, 0.10),
        Push(291, -0.35, 0.0, 0.10),
    ),
    # lip pressor: the lips meet, the corners draw in
    "AU24": (
        Push(0, 0.0, 0.6, 0.11),
        Push(17, 0.0, -1.0, 0.13),
        Push(61, 0.5, 0.0, 0.11),
        Push(291, -0.5, 0.0, 0.11),
    ),
    # lips part
    "AU25": (
        Push(0, 0.0, -0.3, 0.12),
        Push(17, 0.0, 1.0, 0.14),
        Push(84, 0.0, 0.8, 0.13),
        Push(314, 0.0, 0.8, 0.13),
    ),
    # jaw drop
    "AU26": (Push(152, 0.0, 1.0, 0.30), Push(199, 0.0, 1.0, 0.26), Push(17, 0.0, 0.8, 0.18)),
    # lids, for blinks
    **_sided(
        "blink",
        (160, 387, 0.0, 0.8, 0.08),
        (159, 386, 0.0, 1.0, 0.08),
        (158, 385, 0.0, 0.8, 0.08),
        (145, 374, 0.0, -0.1, 0.08),
    ),
    # what is seen through the lids when the eyes turn
    "gaze_x": tuple(Push(lid, 1.0, 0.0, 0.05) for lid in (159, 145, 386, 374)),
    "gaze_y": tuple(Push(lid, 0.0, 1.0, 0.05) for lid in (159, 145, 386, 374)),
}


def _both(name: str, share: float = 1.0) -> dict[str, float]:
    return {f"{name}_left": share, f"{name}_right": share}


EXPRESSIONS: Mapping[str, Mapping[str, float]] = {
    "1+2": {**_both("AU1"), **_both("AU2")},
    "1": _both("AU1"),
    "2": _both("AU2"),
    "2 left": {"AU2_left": 1.0},
    "2 right": {"AU2_right": 1.0},
    "1+4": {**_both("AU1", 0.7), **_both("AU4")},
    "4": _both("AU4"),
    "4+7+9": {**_both("AU4"), **_both("AU6", 0.4), **_both("AU9")},
    "6": _both("AU6"),
    "6+12": {**_both("AU6", 0.7), **_both("AU12")},
    "6+12+25": {**_both("AU6", 0.7), **_both("AU12"), "AU25": 0.5},
    "9": _both("AU9"),
    "10": _both("AU10"),
    "10 left": {"AU10_left": 1.0},
    "10 right": {"AU10_right": 1.0},
    "12": _both("AU12"),
    "12 left": {"AU12_left": 1.0},
    "12 right": {"AU12_right": 1.0},
    "14": _both("AU14"),
    "14 left": {"AU14_left": 1.0},
    "14 right": {"AU14_right": 1.0},
    "15": _both("AU15"),
    "15+17": {**_both("AU15"), "AU17": 1.0},
    "17": {"AU17": 1.0},
    "20": _both("AU20"),
    "20+25": {**_both("AU20"), "AU25": 0.7},
    "24": {"AU24": 1.0},
    "17+24": {"AU17": 0.7, "AU24": 1.0},
    "1+2+25+26": {**_both("AU1"), **_both("AU2"), "AU25": 0.8, "AU26": 0.8},
}
"""Combinations that occur in life: unit to its share of the expression."""

BLINK: Mapping[str, float] = _both("blink")


class SkinField:
    """How the skin of one face moves under given intensities.

    `landmarks_px` float32 (468, 2) in pixels of the picture to be moved, of `size` (height, width). A unit's field is
    computed when first asked for, on the points `grid_px` (x, y) that lie about `GRID_IOD` apart, and kept.
    """

    def __init__(
        self,
        landmarks_px: NDArray[np.float32],
        size: tuple[int, int],
        units: Mapping[str, tuple[Push, ...]] = UNITS,
    ) -> None:
        self._pushes = units
        self.iod_px = inter_ocular_px(landmarks_px)
        self.size = size
        self._landmarks = landmarks_px
        eyes = landmarks_px[EYE_OUTER_RIGHT] - landmarks_px[EYE_OUTER_LEFT]
        self._x_axis = eyes / self.iod_px
        self.grid_px = _grid(size, GRID_IOD * self.iod_px)
        self._units: dict[str, NDArray[np.float32]] = {}

    @property
    def eye_opening_iod(self) -> float:
        """Distance between the lids in the middle of the eyes: the amplitude of a full blink."""
        left, right = self._landmarks[[159, 386]] - self._landmarks[[145, 374]]
        return float(np.linalg.norm(left) + np.linalg.norm(right)) / 2 / self.iod_px

    def unit(self, name: str) -> NDArray[np.float32]:
        """Field float32 (rows, columns, 2) of a unit at intensity 1, in IOD, on the coarse grid."""
        if name not in self._units:
            self._units[name] = self._unit(name)
        return self._units[name]

    def scaled(self, expression: Mapping[str, float], amplitude_iod: float) -> dict[str, float]:
        """Intensities with which `expression` moves its fastest point by `amplitude_iod`."""
        peak = _peak(self.coarse_iod(expression))
        return {name: share * amplitude_iod / peak for name, share in expression.items()}

    def coarse_iod(self, intensities: Mapping[str, float]) -> NDArray[np.float32]:
        """Summed field float32 (rows, columns, 2) in IOD on the coarse grid."""
        field = np.zeros((*self.grid_px[0].shape, 2), np.float32)
        for name, intensity in intensities.items():
            if intensity:
                field += np.float32(intensity) * self.unit(name)
        return field

    @property
    def spacing_px(self) -> tuple[float, float]:
        """Distance (x, y) between the points of the coarse grid."""
        rows, columns = self.grid_px[0].shape
        return self.size[1] / columns, self.size[0] / rows

    def in_windows(
        self, fields: NDArray[Any], windows: Sequence[Sequence[int]], width_iod: float
    ) -> NDArray[np.float64]:
        """Means (N, windows, 2) of coarse fields (N, rows, columns, 2) in Gaussian windows, x along the eyes.

        Each window lies about the mean of some points of the mesh; `width_iod` is its standard deviation.
        """
        middles_px = np.array([self._landmarks[list(points)].mean(axis=0) for points in windows])
        away_iod = (np.stack(self.grid_px, axis=-1).reshape(1, -1, 2) - middles_px[:, None]) / self.iod_px
        weights = np.exp(-(away_iod**2).sum(axis=-1) / (2 * width_iod**2))
        weights /= weights.sum(axis=1, keepdims=True)
        x, y = self._x_axis
        seen: NDArray[np.float64] = weights @ fields.reshape(len(fields), -1, 2) @ np.array([[x, -y], [y, x]])
        return seen

    def _unit(self, name: str) -> NDArray[np.float32]:
        x_px, y_px = self.grid_px[0][0], self.grid_px[1][:, 0]
        field = np.zeros((*self.grid_px[0].shape, 2))
        cos, sin = self._x_axis
        for push in self._pushes[name]:
            x, y = self._landmarks[push.landmark]
            width_px = push.radius_iod * self.iod_px
            bump = np.outer(_bell((y_px - y) / width_px), _bell((x_px - x) / width_px))
            field += bump[..., None] * (push.dx * cos - push.dy * sin, push.dx * sin + push.dy * cos)
        return (field / _peak(field)).astype(np.float32)


def backward(displacement: NDArray[np.float32], spacing_px: tuple[float, float]) -> NDArray[np.float32]:
    """The same motion seen from where it ends, u(q) = d(q - u(q)) by fixed point: what is at q came from q - u(q).

    `displacement` float32 (rows, columns, 2) in pixels on a grid whose points lie `spacing_px` (x, y) apart.
    """
    rows, columns = displacement.shape[:2]
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    moved = displacement
    for _ in range(FIXED_POINT_STEPS):
        source_x, source_y = x - moved[..., 0] / spacing_px[0], y - moved[..., 1] / spacing_px[1]
        moved = _float32(cv2.remap(displacement, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return moved


def course(t_s: float, onset_s: float, apex_s: float, offset_s: float, hold_s: float = 0.0) -> float:
    """Share [0, 1] of an expression at `t_s`: a raised cosine up to the apex, a hold of `hold_s`, and one down.

    Zero outside [onset, offset). Raises ValueError unless onset < apex and apex + hold < offset.
    """
    if not onset_s < apex_s <= apex_s + hold_s < offset_s:
        raise ValueError(
            f"course with onset {onset_s}, apex {apex_s}, hold {hold_s}, offset {offset_s} s; "
            "expected onset < apex and apex + hold < offset"
        )
    if not onset_s <= t_s < offset_s:
        return 0.0
    if t_s < apex_s:
        return float(raised_cosine((t_s - onset_s) / (apex_s - onset_s)))
    fall_s = apex_s + hold_s
    return 1.0 if t_s < fall_s else float(raised_cosine((offset_s - t_s) / (offset_s - fall_s)))


def raised_cosine(share: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """From 0 at 0 to 1 at 1, gently at both ends."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * share))


def _bell(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Gaussian in two dimensions is the product of two of these."""
    bell: NDArray[np.float64] = np.exp(-(x**2) / 2)
    return bell


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """OpenCV's signatures lose the element type; this only tells it."""
    return array.astype(np.float32, copy=False)


def _peak(field: NDArray[Any]) -> float:
    return float(np.sqrt((field**2).sum(axis=-1).max()))


def _grid(size: tuple[int, int], spacing_px: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of the grid's points, placed where `cv2.resize` expects the pixels of a smaller picture."""
    rows, columns = (max(2, round(side / spacing_px)) for side in size)
    x = (np.arange(columns) + 0.5) * size[1] / columns - 0.5
    y = (np.arange(rows) + 0.5) * size[0] / rows - 0.5
    grid = np.meshgrid(x, y)
    return grid[0], grid[1]
