"""Frame -> Face: one stabilised similarity transform per face, so that a still face gives a still crop.

Landmarks alone tremble by as much as a micro-expression moves. So they only start a track and keep it from drifting;
the transform itself is carried by textured skin on what is rigid, tracked from a key frame (not from the frame before,
which would add up errors):

    key frame ---- Lucas-Kanade, up to 50 points between brows, eye corners and nose wings ----> this frame
        |                                                                                           |
    their places in the key frame <------ the similarity that brings them back moves the transform -+

This frame is first cut out as the last transform says, so that what is left to track is small: Lucas-Kanade takes a
window to shift only, and one that has turned or grown as well would bias it. So would one that is brighter: the cut is
made as bright as the key frame.

The landmarks are looked at every `mesh_interval_s`, and at once when the skin is lost. They say where to seek it, not
where it is: what covers a face leads them astray. A calm face whose skin is not found again is missed, and soon lost.
"""

from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.config import AlignSettings
from livespot.landmarks import (
    CROP_EYES_PX,
    CROP_IOD_PX,
    PLANE,
    RIGID,
    RIGID_CROP_PX,
    FaceMesh,
    apply,
    compose,
    crop_transform,
    inter_ocular_px,
    invert,
    median,
    similarity,
)
from livespot.records import CROP_PX, Face, Frame, Gap

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]

VERSION = 1
"""Raised with every change after which the same pictures may give other faces: caches of faces are kept by it."""

WORK_IOD_PX = 96
"""Faces from twice this between the eyes are reduced by a whole number first, so that no texture is skipped."""

MARGIN_PX = 8
"""How far beyond the crop the working picture reaches, in pixels of the crop."""

SKIN_IOD = np.array(
    [[-0.16, -0.22], [0.16, -0.22], [0.15, -0.02], [0.19, 0.06], [0.30, 0.14], [0.30, 0.30], [0.22, 0.42],
     [-0.22, 0.42], [-0.30, 0.30], [-0.30, 0.14], [-0.19, 0.06], [-0.15, -0.02]]
)  # fmt: skip
"""(12, 2) outline of the rigid skin, origin between the eyes: glabella, nose, its flanks; no lids, no cheeks."""

PATCH_SCALE = 1.5
"""The patch of skin in which points are tracked has so many pixels for one of the crop: 84 between the eyes."""
PATCH_SIDE_PX = 108
"""Side of the patch: the rigid skin, and room around it for the motion of one frame."""
PATCH_MIDDLE_PX = (PATCH_SIDE_PX - 1) / 2
SKIN_MIDDLE_PX = np.array([[CROP_EYES_PX[0], CROP_EYES_PX[1] + 0.1 * CROP_IOD_PX]])
TO_PATCH = np.array(
    [
        [PATCH_SCALE, 0, PATCH_MIDDLE_PX - PATCH_SCALE * SKIN_MIDDLE_PX[0, 0]],
        [0, PATCH_SCALE, PATCH_MIDDLE_PX - PATCH_SCALE * SKIN_MIDDLE_PX[0, 1]],
    ]
)
"""(2, 3) from the crop to the patch, whose middle is the middle of the rigid skin."""

SKIN_POINTS = 50
SKIN_QUALITY = 0.002
SKIN_SPACING_PX = 2.5
LK_WINDOW_PX = (25, 25)
LK_LEVELS = 1
LK_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.005)

OUTLIER_PX = 0.02 * CROP_IOD_PX * PATCH_SCALE
"""Residual, in pixels of the patch, at which the weight of a point has fallen to AGREE_WEIGHT."""
AGREE_WEIGHT = 0.25
REWEIGHTS = 3
MIN_AGREEING = 1 / 3
"""Smallest share of the key frame's points that must agree on the transform; below it the skin is lost."""
MIN_POINTS = 6
DISAGREED_VOTE = 0.1
"""What counts, where points choose a transform, one that did not agree in the last frame: lids and brows do not take
over from the nose.
"""
PAIRS = np.random.default_rng(0).integers(0, 2**16, (64, 2))
"""Pairs of points, by chance, each of which proposes a transform: enough where every third point is right."""

UNLIKE = 0.5
"""Where the windows of points that agree differ by more than this share of the skin's contrast, they are not on it."""
AROUND_PX = np.ones((9, 9), np.uint8)
"""Surroundings of a point in which brightness is compared."""

RENEW_AGREEING = 0.5
"""Below this share the key frame may be renewed before its age."""
STALE_KEY_PX = 0.2 * PATCH_SCALE
"""A key frame is renewed only if the points that agree no longer fit this well.
Sensor noise leaves half of that; a head that has turned in depth leaves more. A still face never needs a new key frame,
and so never takes over the error of one. Nor does one that is half covered: what can be seen of it still fits."""
MOVED_PX = 1.5
"""A face that has moved by less since its key frame has not turned either: it is covered, or expresses something."""

MAX_TURN = 0.35
"""No head turns by 14 degrees, or comes nearer by a quarter, from one frame to the next."""
RETRACK_TURN = 0.01
RETRACK_PX = 2.0
"""After a faster turn than 0.4 degrees, or shift in the patch, the frame is cut out and tracked once more, from where
the first time led."""

TRUST_PX = 1.0
"""Landmarks tremble and shift with the pose by less than this: only what is beyond pulls the transform back."""
SURPRISE_PX = 1.5
"""Landmarks that shifted by more against the skin since their last sight are looked at again."""
ASTRAY_PX = 8.0
"""Landmarks and skin that lead this far apart are not of the same face: one of them follows something else."""
FAST_PX_S = 13.0
"""Pixels of the crop a second. Lost skin of a head that moved faster is blurred, that of a calmer one is covered."""
SAME_FACE_IOD = 0.6
"""Landmarks further than this from a track belong to another face."""
STILL_IOD = 0.02
"""Landmarks of one picture that come to lie closer than this the next time have been found."""
LOOKS = 4
"""At most so many are taken at one picture."""
SAME_TIME_S = 1e-6
"""Timestamps closer than this are the same."""


class _Track:
    """One face while it is tracked: the key frame, the present transform, the landmarks at their last sight."""

    def __init__(self, face: int, settings: AlignSettings, frame: Frame, landmarks: NDArray[np.float32]) -> None:
        self.face = face
        self.transform = crop_transform(landmarks)
        self.seen_s = self.confirmed_s = frame.t_s
        self._settings = settings
        self._points: NDArray[np.float32]
        self._targets_px: Array
        self._agreeing: NDArray[np.bool_]
        self._key: Grey
        self._key_s: float
        self._contrast: float
        self._key_transform: Array
        self._velocity_px_s = np.zeros(2)
        self._picture = self._picture_of(frame, self.transform)
        self._make_key(frame.t_s)
        self.confirm(frame.t_s, landmarks)

    def find_again(self, frame: Frame, landmarks: NDArray[np.float32]) -> bool:
        """Seek the skin where the landmarks are; False, and nothing changes, where it is not found.

        Of a head that moves fast the skin is blurred: there the landmarks are taken at their word.
        """
        guess = self._sought(landmarks)
        if self.follow(frame, guess):
            return True
        if np.hypot(*self._velocity_px_s) < FAST_PX_S or self._off_px(guess) > ASTRAY_PX:
            return False
        self.transform, self._picture = guess, self._picture_of(frame, guess)
        self._make_key(frame.t_s)
        return True

    def follow(self, frame: Frame, guess: Array | None = None) -> bool:
        """Track the skin into this frame; False, and nothing changes, where too few of its points agree."""
        guess = self.transform if guess is None else guess
        picture = self._picture_of(frame, guess)
        agreed = self._track(picture, guess)
        if agreed is not None and agreed.fast:
            picture = self._picture_of(frame, agreed.transform)
            agreed = self._track(picture, agreed.transform)
        if agreed is None:
            return False
        step_px = apply(compose(agreed.transform, invert(self.transform)), SKIN_MIDDLE_PX)[0] - SKIN_MIDDLE_PX[0]
        self._velocity_px_s = (self._velocity_px_s + step_px / (frame.t_s - self.seen_s)) / 2
        self.transform, self._agreeing, self._picture = agreed.transform, agreed.agreeing, picture
        if self._is_stale(agreed, frame.t_s):
            self._make_key(frame.t_s)
        return True

    def _is_stale(self, agreed: "_Agreement", t_s: float) -> bool:
        agreeing = np.count_nonzero(agreed.agreeing) / len(agreed.agreeing)
        worn = t_s - self._key_s >= self._settings.key_age_s or agreeing < RENEW_AGREEING
        return worn and agreed.residual_px > STALE_KEY_PX and self._off_px(self._key_transform) > MOVED_PX

    def _track(self, picture: "_Picture", guess: Array) -> "_Agreement | None":
        """The transform on which the points of the key frame agree, sought from a guess."""
        if not len(self._points):
            return None
        patch = self._as_bright_as_key(picture.cut(compose(TO_PATCH, guess), PATCH_SIDE_PX))
        points, found, unlike = cv2.calcOpticalFlowPyrLK(
            self._key, patch, self._points, self._targets_px.astype(np.float32), winSize=LK_WINDOW_PX,
            maxLevel=LK_LEVELS, criteria=LK_STOP, flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )  # fmt: skip
        votes = found.ravel() * np.where(self._agreeing, 1.0, DISAGREED_VOTE)
        agreed = _robust_similarity(points.astype(np.float64), self._targets_px, votes)
        if agreed is None:
            return None
        back, agreeing, residual_px = agreed
        turn = float(np.linalg.norm(back[:, :2] - np.eye(2)))
        if turn > MAX_TURN or unlike.ravel()[agreeing].mean() > UNLIKE * self._contrast:
            return None
        middle = np.full((1, 2), PATCH_MIDDLE_PX)
        fast = turn > RETRACK_TURN or bool(np.linalg.norm(apply(back, middle) - middle) > RETRACK_PX)
        in_crop = compose(invert(TO_PATCH), compose(back, TO_PATCH))
        return _Agreement(compose(in_crop, guess), agreeing, residual_px, fast)

    def _as_bright_as_key(self, patch: Grey) -> Grey:
        """Brightness and contrast as in the key frame, judged around the points that agreed last."""
        around = np.zeros(patch.shape, np.uint8)
        x, y = self._points[self._agreeing].astype(int).T
        around[y, x] = 1
        around = np.asarray(cv2.dilate(around, AROUND_PX), np.uint8)
        (key_mean, key_spread), (mean, spread) = (
            np.ravel(cv2.meanStdDev(grey, mask=around)) for grey in (self._key, patch)
        )
        gain = float(key_spread / max(spread, 1.0))
        return np.asarray(cv2.addWeighted(patch, gain, patch, 0.0, float(key_mean - gain * mean)), np.uint8)

    def crop(self) -> Grey:
        """The aligned face, uint8 (112, 112), of the frame last followed."""
        return self._picture.cut(self.transform, CROP_PX)

    def pull(self, t_s: float, landmarks: NDArray[np.float32]) -> None:
        """Let the landmarks pull the transform back as far as it left what they can be trusted with.

        Where the two are too far apart, nothing changes, and the face stays unconfirmed.
        """
        plain = crop_transform(landmarks)
        off_px = self._off_px(plain)
        if off_px > ASTRAY_PX:
            return
        share = 1 - np.exp(-(t_s - self.confirmed_s) / self._settings.drift_time_s)
        share *= max(0.0, 1 - TRUST_PX / max(off_px, TRUST_PX))
        stay = np.eye(2, 3)
        correction = stay + share * (compose(plain, invert(self.transform)) - stay)
        self.transform = compose(correction, self.transform)
        self._targets_px = apply(compose(TO_PATCH, compose(correction, invert(TO_PATCH))), self._targets_px)
        self.confirm(t_s, landmarks)

    def confirm(self, t_s: float, landmarks: NDArray[np.float32]) -> None:
        """Keep the landmarks, and how the transform differs from theirs: so they can say where the skin may be."""
        self.confirmed_s = t_s
        self._mesh_crop_px = apply(self.transform, landmarks)
        self._bias = compose(self.transform, invert(crop_transform(landmarks)))

    def lost(self, t_s: float, followed: bool) -> bool:
        """Whether the face has been out of sight, or its landmarks unconfirmed, for too long to be bridged."""
        patience_s = self._settings.max_gap_s + SAME_TIME_S
        unconfirmed_s = t_s - self.confirmed_s - self._settings.mesh_interval_s
        return (not followed and t_s - self.seen_s > patience_s) or unconfirmed_s > patience_s

    def expects(self, found: list[NDArray[np.float32]]) -> bool:
        """Whether there are landmarks where this face has them."""
        landmarks = _nearest(self.landmarks(), found)
        return landmarks is not None and self._off_px(self._sought(landmarks)) <= SURPRISE_PX

    def landmarks(self) -> NDArray[np.float32]:
        """The last landmarks seen, carried along by the transform: (468, 2) pixels of the frame."""
        return apply(invert(self.transform), self._mesh_crop_px).astype(np.float32)

    def _sought(self, landmarks: NDArray[np.float32]) -> Array:
        """Where these landmarks say that the skin is: the transform that differs from theirs as it did last."""
        return compose(self._bias, crop_transform(landmarks))

    def _off_px(self, plain: Array) -> float:
        off = apply(compose(plain, invert(self.transform)), RIGID_CROP_PX) - RIGID_CROP_PX
        return float(np.sqrt((off * off).sum(1).mean()))

    def _picture_of(self, frame: Frame, transform: Array) -> "_Picture":
        to_frame = invert(transform)
        middle = apply(to_frame, np.full((1, 2), (CROP_PX - 1) / 2))[0]
        iod_px = CROP_IOD_PX * float(np.hypot(*to_frame[:, 0]))
        side_px = CROP_PX * np.abs(to_frame[0, :2]).sum() + 2 * MARGIN_PX * iod_px / CROP_IOD_PX
        return _Picture(frame.image, middle, side_px, int(iod_px / WORK_IOD_PX))

    def _make_key(self, t_s: float) -> None:
        """Choose textured points of rigid skin in the frame last followed, and where they shall stay."""
        self._key_transform = self.transform
        self._key, self._key_s = self._picture.cut(compose(TO_PATCH, self.transform), PATCH_SIDE_PX), t_s
        found = cv2.goodFeaturesToTrack(self._key, SKIN_POINTS, SKIN_QUALITY, SKIN_SPACING_PX, mask=SKIN, blockSize=7)
        self._points = np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2).astype(np.float32)
        self._targets_px = self._points.astype(np.float64)
        self._agreeing = np.ones(len(self._points), np.bool_)
        self._contrast = float(cv2.meanStdDev(self._key, mask=SKIN)[1][0, 0])


class _Agreement(NamedTuple):
    """What the points of a key frame agree on in another frame."""

    transform: Array
    agreeing: NDArray[np.bool_]
    """Which of them do."""
    residual_px: float
    """Their median, in pixels of the patch."""
    fast: bool
    """The frame was cut out far from where the skin is."""


class _Picture:
    """The surroundings of a face in grey, reduced by a whole number where it is large."""

    def __init__(self, image: NDArray[np.uint8], middle_px: Array, side_px: float, reduce: int) -> None:
        side = int(np.ceil(side_px))
        left, top = (int(edge) for edge in np.floor(middle_px - side / 2))
        self._grey = _grey_square(image, left, top, side)
        scale = 1.0
        if reduce > 1:
            reduced = side // reduce
            self._grey = np.asarray(cv2.resize(self._grey, (reduced, reduced), interpolation=cv2.INTER_AREA), np.uint8)
            scale = reduced / side  # pixel centres: x -> (x - left + 0.5) * scale - 0.5
        self._to_frame = invert(
            np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])
        )

    def cut(self, transform: Array, side: int) -> Grey:
        """What `transform`, from the frame's pixels, takes to a square of this side."""
        matrix = compose(transform, self._to_frame)
        return np.asarray(cv2.warpAffine(self._grey, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _skin_mask() -> Grey:
    outline = apply(TO_PATCH, SKIN_IOD * CROP_IOD_PX + CROP_EYES_PX)
    mask = np.zeros((PATCH_SIDE_PX, PATCH_SIDE_PX), np.uint8)
    return np.asarray(cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], (255,)), np.uint8)


SKIN = _skin_mask()
"""Where points are chosen, uint8 (108, 108)."""


def _grey_square(image: NDArray[np.uint8], left: int, top: int, side: int) -> Grey:
    """The square of the BGR image in grey; where it reaches beyond the image, the border is repeated."""
    height, width = image.shape[:2]
    rows = slice(min(max(top, 0), height - 1), max(min(top + side, height), 1))
    columns = slice(min(max(left, 0), width - 1), max(min(left + side, width), 1))
    grey = np.asarray(cv2.cvtColor(image[rows, columns], cv2.COLOR_BGR2GRAY), np.uint8)
    if grey.shape == (side, side):
        return grey
    above, before = min(max(-top, 0), side - 1), min(max(-left, 0), side - 1)
    grey = grey[: side - above, : side - before]
    below, after = side - above - grey.shape[0], side - before - grey.shape[1]
    return np.asarray(cv2.copyMakeBorder(grey, above, below, before, after, cv2.BORDER_REPLICATE), np.uint8)


def _robust_similarity(points: Array, targets: Array, votes: Array) -> tuple[Array, NDArray[np.bool_], float] | None:
    """Similarity (2, 3) from points (N, 2) to targets (N, 2) on which most agree; votes (N,) are 0 for unusable points.

    Begins with the pair of points that most votes are near to, ends with least squares reweighted after Geman and
    McClure. Returns it with those that agree (N,) and their median residual in the targets' pixels; None where few do.
    """
    enough = max(MIN_POINTS, MIN_AGREEING * len(points))
    usable = votes > 0
    if np.count_nonzero(usable) < enough:
        return None
    residuals_px = _of_best_pair(points, targets, votes)
    for _ in range(REWEIGHTS):
        weights = usable / (1 + (residuals_px / OUTLIER_PX) ** 2) ** 2
        agreeing = weights > AGREE_WEIGHT
        if np.count_nonzero(agreeing) < enough:
            return None
        transform = similarity(points, targets, weights)
        off_px = apply(transform, points) - targets
        off_px *= off_px
        residuals_px = np.sqrt(off_px[:, 0] + off_px[:, 1])
    return transform, agreeing, float(median(residuals_px[agreeing]))


def _of_best_pair(points: Array, targets: Array, votes: Array) -> Array:
    """Residuals (N,) of the similarity through the pair of points that most votes are near to."""
    z, w = targets @ PLANE, points @ PLANE  # from the targets: they do not coincide
    candidates = np.flatnonzero(votes)
    first = PAIRS[:, 0] % len(candidates)
    second = (first + 1 + PAIRS[:, 1] % (len(candidates) - 1)) % len(candidates)
    first, second = candidates[first], candidates[second]
    a = (w[first] - w[second]) / (z[first] - z[second])
    residuals_px = np.abs(np.multiply.outer(a, z) + (w[first] - a * z[first])[:, None] - w)
    near = votes / (1 + (residuals_px / OUTLIER_PX) ** 2)
    best: Array = residuals_px[near.sum(axis=1).argmax()]
    return best


class Aligner:
    """Finds, follows and cuts out the faces of one source. A context manager: entering loads MediaPipe's models."""

    latency_s = 0.0

    def __init__(self, settings: AlignSettings, source: str) -> None:
        self._settings = settings
        self._source = source
        self._mesh = FaceMesh(settings.max_faces)
        self._tracks: list[_Track] = []
        self._next_face = 0
        self._looked_s = -np.inf
        self._epoch = 0

    def __enter__(self) -> "Aligner":
        self._mesh.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mesh.__exit__(kind, error, trace)

    def push(self, frame: Frame) -> list[Face | Gap]:
        """The faces of this frame, oldest track first, then a gap for each face that has now been lost."""
        if frame.epoch != self._epoch:
            self.reset()
            self._epoch = frame.epoch
        followed = {track.face for track in self._tracks if track.follow(frame)}
        if self._must_look(frame.t_s, followed):
            followed = self._look(frame, followed)
        gaps = self._lose(frame.t_s, followed)
        return [self._tell(track, frame) for track in self._tracks if track.face in followed] + gaps

    def flush(self) -> list[Face | Gap]:
        """Nothing waits in here."""
        return []

    def reset(self) -> None:
        """Forget all faces; their numbers are not used again."""
        self._tracks.clear()
        self._looked_s = -np.inf

    def _must_look(self, t_s: float, followed: set[int]) -> bool:
        if len(followed) < len(self._tracks) or not self._tracks:
            return True
        unconfirmed = any(track.confirmed_s < self._looked_s for track in self._tracks)
        return unconfirmed or t_s - self._looked_s >= self._settings.mesh_interval_s - SAME_TIME_S

    def _look(self, frame: Frame, followed: set[int]) -> set[int]:
        """Compare the tracks with the landmarks of this frame; returns the faces whose skin is found."""
        self._looked_s = frame.t_s
        unknown = self._find(frame.image)
        for track in self._tracks:
            landmarks = _nearest(track.landmarks(), unknown)
            if landmarks is None:
                continue
            unknown = [other for other in unknown if other is not landmarks]
            if track.face in followed or track.find_again(frame, landmarks):
                followed = followed | {track.face}
                track.pull(frame.t_s, landmarks)
        for landmarks in unknown[: self._settings.max_faces - len(self._tracks)]:
            self._tracks.append(_Track(self._next_face, self._settings, frame, landmarks))
            followed = followed | {self._next_face}
            self._next_face += 1
        return followed

    def _find(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Landmarks of the faces in the picture.

        FaceMesh looks where it last saw a face, and of one that moved since it finds landmarks half-way. The next look
        begins from those: it is taken where the first one does not find the faces that are tracked.
        """
        found = self._mesh.find(image)
        for _ in range(LOOKS - 1):
            if len(found) == len(self._tracks) and all(track.expects(found) for track in self._tracks):
                break
            before, found = found, self._mesh.find(image)
            if _still(before, found):
                break
        return found

    def _lose(self, t_s: float, followed: set[int]) -> list[Face | Gap]:
        lost = [track for track in self._tracks if track.lost(t_s, track.face in followed)]
        self._tracks = [track for track in self._tracks if track not in lost]
        return [Gap(self._source, track.seen_s, t_s, "face_lost", face=track.face) for track in lost]

    def _tell(self, track: _Track, frame: Frame) -> Face:
        track.seen_s = frame.t_s
        return Face(
            crop=track.crop(),
            landmarks=track.landmarks(),
            transform=track.transform,
            face=track.face,
            source=frame.source,
            index=frame.index,
            t_s=frame.t_s,
            arrival_s=frame.arrival_s,
        )


def _still(before: list[NDArray[np.float32]], found: list[NDArray[np.float32]]) -> bool:
    """Whether these are the same faces at the same places."""
    return len(before) == len(found) and all(
        np.linalg.norm((one - other)[list(RIGID)].mean(0)) < STILL_IOD * inter_ocular_px(one)
        for one, other in zip(before, found, strict=True)
    )


def _nearest(expected: NDArray[np.float32], found: list[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """The landmarks whose eyes are nearest to where they are expected, if within `SAME_FACE_IOD`."""
    reach_px = SAME_FACE_IOD * inter_ocular_px(expected)
    distances_px = [float(np.linalg.norm((other - expected)[list(RIGID)].mean(0))) for other in found]
    best = min(range(len(found)), key=distances_px.__getitem__, default=None)
    return None if best is None or distances_px[best] > reach_px else found[best]
