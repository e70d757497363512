"""A portrait that performs a script: skin that moves, folds and shades on a head that moves in three dimensions.

    scene (portrait, finer than the frame)  <-- where each pixel of the frame came from --  one map, one interpolation

A point p of the face at rest is moved by the skin's displacement e(p) along the surface of the mesh, turned with the
head about the neck and projected: F(p). A frame's pixel q shows the scene at the p with F(p) = q. All of that is
smooth, so it is solved on a coarse grid and enlarged. Every frame, neutral or not, takes the same way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from livespot.action_units import UNITS, Push, SkinField, raised_cosine
from livespot.capture.virtual import FINER, HEIGHT_PX, WIDTH_PX, Expression, read_portrait, scene_of
from livespot.errors import SourceError
from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT, FaceMesh, inter_ocular_px
from livespot.motion.regions import EXPRESSIVE, WINDOW_IOD
from livespot.records import LANDMARKS, Frame
from livespot.synth.filming import Filming
from livespot.synth.script import NAMES, Peaks, Recipe, Script

Array: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]

IOD_PX = (60.0, 150.0)
"""Faces are so large in a frame of 640x480."""
DISTANCE_IOD = (6.0, 16.0)
"""From camera to face: half a metre to one and a half."""
NECK_IOD = np.array([0.0, 0.6, 0.8], np.float32)
"""What a head turns about, from the middle of the eyes."""
BACK_IOD = 0.6
"""Depth of what lies around the face, behind the eyes."""
FACE_IOD, FADE_IOD = np.array([0.95, 1.25]), 0.6
"""Half axes of the ellipse that moves with the head, and the width over which the background comes to a rest."""
FACE_MIDDLE_IOD = 0.35
"""How far below the eyes the middle of that ellipse lies."""
STEPS = 4
"""Fixed-point steps a frame, from where the frame before ended."""
DEPTH_EVERY = 4
"""One point of the mesh in so many gives the depth: it is smooth."""

LEAN_RAD, WIDTH = 0.25, 0.2
"""Standard deviations, from face to face, of the direction in which a push points and of the logarithm of its width."""

FOLDS: Mapping[str, tuple[int, ...]] = {
    "AU1_left": (69, 108, 151), "AU1_right": (299, 337, 151),
    "AU2_left": (68, 104, 69), "AU2_right": (298, 333, 299),
    "AU4_left": (108, 107, 55), "AU4_right": (337, 336, 285),
    "AU6_left": (33, 130, 226, 35), "AU6_right": (263, 359, 446, 265),
    "AU9_left": (193, 122, 188), "AU9_right": (417, 351, 412),
    "AU10_left": (129, 203, 206), "AU10_right": (358, 423, 426),
    "AU12_left": (129, 203, 206, 216, 212), "AU12_right": (358, 423, 426, 436, 432),
    "AU14_left": (186, 57, 43), "AU14_right": (410, 287, 273),
    "AU15_left": (61, 43, 106), "AU15_right": (291, 273, 335),
    "AU17": (204, 201, 200, 421, 424),
}  # fmt: skip
"""Where skin folds under a unit: lines through points of the mesh."""
FOLD_IOD, FOLD_DARKER, FULL_IOD = 0.014, (0.0, 0.2), 0.06
"""Half width of a fold; how much darker it is, by face, from this intensity on."""
BULGE = (0.0, 0.25)
"""Contrast that light from the side gives to skin that bunches, by face."""
COARSER = 2
"""The shading has one pixel for so many of the frame."""


class Performance:
    """A `Source` of 640x480 frames of a portrait that performs; `truth` is what is to be spotted in them.

    What is shown depends on the portrait and the seed, not on the frame rate. `expressive` ones show expressions,
    others all else that these show. Known once entered: `truth`, `script`, and what `displacement_iod` tells.
    """

    def __init__(
        self,
        portrait: Path,
        name: str,
        seed: int,
        fps: float = 30.0,
        seconds: float = 30.0,
        expressive: bool = True,
        recipe: Recipe | None = None,
    ) -> None:
        self.name = name
        self.live = False
        self.fps: float | None = fps
        self.frame_count: int | None = round(seconds * fps)
        self.note = ""
        self.truth: tuple[Expression, ...] = ()
        self.times_s = np.arange(round(seconds * fps)) / fps
        self._portrait, self._seed, self._seconds = portrait, seed, seconds
        self._expressive, self._recipe = expressive, recipe
        self._face: _Face | None = None

    def __enter__(self) -> "Performance":
        """Raises SourceError where the portrait cannot be read or shows no face."""
        portrait = read_portrait(self._portrait)
        with FaceMesh(static=True) as mesh:
            found = mesh.find_in_depth(portrait)
        if not found:
            raise SourceError(f"no face is found in {self._portrait}: give a portrait that looks at the camera")
        face, script, filming = np.random.default_rng(self._seed).spawn(3)
        self._face = _Face(portrait, found[0], face)
        lids_iod = self._face.skin.eye_opening_iod
        self.script = Script(
            script, self._seconds, Peaks(self._face.fields_iod), lids_iod, self._recipe, self._expressive
        )
        self.truth = self.script.truth
        assert self.fps is not None
        self.filming = Filming(filming, (HEIGHT_PX, WIDTH_PX), self.fps, self._seconds, self._face.skin.iod_px)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._face = None

    def __iter__(self) -> Iterator[Frame]:
        assert self._face is not None, "a source is entered before it is iterated"
        intensities, poses = self.script.intensities(self.times_s), self.script.poses(self.times_s)
        last: Frame | None = None
        for index, t_s in enumerate(self.times_s.tolist()):
            image, eyes_px = self._face.frame(intensities[index], poses[index])
            if last is not None and self.filming.repeats(index):
                last = replace(last, index=index, t_s=t_s, arrival_s=t_s)
            else:
                last = Frame(self.filming.on(image, index, eyes_px), self.name, index, t_s, t_s)
            yield last

    @property
    def answers_iod(self) -> tuple[Points, Points]:
        """What every unit at intensity 1 does, in its regions (units, regions, 2) and all over (units, points, 2)."""
        assert self._face is not None, "the skin is known once entered"
        return self._face.regions_iod, self._face.fields_iod

    def displacement_iod(self) -> Array:
        """True displacement of the skin in each of `EXPRESSIVE`'s regions at each frame, (T, regions, 2)."""
        assert self._face is not None, "the skin is known once entered"
        moved = np.tensordot(self.script.intensities(self.times_s), self._face.regions_iod, 1)
        return moved.astype(np.float32)


class _Face:
    """Frames of one portrait."""

    def __init__(self, portrait: NDArray[np.uint8], mesh_px: Array, rng: np.random.Generator) -> None:
        iod_px = float(np.exp(rng.uniform(*np.log(IOD_PX))))
        eyes_at_px = (WIDTH_PX * rng.uniform(0.4, 0.6), HEIGHT_PX / 2 - 0.35 * iod_px * rng.uniform(0.7, 1.3))
        self._scene, landmarks_px = scene_of(portrait, mesh_px[:, :2], iod_px, eyes_at_px)
        self.skin = SkinField(landmarks_px, (HEIGHT_PX, WIDTH_PX), _own_units(rng))
        self._iod_px = self.skin.iod_px
        self._eyes_px = landmarks_px[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]].astype(np.float64)
        self._middle_px = self._eyes_px.mean(axis=0)
        self._landmarks = landmarks_px
        grid_px = np.stack(self.skin.grid_px, axis=-1)
        self._rest_iod = ((grid_px - self._middle_px) / self._iod_px).astype(np.float32)
        eyes_depth = mesh_px[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT], 2].mean()
        depth_iod = (mesh_px[:, 2] - eyes_depth) / inter_ocular_px(mesh_px[:, :2])
        self._weight, self._depth_iod, self._slope = self._surface(depth_iod)
        self._distance_iod = rng.uniform(*DISTANCE_IOD)
        self._came_px = np.zeros((*self._rest_iod.shape[:2], 2), np.float32)
        self._shading = _Shading(landmarks_px, self._iod_px, rng)
        x, y = (np.arange(side, dtype=np.float32) for side in (WIDTH_PX, HEIGHT_PX))
        self._x_px, self._y_px = np.meshgrid(x, y)

    @cached_property
    def fields_iod(self) -> Points:
        """What every unit does to the skin, (units, points, 2)."""
        return np.asarray([self.skin.unit(name).reshape(-1, 2) for name in NAMES], np.float64)

    @cached_property
    def regions_iod(self) -> Points:
        """What every unit does in each region, x along the eyes: (units, regions, 2)."""
        windows = [region.landmarks for region in EXPRESSIVE.values()]
        return self.skin.in_windows(self.fields_iod, windows, WINDOW_IOD)

    def frame(self, intensities: Points, pose: Points) -> tuple[NDArray[np.uint8], Points]:
        """uint8 (480, 640, 3) BGR, and where the outer eye corners are in it, (2, 2)."""
        field_iod = self._field_iod(intensities)
        moved_px = self._moved_px(field_iod, pose)
        self._came_px = self._came_from_px(moved_px)
        size = (WIDTH_PX, HEIGHT_PX)
        dx, dy = (cv2.resize(part, size, interpolation=cv2.INTER_CUBIC) for part in cv2.split(self._came_px))
        x, y = self._x_px - dx, self._y_px - dy
        middle = (FINER - 1) / 2
        image = cv2.remap(
            self._scene, FINER * x + middle, FINER * y + middle, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        shaded = self._shading.on(np.asarray(image, np.uint8), field_iod, intensities, x, y)
        return shaded, self._eyes_at(moved_px)

    def _field_iod(self, intensities: Points) -> Array:
        """How far the skin has moved on the face, (rows, columns, 2)."""
        field = np.zeros(self._rest_iod.shape, np.float32)
        for row in np.flatnonzero(intensities):
            field += np.float32(intensities[row]) * self.skin.unit(NAMES[row])
        return field

    def _surface(self, depth_iod: Points) -> tuple[Array, Array, Array]:
        """On the grid: the share (.., 1) that moves with the head, depth, and its slopes (.., 2)."""
        middle = np.array([0.0, FACE_MIDDLE_IOD])
        beyond = np.linalg.norm((self._rest_iod - middle) / FACE_IOD, axis=-1) - 1
        share = raised_cosine((1 - beyond / FADE_IOD).clip(0, 1))
        points_iod = (self._landmarks - self._middle_px) / self._iod_px
        known = slice(0, LANDMARKS, DEPTH_EVERY)
        fit = RBFInterpolator(points_iod[known], depth_iod[known], kernel="linear", smoothing=0.3)
        depth = fit(self._rest_iod.reshape(-1, 2)).reshape(share.shape).clip(-BACK_IOD, 1.5 * BACK_IOD)
        inside = raised_cosine((1 - (beyond + 0.2) / 0.4).clip(0, 1))
        depth = cv2.GaussianBlur(inside * depth + (1 - inside) * BACK_IOD, (0, 0), 1.0)
        spacing_iod = np.array(self.skin.spacing_px) / self._iod_px
        down, across = np.gradient(depth)
        slope = np.stack([across / spacing_iod[0], down / spacing_iod[1]], axis=-1)
        return share[..., None].astype(np.float32), depth.astype(np.float32), slope.astype(np.float32)

    def _moved_px(self, field_iod: Array, pose: Points) -> Array:
        """How far every point of the grid has moved from its rest: F(p) - p, (rows, columns, 2)."""
        skin = self._rest_iod + field_iod
        depth = self._depth_iod + (self._slope * field_iod).sum(axis=-1)
        near = (self._distance_iod + depth) / self._distance_iod
        solid = np.concatenate([skin * near[..., None], depth[..., None]], axis=-1)
        turned = (solid - NECK_IOD) @ _rotation(*pose[:3]).T.astype(np.float32) + NECK_IOD
        seen = turned[..., :2] * (self._distance_iod / (self._distance_iod + turned[..., 2:]))
        moved = seen * np.float32(np.exp(pose[5])) + pose[3:5].astype(np.float32) - self._rest_iod
        return np.asarray(np.float32(self._iod_px) * (self._weight * moved), np.float32)

    def _came_from_px(self, moved_px: Array) -> Array:
        """The same motion seen from where it ends: u(q) = moved(q - u(q))."""
        spacing = self.skin.spacing_px
        rows, columns = moved_px.shape[:2]
        x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
        came = self._came_px
        for _ in range(STEPS):
            at_x, at_y = x - came[..., 0] / np.float32(spacing[0]), y - came[..., 1] / np.float32(spacing[1])
            came = np.asarray(
                cv2.remap(moved_px, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
            )
        return came

    def _eyes_at(self, moved_px: Array) -> Points:
        spacing = np.array(self.skin.spacing_px)
        column, row = ((self._eyes_px + 0.5) / spacing - 0.5).round().astype(int).T
        return np.asarray(self._eyes_px + moved_px[row, column], np.float64)


class _Shading:
    """How light falls on skin that bunches and folds."""

    def __init__(self, landmarks_px: Array, iod_px: float, rng: np.random.Generator) -> None:
        self._size = (WIDTH_PX // COARSER, HEIGHT_PX // COARSER)
        self._iod_px = iod_px / COARSER
        angle = rng.uniform(0, 2 * np.pi)
        self._light = rng.uniform(*BULGE) * np.array([np.cos(angle), np.sin(angle)])
        darker = rng.uniform(*FOLD_DARKER)
        self._folds = {NAMES.index(name): darker * self._fold(landmarks_px[list(line)]) for name, line in FOLDS.items()}

    def on(
        self, image: NDArray[np.uint8], field_iod: Array, intensities: Points, x_px: Array, y_px: Array
    ) -> NDArray[np.uint8]:
        """The picture whose pixels show the face at rest at (x, y), shaded."""
        active = [row for row in self._folds if intensities[row] > 0]
        if not active:
            return image
        light = self._bulges(field_iod)
        for row in active:
            light -= np.float32(min(intensities[row] / FULL_IOD, 1)) * self._folds[row]
        middle = (COARSER - 1) / 2
        seen = cv2.remap(
            light, (x_px - middle) / COARSER, (y_px - middle) / COARSER, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=(1.0,),
        )  # fmt: skip
        return np.asarray(cv2.multiply(image, cv2.merge([seen] * 3), dtype=cv2.CV_8U), np.uint8)

    def _bulges(self, field_iod: Array) -> Array:
        """Skin that is pressed together rises, and turns to the light or away from it: 1 where nothing does."""
        grown = cv2.resize(field_iod, self._size, interpolation=cv2.INTER_LINEAR)
        height_iod = -(np.gradient(grown[..., 0], axis=1) + np.gradient(grown[..., 1], axis=0)) * self._iod_px
        down, across = np.gradient(height_iod)
        toward = (self._light[0] * across + self._light[1] * down) * 0.15 * self._iod_px
        return np.asarray(1 + toward.clip(-0.3, 0.3), np.float32)

    def _fold(self, line_px: Array) -> Array:
        """How near each pixel lies to a line, 1 on it."""
        canvas = np.full(self._size[::-1], 255, np.uint8)
        cv2.polylines(canvas, [np.rint(line_px / COARSER).astype(np.int32)], False, (0,))
        away_iod = cv2.distanceTransform(canvas, cv2.DIST_L2, 5) / self._iod_px
        return np.asarray(np.exp(-(away_iod**2) / (2 * FOLD_IOD**2)), np.float32)


def _own_units(rng: np.random.Generator) -> dict[str, tuple[Push, ...]]:
    """Every face has muscles of its own: pushes that point elsewhere, wider or narrower."""
    own = {}
    for name, pushes in UNITS.items():
        lean, wider = rng.normal(0, LEAN_RAD), np.exp(rng.normal(0, WIDTH))
        if not name.startswith("AU"):
            lean, wider = 0.0, 1.0
        cos, sin = np.cos(lean), np.sin(lean)
        own[name] = tuple(
            replace(
                push,
                dx=push.dx * cos - push.dy * sin,
                dy=push.dx * sin + push.dy * cos,
                radius_iod=push.radius_iod * wider,
            )
            for push in pushes
        )
    return own


def _rotation(yaw_rad: float, pitch_rad: float, roll_rad: float) -> Points:
    """(3, 3) of x to the viewer's right, y down, z away from the camera."""
    (sy, sp, sr), (cy, cp, cr) = np.sin([yaw_rad, pitch_rad, roll_rad]), np.cos([yaw_rad, pitch_rad, roll_rad])
    yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(roll @ pitch @ yaw)
