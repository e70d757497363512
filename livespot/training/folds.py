"""Who is left out when, and who of the others chooses: decided before anything is trained, by the labels alone.

    all units   ------ left out ------>  test        scored once, with what was chosen
       |
       +--> the others --+-- choosing    epoch and threshold are those that suit these best
                         +-- training    the rest, which the networks among which is chosen learn from

Once chosen, a network learns anew from training and choosing together. A unit is a subject, or a video as in FESNet.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from livespot.errors import SettingsError
from livespot.evaluation.labels import Video
from livespot.training.settings import DatasetTrainSettings

FEWEST_OTHERS = 2
"""One that chooses, one to learn from."""


@dataclass(frozen=True)
class Fold:
    """One part of a dataset is left out; videos by name."""

    name: str
    training: tuple[str, ...]
    choosing: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def seen(self) -> tuple[str, ...]:
        """All that is not left out."""
        return tuple(sorted(self.training + self.choosing))


def split_folds(videos: Sequence[Video], settings: DatasetTrainSettings) -> list[Fold]:
    """Folds by name: one for each unit, or as many as the settings say. The order of `videos` is no matter.

    Raises SettingsError where the videos cannot be split so.
    """
    _check(videos)
    units = _units(videos, settings)
    if settings.folds and settings.folds > len(units):
        raise SettingsError(
            f"folds is {settings.folds}, and the dataset has {len(units)} {settings.split}s: give fewer"
        )
    left_out = {name: [name] for name in units} if settings.folds is None else _dealt(list(units), settings)
    return [_fold(name, names, units, settings) for name, names in left_out.items()]


def named_fold(folds: Sequence[Fold], name: str) -> Fold:
    """Raises SettingsError that names those there are."""
    for fold in folds:
        if fold.name == name:
            return fold
    raise SettingsError(f"there is no fold {name}: give --fold one of {', '.join(fold.name for fold in folds)}")


def digest(videos: Iterable[Video]) -> str:
    """Of all that is labelled: what was trained on other labels must not be taken for what these give."""
    rows = sorted(
        repr((one.name, one.subject, one.fps, one.length, [(*span.frames, span.type) for span in one.truths]))
        for one in videos
    )
    return sha256("\n".join(rows).encode()).hexdigest()[:16]


def _check(videos: Sequence[Video]) -> None:
    if not any(video.truths for video in videos):
        raise SettingsError(
            f"none of the {len(videos)} prepared videos has a label: a network learns from labelled ones; "
            "prepare a dataset with labels"
        )
    for video in videos:
        if not video.subject or not video.fps:
            raise SettingsError(f"video {video.name} has no subject or no frame rate: complete its labels")


def _units(videos: Sequence[Video], settings: DatasetTrainSettings) -> dict[str, list[Video]]:
    """Videos of each unit, by name."""
    units: dict[str, list[Video]] = defaultdict(list)
    for video in sorted(videos, key=lambda one: one.name):
        units[str(video.subject) if settings.split == "subject" else video.name].append(video)
    return dict(sorted(units.items()))


def _dealt(names: list[str], settings: DatasetTrainSettings) -> dict[str, list[str]]:
    """Shuffled by the seed, into so many parts of about the same size."""
    assert settings.folds
    shuffled = [names[place] for place in np.random.default_rng(settings.seed).permutation(len(names))]
    return {str(part + 1): sorted(shuffled[part :: settings.folds]) for part in range(settings.folds)}


def _fold(name: str, left_out: Sequence[str], units: dict[str, list[Video]], settings: DatasetTrainSettings) -> Fold:
    """Those that choose are every so many-th by their number of micro-expressions, or they might have none."""
    others = sorted((unit for unit in units if unit not in left_out), key=lambda unit: (*_shown(units[unit]), unit))
    if len(others) < FEWEST_OTHERS:
        raise SettingsError(
            f"of {len(units)} {settings.split}s in the dataset {len(others)} are left without {', '.join(left_out)}: "
            f"expected at least {FEWEST_OTHERS}, one to learn from and one that chooses epoch and threshold"
        )
    inner_folds = settings.inner_folds
    choosing = others[min(inner_folds // 2, len(others) - 1) :: inner_folds]
    training = [unit for unit in others if unit not in choosing]
    return Fold(name, *(_videos(part, units) for part in (training, choosing, left_out)))


def _shown(videos: Sequence[Video]) -> tuple[int, int]:
    """How often micro- and macro-expressions are shown, negative: the most come first."""
    types = [span.type for video in videos for span in video.truths]
    return -types.count("micro"), -types.count("macro")


def _videos(names: Iterable[str], units: dict[str, list[Video]]) -> tuple[str, ...]:
    return tuple(sorted(video.name for name in names for video in units[name]))
