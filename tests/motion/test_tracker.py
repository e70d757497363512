"""Skin that is moved by known fields is told to have come so far; what is no motion of skin is told as none.

Tolerances are what was measured here, and a margin; they are in per cent of the inter-ocular distance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.bench.alignment import aligned
from livespot.bench.motion import EYES_PX, IOD_PX, Film, Shown, animation, errors_percent, expressive, filmed, tracked
from livespot.config import Settings
from livespot.motion.regions import REGIONS
from livespot.motion.tracker import RegionTracker
from livespot.records import Face, Motion
from tests.portraits import Picture, astronaut, noisy

FPS = 30.0
EXPRESSIONS = ("1+2", "12", "15+17", "2 left", "10", "20")
MOUTH_CORNERS = [REGIONS.index(name) for name in ("mouth_corner_left", "mouth_corner_right")]
CHIN = [REGIONS.index(name) for name in ("lower_lip", "chin")]


@cache
def film(fps: float, noise_levels: float, names: tuple[str, ...] = EXPRESSIONS) -> tuple[Film, NDArray[np.float64]]:
    """A film of expressions, and what the tracker tells of it."""
    made = filmed(expressive(fps, names), fps, noise_levels, Settings())
    return made, tracked(made.faces)


def faces(pictures: Iterable[Picture], fps: float = FPS) -> list[Face]:
    found = [face for face, _ in aligned(pictures, fps, Settings())]
    assert None not in found
    return [face for face in found if face is not None]


@cache
def still() -> list[Face]:
    """Two seconds of a still face, with noise."""
    return faces(noisy([astronaut().shown(astronaut().at())] * 60))


def told(seen: Sequence[Face], tracker: RegionTracker | None = None) -> list[Motion]:
    tracker = tracker or RegionTracker()
    return [motion for face in seen for motion in tracker.push(face)]


def displacements(motions: Sequence[Motion]) -> NDArray[np.float64]:
    """(T, regions, 2) in % of the IOD."""
    return 100 * np.array([motion.displacement_iod for motion in motions], np.float64)


def rms(displacement: NDArray[np.float64]) -> float:
    """Root mean square length."""
    return float(np.sqrt((displacement**2).sum(axis=-1).mean()))


def other_look(crop: Picture, rng: np.random.Generator) -> NDArray[np.float64]:
    """The crop under a texture that has more contrast than its own, wherever that is."""
    levels = crop.astype(np.float64)
    contrast = np.sqrt(cv2.GaussianBlur((levels - cv2.GaussianBlur(levels, (0, 0), 4)) ** 2, (0, 0), 4))
    texture = cv2.GaussianBlur(rng.normal(0, 1, crop.shape), (0, 0), 2.0)
    return np.asarray(levels + 2 * contrast * texture / texture.std(), np.float64)


def grained(crop: NDArray[Any], rng: np.random.Generator) -> Picture:
    """A crop with noise of one grey level."""
    return np.asarray(np.clip(np.rint(crop + rng.normal(0, 1, crop.shape)), 0, 255), np.uint8)


@pytest.mark.parametrize(
    ("fps", "noise_levels", "names", "measured"),
    [
        (30.0, 1.0, EXPRESSIONS, (0.15, 0.26, 0.35, 0.33, 0.40, 0.38)),
        (30.0, 2.0, EXPRESSIONS, (0.17, 0.28, 0.37, 0.35, 0.41, 0.44)),
        (30.0, 4.0, EXPRESSIONS, (0.21, 0.30, 0.41, 0.37, 0.45, 0.50)),
        (200.0, 1.0, EXPRESSIONS[:2], (0.14, 0.27, 0.40, 0.42, 0.51, 0.43)),
    ],
    ids=["noise of 1 level", "noise of 2 levels", "noise of 4 levels", "200 fps"],
)
def test_skin_has_come_as_far_as_the_field_that_moves_it(
    fps: float, noise_levels: float, names: tuple[str, ...], measured: tuple[float, ...]
) -> None:
    made, told_iod = film(fps, noise_levels, names)
    errors = errors_percent(told_iod, made.true_iod)
    assert list(errors) == ["0", "0.4-0.8", "0.8-1.2", "1.2-2", "2-4", "4-10"]
    for (amplitude, error), usual in zip(errors.items(), measured, strict=True):
        assert error < 1.3 * usual + 0.05, f"skin that has come {amplitude} %"


def test_large_motion_is_told_in_full_and_in_its_direction() -> None:
    made, told_iod = film(30.0, 1.0)
    far = np.linalg.norm(made.true_iod, axis=-1) > 0.04
    share = (told_iod * made.true_iod).sum(axis=-1)[far] / (made.true_iod**2).sum(axis=-1)[far]
    assert np.median(share) == pytest.approx(1.0, abs=0.05)


def test_30_and_200_frames_a_second_tell_the_same_at_the_same_time() -> None:
    slow, slow_iod = film(30.0, 1.0, EXPRESSIONS[:2])
    fast, fast_iod = film(200.0, 1.0, EXPRESSIONS[:2])
    slow_s, fast_s = ([face.t_s for face in made.faces] for made in (slow, fast))
    before = np.searchsorted(fast_s, slow_s, side="right") - 1
    after = np.minimum(before + 1, len(fast_s) - 1)
    share = ((np.array(slow_s) - np.array(fast_s)[before]) * 200.0)[:, None, None]
    differ = (1 - share) * fast_iod[before] + share * fast_iod[after] - slow_iod
    assert rms(100 * differ) < 0.1, "0.06 was measured"


def test_a_still_face_moves_by_no_more_than_the_noise_that_is_stated() -> None:
    motions = told(still())[1:]
    ratio = np.abs(displacements(motions)) / (100 * np.array([motion.noise_iod for motion in motions])[..., None])
    assert 0.25 < np.median(ratio) < 2, "0.5 was measured; noise that is normal has 0.67"
    assert rms(displacements(motions)) < 0.13, "0.08 was measured"


def test_a_head_that_moves_in_the_plane_leaves_nothing_in_its_skin_and_is_told() -> None:
    phases = np.arange(60) / 7
    motions = [
        astronaut().at(
            (5 * np.sin(phase), 3 * np.sin(phase / 2)), 4 * np.sin(phase / 1.3), 1 + 0.05 * np.sin(phase / 3)
        )
        for phase in phases
    ]
    seen = told(faces(noisy([astronaut().shown(motion) for motion in motions])))
    assert rms(displacements(seen)) < 0.18, "0.12 was measured"
    heads = np.array([motion.head for motion in seen])
    true = [5 * np.sin(phases) / IOD_PX, 3 * np.sin(phases / 2) / IOD_PX, np.log(1 + 0.05 * np.sin(phases / 3)),
            np.radians(4 * np.sin(phases / 1.3))]  # fmt: skip
    np.testing.assert_allclose(heads[:, 2:4].T, true[2:], atol=0.004)
    np.testing.assert_allclose(heads[:, :2].T, true[:2], atol=0.015)
    assert np.abs(heads[:, 4:]).max() < 0.02


@pytest.mark.parametrize(("gain", "offset"), [(0.6, 0.0), (0.6, 60.0), (1.0, -40.0)], ids=["less", "flat", "dark"])
def test_light_that_is_switched_moves_nothing(gain: float, offset: float) -> None:
    bright = astronaut().shown(astronaut().at())
    switched = np.clip(gain * bright + offset, 0, 255).astype(np.uint8)
    motions = told(faces(noisy([bright] * 10 + [switched] * 15)))
    assert rms(displacements(motions[10:])) < 0.16, "0.09 to 0.11 was measured"


@pytest.mark.parametrize("frames", [5, 25], ids=["a hand that passes", "most of a second"])
def test_skin_that_is_covered_is_told_to_be_hidden_and_stays_and_is_found_again(frames: int) -> None:
    skin = animation().skin
    raised = [skin.scaled({"AU17": 1.0}, 0.04 * min(index / 10, 1)) for index in range(50 + frames)]
    pictures = [animation().picture(Shown(intensities, animation().at())) for intensities in raised]
    for picture in pictures[30 : 30 + frames]:
        picture[int(EYES_PX[1] + 0.6 * IOD_PX) :] = 128
    motions = told(faces(noisy(pictures)))
    unlike = np.array([motion.unlike[CHIN] for motion in motions])
    held, covered, again = np.split(displacements(motions)[20:, CHIN], [10, 10 + frames])
    usual = held.mean(axis=0)
    assert np.linalg.norm(usual, axis=1).min() > 2
    assert unlike[20:30].max() < 0.1 and unlike[30:35].min() > 0.6 and unlike[-4:].max() < 0.1
    assert np.abs(covered - usual).max() < 0.25, "0.13 was measured"
    assert np.abs(again[-4:] - usual).max() < 0.3, "0.16 was measured"


def test_skin_that_looks_unlike_for_long_is_the_new_reference_and_leaves_no_drift() -> None:
    rng = np.random.default_rng(1)
    tracker, face, t_s = RegionTracker(), still()[0], 0.0
    told([face], tracker)
    for _ in range(2):
        look = other_look(face.crop, rng)
        motions = []
        for _ in range(36):
            t_s += 1 / FPS
            motions += told([replace(face, crop=grained(look, rng), t_s=t_s)], tracker)
        assert np.median(motions[0].unlike) > 0.35, "other skin than before"
        assert np.median(motions[-1].unlike) < 0.1, "it has become the reference"
    back = [replace(face, crop=grained(face.crop, rng), t_s=t_s + 0.1 * (1 + index)) for index in range(250)]
    motions = told(back, tracker)
    assert rms(displacements(motions[200:])) < 0.12, "0.06 was measured"
    steps = np.diff(displacements(motions[20:]), axis=0)
    assert np.linalg.norm(steps, axis=-1).max() < 0.5, "0.25 was measured: what had drifted is let out slowly"


def test_reset_takes_another_reference() -> None:
    tracker = RegionTracker()
    smile = animation().skin.scaled({"AU12_left": 1.0, "AU12_right": 1.0}, 0.06)
    pictures = [animation().picture(Shown(shown, animation().at())) for shown in [{}, {}, {}, *[smile] * 12]]
    seen = faces(noisy(pictures))
    assert rms(displacements(told(seen, tracker)[-1:])[:, MOUTH_CORNERS]) > 2
    assert tracker.flush() == []
    tracker.reset()
    again = displacements(told(seen[3:], tracker))
    assert not again[0].any()
    assert rms(again) < 0.2


def test_motion_is_of_the_face_that_it_was_measured_on() -> None:
    tracker = RegionTracker()
    for index, face in enumerate(still()[:3]):
        other = replace(face, face=7, source="cam-2", index=40 + 2 * index, arrival_s=1000.0 + index)
        [motion] = tracker.push(other)
        assert (motion.face, motion.source, motion.index, motion.t_s, motion.arrival_s) == (
            7, "cam-2", 40 + 2 * index, face.t_s, 1000.0 + index,
        )  # fmt: skip
        assert motion.displacement_iod.shape == (len(REGIONS), 2)
        assert motion.noise_iod.shape == motion.unlike.shape == (len(REGIONS),)
    assert tracker.latency_s == 0.0


def test_each_region_has_the_row_that_bears_its_name() -> None:
    skin = animation().skin
    raised = skin.scaled({"AU2_left": 1.0}, 0.05)
    pictures = [animation().picture(Shown(shown, animation().at())) for shown in [{}, {}, {}, *[raised] * 6]]
    came = displacements(told(faces(noisy(pictures))))[-1]
    assert REGIONS[int(np.linalg.norm(came, axis=1).argmax())] in ("brow_outer_left", "brow_middle_left")
    assert came[REGIONS.index("brow_outer_left"), 1] < -2, "up is negative"
    assert len(set(REGIONS)) == len(REGIONS) == 26
