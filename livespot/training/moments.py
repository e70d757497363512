"""Training clips from labelled videos that were aligned once: any moment, with references at random distances.

    t - k_macro        t - k_micro       t            all three lit, turned and mirrored alike, then local contrast
    |<---------- 2.0 to 1.0 s ---------->|
                       |<-0.375-0.125 s->|            (SAMM-LV, Yap 2022)

A reference is found as `buffer` finds it: the nearest frame with a face, no further off than half a frame interval,
and never across a loss of the face, after which the live path begins anew: where frames are missing for longer than
the aligner bridges, and where the face has a new number, however soon it was found again.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.buffer import ROUNDING_S
from livespot.datasets.cache import Cache, Prepared
from livespot.errors import SettingsError
from livespot.evaluation.labels import Video
from livespot.normalise import local_contrast
from livespot.records import CROP_PX, EXPRESSION_TYPES
from livespot.training.settings import AugmentationSettings, DatasetTrainSettings

TRIES = 1000
"""A moment without references, by a frame that shows no face, is drawn anew so often: far more than it takes."""

OPEN = 256
"""Videos open at once: each holds three files, and a process may hold a thousand."""


class Moments:
    """Those of one labelled video: which can be judged, what shows in them, which frames lie so long before."""

    def __init__(self, prepared: Prepared, max_gap_s: float) -> None:
        self.name = prepared.video.name
        self.labels = labels_of(prepared.video, len(prepared.seen))
        """bool (frames, 2): whether a micro-, a macro-expression shows."""
        self._places = np.flatnonzero(prepared.seen)
        self._times_s: NDArray[np.float64] = prepared.times_s[self._places]
        intervals_s = np.diff(self._times_s)
        self._tolerance_s = float(np.median(intervals_s)) / 2 + ROUNDING_S if len(intervals_s) else 0.0
        is_other = np.diff(prepared.rows["face"][self._places]) != 0
        begins = np.concatenate(([True], (intervals_s > max_gap_s) | is_other))[: len(self._places)]
        self._begin_s = self._times_s[begins][np.cumsum(begins) - 1]

    def judgeable(self, history_s: float) -> NDArray[np.int64]:
        """Frames with a face that was watched for so long."""
        watched: NDArray[np.int64] = self._places[self._times_s - self._begin_s >= history_s]
        return watched

    def watched_s(self, frame: int) -> float:
        """How long the face of a frame had been watched."""
        place = int(np.searchsorted(self._places, frame))
        return float(self._times_s[place] - self._begin_s[place])

    def reference(self, frame: int, distance_s: float) -> int | None:
        """The frame nearest to so long before `frame`; None where that is too far off."""
        end = int(np.searchsorted(self._places, frame))
        wanted_s = float(self._times_s[end]) - distance_s
        after = bisect_left(self._times_s, wanted_s, 0, end)
        around = range(max(after - 1, 0), min(after + 1, end))
        nearest = min(around, key=lambda place: abs(self._times_s[place] - wanted_s), default=None)
        if nearest is None or abs(self._times_s[nearest] - wanted_s) > self._tolerance_s:
            return None
        return int(self._places[nearest])


def max_gap_s(data: Cache) -> float:
    """So long a hole the aligner of a cache bridged."""
    return float(data.key["align.max_gap_s"])


def labels_of(video: Video, frames: int) -> NDArray[np.bool_]:
    """(frames, 2): the paper's labels, from onset to offset, both inclusive; both classes may show at once."""
    labels = np.zeros((frames, len(EXPRESSION_TYPES)), np.bool_)
    for span in video.truths:
        labels[span.onset : span.offset + 1, EXPRESSION_TYPES.index(span.type)] = True
    return labels


@dataclass(frozen=True)
class Look:
    """How the frames of one sample are lit, turned and mirrored."""

    contrast: float
    gamma: float
    gain: float
    rotation_deg: float
    mirrored: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, of: AugmentationSettings) -> "Look":
        """Within the ranges of the settings."""
        contrast, gamma, gain = (float(rng.uniform(*bounds)) for bounds in (of.contrast, of.gamma, of.gain))
        turned = float(rng.uniform(-of.rotation_deg, of.rotation_deg))
        return cls(contrast, gamma, gain, turned, bool(rng.random() < of.mirrored))

    def patches(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Crops (112, 112) as the network is shown them; what all are lit by is the mean level of the first."""
        table = self._levels(float(crops[0].mean()))
        turn = cv2.getRotationMatrix2D(((CROP_PX - 1) / 2, (CROP_PX - 1) / 2), self.rotation_deg, 1.0)
        return [self._patch(crop, table, turn) for crop in crops]

    def _patch(
        self, crop: NDArray[np.uint8], table: NDArray[np.uint8], turn: cv2.typing.MatLike
    ) -> NDArray[np.float32]:
        lit = cv2.LUT(crop, table)
        turned = cv2.warpAffine(lit, turn, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        patch = local_contrast(turned.astype(np.uint8, copy=False))
        return patch[:, ::-1] if self.mirrored else patch

    def _levels(self, mean: float) -> NDArray[np.uint8]:
        """What becomes of each grey level: contrast about the mean, then gain * level ** gamma."""
        contrasted = mean + self.contrast * (np.arange(256) - mean)
        levels = 255 * self.gain * (contrasted.clip(0, 255) / 255) ** self.gamma
        return levels.clip(0, 255).round().astype(np.uint8)


class Material:
    """Labelled videos from which the samples of any step are drawn, by seed and step alone.

    Raises SettingsError where no video has a moment with references.
    """

    def __init__(self, data: Cache, names: Iterable[str], settings: DatasetTrainSettings) -> None:
        self._settings = settings
        self._ranges_s = settings.distances.ranges_s
        self._prepared = lru_cache(OPEN)(data.__getitem__)
        self._videos = [Moments(self._prepared(name), max_gap_s(data)) for name in names]
        self._pools = self._moments()
        micro, macro = settings.sampling.micro, settings.sampling.macro
        shares = np.array((micro, macro, 1 - micro - macro)) * [len(pool) > 0 for pool in self._pools]
        if not shares.sum():
            raise SettingsError(
                "no video shows a face for long enough to be learnt from: see what `livespot prepare` said of it"
            )
        self._shares = shares / shares.sum()

    def batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Clips (N, 2, 2, 112, 112) and labels (N, 2) of a step."""
        rng = np.random.default_rng((self._settings.seed, step))
        samples = [self._sample(rng) for _ in range(self._settings.sampling.per_step)]
        clips, labels = zip(*samples, strict=True)
        return np.stack(clips), np.stack(labels).astype(np.float32)

    def _moments(self) -> list[NDArray[np.int64]]:
        """Moments (N, 2), video and frame, that show a micro-expression, a macro-expression, neither."""
        history_s = max(nearest_s for nearest_s, _ in self._ranges_s)
        pools: list[list[NDArray[np.int64]]] = [[np.empty((0, 2), np.int64)] for _ in range(3)]
        for place, video in enumerate(self._videos):
            frames = video.judgeable(history_s)
            moments, labels = np.stack((np.full_like(frames, place), frames), axis=1), video.labels[frames]
            for pool, shown in zip(pools, (labels[:, 0], labels[:, 1], ~labels.any(axis=1)), strict=True):
                pool.append(moments[shown])
        return [np.concatenate(pool) for pool in pools]

    def _sample(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        for _ in range(TRIES):
            pool = self._pools[rng.choice(len(self._pools), p=self._shares)]
            place, frame = pool[rng.integers(len(pool))].tolist()
            video = self._videos[place]
            references = [self._reference(video, frame, bounds_s, rng) for bounds_s in self._ranges_s]
            known = [one for one in references if one is not None]
            if len(known) == len(references):
                look = Look.draw(rng, self._settings.augmentation)
                newest, *earlier = look.patches([self._crop(video, one) for one in (frame, *known)])
                return np.stack([np.stack((one, newest)) for one in earlier]), video.labels[frame]
        raise SettingsError(f"{TRIES} moments in a row had no references: too few frames show a face")

    def _crop(self, video: Moments, frame: int) -> NDArray[np.uint8]:
        return np.asarray(self._prepared(video.name).crops[frame])

    def _reference(
        self, video: Moments, frame: int, bounds_s: tuple[float, float], rng: np.random.Generator
    ) -> int | None:
        """At a random distance, as far as the face was watched."""
        least_s, most_s = bounds_s
        return video.reference(frame, rng.uniform(least_s, max(least_s, min(most_s, video.watched_s(frame)))))
