"""Each condition does what it says, when it says so, and nothing else; a face never changes what happens to it."""

from dataclasses import asdict, fields, replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT, apply
from livespot.synth.filming import Filming, FilmingRecipe, Shares
from tests.portraits import Picture, astronaut

HEIGHT_PX, WIDTH_PX = SIZE_PX = (240, 320)
IOD_PX = 64.0
FPS = 30.0
SECONDS = 20.0
FRAMES = int(SECONDS * FPS)
NAMES = [field.name for field in fields(Shares)]

MOTION = astronaut().at()
EYES_PX = apply(MOTION, astronaut().landmarks[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]])
FACE = astronaut().shown(MOTION)
LEVELS: Picture = np.repeat(
    np.tile(np.arange(256, dtype=np.uint8)[:HEIGHT_PX, None], (1, WIDTH_PX))[..., None], 3, axis=2
)
"""Every level up to 239, one in each row."""


def flat(level: int, size_px: tuple[int, int] = SIZE_PX) -> Picture:
    return np.full((*size_px, 3), level, np.uint8)


def only(*names: str, **ranges: Any) -> FilmingRecipe:
    """A recipe in which these happen for certain, and nothing else."""
    assert set(names) <= set(NAMES)
    return FilmingRecipe(shares=Shares(**{name: float(name in names) for name in NAMES}), **ranges)


EVERYTHING = only(*NAMES)


def filming(recipe: FilmingRecipe | None, seed: int = 0, fps: float = FPS, seconds: float = SECONDS) -> Filming:
    return Filming(np.random.default_rng(seed), SIZE_PX, fps, seconds, IOD_PX, recipe)


def on(filmed: Filming, picture: Picture, index: int) -> Picture:
    return filmed.on(picture, index, EYES_PX)


def means(filmed: Filming, picture: Picture, frames: int) -> NDArray[np.float64]:
    return np.array([on(filmed, picture, index).mean() for index in range(frames)])


def changed(filmed: Filming, index: int) -> NDArray[np.bool_]:
    """Which pixels of the face are no longer what they were."""
    difference: NDArray[np.bool_] = (on(filmed, FACE, index) != FACE).any(axis=-1)
    return difference


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where flags are set, as half-open intervals."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def test_where_nothing_happens_the_picture_stays_as_it_is() -> None:
    filmed = filming(only())
    assert filmed.conditions == ()
    for index in (0, 7, FRAMES):
        assert np.array_equal(on(filmed, FACE, index), FACE)
        assert not filmed.repeats(index)


def test_frames_are_the_same_in_any_order() -> None:
    indices = np.random.default_rng(0).permutation(FRAMES)[:20]
    first, second = filming(EVERYTHING), filming(EVERYTHING)
    one = {index: on(first, FACE, index) for index in sorted(indices)}
    assert all(np.array_equal(on(second, FACE, index), one[index]) for index in indices)
    assert [first.repeats(index) for index in range(FRAMES)] == [second.repeats(index) for index in range(FRAMES)]


def test_each_video_is_filmed_in_its_own_way() -> None:
    one, other = (filming(EVERYTHING, seed) for seed in range(2))
    assert not np.array_equal(on(one, FACE, 0), on(other, FACE, 0))


def test_the_picture_that_is_given_is_not_written_into() -> None:
    filmed, picture = filming(EVERYTHING), FACE.copy()
    for index in range(0, FRAMES, 50):
        on(filmed, picture, index)
    assert np.array_equal(picture, FACE)


@pytest.mark.parametrize("name", NAMES)
def test_what_happens_is_told_by_name_and_shows(name: str) -> None:
    filmed = filming(only(name))
    assert filmed.conditions == (name.replace("_", " "),)
    showing = any(changed(filmed, index).any() or filmed.repeats(index) for index in range(0, FRAMES, 3))
    assert showing or any(filmed.repeats(index) for index in range(FRAMES))


def test_videos_have_each_condition_in_its_share() -> None:
    count = 400
    rng = np.random.default_rng(0)
    told = [Filming(rng, (24, 32), 10, 5, 8).conditions for _ in range(count)]
    for name, share in asdict(Shares()).items():
        seen = sum(name.replace("_", " ") in conditions for conditions in told) / count
        assert seen == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / count) + 1e-9), name


def test_a_condition_runs_the_same_course_whatever_else_happens() -> None:
    alone, among = filming(only("lamp")), filming(only("lamp", "hand", "dropped_frames"))
    before = [index for index in range(FRAMES) if not any(v.begin_s < index / FPS < v.end_s for v in among._visits)]
    assert before
    assert all(np.array_equal(on(alone, FACE, index), on(among, FACE, index)) for index in before[::40])


@pytest.mark.parametrize("name", ["light_drift", "light_switched", "exposure_steps"])
def test_light_of_the_whole_picture_changes_equal_levels_equally(name: str) -> None:
    for index in range(0, FRAMES, 60):
        rows = on(filming(only(name)), LEVELS, index)
        assert np.array_equal(rows, np.repeat(rows[:, :1], WIDTH_PX, axis=1))
        assert (np.diff(rows[:, 0].astype(int), axis=0) >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_light_drifts_slowly(seed: int) -> None:
    course = means(filming(only("light_drift"), seed), LEVELS, FRAMES)
    assert np.abs(np.diff(course)).max() < 1.0
    assert np.ptp(course) > 5.0


def test_drifting_light_changes_colour() -> None:
    filmed = filming(only("light_drift", drift_gain=0.0, drift_gamma=0.0))
    blue, green, red = np.stack([on(filmed, flat(100), index)[0, 0] for index in range(FRAMES)]).T.astype(int)
    assert np.ptp(green) == 0
    assert np.ptp(red) > 2
    assert np.abs((blue - 100) + (red - 100)).max() <= 1


def test_light_is_switched_within_two_frames() -> None:
    course = means(filming(only("light_switched", switched_gain=(0.7, 0.7))), flat(200), FRAMES)
    assert set(np.unique(course[[0, -1]])) <= {140.0, 200.0}
    between = runs((course > 140.5) & (course < 199.5))
    assert all(end - begin <= 2 for begin, end in between)
    assert {140.0, 200.0} <= set(course)


def test_exposure_runs_to_another_level_within_a_few_tenths_of_a_second() -> None:
    fps, recipe = 200.0, only("exposure_steps")
    light = filming(recipe, fps=fps, seconds=60)._light
    course = np.array([light.levels(index / fps)[0, 255, 1] / 255 for index in range(60 * int(fps))])
    ramps = runs(np.abs(np.diff(course)) > 1e-6)
    assert len(ramps) >= 4
    assert all(0.1 * fps - 2 <= end - begin <= 0.6 * fps + 2 for begin, end in ramps)
    assert recipe.exposure_gain[0] <= course.min() < course.max() <= recipe.exposure_gain[1]


def test_all_light_together_leaves_a_face_to_be_seen() -> None:
    recipe = replace(EVERYTHING, low_light_gain=(0.4, 0.4), switched_gain=(0.5, 0.5))
    light = filming(recipe)._light
    gains = np.array([light.levels(index / FPS)[0, 255, 1] / 255 for index in range(FRAMES)])
    assert gains.min() == pytest.approx(recipe.gain[0])


@pytest.mark.parametrize(("mains_hz", "fps", "seen_hz"), [(50.0, 30.0, 10.0), (60.0, 25.0, 5.0), (60.0, 200.0, 80.0)])
def test_flicker_is_seen_at_the_frequency_to_which_the_frame_rate_folds_it(
    mains_hz: float, fps: float, seen_hz: float
) -> None:
    recipe = only("flicker", mains_hz=(mains_hz,), mains_error=0.0, readout=(0.0, 0.0), flicker_depth=(0.02, 0.02))
    course = means(filming(recipe, fps=fps), LEVELS, int(2 * fps))
    spectrum = np.abs(np.fft.rfft(course / LEVELS.mean() - 1)) * 2 / len(course)
    frequencies = np.fft.rfftfreq(len(course), 1 / fps)
    assert frequencies[spectrum[1:].argmax() + 1] == pytest.approx(seen_hz)
    assert spectrum.max() == pytest.approx(0.02, rel=0.05)
    assert np.abs(course.mean() / LEVELS.mean() - 1) < 0.002


def test_flicker_leaves_the_shape_as_it_is() -> None:
    recipe = only("flicker", readout=(0.0, 0.0))
    for index in range(5):
        rows = on(filming(recipe), LEVELS, index)
        assert np.array_equal(rows, np.repeat(rows[:, :1], WIDTH_PX, axis=1))
        gain = rows[100:].mean(axis=(1, 2)) / np.arange(100, HEIGHT_PX)
        assert np.ptp(gain) < 0.011  # one level at level 100, from rounding


def test_a_rolling_shutter_makes_bands_of_flicker() -> None:
    recipe = only("flicker", mains_hz=(50.0,), readout=(0.6, 0.6), flicker_depth=(0.03, 0.03))
    seen = on(filming(recipe), flat(200), 0)
    assert np.array_equal(seen, np.repeat(seen[:, :1], WIDTH_PX, axis=1))
    course = seen[:, 0, 0] - 200.0
    spectrum = np.abs(np.fft.rfft(course * np.hanning(HEIGHT_PX)))
    assert spectrum.argmax() == pytest.approx(0.6 / FPS * 100, abs=1)  # two flashes while it reads


def test_a_lamp_makes_a_smooth_slope_that_turns_slowly() -> None:
    filmed = filming(only("lamp"))
    course = []
    for index in range(0, FRAMES, 15):
        lit = on(filmed, flat(120), index)[..., 1].astype(float)
        assert np.abs(np.diff(lit, axis=0)).max() <= 2 and np.abs(np.diff(lit, axis=1)).max() <= 2
        assert lit[0, 0] * lit[-1, -1] == pytest.approx(120**2, rel=0.05)
        assert lit[0, -1] * lit[-1, 0] == pytest.approx(120**2, rel=0.05)
        course.append(np.arctan2(lit[-1, WIDTH_PX // 2] - lit[0, WIDTH_PX // 2], lit[100, -1] - lit[100, 0]))
    turned_deg = np.degrees(np.unwrap(course))
    assert 5 < np.ptp(turned_deg) < 100
    assert np.abs(np.diff(turned_deg)).max() < 30


@pytest.mark.parametrize("seed", range(3))
def test_a_shadow_passes_over_the_face_and_only_darkens(seed: int) -> None:
    recipe = only("shadow", shadow_iod_s=(4.0, 8.0), shadow_half_iod=(0.4, 2.0))
    filmed = filming(recipe, seed)
    between_eyes = tuple(EYES_PX.mean(axis=0).astype(int)[::-1])
    dark = []
    for index in range(FRAMES):
        gain = on(filmed, flat(200), index)[..., 0] / 200
        assert gain.max() <= 1 and gain.min() >= 1 - recipe.shadow_depth[1] - 0.01
        assert np.abs(np.diff(gain, axis=1)).max() < 0.15
        dark.append(gain[between_eyes] < 0.97)
    passed = runs(np.array(dark))
    assert 1 <= len(passed) <= 5
    assert all(end - begin < 1.5 * FPS for begin, end in passed)
    assert np.array_equal(on(filmed, FACE, -1000), FACE)


@pytest.mark.parametrize("grain_px", [0.0, 0.9])
@pytest.mark.parametrize("level", [30, 120, 220])
def test_noise_is_as_strong_as_asked_for_and_grows_with_light(grain_px: float, level: int) -> None:
    recipe = only("noise", read_levels=(1.0, 1.0), shot_levels=(3.0, 3.0), grain_px=(grain_px,))
    filmed = filming(recipe)
    noise = np.stack([on(filmed, flat(level), index) for index in range(5)]) - float(level)
    assert noise.std() == pytest.approx(np.sqrt(1 + 9 * level / 255 + 1 / 12), rel=0.03)
    assert abs(noise.mean()) < 0.1
    one, other = noise[0].ravel(), noise[1].ravel()
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


def test_the_grain_of_noise_is_white_or_smoothed() -> None:
    neighbours = []
    for grain_px in (0.0, 0.9):
        recipe = only("noise", read_levels=(4.0, 4.0), grain_px=(grain_px,), noise_colour=(1.0, 1.0))
        noise = on(filming(recipe), flat(120), 0)[..., 1] - 120.0
        neighbours.append(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1])
    assert abs(neighbours[0]) < 0.02
    assert neighbours[1] > 0.5


def test_low_light_is_darker_and_noisier() -> None:
    ranges = {"read_levels": (1.0, 1.0), "shot_levels": (1.0, 1.0)}
    lit, dark = (on(filming(only(name, **ranges)), flat(150), 0) for name in ("noise", "low_light"))
    assert 0.4 * 150 - 1 < dark.mean() < 0.75 * 150 + 1 < lit.mean()
    assert dark.std() > 1.1 * lit.std()


@pytest.mark.parametrize("level", [0, 3, 252, 255])
def test_levels_saturate_and_never_wrap(level: int) -> None:
    recipe = only(
        "noise", "light_drift", "flicker", "lamp", read_levels=(8.0, 8.0), drift_warmth=0.0, lamp_depth=(0.1, 0.1)
    )
    seen = np.stack([on(filming(recipe), flat(level), index) for index in range(0, FRAMES, 60)])
    assert np.abs(seen - float(level)).max() < 110


def test_too_much_light_is_white() -> None:
    recipe = only("exposure_steps", exposure_gain=(1.5, 1.5))
    assert on(filming(recipe), flat(200), 2 * FRAMES).min() == 255


def test_focus_is_slightly_off_and_breathes() -> None:
    filmed = filming(only("defocus"))
    sharpness = [float(cv2.Laplacian(on(filmed, FACE, index), cv2.CV_32F).std()) for index in range(0, 300, 3)]
    assert max(sharpness) < float(cv2.Laplacian(FACE, cv2.CV_32F).std())
    assert np.ptp(sharpness) > 0.02 * np.mean(sharpness)
    assert np.abs(np.diff(sharpness)).max() < 0.2 * np.mean(sharpness)
    assert np.array_equal(on(filmed, flat(77), 5), flat(77))


@pytest.mark.parametrize("quality", [35, 95])
def test_frames_are_compressed_at_the_quality_of_the_video(quality: int) -> None:
    filmed = filming(only("compression", jpeg_quality=(quality, quality)))
    written = cv2.imencode(".jpg", FACE, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    expected = cv2.imdecode(written, cv2.IMREAD_COLOR)
    assert all(np.array_equal(on(filmed, FACE, index), expected) for index in (0, 100))


def face_box(eyes_px: NDArray[np.float64]) -> tuple[slice, slice]:
    """From brows to chin, an IOD to both sides."""
    (x, y), iod_px = eyes_px.mean(axis=0), float(np.linalg.norm(eyes_px[1] - eyes_px[0]))
    rows, columns = (y - 0.6 * iod_px, y + 1.4 * iod_px), (x - iod_px, x + iod_px)
    return slice(*map(int, rows)), slice(*map(int, columns))


@pytest.mark.parametrize("name", ["hand", "held_object"])
@pytest.mark.parametrize("seed", range(3))
def test_a_hand_covers_part_of_the_face_for_its_time_and_lets_the_rest_as_it_is(name: str, seed: int) -> None:
    filmed = filming(only(name), seed)
    covered = np.array([changed(filmed, index)[face_box(EYES_PX)].mean() for index in range(FRAMES)])
    visits = runs(covered > 0)
    assert 1 <= len(visits) <= 4
    for begin, end in visits:
        assert 0.1 * FPS <= end - begin <= 2.5 * FPS
        assert 0.04 < covered[begin:end].max() < 0.85
        middle = changed(filmed, (begin + end) // 2).astype(np.uint8)
        assert middle.mean() < 0.5
        areas_px = cv2.connectedComponentsWithStats(middle)[2][1:, cv2.CC_STAT_AREA]
        assert areas_px.max() > 0.98 * areas_px.sum()


def test_a_hand_comes_from_outside_the_picture_without_a_leap() -> None:
    filmed = filming(only("hand", cover_passes=0.0))
    shares = np.array([changed(filmed, index).mean() for index in range(FRAMES)])
    begin, end = runs(shares > 0)[0]
    assert begin > 0 and end < FRAMES
    assert shares[begin:end].max() > 0.05
    assert np.abs(np.diff(shares[begin - 1 : end + 1])).max() < 0.15
    assert shares[begin] < 0.05 and shares[end - 1] < 0.05


def test_a_hand_is_as_large_as_the_face_asks_for() -> None:
    filmed = filming(only("hand", cover_passes=0.0))
    visit = filmed._visits[0]
    index = round((visit.arrive_s + visit.leave_s) / 2 * FPS)
    shares = []
    for growth in (0.6, 1.0):
        eyes_px = EYES_PX.mean(axis=0) + growth * (EYES_PX - EYES_PX.mean(axis=0))
        seen = filmed.on(FACE, index, eyes_px)
        shares.append((seen != FACE).any(axis=-1)[face_box(eyes_px)].mean())
    assert shares[0] == pytest.approx(shares[1], rel=0.15)


def test_frames_lost_by_the_recorder_are_told_and_rare() -> None:
    lost = []
    for seed in range(10):
        filmed = filming(only("dropped_frames"), seed, seconds=60)
        repeated = np.array([filmed.repeats(index) for index in range(60 * int(FPS))])
        assert not repeated[0]
        assert all(end - begin <= 4 for begin, end in runs(repeated))
        assert np.array_equal(on(filmed, FACE, int(repeated.argmax())), FACE)
        lost.append(repeated)
    bursts = [end - begin for repeated in lost for begin, end in runs(repeated)]
    assert 0.001 < np.mean(lost) < 0.01
    assert np.mean(np.array(bursts) == 1) > 0.5 and max(bursts) > 1
