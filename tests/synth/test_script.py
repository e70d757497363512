"""What a face is told to do keeps to its ranges, and only what is labelled is an expression."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.action_units import EXPRESSIONS, SkinField
from livespot.landmarks import apply
from livespot.synth.script import NAMES, POSE, SHOWN, SIDES, UPPER, VISEMES, Movement, Peaks, Recipe, Script, Turn
from tests.portraits import astronaut

SECONDS = 60.0
LIDS_IOD = 0.1
SEEDS = range(12)
TALKATIVE = Recipe(talking=1.0)
TIMES_S = np.arange(0, SECONDS, 1 / 30)
SKIN = SkinField(apply(astronaut().at(), astronaut().landmarks).astype(np.float32), (240, 320))
FIELDS_IOD = np.stack([SKIN.unit(name).reshape(-1, 2) for name in NAMES]).astype(np.float64)
PEAKS = Peaks(FIELDS_IOD)


def script(seed: int, expressive: bool = True, recipe: Recipe | None = None, seconds: float = SECONDS) -> Script:
    return Script(np.random.default_rng(seed), seconds, PEAKS, LIDS_IOD, recipe, expressive)


def farthest_iod(intensities: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the fastest point of the skin comes under intensities (T, units), (T,)."""
    moved = np.tensordot(intensities, FIELDS_IOD, 1)
    return np.asarray(np.linalg.norm(moved, axis=-1).max(axis=1))


def parts(units: str) -> set[str]:
    return {f"AU{part}" for part in units.split("+")}


def test_expressions_keep_to_the_ranges_of_their_class() -> None:
    truth = [one for seed in SEEDS for one in script(seed).truth]
    assert len(truth) > 100
    for one in truth:
        recipe = Recipe()
        lasts_s = recipe.micro_s if one.type == "micro" else recipe.macro_s
        amplitude_iod = recipe.micro_iod if one.type == "micro" else recipe.macro_iod
        assert lasts_s[0] - 1e-9 <= one.offset_s - one.onset_s <= lasts_s[1] + 1e-9
        assert amplitude_iod[0] <= one.amplitude_iod <= amplitude_iod[1]
        assert one.onset_s < one.apex_s <= one.apex_s + one.hold_s < one.offset_s
        assert parts(one.units) <= SHOWN
    shares = [sum(one.type == kind for one in truth) / len(truth) for kind in ("micro", "macro")]
    assert min(shares) > 0.35


def test_expressions_follow_each_other_with_pauses_and_are_over_before_the_video() -> None:
    pause_s = Recipe().pause_s
    for seed in SEEDS:
        truth = script(seed).truth
        assert truth[0].onset_s >= pause_s[0] and truth[-1].offset_s <= SECONDS - pause_s[0]
        pauses_s = [later.onset_s - earlier.offset_s for earlier, later in pairwise(truth)]
        assert pause_s[0] - 1e-9 <= min(pauses_s) and max(pauses_s) <= pause_s[1] + 1e-9


def test_most_expressions_are_among_those_of_life_and_some_are_not() -> None:
    known = [set(one) for one in EXPRESSIONS.values()]
    shown = [parts(one.units) in known for seed in SEEDS for one in script(seed).truth]
    assert 0.6 < np.mean(shown) < 0.95


@pytest.mark.parametrize("recipe", [None, TALKATIVE])
def test_without_expressions_all_else_is_the_same(recipe: Recipe | None) -> None:
    for seed in SEEDS:
        shown, calm = script(seed, recipe=recipe), script(seed, expressive=False, recipe=recipe)
        assert calm.truth == () and shown.truth
        assert shown.talks == calm.talks
        np.testing.assert_array_equal(shown.poses(TIMES_S), calm.poses(TIMES_S))
        difference = shown.intensities(TIMES_S) - calm.intensities(TIMES_S)
        labelled = np.zeros(len(TIMES_S), np.bool_)
        for one in shown.truth:
            labelled[slice(*np.searchsorted(TIMES_S, (one.onset_s, one.offset_s)))] = True
        assert np.abs(difference[~labelled]).max() < 1e-12


def test_what_expressions_add_peaks_at_their_apex_with_their_amplitude() -> None:
    for seed in SEEDS[:4]:
        shown, calm = script(seed), script(seed, expressive=False)
        apexes_s = np.array([one.apex_s for one in shown.truth])
        peaks_iod = farthest_iod(shown.intensities(apexes_s) - calm.intensities(apexes_s))
        np.testing.assert_allclose(peaks_iod, [one.amplitude_iod for one in shown.truth], rtol=1e-6)
        some_s = TIMES_S[::10]
        course_iod = farthest_iod(shown.intensities(some_s) - calm.intensities(some_s))
        assert course_iod.max() <= max(one.amplitude_iod for one in shown.truth) * 1.01


def test_a_script_is_the_same_at_any_frame_rate() -> None:
    for seed in SEEDS[:4]:
        slow, fast = script(seed), script(seed)
        assert slow.truth == fast.truth
        at_30, at_200 = np.arange(int(SECONDS * 30)) / 30, np.arange(int(SECONDS * 200)) / 200
        np.testing.assert_allclose(slow.intensities(at_30)[::3], fast.intensities(at_200)[::20], atol=1e-9)
        np.testing.assert_allclose(slow.poses(at_30)[::3], fast.poses(at_200)[::20], atol=1e-9)


def test_each_seed_has_a_script_of_its_own() -> None:
    truths = {script(seed).truth for seed in SEEDS}
    assert len(truths) == len(SEEDS)


def test_while_the_mouth_speaks_nothing_of_the_lower_face_is_labelled() -> None:
    elsewhere = 0
    for seed in SEEDS:
        syllables = [one for one in script(seed, expressive=False, recipe=TALKATIVE).movements if is_syllable(one)]
        assert len(syllables) > 5
        for one in script(seed, recipe=TALKATIVE).truth:
            speaks = any(said.onset_s < one.offset_s and one.onset_s < said.offset_s for said in syllables)
            assert not speaks or parts(one.units) <= UPPER, one
            elsewhere += not parts(one.units) <= UPPER
    assert elsewhere > 10, "a mouth that is silent is labelled"


def is_syllable(movement: Movement) -> bool:
    """What moves the same units slowly is the drift of the neutral face."""
    short = movement.offset_s - movement.onset_s < Recipe().drift_s[0]
    return short and any(set(movement.intensities) == set(viseme) for viseme in VISEMES)


def test_talking_moves_the_mouth_and_is_no_expression() -> None:
    for seed in SEEDS[:4]:
        told = script(seed, expressive=False, recipe=TALKATIVE)
        silent = np.ones(len(TIMES_S), np.bool_)
        for begin_s, end_s in told.talks:
            silent[slice(*np.searchsorted(TIMES_S, (begin_s - 0.6, end_s + 0.6)))] = False
        lower = [NAMES.index(name) for name in SHOWN - UPPER]
        pace = np.abs(np.diff(told.intensities(TIMES_S)[:, lower], axis=0)).max(axis=1)
        assert pace[~silent[1:]].mean() > 5 * pace[silent[1:]].mean()


def test_what_is_not_labelled_stays_below_the_faintest_expression_or_is_of_lids_eyes_or_speech() -> None:
    quiet = Recipe(talking=0.0)
    lids = [NAMES.index(name) for name in NAMES if not name.startswith("AU") or name.startswith("AU7")]
    for seed in SEEDS:
        told = script(seed, expressive=False, recipe=quiet)
        for one in told.movements:
            if not {NAMES.index(name) for name in one.intensities} <= set(lids):
                intensities = np.zeros((1, len(NAMES)))
                for name, intensity in one.intensities.items():
                    intensities[0, NAMES.index(name)] = intensity
                assert farthest_iod(intensities)[0] < quiet.micro_iod[0]


def test_blinks_close_the_lids_in_part_or_whole_several_times_a_minute() -> None:
    rates = []
    for seed in SEEDS:
        lids = np.stack([[NAMES.index(f"blink_{side}")] for side in SIDES]).ravel()
        closed = script(seed, recipe=Recipe(gaze=0.0)).intensities(TIMES_S)[:, lids]
        assert np.array_equal(closed[:, 0], closed[:, 1])
        assert closed.min() >= 0 and 0.5 * LIDS_IOD < closed.max() <= LIDS_IOD + 1e-9
        shut = closed[:, 0] > 0.3 * LIDS_IOD
        rates.append(np.count_nonzero(np.diff(shut.astype(int)) == 1))
    assert 10 < np.mean(rates) < 40


def test_a_head_moves_slowly_and_stays_turned_to_the_camera() -> None:
    times_s = np.arange(0, SECONDS, 0.02)
    farthest = np.zeros(len(POSE))
    for seed in range(30):
        pose = script(seed).poses(times_s)
        farthest = np.maximum(farthest, np.abs(pose).max(axis=0))
        assert np.abs(np.diff(pose[:, :3], axis=0)).max() < 0.05, "a leap"
    assert (farthest[:3] < np.radians([40, 40, 25])).all() and (farthest[:2] > np.radians(15)).all()
    assert (farthest[3:5] < 0.15).all() and farthest[5] < 0.08


def test_a_movement_rises_stays_and_returns_within_its_time() -> None:
    for power in (0.6, 1.0, 1.7):
        movement = Movement({"AU12_left": 1.0}, 1.0, 1.5, 2.0, 3.0, power, power)
        times_s = np.arange(0, 4, 0.01)
        share = movement.share(times_s)
        assert not share[(times_s <= 1.0) | (times_s >= 3.0)].any()
        assert (share[(times_s >= 1.5) & (times_s <= 2.0)] == 1).all()
        assert (np.diff(share[times_s <= 2.0]) >= 0).all() and (np.diff(share[times_s >= 1.5]) <= 0).all()


def test_a_turn_stays() -> None:
    np.testing.assert_allclose(Turn(0, 0.2, 1.0, 0.5).share(np.array([0.9, 1.25, 1.5, 9.0])), [0, 0.5, 1, 1])


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_units_are_scaled_until_the_fastest_point_moves_as_far_as_asked(name: str) -> None:
    intensities = np.zeros((1, len(NAMES)))
    for unit, intensity in PEAKS.scaled(EXPRESSIONS[name], 0.03).items():
        intensities[0, NAMES.index(unit)] = intensity
    assert farthest_iod(intensities)[0] == pytest.approx(0.03)
