"""Face -> Motion: how far the skin of each region has come, against the rigid face, since a reference.

Lucas-Kanade on the aligned crop, one Gaussian window for each region, all windows at once:

    key crop ---- shift and linear deformation of each window that make it look like the key ----> this crop
                                          |
        shifts of all windows - what a rigid head would show in each (shift, growth, roll, yaw, pitch)
                                          |
                          displacement of the expressive regions, in IOD

The deformation is there because the motion of skin changes within a window: a shift alone would follow the texture
that happens to lie in it (this halves the error). Both are damped towards the head's motion, by what skin does and by
the noise of the picture: where there is no texture to measure by, a region goes with the head rather than tremble.

A window is kept as long as it fits. A head that turns or a mouth that opens wears it out: the next one goes on where
the last one was, and as soon as the first one fits again it is taken again, so that errors do not add up.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.landmarks import CROP_EYES_PX, CROP_IOD_PX, apply, compose, invert, median
from livespot.motion.regions import ALL, RIGID_REGIONS, WINDOW_IOD
from livespot.records import MAX_PAUSE_S, Face, Motion

Array = NDArray[np.float32]

SMOOTH_PX = 0.5
"""Crops are smoothed by so much: linear interpolation between pixels is then good to a hundredth of one."""

STEPS = 3
"""Gauss-Newton steps a frame, from where the frame before ended."""

SKIN_IOD, STRETCH_IOD = 0.09, 0.027
"""Standard deviations by which a fit is damped towards the head's motion: of a window's shift, and of its edge's."""

MIN_LEVELS = 0.5
"""Grey levels that no noise and no contrast falls below: those of rounding and interpolation."""
NOISE_PACE = 0.1
"""Share of a frame's noise in the running estimate."""
LIGHT = 0.05
"""Light and folds change a window by this share of its contrast without moving it: as good as noise."""
GAIN = (0.2, 5.0)
"""Contrast may change by as much since the key."""
CORRELATED = 3.0
"""Pixels of a smoothed crop share their noise: factor of a shift's variance, found on portraits with known noise."""

UNLIKE = 0.6
"""Where more than this share of a window's contrast is left, it does not show the region: the skin is hidden."""
HIDDEN_IOD = 0.1
"""The standard error told of a region that is not seen."""

FLEXIBLE_IOD = {"nose": 0.001, "eye": 0.004, "expressive": 0.004}
"""How far expressions move what is called rigid, and everything else: standard deviations in the fit of the head."""
EYE_DRAG = 0.3
"""A blink moves the corners of its eye by up to this share of what it moves the lid: standard deviation."""
EYE_DRAG_HIDDEN_IOD = 0.03
"""And by up to so much while the lid is too closed to be found."""
HEAD_SPREAD = np.array([0.02, 0.02, 0.02, 0.02, 0.1, 0.1])
"""What the aligner leaves of the head's motion within a second, as standard deviations of a path that goes on from
frame to frame: shift (IOD), growth, roll, yaw, pitch (rad)."""
HEAD_STEPS = 4
TAILS = 2.0
"""Degrees of freedom of the Student distribution with which regions leave the head's motion to the others."""

WORN, WORN_S = 0.15, 0.2
"""A window is worn when it has been unlike its region by this share for so long. What it is unlike is taken for noise
of the picture, and damps: with 0.35, real clips of 20 s showed 45 % of what was put into them, with this 65 %."""
HIDDEN_S = 1.0
"""A hidden one may be behind a hand that passes: after so long what is seen there is taken for its new look."""
ASTRAY_IOD, ASTRAY_S = 0.1, 1.0
"""A window that has been so far from its landmarks for so long is not on its skin any more."""
FITS, RETRY_S = 0.09, 0.5
"""The first window is tried again every so often, and taken when it is unlike its region by no more than this share."""
BLEED_S = 5.0
"""Time constant with which the difference that this makes is let out."""


def _window() -> tuple[Array, Array]:
    """(P, 2) offsets in px of a window's pixels, and their weights (P,), which sum to one."""
    sigma_px = WINDOW_IOD * CROP_IOD_PX
    reach = int(np.ceil(2 * sigma_px))
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    inside = x**2 + y**2 <= reach**2 + 1
    offsets = np.stack([x[inside], y[inside]], axis=1).astype(np.float32)
    weights = np.exp(-(offsets**2).sum(axis=1) / (2 * sigma_px**2))
    return offsets, (weights / weights.sum()).astype(np.float32)


OFFSETS_PX, WEIGHTS = _window()
EDGE_PX = 2 * WINDOW_IOD * CROP_IOD_PX
OFFSETS = OFFSETS_PX / np.float32(EDGE_PX)
"""The same, 1 at the window's edge: what deformations are told in."""

COUNT = len(ALL)
EXPRESSIVE_COUNT = COUNT - len(RIGID_REGIONS)
POINTS = np.array([np.resize(region.landmarks, 2) for region in ALL.values()])
"""(N, 2) landmarks of each region, a lone one twice."""
DEPTH_IOD = np.array([region.depth_iod for region in ALL.values()])
FLEX_IOD = np.array(
    [FLEXIBLE_IOD[name.partition("_")[0] if name in RIGID_REGIONS else "expressive"] for name in ALL], np.float64
)
NAMES = list(ALL)
EYE_ROWS = [row for row, name in enumerate(NAMES) if name.startswith("eye_")]
LID_ROWS = [NAMES.index(f"upper_lid_{NAMES[row].rpartition('_')[2]}") for row in EYE_ROWS]
NOSE_ROW = NAMES.index("nose_bridge")
DAMPING = 1 / (CROP_IOD_PX * np.array([SKIN_IOD] * 2 + [STRETCH_IOD] * 4, np.float32)) ** 2


class RegionTracker:
    """Regional motion of one face, frame by frame.

    Times must increase. After a gap `reset` it: another reference is taken at the next face, as after a long pause.
    """

    latency_s = 0.0
    """The motion of a frame is told when it comes."""

    def __init__(self) -> None:
        self._windows: _Windows | None = None

    def push(self, face: Face) -> list[Motion]:
        """The motion of this face since the reference; the first face is the reference."""
        crop = _float32(cv2.GaussianBlur(face.crop.astype(np.float32), (0, 0), SMOOTH_PX))
        if self._windows is None or face.t_s - self._windows.last_s > MAX_PAUSE_S:
            self._windows = _Windows(crop, face)
        return [self._windows.follow(crop, face)]

    def flush(self) -> list[Motion]:
        """Nothing is held back."""
        return []

    def reset(self) -> None:
        """Forget the reference."""
        self._windows = None


class _Windows:
    """The windows of one face since a reference: which crop each is sought by, and how far each has come."""

    def __init__(self, crop: Array, face: Face) -> None:
        middles_px = _middles_px(face)
        self._first = _Key(crop, middles_px, np.zeros((COUNT, 2), np.float32), np.zeros((COUNT, 4), np.float32))
        self._key = self._first.copy()
        self._head = _Head((middles_px - CROP_EYES_PX) / CROP_IOD_PX)
        self._began = invert(face.transform)
        self._noise_levels = 1.0
        self._start = np.zeros((COUNT, 6), np.float32)
        self._come_px = np.zeros((COUNT, 2), np.float32)
        """How far each had come when it was seen last, or where the head took it since."""
        self._left_iod = np.zeros((COUNT, 2))
        self._jump_px = np.zeros((COUNT, 2), np.float32)
        self._renewed_rows = np.zeros(COUNT, np.bool_)
        self._fitted_s, self._placed_s = np.full((2, COUNT), face.t_s)
        self._tried_s = self.last_s = face.t_s

    def follow(self, crop: Array, face: Face) -> Motion:
        """The motion of the next face."""
        fit = self._key.fit(crop, self._start, self._noise_levels, self._head.carries_px)
        noise_levels = max(float(np.sqrt(median(fit.left))), MIN_LEVELS)
        self._noise_levels += NOISE_PACE * (noise_levels - self._noise_levels)
        self._come_px = np.where(fit.hidden[:, None], self._come_px, self._key.come_px + fit.state[:, :2])
        fit = self._renewed(crop, face, fit)
        since_s = face.t_s - self.last_s if face.t_s > self.last_s else np.inf  # the reference follows nothing
        self.last_s = face.t_s
        self._jump_px *= np.float32(np.exp(-since_s / BLEED_S))
        shift_iod = (self._come_px + self._jump_px) / CROP_IOD_PX
        left_iod, head = self._head.split(shift_iod, fit.noise_iod, fit.unlike, since_s)
        self._go_on(fit, left_iod)
        seen = slice(EXPRESSIVE_COUNT)
        return Motion(
            self._left_iod[seen].astype(np.float32), fit.noise_iod[seen], fit.unlike[seen],
            np.concatenate([self._pose(face), head[4:]]).astype(np.float32),
            face.face, face.source, face.index, face.t_s, face.arrival_s,
        )  # fmt: skip

    def _go_on(self, fit: "_Fit", left_iod: NDArray[np.float64]) -> None:
        """Where each window starts at the next face: hidden ones go with the head, and have moved no further on it."""
        hidden = fit.hidden[:, None]
        if not hidden.any():
            self._left_iod, self._start = left_iod, fit.state
            return
        self._left_iod = np.where(hidden, self._left_iod, left_iod)
        carried_px = (self._head.shift_iod + self._left_iod) * CROP_IOD_PX - self._jump_px
        self._come_px = np.where(hidden, carried_px, self._come_px).astype(np.float32)
        self._start = np.where(hidden, self._key.towards(self._head.carries_px), fit.state)

    def _renewed(self, crop: Array, face: Face, fit: "_Fit") -> "_Fit":
        """The fit, by other windows where these are worn or astray or the first ones fit again."""
        t_s, middles_px = face.t_s, _middles_px(face)
        astray_px = _length(self._key.middles_px + fit.state[:, :2] - middles_px)
        self._placed_s[astray_px < ASTRAY_IOD * CROP_IOD_PX] = t_s
        self._fitted_s[fit.unlike < WORN] = t_s
        worn = t_s - self._fitted_s >= np.where(fit.hidden, HIDDEN_S, WORN_S)
        astray = t_s - self._placed_s >= ASTRAY_S
        if worn.any() or astray.any():
            new = _Key(crop, middles_px, self._come_px, self._head.carries_px[:, 2:])
            fit = self._renew(new, crop, fit, worn | astray)
            self._first.take(self._key, astray)  # those were never, or are no more, what to return to
            self._renewed_rows = (self._renewed_rows | worn) & ~astray
            self._fitted_s[worn | astray] = self._placed_s[worn | astray] = t_s
        if self._renewed_rows.any() and t_s - self._tried_s >= RETRY_S:
            self._tried_s = t_s
            fit = self._return(crop, fit)
        return fit

    def _renew(self, new: "_Key", crop: Array, fit: "_Fit", rows: NDArray[np.bool_]) -> "_Fit":
        """The fit, with some windows of a new key, which go on from the motion told last."""
        self._key.take(new, rows)
        here = np.zeros((COUNT, 6), np.float32)
        return fit.taking(new.fit(crop, here, self._noise_levels, self._head.carries_px), rows)

    def _return(self, crop: Array, fit: "_Fit") -> "_Fit":
        """The first windows again, where they fit; what errors have added up to is let out slowly."""
        start = np.zeros((COUNT, 6), np.float32)
        start[:, :2] = self._come_px - self._first.come_px
        again = self._first.fit(crop, start, self._noise_levels, self._head.carries_px)
        with_head = self._first.towards(self._head.carries_px)
        other = self._first.fit(crop, with_head, self._noise_levels, self._head.carries_px)
        again = again.taking(other, other.unlike < again.unlike)
        come_px = self._first.come_px + again.state[:, :2]
        rows = self._renewed_rows & (again.unlike < FITS)
        if not rows.any():
            return fit
        self._jump_px[rows] += self._come_px[rows] - come_px[rows]
        self._come_px[rows] = come_px[rows]
        self._key.take(self._first, rows)
        self._renewed_rows &= ~rows
        return fit.taking(again, rows)

    def _pose(self, face: Face) -> NDArray[np.float64]:
        """Shift x, y in IOD, growth and roll in the plane of the picture, since the reference: (4,)."""
        moved = compose(face.transform, self._began)
        eyes = np.array([CROP_EYES_PX])
        shift = (eyes - apply(moved, eyes))[0] / CROP_IOD_PX
        return np.array([*shift, -np.log(np.hypot(*moved[:, 0])), -np.arctan2(moved[1, 0], moved[0, 0])])


@dataclass(frozen=True, eq=False)
class _Fit:
    """How the windows of a key lie in a crop."""

    state: Array
    """(N, 6): shift x, y in px, then the deformation (x by x, x by y, y by x, y by y), px at the window's edge."""
    left: Array
    """(N,) variance in squared grey levels that the fit leaves."""
    unlike: Array
    """(N,) the same as a share of the window's contrast, [0, 1]."""
    noise_iod: Array
    """(N,) standard error of the shift."""

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """(N,) windows that do not show their region."""
        return self.unlike > UNLIKE

    def taking(self, other: "_Fit", rows: NDArray[np.bool_]) -> "_Fit":
        """This fit, with some rows of another."""
        return _Fit(
            *(
                np.where(rows.reshape(-1, *[1] * (mine.ndim - 1)), theirs, mine)
                for mine, theirs in zip(_arrays(self), _arrays(other), strict=True)
            )
        )


class _Key:
    """The windows of one crop, prepared to be found in others."""

    def __init__(self, crop: Array, middles_px: Array, come_px: Array, turned_px: Array) -> None:
        """Since the reference the windows had come by `come_px` (N, 2), and the head had deformed them by `turned_px`
        (N, 4).
        """
        self.middles_px, self.come_px, self.turned_px = middles_px, come_px, turned_px
        self._x_px, self._y_px = (self.middles_px[:, axis : axis + 1] + OFFSETS_PX[:, axis] for axis in (0, 1))
        self._windows = _centred(_sampled(crop, self._x_px, self._y_px))
        self._contrast = np.maximum((self._windows**2) @ WEIGHTS, MIN_LEVELS**2)
        x, y = (self._slope(crop, *axis) for axis in ((1, 0), (0, 1)))
        # what the picture does when the window shifts and deforms: (N, P, 6)
        slopes = np.stack([x, y, x * OFFSETS[:, 0], x * OFFSETS[:, 1], y * OFFSETS[:, 0], y * OFFSETS[:, 1]], axis=-1)
        self._weighted = np.ascontiguousarray((slopes * WEIGHTS[:, None]).transpose(0, 2, 1))  # (N, 6, P)
        self._normal = self._weighted @ slopes
        self._chance = CORRELATED * self._weighted @ (slopes * WEIGHTS[:, None])
        self._inverse_levels = 0.0

    def copy(self) -> "_Key":
        """Windows of its own."""
        other = copy(self)
        for name in _ROWS:
            setattr(other, name, getattr(self, name).copy())
        return other

    def take(self, other: "_Key", rows: NDArray[np.bool_]) -> None:
        """Some windows of another key instead of these."""
        for name in _ROWS:
            getattr(self, name)[rows] = getattr(other, name)[rows]
        self._inverse_levels = 0.0

    def towards(self, carries_px: Array) -> Array:
        """The state (N, 6) to which a head brings the windows that carries them by so much since the reference."""
        return np.asarray(carries_px - np.concatenate([self.come_px, self.turned_px], axis=1), np.float32)

    def fit(self, crop: Array, start: Array, noise_levels: float, carries_px: Array) -> _Fit:
        """Find the windows in a crop, from the state (N, 6) at `start`, damped towards where the head carries them."""
        self._damp(noise_levels)
        state, prior = start, self.towards(carries_px)
        for _ in range(STEPS):
            error = self._error(crop, state)
            slope = (self._weighted @ error[..., None])[..., 0]
            state = state - (self._inverse @ (slope + self._damping * (state - prior))[..., None])[..., 0]
        left = (self._error(crop, state) ** 2) @ WEIGHTS
        unlike = np.minimum(left / self._contrast, 1)
        noise_iod = np.where(
            unlike > UNLIKE, HIDDEN_IOD, np.sqrt(left + LIGHT**2 * self._contrast) * self._unit_iod
        ).astype(np.float32)
        return _Fit(state, left, unlike, noise_iod)

    def _damp(self, noise_levels: float) -> None:
        """Prepare the normal equations for this noise, if it has changed by a tenth.

        NumPy would invert them on threads that wait for each other: 100 ms where the other cores are busy.
        """
        if abs(noise_levels - self._inverse_levels) < 0.1 * self._inverse_levels:
            return
        self._inverse_levels = noise_levels
        self._damping = np.float32(noise_levels**2) * DAMPING + np.float32(LIGHT**2) * self._contrast[:, None] * DAMPING
        damped = self._normal + np.eye(6, dtype=np.float32) * self._damping[:, None]
        self._inverse = np.stack([cv2.invert(one, flags=cv2.DECOMP_CHOLESKY)[1] for one in damped])
        spread = self._inverse @ self._chance @ self._inverse
        self._unit_iod = np.sqrt((spread[:, 0, 0] + spread[:, 1, 1]) / 2) / CROP_IOD_PX

    def _error(self, crop: Array, state: Array) -> Array:
        """(N, P): what the windows in the crop have and the key has not, brightness and contrast made equal."""
        x_px = self._x_px + state[:, :1]
        x_px += state[:, 2:4] @ OFFSETS.T
        y_px = self._y_px + state[:, 1:2]
        y_px += state[:, 4:6] @ OFFSETS.T
        seen = _centred(_sampled(crop, x_px, y_px))
        gain = ((seen * self._windows) @ WEIGHTS) / np.maximum((seen**2) @ WEIGHTS, MIN_LEVELS**2)
        seen *= np.minimum(np.maximum(gain, GAIN[0]), GAIN[1])[:, None]
        seen -= self._windows
        return seen

    def _slope(self, crop: Array, along_x: int, along_y: int) -> Array:
        """Slope (N, P) of the windows along an axis, without what brightness and contrast explain of it."""
        slope = _centred(
            _sampled(_float32(cv2.Sobel(crop, cv2.CV_32F, along_x, along_y, scale=1 / 8)), self._x_px, self._y_px)
        )
        share = ((slope * self._windows) @ WEIGHTS) / self._contrast
        return np.asarray(slope - share[:, None] * self._windows, np.float32)


_ROWS = (
    "middles_px",
    "come_px",
    "turned_px",
    "_x_px",
    "_y_px",
    "_windows",
    "_contrast",
    "_weighted",
    "_normal",
    "_chance",
)


def _arrays(fit: _Fit) -> tuple[Array, ...]:
    return fit.state, fit.left, fit.unlike, fit.noise_iod


class _Head:
    """What a rigid head shows in each region, and how much of the regions' motion that is."""

    def __init__(self, middles_iod: NDArray[np.float64]) -> None:
        """`middles_iod` (N, 2), origin between the eyes."""
        x, y = middles_iod.T
        zero, one = np.zeros(COUNT), np.ones(COUNT)
        # shift x, shift y, growth, roll, yaw, pitch; orthographic, to the first order
        self._x = np.stack([one, zero, x, -y, DEPTH_IOD, zero], axis=1)
        self._y = np.stack([zero, one, y, x, zero, DEPTH_IOD], axis=1)
        self._middles_iod = middles_iod
        self._stand(np.zeros(6), np.zeros((COUNT, 2)))

    def _stand(self, head: NDArray[np.float64], shift_iod: NDArray[np.float64]) -> None:
        """Keep the head's motion of a frame, and what it shows in each region, told in two ways."""
        self._now = head
        self.shift_iod = shift_iod
        """(N, 2)."""
        growth, roll = head[2:4] * EDGE_PX
        self.carries_px = np.empty((COUNT, 6), np.float32)
        """(N, 6) the same as a state of the windows, shift and deformation, in px of the crop."""
        self.carries_px[:, :2] = shift_iod * CROP_IOD_PX
        self.carries_px[:, 2:] = (growth, -roll, roll, growth)

    def split(
        self, shift_iod: Array, noise_iod: Array, unlike: Array, since_s: float = np.inf
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What is left of the shifts (N, 2) when the head's motion is taken off, and that motion (6,).

        The head goes on from where it was `since_s` ago; without end it may be anywhere that the aligner leaves it.
        """
        lid_iod = _length(shift_iod[LID_ROWS] - shift_iod[NOSE_ROW])
        variance = FLEX_IOD**2 + noise_iod.astype(np.float64) ** 2
        variance[EYE_ROWS] += (EYE_DRAG * lid_iod) ** 2 + (EYE_DRAG_HIDDEN_IOD * unlike[LID_ROWS]) ** 2
        before, hold = (self._now, HEAD_SPREAD**-2 / since_s) if since_s < 1 else (np.zeros(6), HEAD_SPREAD**-2)
        weight, holds, foreshortened = 1 / variance, np.diag(hold), self._foreshortened(before)
        for _ in range(HEAD_STEPS):
            normal = (self._x.T * weight) @ self._x + (self._y.T * weight) @ self._y + holds
            straight = shift_iod - foreshortened
            pull = self._x.T @ (weight * straight[:, 0]) + self._y.T @ (weight * straight[:, 1]) + hold * before
            head = cv2.solve(normal, pull, flags=cv2.DECOMP_CHOLESKY)[1][:, 0]  # not NumPy's, see `_Key`
            foreshortened = self._foreshortened(head)
            shown = np.empty((COUNT, 2))
            shown[:, 0], shown[:, 1] = self._x @ head, self._y @ head
            shown += foreshortened
            left = shift_iod - shown
            squared = left * left
            weight = (TAILS + 2) / (TAILS + (squared[:, 0] + squared[:, 1]) / variance) / variance
        self._stand(head, shown)
        return left, head

    def _foreshortened(self, head: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) what yaw and pitch do to the second order: they narrow and flatten the face."""
        return np.asarray(self._middles_iod * (np.cos(head[4:]) - 1))


def _middles_px(face: Face) -> Array:
    """(N, 2) middles of the regions in the crop, as the landmarks have them."""
    points = apply(face.transform, face.landmarks[POINTS.ravel()]).reshape(*POINTS.shape, 2)
    return np.asarray(points.mean(axis=1), np.float32)


def _sampled(crop: Array, x_px: Array, y_px: Array) -> Array:
    """The crop at these places (N, P)."""
    return np.asarray(cv2.remap(crop, x_px, y_px, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _length(vectors: NDArray[Any]) -> NDArray[Any]:
    """(N,) of vectors (N, 2); `numpy.linalg.norm` takes three times as long."""
    squared = vectors * vectors
    return np.asarray(np.sqrt(squared[:, 0] + squared[:, 1]))


def _float32(array: NDArray[Any]) -> Array:
    """OpenCV's signatures lose the element type; this only tells it."""
    return array.astype(np.float32, copy=False)


def _centred(windows: Array) -> Array:
    """The windows (N, P) without their means; they are written to."""
    windows -= (windows @ WEIGHTS)[:, None]
    return windows
