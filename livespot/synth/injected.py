"""Expressions with exact labels in real video: skin, light, noise and head motion are the clip's own.

A portrait that is animated moves only as it is told. A face that was filmed also talks, turns and trembles by itself,
and on such faces a method has to be measured. So the skin of a recorded face is warped, and nothing else:

    first pass    Aligner: the transform of each frame, and the landmarks of each stretch in which the face is held
    frame  <-- the transform of that frame --  displacement of the stretch's skin in the crop  <--  expression at t

What moves by itself in the clip is not in `truth`: what a method spots on the same clip played `calm` says how much.

Every frame with a face, neutral or not, goes through the same map. Where nothing is expressed that map is the identity
and the pixels stay as they were. Elsewhere they are interpolated, by a cubic kernel: a linear one takes 1 to 4 % of a
crop's fine contrast, which would tell the event; the cubic one changes it by half a percent at the median. That is lost
in what changes by itself: by their sharpness, crops are told apart no better than those of the untouched clip.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.action_units import EXPRESSIONS, SkinField, backward
from livespot.align import Aligner
from livespot.capture.passing import Passing
from livespot.capture.source import Source
from livespot.capture.virtual import HOLD, RISE, Expression
from livespot.config import AlignSettings
from livespot.errors import SourceError
from livespot.landmarks import CROP_EYES_PX, CROP_IOD_PX, apply, compose, invert
from livespot.motion.regions import EXPRESSIVE, WINDOW_IOD
from livespot.records import ExpressionType, Face, Frame
from livespot.synth.pairs import face_share
from livespot.synth.script import NAMES

MICRO_S, MICRO_IOD = (0.16, 0.5), (0.008, 0.025)
MACRO_S, MACRO_IOD = (0.55, 3.5), (0.03, 0.09)
"""Duration and amplitude of what is injected."""

CALM_S = (0.8, 2.5)
"""Time without injected expressions before each, from the end of the one before or from where the face appears."""

MARGIN_S = 0.5
"""The face is held for at least so long after the end of an expression; before its onset, for `CALM_S`."""

SHEET_PX = (168, 136)
SHEET_IN_CROP_PX = np.array([-12, -26])
"""Height and width of the sheet of skin that is moved, in pixels as large as the crop's, and where the first of them
lies in the crop (x, y). `face_share` is zero at its borders: all that lies beyond it stands still.
"""
TO_SHEET = np.column_stack([np.eye(2), -SHEET_IN_CROP_PX])
"""(2, 3) from the crop to the sheet."""

SHEET_CORNERS_PX = np.array([(x, y) for x in (0, SHEET_PX[1] - 1) for y in (0, SHEET_PX[0] - 1)])


class Injected(Passing):
    """A `Source` that plays a recording and puts expressions into its face; `truth` is what it put there.

    Frames follow `source` in name, index and time. Entering plays `source` a first time to find the face that a live
    run with `AlignSettings()` would follow. Known from then on: `truth`, `times_s` of the frames, and what
    `displacement_iod` and `intensities` tell of what is put in. A `calm` one, or one whose `truth` is emptied before it
    is iterated, plays the recording as it is. The same recording and seed give the same frames.
    """

    def __init__(self, source: Source, seed: int, calm: bool = False) -> None:
        super().__init__(source)
        self.live = False
        self.truth: tuple[Expression, ...] = ()
        self.times_s: NDArray[np.float64] = np.zeros(0)
        self._seed = seed
        self._calm = calm
        self._stretches: list[_Stretch] = []

    def __enter__(self) -> "Injected":
        """Raises SourceError where `source` cannot be played twice or shows no face at all.

        Where a face shows, but never for long enough, `truth` is empty, and `note` says so after the last frame.
        """
        with self._source as source:
            if source.live:
                raise SourceError(f"{self.name} is live; expected a recording: expressions are put in at a second pass")
            self._stretches, self.times_s = _stretches(source)
        if not self._stretches:
            raise SourceError(f"no face is found in {self.name}: give a recording of a face that looks at the camera")
        self.truth = () if self._calm else _drawn(self._stretches, self._seed)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._stretches = []

    def __iter__(self) -> Iterator[Frame]:
        """The frames of the recording, with what is expressed in each."""
        yield from super().__iter__()
        self.note = self.note or self._own_note()

    def passed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Each with the skin where it is moved to."""
        places: dict[int, tuple[_Skin, NDArray[np.float64]]] = {}
        for stretch in self._stretches:
            places |= {index: (stretch.skin, transform) for index, transform in stretch.transforms.items()}
        for frame in frames:
            if frame.index in places:
                skin, transform = places[frame.index]
                came_from_px = skin.came_from_px(_now(self.truth, frame.t_s), frame.t_s)
                yield replace(frame, image=_moved(frame.image, transform, came_from_px))
            else:
                yield frame

    def intensities(self) -> NDArray[np.float64]:
        """Of every unit in what was put in, at each frame: (T, units)."""
        intensities = np.zeros((len(self.times_s), len(NAMES)))
        for stretch in self._stretches:
            for row in stretch.rows:
                t_s = float(self.times_s[row])
                for name, intensity in stretch.skin.intensities(_now(self.truth, t_s), t_s).items():
                    intensities[row, NAMES.index(name)] = intensity
        return intensities

    def displacement_iod(self) -> NDArray[np.float32]:
        """How far the skin was moved in each of `EXPRESSIVE`'s regions at each frame, (T, regions, 2)."""
        moved, intensities = np.zeros((len(self.times_s), len(EXPRESSIVE), 2), np.float32), self.intensities()
        for stretch in self._stretches:
            moved[stretch.rows] = np.tensordot(intensities[stretch.rows], stretch.skin.regions_iod, 1)
        return moved

    def _own_note(self) -> str:
        if self.truth or self._calm:
            return ""
        longest_s = max(stretch.to_s - stretch.from_s for stretch in self._stretches)
        return (
            f"no expression was put in: none fits into the {longest_s:.1f} s for which the face is held at most; "
            "give a longer recording or another seed"
        )


class _Stretch:
    """Frames without a gap in which one face is held."""

    def __init__(self, face: Face) -> None:
        self.transforms: dict[int, NDArray[np.float64]] = {}
        """From the frame to the crop, by the frame's index."""
        self.rows: list[int] = []
        """Places of its frames among all that are played."""
        self.from_s = self.to_s = face.t_s
        self._next = (face.face, face.index)
        self._meshes_px: list[NDArray[np.float64]] = []
        self._mesh_s = -np.inf

    def continues(self, face: Face) -> bool:
        """Whether this is the same face in the next frame."""
        return self._next == (face.face, face.index)

    def add(self, face: Face, row: int) -> None:
        self.transforms[face.index] = face.transform
        self.rows.append(row)
        self.to_s = face.t_s
        self._next = (face.face, face.index + 1)
        if face.t_s - self._mesh_s >= AlignSettings().mesh_interval_s:  # in between, the aligner has no new ones
            self._mesh_s = face.t_s
            self._meshes_px.append(apply(face.transform, face.landmarks))

    @cached_property
    def skin(self) -> "_Skin":
        """Of the landmarks' median over the stretch, so that what the face itself expresses drops out."""
        return _Skin(np.asarray(np.median(self._meshes_px, axis=0), np.float32))


def _stretches(source: Source) -> tuple[list[_Stretch], NDArray[np.float64]]:
    """Where in a recording the face is held that a live run would follow, and the times of all frames (T,)."""
    stretches: list[_Stretch] = []
    times_s: list[float] = []
    with Aligner(AlignSettings(), source.name) as aligner:
        for frame in source:
            if frame.epoch > 0:
                raise SourceError(f"{source.name} starts over; expected a recording that ends: do not loop it")
            times_s.append(frame.t_s)
            for face in (told for told in aligner.push(frame) if isinstance(told, Face)):
                if not stretches or not stretches[-1].continues(face):
                    stretches.append(_Stretch(face))
                stretches[-1].add(face, len(times_s) - 1)
    return stretches, np.array(times_s)


def _drawn(stretches: list[_Stretch], seed: int) -> tuple[Expression, ...]:
    rng = np.random.default_rng(seed)
    return tuple(one for stretch in stretches for one in expressions(rng, stretch.from_s, stretch.to_s))


def expressions(rng: np.random.Generator, from_s: float, to_s: float) -> list[Expression]:
    """Pairs of a micro- and a macro-expression in any order while a face is held.

    What does not fit is left out, until neither of a pair does: of what is drawn, the end has more that is short.
    """
    shown: list[Expression] = []
    calm_s, last_calm_s = from_s, -np.inf
    while calm_s > last_calm_s:
        last_calm_s = calm_s
        for kind in rng.permutation(["micro", "macro"]):
            one = _expression(rng, "micro" if kind == "micro" else "macro", calm_s + rng.uniform(*CALM_S))
            if one.offset_s <= to_s - MARGIN_S:
                shown.append(one)
                calm_s = one.offset_s
    return shown


def _expression(rng: np.random.Generator, kind: ExpressionType, onset_s: float) -> Expression:
    micro = kind == "micro"
    length_s = rng.uniform(*(MICRO_S if micro else MACRO_S))
    hold_s = 0.0 if micro else length_s * rng.uniform(*HOLD)
    apex_s = onset_s + (length_s - hold_s) * rng.uniform(*RISE)
    units = str(rng.choice(list(EXPRESSIONS)))
    amplitude_iod = rng.uniform(*(MICRO_IOD if micro else MACRO_IOD))
    return Expression(kind, onset_s, apex_s, onset_s + length_s, hold_s, units, amplitude_iod)


def _now(truth: tuple[Expression, ...], t_s: float) -> Expression | None:
    return next((one for one in truth if one.onset_s <= t_s < one.offset_s), None)


class _Skin:
    """How the skin of one stretch moves on its sheet, fading to nothing around the face.

    `landmarks_px` (468, 2) in the crop.
    """

    def __init__(self, landmarks_px: NDArray[np.float32]) -> None:
        self._field = SkinField(apply(TO_SHEET, landmarks_px).astype(np.float32), SHEET_PX)
        self.iod_px = self._field.iod_px
        eyes_px = np.array(CROP_EYES_PX) - SHEET_IN_CROP_PX
        x_iod, y_iod = ((grid - eye) / CROP_IOD_PX for grid, eye in zip(self._field.grid_px, eyes_px, strict=True))
        self._share = face_share(x_iod, y_iod)[..., None].astype(np.float32)

    def came_from_px(self, expression: Expression | None, t_s: float) -> NDArray[np.float32]:
        """How far what is seen at each pixel of the sheet has come, float32 (168, 136, 2) in its pixels."""
        if expression is None:
            return np.zeros((*SHEET_PX, 2), np.float32)
        intensities = self.intensities(expression, t_s)
        moved_px = self._share * self._field.coarse_iod(intensities) * np.float32(self.iod_px)
        coarse_px = backward(moved_px, self._field.spacing_px)
        return np.asarray(cv2.resize(coarse_px, SHEET_PX[::-1], interpolation=cv2.INTER_CUBIC), np.float32)

    def intensities(self, expression: Expression | None, t_s: float) -> dict[str, float]:
        """Of the units that the expression is made of."""
        if expression is None:
            return {}
        amplitude_iod = expression.amplitude_iod * expression.share(t_s)
        return self._field.scaled(EXPRESSIONS[expression.units], amplitude_iod)

    @cached_property
    def regions_iod(self) -> NDArray[np.float64]:
        """What every unit does in each region, x along the eyes: (units, regions, 2)."""
        fields = np.stack([self._share * self._field.unit(name) for name in NAMES])
        return self._field.in_windows(fields, [region.landmarks for region in EXPRESSIVE.values()], WINDOW_IOD)


def _moved(
    image: NDArray[np.uint8], transform: NDArray[np.float64], came_from_px: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The picture with the skin of the sheet moved where `transform`, from the frame to the crop, says that it is."""
    to_sheet = compose(TO_SHEET, transform)
    to_frame = invert(to_sheet)
    left, top, right, bottom = _box(apply(to_frame, SHEET_CORNERS_PX), image.shape[:2])
    if right <= left or bottom <= top:
        return image
    from_box = compose(to_sheet, np.array([[1.0, 0, left], [0, 1, top]]))
    in_frame_px = cv2.transform(came_from_px, to_frame[:, :2])
    box_px = (right - left, bottom - top)
    dx, dy = cv2.split(cv2.warpAffine(in_frame_px, from_box, box_px, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    x = np.arange(left, right, dtype=np.float32) - dx
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - dy
    moved = image.copy()
    moved[top:bottom, left:right] = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return moved


def _box(corners_px: NDArray[np.float64], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels within a picture of `size` (height, width) that the corners span."""
    limits_px = size[::-1]
    left, top = np.floor(corners_px.min(axis=0)).clip(0, limits_px).astype(int).tolist()
    right, bottom = (np.ceil(corners_px.max(axis=0)) + 1).clip(0, limits_px).astype(int).tolist()
    return left, top, right, bottom
