"""Training clips from warped portraits: what the network sees, what was shown, and how far the skin truly moved.

A sample is one moment of an imagined video of one face. Its timeline is drawn at random (calm, a micro- or a
macro-expression running or just over, blinks, talking), then the frames a clip needs are rendered: the newest one,
which lies as far after the moment as the network looks ahead, and the references. Every frame, neutral or not, is read
from the portrait by exactly one interpolation and gets its noise from the same source, so that neither sharpness nor
noise tells an event.

    portrait --LUT(gain, gamma)--> one remap(skin + head + crop) --+ noise--> uint8 crop --local contrast--> patch
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.action_units import BLINK, EXPRESSIONS, SkinField, backward, course
from livespot.errors import SourceError
from livespot.landmarks import CROP_EYES_PX, CROP_IOD_PX, FaceMesh, crop_transform
from livespot.normalise import local_contrast
from livespot.records import CROP_PX, ClipSpec, ShapesInRepr
from livespot.synth.draws import log_uniform

TRUTH_CELLS = 14
"""Side of the grid of true displacements: 8 px a cell, as the network's last feature map."""

TALK = ({"AU25": 1.0}, {"AU26": 1.0}, {"AU24": 1.0}, {"AU20_left": 1.0, "AU20_right": 1.0}, {"AU17": 1.0})
"""What a mouth does while it speaks."""


NOISE_GRAIN_PX = (0.0, 0.5, 0.9)
"""Noise of a camera reaches the crop white, or smoothed by compression and by the crop's own interpolation."""

NOISE_BANK_PX = 640
"""Side of the pictures of noise that frames are cut from: drawing normal numbers for each would double the cost."""


@dataclass(frozen=True)
class Recipe:
    """The ranges samples are drawn from; amplitudes in IOD, lengths in px of the crop, times in seconds."""

    micro_s: tuple[float, float] = (0.1, 0.5)
    micro_iod: tuple[float, float] = (0.008, 0.03)
    macro_s: tuple[float, float] = (0.5, 4.0)
    macro_iod: tuple[float, float] = (0.02, 0.11)
    """Durations by definition of the two classes; amplitudes as in the study the project starts from."""
    kinds: tuple[float, float, float, float] = (0.30, 0.34, 0.28, 0.08)
    """Shares of calm, micro, macro and both: far denser than in life, or most samples would teach nothing."""
    running: float = 0.7
    """Share of events that run at the current frame; the others ended up to a second ago: a reference lies in them."""
    blink: float = 0.3
    talk: float = 0.15
    drift: float = 0.4
    """Shares of samples with blinks, talking and slow unlabelled movement of a calm face."""
    drift_iod: tuple[float, float] = (0.001, 0.006)
    talk_iod: tuple[float, float] = (0.01, 0.06)
    fps: tuple[float, ...] = (25.0, 30.0, 60.0, 200.0)
    reference_jitter: float = 0.2
    """References are drawn within this share of their nominal distance: the paper's random skip, made narrower."""
    tilt_deg: float = 10.0
    """The paper's rotation; drawn with a third of it as standard deviation, since alignment removes most tilt."""
    shift_px: float = 1.0
    zoom: float = 0.02
    """Standard deviations between faces: where landmarks put the crop."""
    jitter_px: tuple[float, float] = (0.03, 0.15)
    jitter_deg: float = 0.1
    jitter_zoom: float = 0.001
    """Standard deviations between frames: what alignment leaves."""
    unsteady: float = 0.15
    """Share of samples whose alignment is three times as bad."""
    turn: float = 0.3
    turn_deg: float = 2.5
    """Share of samples in which the head turns in depth, and the largest standard deviation of the turn."""
    sway: float = 0.6
    sway_px: float = 3.0
    """Share of samples in which the head moves against its background, and the largest standard deviation of that."""
    noise_levels: tuple[float, float] = (0.7, 6.0)
    contrast: tuple[float, float] = (0.5, 1.5)
    """Gain and gamma of a sample, from the paper."""
    flicker: float = 0.02
    """Standard deviation of gain and gamma between frames."""
    blur_px: tuple[float, float] = (0.0, 1.0)
    """Blur of the portrait, the same for all frames of a sample."""


@dataclass(frozen=True, repr=False, eq=False)
class Portrait(ShapesInRepr):
    """A face to be animated: grey uint8 picture and its mesh float32 (468, 2)."""

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


@dataclass(frozen=True)
class Movement:
    """One expression, blink or syllable on the timeline of a sample; the judged moment is at 0 s."""

    intensities: Mapping[str, float]
    onset_s: float
    apex_s: float
    offset_s: float
    hold_s: float = 0.0

    def share(self, t_s: float) -> float:
        """How much of the movement is there at `t_s`, [0, 1]."""
        return course(t_s, self.onset_s, self.apex_s, self.offset_s, self.hold_s)

    @property
    def runs(self) -> bool:
        """Whether the judged moment lies in [onset, offset)."""
        return self.onset_s <= 0.0 < self.offset_s


@dataclass
class Timeline:
    """Everything that moves the skin in one sample, and which of it is to be spotted."""

    micro: list[Movement] = field(default_factory=list)
    macro: list[Movement] = field(default_factory=list)
    unlabelled: list[Movement] = field(default_factory=list)

    def intensities(self, t_s: float) -> dict[str, float]:
        """Summed intensity of every unit at `t_s`."""
        total: dict[str, float] = {}
        for movement in (*self.micro, *self.macro, *self.unlabelled):
            share = movement.share(t_s)
            for name, intensity in movement.intensities.items():
                total[name] = total.get(name, 0.0) + share * intensity
        return total


@dataclass(frozen=True, repr=False, eq=False)
class Batch(ShapesInRepr):
    """Samples for one training step."""

    clips: NDArray[np.float32]
    """(N, streams, 2, 112, 112), local contrast normalised: (reference, newest) of each stream."""
    labels: NDArray[np.float32]
    """(N, 2): 1 where a micro-, a macro-expression runs at the judged moment."""
    visible_iod: NDArray[np.float32]
    """(N,): peak displacement by expressions between any reference and the newest frame, in IOD."""
    truth_px: NDArray[np.float32]
    """(N, streams, 2, cells, cells): mean displacement (dx, dy) of the picture from reference to newest frame."""


def load_portraits(folder: Path) -> dict[str, Portrait]:
    """Portraits of `folder` (*.jpg) by file stem; pictures in which no face is found are left out.

    Raises SourceError where none is left.
    """
    portraits = {}
    with FaceMesh(static=True) as mesh:
        for path in sorted(folder.glob("*.jpg")):
            image = cv2.imread(str(path))
            if image is not None and (found := mesh.find(image.astype(np.uint8, copy=False))):
                portraits[path.stem] = Portrait(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint8), found[0])
    if not portraits:
        raise SourceError(
            f"no face in the *.jpg pictures of {folder}; expected a folder of portraits, one face each: check --faces"
        )
    return portraits


def batches(
    portraits: Sequence[Portrait],
    size: int,
    seed: int,
    start: int = 0,
    recipe: Recipe | None = None,
    clip: ClipSpec | None = None,
) -> Iterator[Batch]:
    """Endless batches of `size` samples. Batch i depends on `seed` and i alone, so training resumes where it was."""
    recipe, clip = recipe or Recipe(), clip or ClipSpec()
    index = start
    while True:
        rng = np.random.default_rng((seed, index))
        drawn = (portraits[int(rng.integers(len(portraits)))] for _ in range(size))
        samples = [_Sample(portrait, rng, recipe, clip).render() for portrait in drawn]
        clips, labels, visible, truth = (np.stack(column) for column in zip(*samples, strict=True))
        yield Batch(clips, labels, visible, truth)
        index += 1


def draw_timeline(rng: np.random.Generator, skin: SkinField, recipe: Recipe) -> Timeline:
    """A random stretch of a face's life around 0 s."""
    timeline = Timeline()
    kind = rng.choice(len(recipe.kinds), p=recipe.kinds)
    if kind in (1, 3):
        timeline.micro.append(_expression(rng, skin, recipe.micro_s, recipe.micro_iod, recipe.running))
    if kind in (2, 3):
        timeline.macro.append(_expression(rng, skin, recipe.macro_s, recipe.macro_iod, recipe.running))
    if rng.random() < recipe.blink:
        timeline.unlabelled.append(_blink(rng, skin))
    if rng.random() < recipe.talk:
        timeline.unlabelled += [_syllable(rng, skin, recipe) for _ in range(rng.integers(2, 7))]
    if rng.random() < recipe.drift:
        timeline.unlabelled.append(_expression(rng, skin, (2.0, 8.0), recipe.drift_iod, running=1.0))
    return timeline


def _expression(
    rng: np.random.Generator,
    skin: SkinField,
    duration_s: tuple[float, float],
    amplitude_iod: tuple[float, float],
    running: float,
) -> Movement:
    name = list(EXPRESSIONS)[rng.integers(len(EXPRESSIONS))]
    length_s = log_uniform(rng, duration_s)
    over_s = rng.uniform(0, length_s) if rng.random() < running else length_s + rng.uniform(0, 1.0)
    hold_s = length_s * rng.uniform(0, 0.4) * (rng.random() < 0.5)
    apex_s = (length_s - hold_s) * rng.uniform(0.3, 0.6) - over_s
    intensities = skin.scaled(EXPRESSIONS[name], log_uniform(rng, amplitude_iod))
    return Movement(intensities, -over_s, apex_s, length_s - over_s, hold_s)


def _blink(rng: np.random.Generator, skin: SkinField) -> Movement:
    length_s, onset_s = rng.uniform(0.15, 0.35), rng.uniform(-1.2, 0.1)
    depth_iod = skin.eye_opening_iod * rng.uniform(0.5, 1.0)
    return Movement(skin.scaled(BLINK, depth_iod), onset_s, onset_s + 0.4 * length_s, onset_s + length_s)


def _syllable(rng: np.random.Generator, skin: SkinField, recipe: Recipe) -> Movement:
    length_s, onset_s = rng.uniform(0.15, 0.5), rng.uniform(-1.5, 0.2)
    intensities = skin.scaled(TALK[rng.integers(len(TALK))], log_uniform(rng, recipe.talk_iod))
    return Movement(intensities, onset_s, onset_s + length_s / 2, onset_s + length_s)


class _Sample:
    """One moment of one portrait: where its crop lies, how it was filmed, what moves."""

    def __init__(self, portrait: Portrait, rng: np.random.Generator, recipe: Recipe, clip: ClipSpec) -> None:
        self._rng, self._recipe, self._clip = rng, recipe, clip
        self._view = _view(portrait.landmarks, rng, recipe)
        landmarks = portrait.landmarks @ self._view[:, :2].T + self._view[:, 2]
        self._skin = SkinField(landmarks.astype(np.float32), (CROP_PX, CROP_PX))
        self._face_iod = [
            (grid - middle) / self._skin.iod_px for grid, middle in zip(self._skin.grid_px, CROP_EYES_PX, strict=True)
        ]
        self._depth_iod = _depth_iod(*self._face_iod)
        self._outside = 1 - face_share(*self._face_iod)
        self._sway_px = recipe.sway_px * rng.uniform(0, 1) * (rng.random() < recipe.sway)
        self._image = _blurred(portrait.image, rng.uniform(*recipe.blur_px))
        self._noise = (log_uniform(rng, recipe.noise_levels), rng.integers(len(NOISE_GRAIN_PX)))
        self._gain, self._gamma = rng.uniform(*recipe.contrast, 2)
        self._steadiness = rng.uniform(*recipe.jitter_px) * (3.0 if rng.random() < recipe.unsteady else 1.0)
        self._turn = np.radians(recipe.turn_deg) * rng.uniform(0, 1) * (rng.random() < recipe.turn)

    def render(self) -> tuple[NDArray[np.float32], NDArray[np.float32], np.float32, NDArray[np.float32]]:
        """Clip, labels, visible displacement and true displacement, as in `Batch`."""
        timeline = draw_timeline(self._rng, self._skin, self._recipe)
        newest_s = self._clip.lookahead_s
        times_s = (newest_s, *(newest_s - back_s for back_s in self._references_s()))
        motions = [self._motion_px(timeline.intensities(t_s)) for t_s in times_s]
        patches = [local_contrast(self._frame(motion)) for motion in motions]
        clip = np.stack([np.stack((reference, patches[0])) for reference in patches[1:]])
        truth = np.stack([_cells(motions[0] - reference) for reference in motions[1:]])
        labels = np.array([any(m.runs for m in timeline.micro), any(m.runs for m in timeline.macro)], np.float32)
        visible = np.float32(self._visible_iod(timeline, times_s))
        return clip, labels, visible, truth

    def _references_s(self) -> list[float]:
        fps = self._recipe.fps[self._rng.integers(len(self._recipe.fps))]
        nominal_s = np.array(self._clip.references_s)
        spread = 1 + self._recipe.reference_jitter * self._rng.uniform(-1, 1, len(nominal_s))
        return [round(float(k_s) * fps) / fps for k_s in nominal_s * spread]

    def _visible_iod(self, timeline: Timeline, times_s: Sequence[float]) -> float:
        """Largest change of any expression's strongest unit between a reference and the newest frame."""
        events = (*timeline.micro, *timeline.macro)
        return max(
            (
                max(event.intensities.values()) * abs(event.share(t_s) - event.share(times_s[0]))
                for event in events
                for t_s in times_s[1:]
            ),
            default=0.0,
        )

    def _motion_px(self, intensities: Mapping[str, float]) -> NDArray[np.float32]:
        """How one frame differs from the still portrait, (rows, columns, 2) on the coarse grid."""
        skin = self._skin.coarse_iod(intensities) * np.float32(self._skin.iod_px)
        background = self._outside[..., None] * self._rng.normal(0, self._sway_px, 2)
        turned = self._depth_iod[..., None] * self._rng.normal(0, self._turn, 2)
        moved: NDArray[np.float32] = skin + background + CROP_IOD_PX * turned + self._misaligned_px()
        return moved.astype(np.float32)

    def _misaligned_px(self) -> NDArray[np.float64]:
        """What alignment leaves of the head's movement in the plane."""
        worse = self._steadiness / self._recipe.jitter_px[1]
        roll = np.radians(self._recipe.jitter_deg) * worse * self._rng.normal()
        zoom = self._recipe.jitter_zoom * worse * self._rng.normal()
        x, y = self._face_iod
        grown = np.stack((zoom * x - roll * y, zoom * y + roll * x), axis=-1)
        left: NDArray[np.float64] = CROP_IOD_PX * grown + self._rng.normal(0, self._steadiness, 2)
        return left

    def _frame(self, motion_px: NDArray[np.float32]) -> NDArray[np.uint8]:
        came_from = backward(motion_px, self._skin.spacing_px)
        seen = _pixels() - cv2.resize(came_from, (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR)
        source = cv2.transform(seen, cv2.invertAffineTransform(self._view))
        filmed = cv2.LUT(self._image, self._exposure())
        crop = cv2.remap(filmed, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        noisy: NDArray[np.uint8] = np.clip(crop + self._noise_levels(), 0, 255).astype(np.uint8)
        return noisy

    def _exposure(self) -> NDArray[np.float32]:
        gain, gamma = (self._gain, self._gamma) * (1 + self._recipe.flicker * self._rng.normal(size=2))
        levels = np.linspace(0, 1, 256, dtype=np.float32)
        exposed: NDArray[np.float32] = (255 * (0.5 + gain * (levels**gamma - 0.5))).clip(0, 255).astype(np.float32)
        return exposed

    def _noise_levels(self) -> NDArray[np.float32]:
        sigma, kind = self._noise
        row, column = self._rng.integers(NOISE_BANK_PX - CROP_PX, size=2)
        noise = _noise_bank()[kind][row : row + CROP_PX, column : column + CROP_PX]
        return (noise * sigma).astype(np.float32)


def face_share(x_iod: NDArray[np.float64], y_iod: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 on the face, 0 where background moves by itself; origin between the eyes, in IOD."""
    radius = np.hypot(x_iod / 0.95, (y_iod - 0.4) / 1.2)
    share: NDArray[np.float64] = np.clip((1.15 - radius) / 0.3, 0, 1)
    return share


def face_cells() -> NDArray[np.float32]:
    """Which cells of the true displacement lie on the face: float32 (cells, cells), 0 to 1."""
    centres_px = (np.arange(TRUTH_CELLS) + 0.5) * CROP_PX / TRUTH_CELLS - 0.5
    x, y = ((centres_px - middle) / CROP_IOD_PX for middle in CROP_EYES_PX)
    return face_share(*np.meshgrid(x, y)).astype(np.float32)


def _view(landmarks: NDArray[np.float32], rng: np.random.Generator, recipe: Recipe) -> NDArray[np.float64]:
    """Similarity (2, 3) from the portrait to the crop: plain alignment, then tilt, zoom and shift of this sample."""
    tilt = float(np.clip(rng.normal(0, recipe.tilt_deg / 3), -recipe.tilt_deg, recipe.tilt_deg))
    centre = (CROP_PX / 2, CROP_PX / 2)
    change = np.vstack((cv2.getRotationMatrix2D(centre, tilt, 1 + recipe.zoom * rng.normal()), (0, 0, 1)))
    change[:2, 2] += rng.normal(0, recipe.shift_px, 2)
    view: NDArray[np.float64] = (change @ np.vstack((crop_transform(landmarks), (0, 0, 1))))[:2]
    return view


def _depth_iod(x_iod: NDArray[np.float64], y_iod: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depth of a face in front of its eye corners: the nose stands out, cheeks and temples fall back. Both in IOD."""
    nose = 0.3 * np.exp(-(x_iod**2 + (y_iod - 0.42) ** 2) / (2 * 0.17**2))
    depth: NDArray[np.float64] = nose - np.minimum(0.35 * x_iod**2 + 0.08 * y_iod**2, 0.2)
    return depth


@cache
def _pixels() -> NDArray[np.float32]:
    x, y = np.meshgrid(np.arange(CROP_PX, dtype=np.float32), np.arange(CROP_PX, dtype=np.float32))
    return np.dstack((x, y))


@cache
def _noise_bank() -> list[NDArray[np.float32]]:
    """Noise of standard deviation 1 for each grain."""
    rng = np.random.default_rng(0)
    bank = []
    for grain_px in NOISE_GRAIN_PX:
        noise = rng.standard_normal((NOISE_BANK_PX, NOISE_BANK_PX), np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), grain_px).astype(np.float32, copy=False) if grain_px else noise
        bank.append(noise / noise.std())
    return bank


def _blurred(image: NDArray[np.uint8], sigma_px: float) -> NDArray[np.uint8]:
    blurred = cv2.GaussianBlur(image, (0, 0), sigma_px) if sigma_px > 0.3 else image
    return blurred.astype(np.uint8, copy=False)


def _cells(motion_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean motion (2, cells, cells) of a coarse field (rows, columns, 2)."""
    cells = cv2.resize(motion_px, (TRUTH_CELLS, TRUTH_CELLS), interpolation=cv2.INTER_AREA)
    return cells.transpose(2, 0, 1).astype(np.float32)
