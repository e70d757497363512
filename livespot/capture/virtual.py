"""A virtual camera: a portrait that sways, blinks and makes expressions at times that are known.

Every frame, neutral or not, is the portrait read once through one map (head motion and skin motion composed), plus
noise. Frame n depends on the seed and on n alone, whatever the speed.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.action_units import BLINK, EXPRESSIONS, SkinField, backward, course, raised_cosine
from livespot.capture.source import in_real_time
from livespot.errors import SourceError
from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT, FaceMesh, inter_ocular_px
from livespot.records import MAX_FPS, ExpressionType, Frame

ASTRONAUT = Path(__file__).with_name("astronaut.jpg")
"""Eileen Collins, photographed by NASA: in the public domain."""

WIDTH_PX, HEIGHT_PX = 640, 480
IOD_PX = 120.0
EYES_PX = (320.0, 205.0)
"""Where the portrait's eyes are, and how far apart."""

FINER = 2
"""The scene has this many pixels for one of the frame, so that linear interpolation does not blur what moves."""

STIFF_X_PX, STIFF_Y_PX = (160, 480), (80, 400)
"""The head moves rigidly within these; from there to the frame's borders its motion fades to a still background."""

BLUR_STEP = 8
EDGE_PX = 60
"""Width in the scene over which a portrait smaller than it fades into its blurred surroundings."""

CALM_S = (1.2, 3.0)
MICRO_S, MICRO_IOD = (0.16, 0.48), (0.012, 0.03)
MACRO_S, MACRO_IOD = (0.6, 3.0), (0.04, 0.1)
RISE, HOLD = (0.4, 0.6), (0.1, 0.4)
"""Calm before an expression; its duration and amplitude; the share of its motion before the apex; the share of a
macro-expression for which it is held."""

BLINK_EVERY_S, BLINK_S = (2.0, 6.0), (0.15, 0.3)

NOISE_LEVELS = 2.0
NOISE_SHIFT_PX = 128
"""Standard deviation of the noise, and how far its tile is shifted at random from frame to frame."""

HEAD_PX = (320.0, 240.0)
SWAY_LARGEST = np.array([8.0, 5.0, 0.025, 0.03])
"""Middle of the head, and its largest motion about that: pixels sideways and down, growth, radians."""

SWAY_HZ, SWAY_WAVES = (0.08, 0.45), 3

OPTIONS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "fps": (1, MAX_FPS),
    "seconds": (1, 86400),
    "realtime": (0, 1),
}
"""What may follow the '?' of a demo:// address: lowest and highest value."""


@dataclass(frozen=True)
class Expression:
    """One expression that the virtual camera shows."""

    type: ExpressionType
    onset_s: float
    apex_s: float
    """The peak is reached, and held for `hold_s`."""
    offset_s: float
    """End of the half-open interval."""
    hold_s: float
    units: str
    """What moves: a key of `action_units.EXPRESSIONS`, or units joined by signs."""
    amplitude_iod: float
    """Displacement of the fastest point of the skin at the peak."""

    def share(self, t_s: float) -> float:
        """How much of the expression shows, [0, 1]."""
        return course(t_s, self.onset_s, self.apex_s, self.offset_s, self.hold_s)


@dataclass(frozen=True)
class Blink:
    """Lids that close and open again."""

    onset_s: float
    offset_s: float

    def share(self, t_s: float) -> float:
        """How far the lids are closed, [0, 1]."""
        return course(t_s, self.onset_s, (2 * self.onset_s + self.offset_s) / 3, self.offset_s)


Shown = TypeVar("Shown", Expression, Blink)


class VirtualCamera:
    """A `Source` of 640x480 frames of an animated portrait; `truth` is what it shows.

    `portrait` is the path of a picture with one face, by default the public-domain astronaut. `realtime`
    paces the frames like a camera; otherwise they come as fast as they are taken, like a file's.
    """

    def __init__(
        self,
        portrait: Path = ASTRONAUT,
        name: str = "demo",
        seed: int = 0,
        fps: float = 30.0,
        seconds: float = 60.0,
        realtime: bool = True,
    ) -> None:
        self.name = name
        self.live = realtime
        self.fps: float | None = fps
        self.frame_count: int | None = round(seconds * fps)
        self.note = ""
        self.truth = expressions(seed, seconds)
        self._blinks = blinks(seed, seconds)
        self._portrait = portrait
        self._seed = seed
        self._interval_s = 1 / fps
        self._animation: _Animation | None = None

    @classmethod
    def from_uri(cls, uri: str, name: str) -> "VirtualCamera":
        """From demo://[portrait][?seed=3&fps=30&seconds=60&realtime=0]; what is not said has the default above.

        Raises SourceError for an option that does not exist or is out of range.
        """
        path, _, query = uri.removeprefix("demo://").partition("?")
        options = {key: _option(key, text) for key, text in parse_qsl(query, keep_blank_values=True)}
        return cls(
            Path(path) if path else ASTRONAUT,
            name,
            seed=int(options.get("seed", 0)),
            fps=options.get("fps", 30.0),
            seconds=options.get("seconds", 60.0),
            realtime=bool(options.get("realtime", 1)),
        )

    def __enter__(self) -> "VirtualCamera":
        portrait = read_portrait(self._portrait)
        with FaceMesh(static=True) as mesh:
            faces = mesh.find(portrait)
        if not faces:
            raise SourceError(f"no face is found in {self._portrait}: give a portrait that looks at the camera")
        self._animation = _Animation(portrait, faces[0], self._seed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._animation = None

    def __iter__(self) -> Iterator[Frame]:
        """Frames until `seconds` are over."""
        return in_real_time(self._frames()) if self.live else self._frames()

    def _frames(self) -> Iterator[Frame]:
        assert self._animation is not None and self.frame_count is not None, "a source is entered before it is iterated"
        for index in range(self.frame_count):
            t_s = index * self._interval_s
            image = self._animation.frame(index, t_s, _now(self.truth, t_s), _now(self._blinks, t_s))
            yield Frame(image, self.name, index, t_s, monotonic())


def expressions(seed: int, seconds: float) -> tuple[Expression, ...]:
    """Pairs of a micro- and a macro-expression in any order, each after some calm, all over before `seconds`."""
    rng = np.random.default_rng((seed, 1))
    shown: list[Expression] = []
    end_s = 0.0
    while end_s < seconds:
        for kind in rng.permutation(["micro", "macro"]):
            shown.append(_expression(rng, "micro" if kind == "micro" else "macro", end_s + rng.uniform(*CALM_S)))
            end_s = shown[-1].offset_s
    return tuple(one for one in shown if one.offset_s <= seconds)


def blinks(seed: int, seconds: float) -> tuple[Blink, ...]:
    """Blinks at random intervals, whatever else the face does."""
    rng = np.random.default_rng((seed, 2))
    shown: list[Blink] = []
    begin_s = rng.uniform(*BLINK_EVERY_S)
    while begin_s < seconds:
        shown.append(Blink(begin_s, begin_s + rng.uniform(*BLINK_S)))
        begin_s += rng.uniform(*BLINK_EVERY_S)
    return tuple(shown)


def _now(shown: Sequence[Shown], t_s: float) -> Shown | None:
    """What shows at `t_s` of things that follow each other."""
    last = bisect_right(shown, t_s, key=lambda one: one.onset_s) - 1
    return shown[last] if last >= 0 and t_s < shown[last].offset_s else None


def _expression(rng: np.random.Generator, kind: ExpressionType, onset_s: float) -> Expression:
    micro = kind == "micro"
    length_s = rng.uniform(*(MICRO_S if micro else MACRO_S))
    hold_s = 0.0 if micro else length_s * rng.uniform(*HOLD)
    apex_s = onset_s + (length_s - hold_s) * rng.uniform(*RISE)
    units = str(rng.choice(list(EXPRESSIONS)))
    amplitude_iod = rng.uniform(*(MICRO_IOD if micro else MACRO_IOD))
    return Expression(kind, onset_s, apex_s, onset_s + length_s, hold_s, units, amplitude_iod)


class _Animation:
    """Frames of one portrait.

    A frame's pixel p shows the scene at p + w(p) m(p) - u(p + m(p)): m is the motion of the head, w fades it towards
    the borders, u is how far the skin has come. All of it is smooth: it is summed on a coarse grid and enlarged.
    """

    def __init__(self, portrait: NDArray[np.uint8], landmarks_px: NDArray[np.float32], seed: int) -> None:
        self._scene, landmarks_px = scene_of(portrait, landmarks_px)
        self._skin = SkinField(landmarks_px, (HEIGHT_PX, WIDTH_PX))
        self._sway = _Sway(np.random.default_rng((seed, 3)))
        self._noise = _Noise(seed)
        x, y = self._skin.grid_px
        self._grid = np.stack([x, y, np.ones_like(x)], axis=-1)
        self._fade = (_fade(x, WIDTH_PX, STIFF_X_PX) * _fade(y, HEIGHT_PX, STIFF_Y_PX))[..., None]
        self._scene_x = FINER * np.arange(WIDTH_PX, dtype=np.float32) + (FINER - 1) / 2
        self._scene_y = FINER * np.arange(HEIGHT_PX, dtype=np.float32)[:, None] + (FINER - 1) / 2

    def frame(self, index: int, t_s: float, expression: Expression | None, blink: Blink | None) -> NDArray[np.uint8]:
        """uint8 (480, 640, 3) BGR."""
        offset_px = self._offset_px(self._sway.at(t_s), self._intensities(t_s, expression, blink))
        size = (WIDTH_PX, HEIGHT_PX)
        x, y = (cv2.resize(part, size) for part in cv2.split(FINER * offset_px))
        image = cv2.remap(self._scene, x + self._scene_x, y + self._scene_y, cv2.INTER_LINEAR)
        return self._noise.on(np.asarray(image, np.uint8), index)

    def _intensities(self, t_s: float, expression: Expression | None, blink: Blink | None) -> dict[str, float]:
        intensities: dict[str, float] = {}
        if expression is not None:
            amplitude_iod = expression.amplitude_iod * expression.share(t_s)
            intensities |= self._skin.scaled(EXPRESSIONS[expression.units], amplitude_iod)
        if blink is not None:
            intensities |= self._skin.scaled(BLINK, self._skin.eye_opening_iod * blink.share(t_s))
        return intensities

    def _offset_px(self, motion: NDArray[np.float64], intensities: Mapping[str, float]) -> NDArray[np.float32]:
        """w m - u float32 (rows, columns, 2) on the coarse grid; `motion` (2, 3) takes p to p + m(p)."""
        spacing_px = np.array(self._skin.spacing_px)
        skin_px = backward(self._skin.coarse_iod(intensities) * np.float32(self._skin.iod_px), self._skin.spacing_px)
        in_steps = motion.copy()  # from grid point to grid point: point i lies at (i + 1/2) spacing - 1/2
        in_steps[:, 2] = (motion @ (*(spacing_px / 2 - 0.5), 1.0) + 0.5) / spacing_px - 0.5
        in_steps[:, :2] *= spacing_px / spacing_px[:, None]
        rows, columns = skin_px.shape[:2]
        seen_px = cv2.warpAffine(skin_px, in_steps, (columns, rows), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        head_px = self._grid @ (motion - np.eye(2, 3)).T
        offset_px: NDArray[np.float32] = (self._fade * head_px - seen_px).astype(np.float32)
        return offset_px


class _Sway:
    """How a head moves that sits still: slow waves, none of them in step with another."""

    def __init__(self, rng: np.random.Generator) -> None:
        shape = (len(SWAY_LARGEST), SWAY_WAVES)
        self._rad_s = 2 * np.pi * rng.uniform(*SWAY_HZ, size=shape)
        self._phase_rad = rng.uniform(0, 2 * np.pi, size=shape)

    def at(self, t_s: float) -> NDArray[np.float64]:
        """Similarity (2, 3) from the frame's pixels to those of the head at rest."""
        waves = np.sin(self._rad_s * t_s + self._phase_rad).mean(axis=1)
        dx, dy, growth, angle = waves * SWAY_LARGEST
        motion = np.array(cv2.getRotationMatrix2D(HEAD_PX, np.degrees(angle), 1 + growth), np.float64)
        motion[:, 2] += (dx, dy)
        return motion


class _Noise:
    """Sensor noise: one tile, made once, shifted at random from frame to frame."""

    def __init__(self, seed: int) -> None:
        shape = (HEIGHT_PX + NOISE_SHIFT_PX, WIDTH_PX + NOISE_SHIFT_PX, 3)
        levels = np.random.default_rng((seed, 4)).normal(0, NOISE_LEVELS, shape).round()
        self._seed = seed
        self._brighter = np.maximum(levels, 0).astype(np.uint8)
        self._darker = np.maximum(-levels, 0).astype(np.uint8)

    def on(self, image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """The picture with the noise of frame `index`; writes into it."""
        row, column = np.random.default_rng((self._seed, 5, index)).integers(0, NOISE_SHIFT_PX, 2)
        window = np.s_[row : row + HEIGHT_PX, column : column + WIDTH_PX]
        cv2.add(image, self._brighter[window], dst=image)
        cv2.subtract(image, self._darker[window], dst=image)
        return image


def _fade(position_px: NDArray[np.float64], length_px: float, stiff_px: tuple[float, float]) -> NDArray[np.float64]:
    """1 between the two positions `stiff_px`, falling smoothly to 0 at 0 and at `length_px`."""
    begin_px, end_px = stiff_px
    share = np.minimum(position_px / begin_px, (length_px - position_px) / (length_px - end_px)).clip(0, 1)
    return raised_cosine(share)


def scene_of(
    portrait: NDArray[np.uint8],
    landmarks_px: NDArray[np.float32],
    iod_px: float = IOD_PX,
    eyes_at_px: tuple[float, float] = EYES_PX,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The portrait placed in a picture `FINER` times the frame, uint8 (H, W, 3), and its landmarks in the frame.

    What lies beyond the portrait is the colour of its borders, blurred; the portrait fades into it.
    """
    scale = FINER * iod_px / inter_ocular_px(landmarks_px)
    sized = cv2.resize(
        portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    eyes_px = landmarks_px[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]].mean(axis=0)
    shift_px = np.round(FINER * np.array(eyes_at_px, np.float32) - scale * eyes_px)
    shift = np.column_stack([np.eye(2), shift_px])
    size = (FINER * WIDTH_PX, FINER * HEIGHT_PX)
    extended = cv2.warpAffine(sized, shift, size, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(_inside(*sized.shape[:2]), shift, size)[..., None]
    scene = inside * extended + (1 - inside) * _blurred(extended)
    return scene.astype(np.uint8), (scale * landmarks_px + shift_px) / FINER


def _inside(height_px: int, width_px: int) -> NDArray[np.float64]:
    """1 in a picture, falling to 0 over its last `EDGE_PX`."""
    rows = _fade(np.arange(height_px) + 0.5, height_px, (EDGE_PX, height_px - EDGE_PX))
    columns = _fade(np.arange(width_px) + 0.5, width_px, (EDGE_PX, width_px - EDGE_PX))
    return np.outer(rows, columns)


def _blurred(image: NDArray[Any]) -> NDArray[Any]:
    """As wide a blur as `EDGE_PX`: on a small copy, where it costs little."""
    small = cv2.resize(image, None, fx=1 / BLUR_STEP, fy=1 / BLUR_STEP, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), EDGE_PX / BLUR_STEP)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def _option(key: str, text: str) -> float:
    if key not in OPTIONS:
        raise SourceError(f"demo:// has no option {key!r}; allowed: {', '.join(OPTIONS)}")
    low, high = OPTIONS[key]
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high:
        raise SourceError(f"demo:// option {key} is {text!r}; expected a number from {low:g} to {high:g}")
    return value


def read_portrait(path: Path) -> NDArray[np.uint8]:
    """A picture of a face, uint8 (H, W, 3) BGR. Raises SourceError where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SourceError(f"portrait {path} cannot be read: give the path of a jpg or png with one face")
    return np.asarray(image, np.uint8)
