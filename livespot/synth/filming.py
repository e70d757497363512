"""What camera and light do to the pictures of one video, whatever the face does.

A method that takes a lamp for an expression, or an expression for noise, fails on the first webcam. So a synthesised
face is filmed: everything here is drawn once for a video, from a generator of its own, and runs its course without
knowing what is expressed. In the order in which it happens:

    face --> hand before it --> focus --> light, exposure --> lamp, shadow, flicker --> noise --> JPEG --> frames lost

A picture depends on the frame's index alone, not on the one before: frames may be asked for in any order.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.landmarks import apply, compose, invert
from livespot.synth.draws import log_uniform

SHADE_STEP_PX = 4
"""Lamp, shadow and flicker are drawn on every so many pixels: their edges are wider than that."""

FOCUS_KERNEL_PX = 5
"""The same at every strength, so that a focus that breathes has no steps."""

NOISE_SHIFT_PX = 128
"""How far the tile of noise is shifted at random from frame to frame: drawing normal numbers would cost ten times as
much, and neighbouring frames nearly never get shifts so close that noise seems to move."""

SLOW_WAVES = 3

SHUTTER = 0.5
"""Share of a frame's time for which the shutter is open: it blurs a hand that moves."""

LARGEST_PX_PER_IOD, SMALLEST_PX_PER_IOD = 96.0, 16.0
"""A hand is drawn as finely as the face shows, within these: hands before large faces are out of focus."""

BURSTS = (0.7, 0.15, 0.1, 0.05)
"""Of what a busy recorder loses, shares of one to four frames in a row."""

LIGHT_SKIN, DARK_SKIN = np.array([160.0, 190.0, 242.0]), np.array([42.0, 60.0, 104.0])
"""BGR, between which hands are drawn."""


@dataclass(frozen=True)
class Shares:
    """How probable it is that a video has each condition at all."""

    light_drift: float = 0.5
    """Daylight and screens change all the time."""
    lamp: float = 0.25
    """Windows and desk lamps light faces from the side; most rooms are lit from above."""
    flicker: float = 0.3
    """Lamps on alternating current, where the exposure time does not even them out."""
    light_switched: float = 0.1
    """Rare, but the hardest change that all pixels can make at once."""
    exposure_steps: float = 0.3
    """Nearly every webcam adjusts itself; only some do so visibly while a face sits still."""
    shadow: float = 0.2
    """Somebody walks past the window; surveillance has it more often."""
    noise: float = 1.0
    """No sensor is free of it: a share of 1, or its absence would tell a synthesised video."""
    low_light: float = 0.12
    """Evenings before a screen."""
    defocus: float = 0.3
    """Cheap lenses have a fixed focus, autofocus hunts."""
    compression: float = 0.6
    """Webcams send MJPEG, surveillance stores compressed; frames straight from a sensor are the other part."""
    hand: float = 0.2
    """People touch their faces some twenty times an hour: not in every short video."""
    held_object: float = 0.08
    """Cups and telephones."""
    dropped_frames: float = 0.2
    """USB and network cameras under load."""


@dataclass(frozen=True)
class FilmingRecipe:
    """The ranges from which a video's conditions are drawn; levels are those of 8 bits, lengths in px or IOD."""

    shares: Shares = Shares()
    drift_hz: tuple[float, float] = (0.02, 0.25)
    """Slower than the slowest macro-expression, 4 s: what is faster has its own name below."""
    drift_gain: float = 0.15
    drift_gamma: float = 0.1
    drift_warmth: float = 0.05
    """Largest changes of gain, gamma and of red against blue: clouds, and what auto-white-balance leaves."""
    gain: tuple[float, float] = (0.35, 1.5)
    """All changes of brightness together stay within: beyond, nobody would take the picture for one of a face."""
    lamp_depth: tuple[float, float] = (0.15, 0.5)
    """Log of the light's change from the middle of the picture to its border: up to 1 to 1.6."""
    lamp_swing_deg: float = 40.0
    """How far its direction drifts to either side."""
    flicker_depth: tuple[float, float] = (0.004, 0.03)
    """Exposure over some 10 ms averages most of the lamp's modulation away."""
    mains_hz: tuple[float, ...] = (50.0, 60.0)
    mains_error: float = 0.001
    """Neither mains nor camera keep their rate exactly: at 25 frames/s, 50 Hz beats slowly."""
    readout: tuple[float, float] = (0.0, 0.8)
    """Share of a frame's time in which a rolling shutter reads the rows: flicker then runs over the face in bands."""
    switch_every_s: tuple[float, float] = (8.0, 30.0)
    switched_gain: tuple[float, float] = (0.55, 0.85)
    """What is left when one of a room's lamps goes out."""
    switch_frames: tuple[float, float] = (0.1, 2.0)
    """A lamp goes on within a frame; LEDs and fluorescent tubes take a little longer."""
    exposure_every_s: tuple[float, float] = (3.0, 15.0)
    exposure_s: tuple[float, float] = (0.1, 0.6)
    """As long as expressions: what makes it a distractor."""
    exposure_gain: tuple[float, float] = (0.8, 1.25)
    """A third of a stop to either side; larger ones follow only a change of the light."""
    shadow_every_s: tuple[float, float] = (5.0, 20.0)
    shadow_depth: tuple[float, float] = (0.1, 0.45)
    """Indoors, other light fills shadows up to about half."""
    shadow_soft_iod: tuple[float, float] = (0.1, 1.0)
    """Width of its edge: a lamp close by to a window."""
    shadow_half_iod: tuple[float, float] = (0.4, 5.0)
    """Half its width: a hand's to a person's, whose two edges come one by one."""
    shadow_iod_s: tuple[float, float] = (0.7, 8.0)
    """Speed: an IOD is some 9 cm, so up to the shadow of somebody who walks."""
    read_levels: tuple[float, float] = (0.4, 1.5)
    shot_levels: tuple[float, float] = (0.3, 2.5)
    """Standard deviations of noise: everywhere, and where the picture is white; a good and a bad webcam."""
    grain_px: tuple[float, ...] = (0.0, 0.5, 0.9)
    """White noise, and noise smoothed by the camera's own interpolation and denoising."""
    noise_colour: tuple[float, float] = (0.2, 1.0)
    """Share of its variance that differs between the colours: little is left of it where colour is stored coarsely."""
    low_light_gain: tuple[float, float] = (0.4, 0.75)
    low_light_noise: tuple[float, float] = (1.5, 3.0)
    """A camera at its limit amplifies by a few times and still stays dark."""
    defocus_px: tuple[float, float] = (0.3, 0.9)
    defocus_breath_px: tuple[float, float] = (0.05, 0.3)
    breath_hz: tuple[float, float] = (0.1, 0.7)
    """Standard deviation of the blur, and how far it breathes: slight, or the face is not worth watching."""
    jpeg_quality: tuple[float, float] = (35.0, 95.0)
    """From a narrow network to a webcam's MJPEG."""
    cover_every_s: tuple[float, float] = (8.0, 25.0)
    cover_s: tuple[float, float] = (0.2, 1.3)
    """How long a hand stays on the face; coming and going over the face adds some tenths of a second."""
    cover_passes: float = 0.4
    """Share of hands that only pass."""
    cover_iod_s: tuple[float, float] = (5.0, 12.0)
    """Mean speed: 0.5 to 1.1 m/s."""
    drop_every_s: tuple[float, float] = (1.0, 15.0)
    """Rare: below one frame in a hundred."""


class Filming:
    """Camera and light of one video; all that will happen in it is drawn here.

    `size_px` is (height, width) of the pictures, `iod_px` about the distance of the outer eye corners in them.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        size_px: tuple[int, int],
        fps: float,
        seconds: float,
        iod_px: float,
        recipe: FilmingRecipe | None = None,
    ) -> None:
        recipe = recipe or FilmingRecipe()
        chance, light, shade, focus, sensor, hand, held, recorder = rng.spawn(8)
        happening = [name for name, share in asdict(recipe.shares).items() if chance.random() < share]
        self.conditions = tuple(name.replace("_", " ") for name in happening)
        """Names of what happens in this video, such as "light drift" and "hand"."""
        video = _Video(size_px, fps, seconds, iod_px)
        self._fps = fps
        self._visits = _visits(hand, video, recipe, held=False) if "hand" in happening else []
        self._visits += _visits(held, video, recipe, held=True) if "held_object" in happening else []
        self._focus = _Focus(focus, recipe) if "defocus" in happening else None
        self._light = _Light(light, video, recipe, happening)
        self._shade = _Shade(shade, video, recipe, happening)
        self._sensor = _Sensor(sensor, video, recipe, happening)
        self._quality = int(recorder.uniform(*recipe.jpeg_quality)) if "compression" in happening else None
        self._dropped = _dropped(recorder, video, recipe) if "dropped_frames" in happening else frozenset()

    def repeats(self, index: int) -> bool:
        """Whether the recorder lost this frame: the one before is shown again."""
        return index in self._dropped

    def on(self, image: NDArray[np.uint8], index: int, eyes_px: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The face of frame `index` as filmed: uint8 (H, W, 3) BGR, like `image`, which stays as it is.

        `eyes_px` (2, 2) are its outer eye corners, that on the picture's left first.
        """
        t_s = index / self._fps
        to_picture = _to_picture(eyes_px)
        for visit in self._visits:
            if visit.begin_s < t_s < visit.end_s:
                image = visit.before(image, t_s, to_picture)
        if self._focus:
            image = self._focus.on(image, t_s)
        levels = np.asarray(cv2.LUT(image, self._light.levels(t_s)), np.float32).reshape(len(image), -1)
        self._shade.on(levels, t_s, to_picture)
        seen = self._sensor.on(levels, index).reshape(image.shape)
        return seen if self._quality is None else _compressed(seen, self._quality)


class _Video(NamedTuple):
    size_px: tuple[int, int]
    fps: float
    seconds: float
    iod_px: float

    @property
    def away_iod(self) -> float:
        """What is so far from a face is out of the picture, unless the face is close to its border."""
        return float(0.75 * np.hypot(*self.size_px) / self.iod_px + 1.5)

    def moments_s(self, rng: np.random.Generator, every_s: tuple[float, float]) -> list[float]:
        """When something happens again and again, at least once."""
        moments_s = [rng.uniform(0, min(every_s[1], self.seconds))]
        while moments_s[-1] < self.seconds:
            moments_s.append(moments_s[-1] + rng.uniform(*every_s))
        return moments_s[:-1]


class _Waves:
    """A slow course within [-largest, largest]: waves, none of them in step with another."""

    def __init__(self, rng: np.random.Generator, hz: tuple[float, float], largest: float) -> None:
        self._rad_s = 2 * np.pi * rng.uniform(*hz, SLOW_WAVES)
        self._phase_rad = rng.uniform(0, 2 * np.pi, SLOW_WAVES)
        self._largest = largest

    def at(self, t_s: float) -> float:
        return float(self._largest * np.sin(self._rad_s * t_s + self._phase_rad).mean())


class _Steps:
    """A gain that is 1 at first and runs to `gains[i]` within `ramps_s[i]` from `moments_s[i]` on."""

    def __init__(
        self, moments_s: NDArray[np.float64], ramps_s: NDArray[np.float64], gains: NDArray[np.float64]
    ) -> None:
        before = np.concatenate([[1.0], gains])[: len(gains)]
        self._knots_s = np.concatenate([[0.0], np.column_stack([moments_s, moments_s + ramps_s]).ravel()])
        self._gains = np.concatenate([[1.0], np.column_stack([before, gains]).ravel()])

    def at(self, t_s: float) -> float:
        return float(np.interp(t_s, self._knots_s, self._gains))


class _Light:
    """What is the same for all pixels of a frame: brightness, gamma and warmth."""

    def __init__(self, rng: np.random.Generator, video: _Video, recipe: FilmingRecipe, happening: list[str]) -> None:
        drifts = "light_drift" in happening
        largest = (recipe.drift_gain, recipe.drift_gamma, recipe.drift_warmth)
        self._drift = [_Waves(rng, recipe.drift_hz, drifts * change) for change in largest]
        dark = rng.uniform(*recipe.low_light_gain)
        self._dark = dark if "low_light" in happening else 1.0
        switches_s = video.moments_s(rng, recipe.switch_every_s) if "light_switched" in happening else []
        exposures_s = video.moments_s(rng, recipe.exposure_every_s) if "exposure_steps" in happening else []
        self._steps = (_switched(rng, switches_s, video.fps, recipe), _exposed(rng, exposures_s, recipe))
        self._bounds = recipe.gain

    def levels(self, t_s: float) -> NDArray[np.float32]:
        """float32 (1, 256, 3): what becomes of each level of blue, green and red."""
        gain, gamma, warmth = (1 + drift.at(t_s) for drift in self._drift)
        gain *= self._dark * float(np.prod([steps.at(t_s) for steps in self._steps]))
        colours = np.clip(gain, *self._bounds) * np.array([2 - warmth, 1.0, warmth])
        curve = 255 * (np.arange(256) / 255) ** gamma
        return np.asarray(curve[None, :, None] * colours, np.float32)


def _switched(rng: np.random.Generator, moments_s: list[float], fps: float, recipe: FilmingRecipe) -> _Steps:
    """One lamp, off and on in turns."""
    off = rng.uniform(*recipe.switched_gain)
    gains = np.where(np.arange(len(moments_s)) % 2, 1.0, off)
    return _Steps(np.array(moments_s), rng.uniform(*recipe.switch_frames, len(moments_s)) / fps, gains)


def _exposed(rng: np.random.Generator, moments_s: list[float], recipe: FilmingRecipe) -> _Steps:
    gains = np.array([log_uniform(rng, recipe.exposure_gain) for _ in moments_s])
    return _Steps(np.array(moments_s), rng.uniform(*recipe.exposure_s, len(moments_s)), gains)


class _Shade:
    """Light that differs from place to place: a lamp at the side, shadows, and mains flicker row by row."""

    def __init__(self, rng: np.random.Generator, video: _Video, recipe: FilmingRecipe, happening: list[str]) -> None:
        self._y_px, self._x_px = (np.arange(SHADE_STEP_PX / 2, side, SHADE_STEP_PX) - 0.5 for side in video.size_px)
        self._size_px = video.size_px
        lamp, flicker, shadows = rng.spawn(3)
        self._lamp = _Lamp(lamp, recipe) if "lamp" in happening else None
        self._flicker = _Flicker(flicker, video.fps, recipe) if "flicker" in happening else None
        self._shadows = _shadows(shadows, video, recipe) if "shadow" in happening else []

    def on(self, levels: NDArray[np.float32], t_s: float, to_picture: NDArray[np.float64]) -> None:
        """Darkens and brightens `levels` float32 (H, 3 W), colours side by side."""
        parts = self._parts(t_s, to_picture)
        if not parts:
            return
        coarse = np.prod(np.broadcast_arrays(*parts), axis=0).astype(np.float32)
        # three columns for the three colours of a pixel: a third of a pixel's shift between them shows nowhere
        cv2.multiply(levels, cv2.resize(coarse, levels.shape[::-1], interpolation=cv2.INTER_LINEAR), dst=levels)

    def _parts(self, t_s: float, to_picture: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        height_px, width_px = self._size_px
        x, y = 2 * self._x_px / width_px - 1, 2 * self._y_px[:, None] / height_px - 1
        parts = [] if self._lamp is None else [self._lamp.at(t_s, x, y)]
        parts += [] if self._flicker is None else [self._flicker.at(t_s, (y + 1) / 2)]
        shadows = [shadow for shadow in self._shadows if shadow.falls(t_s)]
        if shadows:
            to_face = invert(to_picture)
            x_iod, y_iod = (a * self._x_px + b * self._y_px[:, None] + c for a, b, c in to_face)
            parts += [shadow.at(t_s, x_iod, y_iod) for shadow in shadows]
        return parts


class _Lamp:
    """A lamp at the side, whose direction drifts."""

    def __init__(self, rng: np.random.Generator, recipe: FilmingRecipe) -> None:
        self._depth = rng.uniform(*recipe.lamp_depth)
        self._middle_rad = rng.uniform(0, 2 * np.pi)
        self._swing = _Waves(rng, recipe.drift_hz, np.radians(recipe.lamp_swing_deg))

    def at(self, t_s: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gain at places from -1 to 1 across and down the picture."""
        angle = self._middle_rad + self._swing.at(t_s)
        gain: NDArray[np.float64] = np.exp(self._depth * (np.cos(angle) * x + np.sin(angle) * y))
        return gain


class _Flicker:
    """A lamp on the mains shines twice in each period; the camera sees that at moments of its own."""

    def __init__(self, rng: np.random.Generator, fps: float, recipe: FilmingRecipe) -> None:
        self._depth = log_uniform(rng, recipe.flicker_depth)
        self._hz = 2 * rng.choice(recipe.mains_hz) * (1 + recipe.mains_error * rng.uniform(-1, 1))
        self._phase_rad = rng.uniform(0, 2 * np.pi)
        self._readout_s = rng.uniform(*recipe.readout) / fps

    def at(self, t_s: float, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gain of rows from 0 to 1 down the picture, read one after the other."""
        read_s = t_s + self._readout_s * row
        gain: NDArray[np.float64] = 1 + self._depth * np.sin(2 * np.pi * self._hz * read_s + self._phase_rad)
        return gain


@dataclass(frozen=True)
class _Shadow:
    """A strip of shadow that crosses the face; one much wider than the face is an edge that comes and one that goes."""

    middle_s: float
    direction: tuple[float, float]
    speed_iod_s: float
    half_iod: float
    soft_iod: float
    depth: float
    away_iod: float

    def falls(self, t_s: float) -> bool:
        """Whether it may be in the picture."""
        return abs(t_s - self.middle_s) * self.speed_iod_s < self.away_iod + self.half_iod + self.soft_iod

    def at(self, t_s: float, x_iod: NDArray[np.float64], y_iod: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gain at places in IOD from between the eyes."""
        dx, dy = self.direction
        from_middle_iod = np.abs(dx * x_iod + dy * y_iod - self.speed_iod_s * (t_s - self.middle_s))
        inside = ((self.half_iod - from_middle_iod) / self.soft_iod + 0.5).clip(0, 1)
        gain: NDArray[np.float64] = 1 - self.depth * inside**2 * (3 - 2 * inside)
        return gain


def _shadows(rng: np.random.Generator, video: _Video, recipe: FilmingRecipe) -> list[_Shadow]:
    shadows = []
    for middle_s in video.moments_s(rng, recipe.shadow_every_s):
        angle = rng.uniform(0, 2 * np.pi)
        half_iod, speed_iod_s = log_uniform(rng, recipe.shadow_half_iod), log_uniform(rng, recipe.shadow_iod_s)
        soft_iod, depth = log_uniform(rng, recipe.shadow_soft_iod), rng.uniform(*recipe.shadow_depth)
        direction = (float(np.cos(angle)), float(np.sin(angle)))
        shadows.append(_Shadow(middle_s, direction, speed_iod_s, half_iod, soft_iod, depth, video.away_iod))
    return shadows


class _Focus:
    """A slight blur that breathes."""

    def __init__(self, rng: np.random.Generator, recipe: FilmingRecipe) -> None:
        self._sigma_px = rng.uniform(*recipe.defocus_px)
        self._breath = _Waves(rng, recipe.breath_hz, rng.uniform(*recipe.defocus_breath_px))

    def on(self, image: NDArray[np.uint8], t_s: float) -> NDArray[np.uint8]:
        sigma_px = max(self._sigma_px + self._breath.at(t_s), 0.1)  # 0 would mean: take what suits the kernel
        return np.asarray(cv2.GaussianBlur(image, (FOCUS_KERNEL_PX, FOCUS_KERNEL_PX), sigma_px), np.uint8)


class _Sensor:
    """From levels to 8 bits: the noise of reading, and that of light itself, which grows with its square root."""

    def __init__(self, rng: np.random.Generator, video: _Video, recipe: FilmingRecipe, happening: list[str]) -> None:
        amplified = rng.uniform(*recipe.low_light_noise)
        strength = amplified if "low_light" in happening else float("noise" in happening)
        self._read_levels = strength * rng.uniform(*recipe.read_levels)
        self._shot_levels = strength * rng.uniform(*recipe.shot_levels)
        self._seed = int(rng.integers(2**63))
        self._size_px = video.size_px
        self._tile = _tile(rng, video.size_px, recipe) if strength else None

    def on(self, levels: NDArray[np.float32], index: int) -> NDArray[np.uint8]:
        """`levels` float32 (H, 3 W), not negative, as the sensor of frame `index` tells them."""
        if self._tile is None:
            return np.asarray(cv2.add(levels, np.zeros_like(levels), dtype=cv2.CV_8U), np.uint8)
        row, column = np.random.default_rng((self._seed, index)).integers(0, NOISE_SHIFT_PX, 2)
        height_px, width_px = self._size_px
        tile = self._tile[row : row + height_px, 3 * column : 3 * (column + width_px)]
        noise = levels * np.float32(self._shot_levels**2 / 255)
        noise += np.float32(self._read_levels**2)
        cv2.multiply(cv2.sqrt(noise, dst=noise), tile, dst=noise)
        return np.asarray(cv2.add(levels, noise, dtype=cv2.CV_8U), np.uint8)  # rounds and saturates


def _tile(rng: np.random.Generator, size_px: tuple[int, int], recipe: FilmingRecipe) -> NDArray[np.float32]:
    """Noise of standard deviation 1 on more than a picture, float32 (H', 3 W')."""
    height_px, width_px = (side + NOISE_SHIFT_PX for side in size_px)
    colour, grain_px = rng.uniform(*recipe.noise_colour), rng.choice(recipe.grain_px)
    tile = np.sqrt(colour) * rng.standard_normal((height_px, width_px, 3), np.float32)
    tile += np.sqrt(1 - colour) * rng.standard_normal((height_px, width_px, 1), np.float32)
    smooth = cv2.GaussianBlur(tile, (0, 0), float(grain_px)) if grain_px else tile
    return np.asarray(smooth / smooth.std(), np.float32).reshape(height_px, -1)


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    written = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR), np.uint8)


def _dropped(rng: np.random.Generator, video: _Video, recipe: FilmingRecipe) -> frozenset[int]:
    """Frames that are lost; never the first, before which there is none to show."""
    dropped: set[int] = set()
    for moment_s in video.moments_s(rng, recipe.drop_every_s):
        first = 1 + int(moment_s * video.fps)
        dropped |= set(range(first, first + 1 + int(rng.choice(len(BURSTS), p=BURSTS))))
    return frozenset(dropped)


class _Sprite(NamedTuple):
    """What comes before the face: an arm from the left, its hand around the origin, in its own pixels."""

    image: NDArray[np.uint8]
    """(H, W, 4): blue, green and red times opacity, and opacity."""
    origin_px: tuple[float, float]
    px_per_iod: float


@dataclass(frozen=True)
class _Visit:
    """A hand comes to the face, stays or only passes, and leaves; it moves with the head like one that touches it.

    Its distance is `away_iod` at `begin_s` and `end_s`, zero from `arrive_s` to `leave_s`.
    """

    sprite: _Sprite
    begin_s: float
    arrive_s: float
    leave_s: float
    end_s: float
    angle_rad: float
    """Of the arm: 0 comes from the left of the picture, -pi/2 from below."""
    mirrored: bool
    target_iod: tuple[float, float]
    """Of the fingers, from between the eyes to the right and down."""
    away_iod: float
    passes: bool
    """It sweeps across its arm's direction at a constant speed, instead of slowing down along it."""
    tremble: tuple[_Waves, _Waves]
    shutter_s: float

    def before(self, image: NDArray[np.uint8], t_s: float, to_picture: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The picture with the hand at `t_s` in it; `to_picture` (2, 3) from IOD about the eyes to its pixels."""
        place = compose(to_picture, self._to_face(t_s))
        left, top, right, bottom = _box(place, self.sprite.image.shape, image.shape)
        if right <= left or bottom <= top:
            return image
        place[:, 2] -= (left, top)
        hand = cv2.warpAffine(self._blurred(t_s), place, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        seen_through = cv2.merge([255 - hand[..., 3]] * 3)
        covered = image.copy()
        behind = cv2.multiply(image[top:bottom, left:right], seen_through, scale=1 / 255)
        covered[top:bottom, left:right] = cv2.add(behind, hand[..., :3])
        return covered

    def _to_face(self, t_s: float) -> NDArray[np.float64]:
        """(2, 3) from the sprite's pixels to IOD about the eyes."""
        cos, sin = np.cos(self.angle_rad), np.sin(self.angle_rad)
        axes = np.array([[cos, -sin], [sin, cos]]) * (1.0, -1.0 if self.mirrored else 1.0)
        moved = [self._offset_iod(t_s), 0.0][:: -1 if self.passes else 1]
        touched = np.array(self.target_iod) + [waves.at(t_s) for waves in self.tremble] + axes @ moved
        scaled = axes / self.sprite.px_per_iod
        return np.column_stack([scaled, touched - scaled @ self.sprite.origin_px])

    def _offset_iod(self, t_s: float) -> float:
        away = np.interp(t_s, (self.begin_s, self.arrive_s, self.leave_s, self.end_s), (-1, 0, 0, 1))
        return float(self.away_iod * (away if self.passes else -(away**2)))

    def _blurred(self, t_s: float) -> NDArray[np.uint8]:
        """The sprite, blurred along its motion while the shutter is open."""
        moved_iod = self._offset_iod(t_s + self.shutter_s / 2) - self._offset_iod(t_s - self.shutter_s / 2)
        length_px = 1 + int(abs(moved_iod) * self.sprite.px_per_iod)
        size_px = (1, length_px) if self.passes else (length_px, 1)
        return np.asarray(cv2.blur(self.sprite.image, size_px, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _box(place: NDArray[np.float64], shape: tuple[int, ...], within: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels of a picture `within` that an image of `shape` reaches at its `place`."""
    corners_px = apply(place, np.array([(x, y) for x in (-1, shape[1]) for y in (-1, shape[0])]))
    left, top = np.floor(corners_px.min(axis=0)).clip(0, within[1::-1]).astype(int).tolist()
    right, bottom = (np.ceil(corners_px.max(axis=0)) + 1).clip(0, within[1::-1]).astype(int).tolist()
    return left, top, right, bottom


def _visits(rng: np.random.Generator, video: _Video, recipe: FilmingRecipe, held: bool) -> list[_Visit]:
    sprite = _sprite(rng, video, held)
    return [_visit(rng, video, recipe, sprite, s) for s in video.moments_s(rng, recipe.cover_every_s)]


def _visit(rng: np.random.Generator, video: _Video, recipe: FilmingRecipe, sprite: _Sprite, middle_s: float) -> _Visit:
    passes = bool(rng.random() < recipe.cover_passes)
    half_s = 0.0 if passes else rng.uniform(*recipe.cover_s) / 2
    come_s, go_s = video.away_iod / rng.uniform(*recipe.cover_iod_s, 2)
    return _Visit(
        sprite,
        begin_s=middle_s - half_s - come_s,
        arrive_s=middle_s - half_s,
        leave_s=middle_s + half_s,
        end_s=middle_s + half_s + (come_s if passes else go_s),
        angle_rad=np.radians(rng.uniform(-165, -15)),
        mirrored=bool(rng.random() < 0.5),
        target_iod=(rng.uniform(-0.8, 0.8), rng.uniform(-0.2, 1.2)),
        away_iod=video.away_iod,
        passes=passes,
        tremble=(_Waves(rng, (0.3, 2.0), 0.06), _Waves(rng, (0.3, 2.0), 0.06)),
        shutter_s=SHUTTER / video.fps,
    )


def _sprite(rng: np.random.Generator, video: _Video, held: bool) -> _Sprite:
    """A hand of human proportions (2 IOD from wrist to fingertips), in a sleeve or bare, perhaps with a cup in it."""
    px_per_iod = float(np.clip(video.iod_px, SMALLEST_PX_PER_IOD, LARGEST_PX_PER_IOD))
    length_iod = video.away_iod + 2
    canvas = _Canvas(rng, px_per_iod, length_iod)
    skin = (LIGHT_SKIN + rng.uniform() * (DARK_SKIN - LIGHT_SKIN)) * rng.uniform(0.85, 1.1)
    cloth, paint, band = (np.clip(rng.uniform(25, 200) + rng.uniform(-40, 40, 3), 10, 235) for _ in range(3))
    palm = [((-0.75, v), (-1.35, 0.75 * v), 0.19, 0.22) for v in (-0.25, -0.08, 0.08, 0.25)]
    thumb = ((-1.15, 0.3), (rng.uniform(-0.75, -0.5), rng.uniform(0.35, 0.65)), 0.16, 0.1)
    wrist = ((-1.35, 0.0), (-2.2, 0.0), 0.27, 0.3)
    canvas.limbs([*_fingers(rng), *palm, wrist], skin, canvas.skin())
    if held:
        canvas.cup(rng.uniform(0.3, 0.55), rng.uniform(0.35, 0.5), paint, band)
    canvas.limbs([thumb], skin, canvas.skin())
    bare = rng.random() < 0.3
    sleeve = ((rng.uniform(-2.6, -1.7), 0.0), (-length_iod - 1, 0.0), 0.34 if bare else 0.42, 0.45 if bare else 0.6)
    canvas.limbs([sleeve], skin if bare else cloth, canvas.skin() if bare else canvas.cloth())
    return canvas.sprite()


Limb = tuple[tuple[float, float], tuple[float, float], float, float]
"""From, to (along and across the arm), and the radius at both, in IOD."""


def _fingers(rng: np.random.Generator) -> list[Limb]:
    """Four, stretched or bent, together or spread."""
    bent = rng.uniform(0.55, 1.0)
    fingers: list[Limb] = []
    for v, length_iod in ((-0.31, 0.7), (-0.1, 0.9), (0.1, 1.0), (0.3, 0.85)):
        tip = (-0.65 + bent * length_iod * rng.uniform(0.85, 1.0), v * rng.uniform(1.0, 1.3))
        fingers.append(((-0.65, v), tip, 0.115, 0.085))
    return fingers


class _Canvas:
    """Draws an arm: rounded limbs lit from one side, their texture, and the shadow they cast on what is behind them."""

    HALF_IOD, BEYOND_IOD = 1.1, 1.0
    """How far it reaches to both sides of the arm, and beyond the fingers' middle."""

    def __init__(self, rng: np.random.Generator, px_per_iod: float, length_iod: float) -> None:
        self._rng = rng
        self._px_per_iod = px_per_iod
        self._origin_px = (length_iod * px_per_iod, self.HALF_IOD * px_per_iod)
        columns, rows = int((length_iod + self.BEYOND_IOD) * px_per_iod), int(2 * self.HALF_IOD * px_per_iod)
        self._u = ((np.arange(columns) - self._origin_px[0]) / px_per_iod)[None].astype(np.float32)
        self._v = ((np.arange(rows) - self._origin_px[1]) / px_per_iod)[:, None].astype(np.float32)
        self._colours = np.zeros((rows, columns, 3), np.float32)
        self._opacity = np.zeros((rows, columns, 1), np.float32)
        self._light = np.array([*rng.uniform(-0.6, 0.6, 2), 0.8])

    def skin(self) -> NDArray[np.float32]:
        """Blotches and pores, about 1."""
        return np.asarray(1 + 0.05 * self._texture(0.15, 0.15) + 0.02 * self._texture(0.02, 0.02), np.float32)

    def cloth(self) -> NDArray[np.float32]:
        """Folds across the arm and threads, about 1."""
        return np.asarray(1 + 0.1 * self._texture(0.07, 0.35) + 0.04 * self._texture(0.02, 0.01), np.float32)

    def limbs(self, limbs: list[Limb], colour: NDArray[np.float64], texture: NDArray[np.float32]) -> None:
        """Over what is there already."""
        bulges = np.stack([self._bulge(limb) for limb in limbs])
        inside_iod, height_iod = bulges.max(axis=0)
        self._put(inside_iod, (self._lit(height_iod) * texture)[..., None] * colour)

    def cup(self, half_u_iod: float, half_v_iod: float, colour: NDArray[np.float64], band: NDArray[np.float64]) -> None:
        """A cup or telephone between thumb and fingers, with a band of another colour."""
        u, v = np.abs(self._u + 0.15), np.abs(self._v)
        corner_iod = 0.1
        beyond_iod = np.hypot(np.maximum(u - half_u_iod + corner_iod, 0), np.maximum(v - half_v_iod + corner_iod, 0))
        round_light = 0.55 + 0.45 * np.sqrt(np.maximum(1 - 0.8 * (v / half_v_iod) ** 2, 0))
        colours = np.where((u < 0.4 * half_u_iod)[..., None], band, colour) * self.skin()[..., None]
        self._put(corner_iod - beyond_iod, colours * round_light[..., None])

    def sprite(self) -> _Sprite:
        shadow = 0.35 * cv2.GaussianBlur(self._opacity, (0, 0), 0.12 * self._px_per_iod)[..., None]
        opacity = self._opacity + (1 - self._opacity) * shadow
        both = np.concatenate([self._colours, 255 * opacity], axis=-1)
        return _Sprite(np.rint(both.clip(0, 255)).astype(np.uint8), self._origin_px, self._px_per_iod)

    def _texture(self, u_iod: float, v_iod: float) -> NDArray[np.float32]:
        noise = self._rng.standard_normal(self._opacity.shape[:2], np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), u_iod * self._px_per_iod, sigmaY=v_iod * self._px_per_iod)
        return np.asarray(smooth / smooth.std(), np.float32)

    def _bulge(self, limb: Limb) -> NDArray[np.float32]:
        """(2, rows, columns): how far inside the limb's outline, and how high above the picture's plane, in IOD."""
        (u, v), (to_u, to_v), radius_iod, to_radius_iod = limb
        along_u, along_v = to_u - u, to_v - v
        along = ((self._u - u) * along_u + (self._v - v) * along_v) / (along_u**2 + along_v**2)
        along = along.clip(0, 1)
        from_iod = np.hypot(self._u - u - along * along_u, self._v - v - along * along_v)
        radius = radius_iod + along * (to_radius_iod - radius_iod)
        height = np.sqrt(np.maximum(radius**2 - from_iod**2, 0))
        return np.asarray(np.stack([radius - from_iod, height]), np.float32)

    def _lit(self, height_iod: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much light falls on a surface of that height."""
        smooth = cv2.GaussianBlur(height_iod, (0, 0), 0.03 * self._px_per_iod)
        down, across = np.gradient(smooth * np.float32(self._px_per_iod))
        towards = self._light[2] - self._light[0] * across - self._light[1] * down
        lambert = towards / np.sqrt(1 + across**2 + down**2) / np.linalg.norm(self._light)
        return np.asarray(0.5 + 0.5 * lambert.clip(0, 1), np.float32)

    def _put(self, inside_iod: NDArray[np.float32], colours: NDArray[np.float32]) -> None:
        opacity = np.clip(inside_iod * self._px_per_iod / 2 + 0.5, 0, 1)[..., None]
        self._colours = (1 - opacity) * self._colours + opacity * colours.clip(0, 255)
        self._opacity = (1 - opacity) * self._opacity + opacity


def _to_picture(eyes_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) from IOD, measured from between the eyes to the right and down the face, to the picture's pixels."""
    (dx, dy), (x, y) = eyes_px[1] - eyes_px[0], eyes_px.mean(axis=0)
    return np.array([[dx, -dy, x], [dy, dx, y]], np.float64)
