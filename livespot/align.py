"""Frame -> Face: one stabilised similarity transform per face, so that a still face gives a still crop.

Landmarks alone tremble by as much as a micro-expression moves. So they only start a track and keep it from drifting;
the transform itself is carried by textured skin on what is rigid, tracked from a key frame (not from the frame before,
which would add up errors):

    key frame ------ Lucas-Kanade, 80 points between brows, eye corners and nose wings ------> this frame
        |                                                                                          |
    their places in the crop <------ the similarity that brings them back is the transform ------ points

The landmarks are looked at every `mesh_interval_s`, and at once when the skin is lost.
"""

from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.config import AlignSettings
from livespot.landmarks import (
    CROP_EYES_PX,
    CROP_IOD_PX,
    RIGID,
    RIGID_CROP_PX,
    FaceMesh,
    apply,
    compose,
    crop_transform,
    inter_ocular_px,
    invert,
    similarity,
)
from livespot.records import CROP_PX, Face, Frame, Gap

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]

WORK_IOD_PX = 96
"""Larger faces are reduced by a whole number to about this between the eyes; the crop holds 56 px."""

MARGIN_PX = 20
"""How far beyond the crop the working picture reaches, in pixels of the crop: room for the motion of one frame."""

SKIN_IOD = np.array(
    [[-0.16, -0.22], [0.16, -0.22], [0.15, -0.02], [0.19, 0.06], [0.30, 0.14], [0.30, 0.30], [0.22, 0.42],
     [-0.22, 0.42], [-0.30, 0.30], [-0.30, 0.14], [-0.19, 0.06], [-0.15, -0.02]]
)  # fmt: skip
"""(12, 2) outline of the rigid skin, origin between the eyes: glabella, nose, its flanks; no lids, no cheeks."""

SKIN_POINTS = 80
SKIN_QUALITY = 0.002
SKIN_SPACING_PX = 2.5
LK_WINDOW_PX = (21, 21)
LK_LEVELS = 2
LK_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.005)

OUTLIER_PX = 0.02 * CROP_IOD_PX
"""Residual, in pixels of the crop, at which the weight of a point has fallen to AGREE_WEIGHT."""
AGREE_WEIGHT = 0.25
REWEIGHTS = 4
MIN_AGREEING = 0.25
"""Smallest share of the key frame's points that must agree on the transform; below it the skin is lost."""
MIN_POINTS = 6
RENEW_AGREEING = 0.5
"""Below this share the key frame is renewed at once: the face has moved in a way that it cannot explain."""

STALE_KEY_PX = 0.2
"""A key frame past its age is renewed only if its points no longer fit this well, in pixels of the crop.
Sensor noise leaves 0.1; a head that has turned in depth leaves more. A still face never needs a new key frame,
and so never takes over the error of one."""

TRUST_PX = 1.0
"""Landmarks tremble and shift with the pose by less than this: only what is beyond pulls the transform back."""
SAME_FACE_IOD = 0.6
"""Landmarks further than this from a track belong to another face."""
SAME_TIME_S = 1e-6
"""Timestamps closer than this are the same."""

ASTRAY_PX = 8.0
"""The skin has led the transform this far from the landmarks: it followed something else, a hand or the background."""


class _Track:
    """One face while it is tracked: the key frame, the present transform, the landmarks at their last sight."""

    def __init__(self, face: int, settings: AlignSettings, frame: Frame, landmarks: NDArray[np.float32]) -> None:
        self.face = face
        self.transform = crop_transform(landmarks)
        self.seen_s = self.confirmed_s = frame.t_s
        self._settings = settings
        self._points_crop_px: Array
        self._weights: Array
        self._begin(frame, landmarks)
        self.confirm(frame.t_s, landmarks)

    def restart(self, frame: Frame, landmarks: NDArray[np.float32], astray: bool = False) -> None:
        """Take the face up again where the landmarks are: without a jump, unless the track was astray."""
        plain = crop_transform(landmarks)
        self.transform = plain if astray else compose(self._bias, plain)
        if astray or not self.follow(frame):
            self._begin(frame, landmarks)
        self.confirm(frame.t_s, landmarks)

    def follow(self, frame: Frame) -> bool:
        """Track the skin into this frame; False, and nothing changes, where too few of its points agree."""
        picture, to_picture = self._picture(frame)
        if not len(self._points):
            return False
        guess = apply(compose(to_picture, invert(self.transform)), self._points_crop_px) - self._skin_corner
        points, found, _ = cv2.calcOpticalFlowPyrLK(
            self._key, picture[self._skin], self._points, guess.astype(np.float32), winSize=LK_WINDOW_PX,
            maxLevel=LK_LEVELS, criteria=LK_STOP, flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )  # fmt: skip
        points_px = points.astype(np.float64) + self._skin_corner
        agreed = _robust_similarity(points_px, self._points_crop_px, self._weights * found.ravel())
        if agreed is None:
            return False
        to_crop, self._weights, residuals_px = agreed
        self.transform = compose(to_crop, to_picture)
        self.seen_s = frame.t_s
        self._cut(picture, to_picture)
        key_age_s = frame.t_s - self._key_s
        stale = key_age_s >= self._settings.key_age_s and np.median(residuals_px) > STALE_KEY_PX
        if stale or np.mean(self._weights > AGREE_WEIGHT) < RENEW_AGREEING:
            self._make_key(picture, to_picture, frame.t_s)
        return True

    def astray(self, landmarks: NDArray[np.float32]) -> bool:
        """Whether the transform is so far from the landmarks that it must have followed something else."""
        return self._off_px(crop_transform(landmarks)) > ASTRAY_PX

    def pull(self, t_s: float, landmarks: NDArray[np.float32]) -> None:
        """Let the landmarks pull the transform back as far as it left what they can be trusted with."""
        plain = crop_transform(landmarks)
        share = 1 - np.exp(-(t_s - self.confirmed_s) / self._settings.drift_time_s)
        share *= max(0.0, 1 - TRUST_PX / max(self._off_px(plain), TRUST_PX))
        stay = np.eye(2, 3)
        correction = stay + share * (compose(plain, invert(self.transform)) - stay)
        self.transform = compose(correction, self.transform)
        self._points_crop_px = apply(correction, self._points_crop_px)
        self.confirm(t_s, landmarks)

    def confirm(self, t_s: float, landmarks: NDArray[np.float32]) -> None:
        """Keep the landmarks and how the transform differs from theirs, so that a restart does not jump."""
        self.confirmed_s = self.seen_s = t_s
        self._mesh_crop_px = apply(self.transform, landmarks)
        self._bias = compose(self.transform, invert(crop_transform(landmarks)))

    def lost(self, t_s: float) -> bool:
        """Whether the face has been out of sight, or its landmarks unconfirmed, for too long to be bridged."""
        patience_s = self._settings.max_gap_s
        return t_s - self.seen_s > patience_s or t_s - self.confirmed_s > patience_s + self._settings.mesh_interval_s

    def landmarks(self) -> NDArray[np.float32]:
        """The last landmarks seen, carried along by the transform: (468, 2) pixels of the frame."""
        return apply(invert(self.transform), self._mesh_crop_px).astype(np.float32)

    def _off_px(self, plain: Array) -> float:
        off = apply(compose(plain, invert(self.transform)), RIGID_CROP_PX) - RIGID_CROP_PX
        return float(np.sqrt((off * off).sum(1).mean()))

    def _begin(self, frame: Frame, landmarks: NDArray[np.float32]) -> None:
        iod_px = inter_ocular_px(landmarks)
        self._reduce = max(1, round(iod_px / WORK_IOD_PX))
        side_px = (CROP_PX + 2 * MARGIN_PX) * iod_px / CROP_IOD_PX
        self._side_px = int(np.ceil(side_px / self._reduce)) * self._reduce
        picture, to_picture = self._picture(frame)
        self._make_key(picture, to_picture, frame.t_s)
        self._cut(picture, to_picture)

    def _picture(self, frame: Frame) -> tuple[Grey, Array]:
        """Grey square around the face, reduced for large faces, and the transform that takes the frame to it."""
        centre = apply(invert(self.transform), np.full((1, 2), (CROP_PX - 1) / 2))[0]
        left, top = (int(edge) for edge in np.floor(centre - self._side_px / 2))
        grey = _grey_square(frame.image, left, top, self._side_px)
        if self._reduce > 1:
            side = self._side_px // self._reduce
            grey = np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        scale = 1 / self._reduce  # pixel centres: x -> (x - left + 0.5) * scale - 0.5
        return grey, np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])

    def _cut(self, picture: Grey, to_picture: Array) -> None:
        to_crop = compose(self.transform, invert(to_picture))
        side = (CROP_PX, CROP_PX)
        self.crop = np.asarray(cv2.warpAffine(picture, to_crop, side, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def _make_key(self, picture: Grey, to_picture: Array, t_s: float) -> None:
        """Choose textured points of rigid skin; only the part of the picture around them will be tracked."""
        to_crop = compose(self.transform, invert(to_picture))
        outline_px = apply(invert(to_crop), SKIN_IOD * CROP_IOD_PX + CROP_EYES_PX)
        margin_px = MARGIN_PX / np.hypot(*to_crop[:, 0])
        left, top = np.maximum(outline_px.min(0) - margin_px, 0).astype(int)
        right, bottom = (outline_px.max(0) + margin_px).astype(int)
        self._skin = slice(top, bottom), slice(left, right)
        self._skin_corner = np.array([left, top])
        self._key, self._key_s = picture[self._skin], t_s
        inside = np.round(outline_px - self._skin_corner).astype(np.int32)
        mask = cv2.fillPoly(np.zeros(self._key.shape, np.uint8), [inside], (255,))
        found = cv2.goodFeaturesToTrack(self._key, SKIN_POINTS, SKIN_QUALITY, SKIN_SPACING_PX, mask=mask, blockSize=7)
        self._points = np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)
        self._points_crop_px = apply(to_crop, self._points + self._skin_corner)
        self._weights = np.ones(len(self._points))


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


def _robust_similarity(points: Array, targets: Array, weights: Array) -> tuple[Array, Array, Array] | None:
    """Similarity (2, 3) most points (N, 2) agree on, starting from weights (N,) that are 0 for unusable points.

    Least squares reweighted after Geman and McClure. Returns it with the new weights and the residuals (N,) in the
    targets' pixels; None where too few points agree.
    """
    usable = weights > 0
    for _ in range(REWEIGHTS):
        if np.count_nonzero(weights > AGREE_WEIGHT) < max(MIN_POINTS, MIN_AGREEING * len(points)):
            return None
        transform = similarity(points, targets, weights)
        residuals = np.linalg.norm(apply(transform, points) - targets, axis=1)
        weights = usable / (1 + (residuals / OUTLIER_PX) ** 2) ** 2
    return transform, weights, residuals


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
        return [self._face(track, frame) for track in self._tracks if track.face in followed] + self._lose(frame.t_s)

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
        """Compare the tracks with the landmarks of this frame; returns the faces that are where the tracks are."""
        self._looked_s = frame.t_s
        unknown = self._mesh.find(frame.image)
        for track in self._tracks:
            landmarks = _nearest(track.landmarks(), unknown)
            if landmarks is None:
                continue
            unknown = [other for other in unknown if other is not landmarks]
            if track.face not in followed:
                track.restart(frame, landmarks)
            elif track.astray(landmarks):
                track.restart(frame, landmarks, astray=True)
            else:
                track.pull(frame.t_s, landmarks)
            followed = followed | {track.face}
        for landmarks in unknown[: self._settings.max_faces - len(self._tracks)]:
            self._tracks.append(_Track(self._next_face, self._settings, frame, landmarks))
            followed = followed | {self._next_face}
            self._next_face += 1
        return followed

    def _lose(self, t_s: float) -> list[Face | Gap]:
        lost = [track for track in self._tracks if track.lost(t_s)]
        self._tracks = [track for track in self._tracks if not track.lost(t_s)]
        return [Gap(self._source, track.seen_s, t_s, "face_lost", face=track.face) for track in lost]

    def _face(self, track: _Track, frame: Frame) -> Face:
        return Face(
            crop=track.crop,
            landmarks=track.landmarks(),
            transform=track.transform,
            face=track.face,
            source=frame.source,
            index=frame.index,
            t_s=frame.t_s,
            arrival_s=frame.arrival_s,
        )


def _nearest(expected: NDArray[np.float32], found: list[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """The landmarks whose eyes are nearest to where they are expected, if within `SAME_FACE_IOD`."""
    reach_px = SAME_FACE_IOD * inter_ocular_px(expected)
    distances_px = [float(np.linalg.norm((other - expected)[list(RIGID)].mean(0))) for other in found]
    best = min(range(len(found)), key=distances_px.__getitem__, default=None)
    return None if best is None or distances_px[best] > reach_px else found[best]
