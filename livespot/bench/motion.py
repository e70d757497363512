"""How far off regional motion is, and what it costs: the package's portrait is moved by fields that are known.

    skin field at t --> portrait warped, swayed, noise --> Aligner --> RegionTracker --> told - true, by amplitude

True is how far the field moves the skin of each region, mean over the tracker's window. Where an expression drags the
nose along, what the tracker takes for the head's motion counts as an error. A dense flow from the first crop to each
other one, averaged over the same windows and against the rigid regions, is measured beside it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import cycle, pairwise
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.action_units import EXPRESSIONS, SkinField, backward, course
from livespot.bench.alignment import Image, Transform, aligned
from livespot.capture.virtual import ASTRONAUT
from livespot.config import Settings
from livespot.landmarks import (
    CROP_IOD_PX,
    EYE_OUTER_LEFT,
    EYE_OUTER_RIGHT,
    FaceMesh,
    apply,
    compose,
    inter_ocular_px,
    invert,
    similarity,
)
from livespot.motion.flow import FLOWS, regional
from livespot.motion.regions import ALL, REGIONS
from livespot.motion.tracker import OFFSETS_PX, WEIGHTS, RegionTracker
from livespot.records import Face

Displacement: TypeAlias = NDArray[np.float64]
Flow: TypeAlias = Callable[[Image, Image], NDArray[np.float32]]

FPS = 30.0
EXPRESSION_S = 0.6
PARTS = 4
"""Films of each noise: the noise of the first picture, which all others are compared with, goes into every error."""
PEAKS_IOD = (0.012, 0.1, 0.03, 0.006, 0.05)
"""Displacements of the fastest point of the skin, in turn."""

SIZE_PX, IOD_PX, EYES_PX = (320, 240), 64.0, (160.0, 100.0)
"""Size of the pictures; distance between the eyes, as large as in the portrait itself and in the crop, and where."""
SWAY_IOD, SWAY_NOD, SWAY_ROLL_RAD = 0.06, 0.015, 0.02
SWAY_HZ = np.array([0.31, 0.23, 0.37, 0.29])
"""Sideways, down, growth, rotation."""

NOISES_LEVELS = (1.0, 2.0, 4.0)
"""Standard deviations in each channel of each pixel."""
BINS_IOD = tuple(pairwise((0.004, 0.008, 0.012, 0.02, 0.04, 0.1)))
"""Displacements, [from, to)."""
AT_REST_IOD = 0.0002
"""Skin that has come less far than this is at rest: the first bin."""
NOISE_SHIFT_PX = 64

TVL1_PX = 224
"""Side of the crops that TV-L1 is given, as in the literature; the others see those of the pipeline."""
FLOW_CROPS, TVL1_CROPS = 50, 5

INVERT_STEPS = 12
"""Skin is stretched by less than half: what is left after so many is nothing."""


@dataclass(frozen=True, eq=False)
class Film:
    """The faces of an animated portrait, and the truth about their skin."""

    faces: list[Face]
    true_iod: Displacement
    """(T, regions, 2) how far skin has come on the head since the first face, in IOD; rows as `REGIONS`."""


@dataclass(frozen=True)
class Shown:
    """What one picture shows."""

    intensities: Mapping[str, float]
    """Of each action unit, as `action_units.SkinField` takes them."""
    motion: Transform
    """(2, 3) from the portrait to the picture."""


class Animation:
    """The portrait that comes with livespot, its skin moved by known fields."""

    def __init__(self) -> None:
        self._portrait = np.asarray(cv2.imread(str(ASTRONAUT)), np.uint8)
        with FaceMesh(static=True) as mesh:
            self.landmarks = mesh.find(self._portrait)[0]
        height, width = self._portrait.shape[:2]
        self.skin = SkinField(self.landmarks, (height, width))

    def picture(self, shown: Shown) -> Image:
        """uint8 (240, 320, 3) BGR: the skin is moved, then the head, in one map."""
        places = _places(invert(shown.motion))
        places -= self._sampled(self._backward_px(shown), places)
        return np.asarray(
            cv2.remap(self._portrait, places, np.empty(0), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    def came_px(self, shown: Shown, places: Displacement) -> Displacement:
        """How far the skin at places (rows, columns, 2) of the portrait has come in the picture, in its own pixels.

        It is where the map that makes the picture says: what is seen at q came from q - u(q).
        """
        backward_px = self._backward_px(shown)
        came_px = np.zeros(places.shape)
        for _ in range(INVERT_STEPS):
            came_px = self._sampled(backward_px, places + came_px).astype(np.float64)
        return came_px

    def _backward_px(self, shown: Shown) -> NDArray[np.float32]:
        return backward(self.skin.coarse_iod(shown.intensities) * np.float32(self.skin.iod_px), self.skin.spacing_px)

    def at(self, shift_iod: Sequence[float] = (0.0, 0.0), growth: float = 0.0, roll_rad: float = 0.0) -> Transform:
        """Motion (2, 3) from the portrait to the picture: the eyes at `EYES_PX`, shifted, the head grown and turned."""
        eyes = self.landmarks[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]].mean(axis=0).astype(float)
        scale = (1 + growth) * IOD_PX / inter_ocular_px(self.landmarks)
        motion = np.asarray(cv2.getRotationMatrix2D(tuple(eyes), float(np.degrees(-roll_rad)), scale), np.float64)
        motion[:, 2] += np.array(EYES_PX) + IOD_PX * np.asarray(shift_iod) - eyes
        return motion

    def _sampled(self, field: NDArray[np.float32], places_px: NDArray[Any]) -> NDArray[np.float32]:
        """A field on the coarse grid at places (rows, columns, 2) of the portrait."""
        steps = ((places_px + 0.5) / np.array(self.skin.spacing_px) - 0.5).astype(np.float32)
        return np.asarray(
            cv2.remap(field, steps, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
        )


def _places(to_portrait: Transform) -> NDArray[np.float32]:
    """Where each pixel of the picture looks in the portrait: (240, 320, 2)."""
    width, height = SIZE_PX
    along_x = np.arange(width)[None, :, None] * to_portrait[:, 0]
    along_y = np.arange(height)[:, None, None] * to_portrait[:, 1]
    return (along_x + along_y + to_portrait[:, 2]).astype(np.float32)


@cache
def animation() -> Animation:
    """The portrait's face is sought once."""
    return Animation()


def expressive(fps: float, names: Iterable[str]) -> list[Shown]:
    """One expression after the other, each at the next of `PEAKS_IOD`, on a head that sways; the first face is calm."""
    steps = round(EXPRESSION_S * fps)
    shown = [(name, peak_iod, step) for name, peak_iod in zip(names, cycle(PEAKS_IOD)) for step in range(steps)]
    return [
        Shown(_intensities(name, peak_iod, step / fps), _sway(index / fps))
        for index, (name, peak_iod, step) in enumerate(shown)
    ]


def filmed(shown: Sequence[Shown], fps: float, noise_levels: float, settings: Settings, seed: int = 0) -> Film:
    """What the aligner makes of the pictures, and what is true of them."""
    pictures = _noisy((animation().picture(one) for one in shown), noise_levels, seed)
    faces = [face for face, _ in aligned(pictures, fps, settings) if face is not None]
    assert len(faces) == len(shown), "the portrait's face is never lost"
    to_crop = compose(faces[0].transform, shown[0].motion)
    middles_px = _middles_px(faces[0])
    windows_px = middles_px[:, None] + OFFSETS_PX
    places = apply(invert(to_crop), windows_px.reshape(-1, 2)).reshape(windows_px.shape)
    came_px = np.array([WEIGHTS @ animation().came_px(one, places) for one in shown])
    came_iod = (came_px - came_px[0]) @ to_crop[:, :2].T / CROP_IOD_PX
    return Film(faces, came_iod[:, : len(REGIONS)])


def tracked(faces: Iterable[Face]) -> Displacement:
    """(T, regions, 2) as the tracker tells it, in IOD."""
    tracker = RegionTracker()
    return np.array([motion.displacement_iod for face in faces for motion in tracker.push(face)], np.float64)


def flowed(faces: Sequence[Face], flow: Flow) -> Displacement:
    """(T, regions, 2) from a dense flow between the first crop and each, in IOD."""
    middles_px = _middles_px(faces[0])
    middles = middles_px.astype(np.float32)
    came_px = [_against_the_nose(regional(flow(faces[0].crop, face.crop), middles), middles_px) for face in faces]
    return np.array(came_px)[:, : len(REGIONS)] / CROP_IOD_PX


def errors_percent(told_iod: Displacement, true_iod: Displacement) -> dict[str, float]:
    """Root mean square length of the errors in % of the IOD, by how far the skin has come in truth (% of the IOD)."""
    came_iod = np.linalg.norm(true_iod, axis=-1)
    squared = ((told_iod - true_iod) ** 2).sum(axis=-1)
    bins = {"0": came_iod < AT_REST_IOD} | {
        f"{100 * low:g}-{100 * high:g}": (low <= came_iod) & (came_iod < high) for low, high in BINS_IOD
    }
    return {name: round(100 * float(np.sqrt(squared[inside].mean())), 3) for name, inside in bins.items()}


def measure_errors(settings: Settings) -> dict[str, dict[str, dict[str, float]]]:
    """`errors_percent` of each method, by grey levels of noise."""
    measured: dict[str, dict[str, dict[str, float]]] = {"motion": {}, "dis": {}}
    for noise_levels in NOISES_LEVELS:
        films = [
            filmed(expressive(FPS, list(EXPRESSIONS)[part::PARTS]), FPS, noise_levels, settings, part)
            for part in range(PARTS)
        ]
        true_iod = np.concatenate([film.true_iod for film in films])
        for method, told in (("motion", tracked), ("dis", partial(flowed, flow=FLOWS["dis"]))):
            told_iod = np.concatenate([told(film.faces) for film in films])
            measured[method][f"{noise_levels:g}"] = errors_percent(told_iod, true_iod)
    return measured


def _intensities(name: str, peak_iod: float, t_s: float) -> dict[str, float]:
    share = course(t_s, 0.0, 0.4 * EXPRESSION_S, EXPRESSION_S, 0.1 * EXPRESSION_S)
    return animation().skin.scaled(EXPRESSIONS[name], share * peak_iod)


def _sway(t_s: float) -> Transform:
    x, y, growth, roll = np.sin(2 * np.pi * SWAY_HZ * t_s)
    return animation().at((SWAY_IOD * x, SWAY_IOD * y), SWAY_NOD * growth, SWAY_ROLL_RAD * roll)


def _noisy(pictures: Iterable[Image], noise_levels: float, seed: int) -> Iterator[Image]:
    """Each picture with noise of its own: one tile, shifted at random."""
    rng = np.random.default_rng(seed)
    width, height = SIZE_PX
    tile = rng.normal(0, noise_levels, (height + NOISE_SHIFT_PX, width + NOISE_SHIFT_PX, 3)).astype(np.float32)
    for picture in pictures:
        row, column = rng.integers(0, NOISE_SHIFT_PX, 2)
        grain = tile[row : row + height, column : column + width]
        yield np.rint(np.clip(picture + grain, 0, 255)).astype(np.uint8)


def _middles_px(face: Face) -> Displacement:
    """(N, 2) in the crop, rows as `regions.ALL`."""
    landmarks_px = apply(face.transform, face.landmarks)
    return np.array([landmarks_px[list(region.landmarks)].mean(axis=0) for region in ALL.values()])


def _against_the_nose(came_px: NDArray[Any], middles_px: Displacement) -> Displacement:
    """Displacements (N, 2) of `regions.ALL` without the similarity that the rigid ones have in common."""
    rigid = slice(len(REGIONS), None)
    head = similarity(middles_px[rigid], (middles_px + came_px)[rigid])
    return np.asarray(middles_px + came_px - apply(head, middles_px), np.float64)


def flow_prices_ms(crops: Sequence[Image]) -> dict[str, float]:
    """Median milliseconds of each dense flow between crops that follow each other, after one to warm up."""
    large = [np.asarray(cv2.resize(crop, (TVL1_PX, TVL1_PX)), np.uint8) for crop in crops[:TVL1_CROPS]]
    return {name: _price_ms(flow, large if name == "tvl1" else crops[:FLOW_CROPS]) for name, flow in FLOWS.items()}


def _price_ms(flow: Flow, crops: Sequence[Image]) -> float:
    took_s = []
    for before, after in pairwise(crops):
        began_s = time.perf_counter()
        flow(before, after)
        took_s.append(time.perf_counter() - began_s)
    return round(1000 * float(np.median(took_s[1:] or took_s)), 3)
