"""A window of motion is the same at every frame rate, is there from the first frame on, and forgets what is over."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from livespot.motion.regions import REGIONS
from livespot.motion.search import COLUMNS, GRID_HZ, LIDS
from livespot.motion.window import MotionWindow, Window
from livespot.records import MAX_PAUSE_S, MOTION_CHANNELS, ClipSpec, Motion
from tests.motion.test_search import BROWS, SMILE, Array, Movement, bump, integral, motions, regular, step

COUNT = len(REGIONS)
CELL_S = 1 / GRID_HZ
SPEC = ClipSpec((), motion_s=3.0)
MOVEMENTS = (Movement(bump(1.0, 0.6), 0.03, SMILE), Movement(step(2.0, 0.5), 0.02, BROWS, x=0.5))


def restless(t_s: Array, seed: int = 0) -> list[Motion]:
    """Motion in which every channel changes from frame to frame."""
    rng = np.random.default_rng(seed)
    made = motions(t_s, MOVEMENTS, seed, 0.005, rng.random((len(t_s), COUNT)), rng.normal(0, 0.1, (len(t_s), 6)))
    return [replace(motion, noise_iod=rng.uniform(0.001, 0.01, COUNT).astype(np.float32)) for motion in made]


def pushed(made: Sequence[Motion], spec: ClipSpec = SPEC) -> list[Window]:
    own = MotionWindow(spec)
    return [own.push(motion) for motion in made]


def channels(made: Sequence[Motion]) -> Array:
    """(T, channels) of each frame, the standard error as its square."""
    moved = np.array([motion.displacement_iod.ravel() for motion in made])
    variance = np.array([motion.noise_iod for motion in made], np.float64) ** 2
    head, lids = np.array([motion.head for motion in made]), np.array([motion.unlike[LIDS].mean() for motion in made])
    return np.concatenate([moved, variance, head, lids[:, None]], axis=1)


def expected(made: Sequence[Motion], cells: int) -> Array:
    """The window that ends with the last motion, all of it computed at once."""
    t_s = np.array([motion.t_s for motion in made])
    newest = int((t_s[-1] - t_s[0]) * GRID_HZ + 1e-9)
    edges_s = t_s[0] + np.arange(newest + 1) * CELL_S
    means = np.diff(integral(t_s, channels(made), edges_s), axis=0).T * GRID_HZ
    means[2 * COUNT : 3 * COUNT] **= 0.5
    return np.asarray(np.concatenate([np.repeat(means[:, :1], cells, axis=1), means], axis=1)[:, -cells:])


@pytest.mark.parametrize("motion_s", [0.1, 3.0, 12.0])
@pytest.mark.parametrize("frames", [5, 90, 500])
def test_a_window_is_what_is_computed_from_all_motion_at_once(motion_s: float, frames: int) -> None:
    intervals_s = np.random.default_rng(1).uniform(0.005, 0.06, frames)
    made = restless(7.0 + np.cumsum(intervals_s))
    spec = ClipSpec((), motion_s=motion_s)
    window = pushed(made, spec)[-1]
    assert window.dtype == np.float32 and window.shape == spec.motion_shape
    np.testing.assert_allclose(window, expected(made, spec.motion_shape[1]), atol=1e-6)


def test_there_is_a_channel_for_everything_that_paths_hold() -> None:
    assert MOTION_CHANNELS == COLUMNS == 3 * COUNT + 7
    assert SPEC.motion_shape == (85, 150)


@pytest.mark.parametrize("fps", [25.0, 60.0, 200.0])
def test_a_path_gives_the_same_window_at_every_frame_rate(fps: float) -> None:
    at_30, other = (
        pushed(motions(regular(rate, 3.0 + 1 / rate), MOVEMENTS, noise_iod=0.0))[-1] for rate in (30.0, fps)
    )
    peak = float(np.abs(at_30).max())
    assert peak > 0.02
    np.testing.assert_allclose(other, at_30, atol=0.03 * peak)


def test_a_face_is_at_rest_before_it_was_seen() -> None:
    made = restless(regular(30.0, 1.0))
    first, second, *_, last = pushed(made)
    at_first = channels(made[:1])[0]
    at_first[2 * COUNT : 3 * COUNT] **= 0.5
    np.testing.assert_allclose(first, np.repeat(at_first[:, None], 150, axis=1), atol=1e-6)
    assert (second == second[:, :1]).all()
    seen = int(made[-1].t_s * GRID_HZ + 1e-9)
    assert (last[:, : 150 - seen] == last[:, 150 - seen : 151 - seen]).all()
    assert (np.ptp(last[:, 150 - seen :], axis=1) > 0).all()


def test_at_a_high_frame_rate_the_window_waits_for_the_cell_to_end() -> None:
    windows = pushed(restless(regular(200.0, 0.5)))
    assert all((one == windows[0]).all() for one in windows[:4])
    changes = [not np.array_equal(one, other) for one, other in zip(windows[4:], windows[3:], strict=False)]
    assert changes == [place % 4 == 0 for place in range(len(changes))]


def test_a_window_stays_as_it_is_when_the_next_comes() -> None:
    own = MotionWindow(SPEC)
    made = restless(regular(30.0, 2.0))
    kept = [(window, window.copy()) for window in map(own.push, made)]
    assert all((window == copy).all() for window, copy in kept)


def test_after_a_reset_or_a_long_pause_it_begins_anew_and_after_a_short_one_it_goes_on() -> None:
    before, later = restless(regular(30.0, 2.0)), restless(2.0 + MAX_PAUSE_S + regular(30.0, 1.0), seed=1)
    wanted = pushed(later)[-1]
    np.testing.assert_array_equal(pushed([*before, *later])[-1], wanted)
    own = MotionWindow(SPEC)
    for motion in before:
        own.push(motion)
    own.reset()
    np.testing.assert_array_equal([own.push(motion) for motion in later][-1], wanted)
    sooner = restless(2.0 + MAX_PAUSE_S - 0.1 + regular(30.0, 1.0), seed=1)
    together = [*before, *sooner]
    np.testing.assert_allclose(pushed(together)[-1], expected(together, 150), atol=1e-6)


def test_nothing_is_held_back() -> None:
    own = MotionWindow(SPEC)
    own.push(restless(regular(30.0, 0.1))[0])
    assert own.flush() == [] and own.latency_s == 0.0


def test_motion_that_does_not_advance_is_the_callers_mistake() -> None:
    own = MotionWindow(SPEC)
    first, second = motions(regular(30.0, 0.07))
    own.push(second)
    for motion in (second, first):
        with pytest.raises(ValueError, match=r"came after that at 0\.03\d* s; expected times that increase"):
            own.push(motion)


def test_an_hour_leaves_no_trace_in_the_newest_window() -> None:
    hour = motions(np.arange(0, 3600, 0.4), [Movement(lambda t_s: t_s / 3600, 0.5, BROWS)], noise_iod=0.0)
    window = pushed(hour)[-1]
    brow = window[2 * REGIONS.index(BROWS[0]) + 1]
    middles_s = hour[-1].t_s - (np.arange(150)[::-1] + 0.5) * CELL_S
    np.testing.assert_allclose(brow, -0.5 * middles_s / 3600, atol=1e-5)
    assert (window[2 * COUNT : 3 * COUNT] == 0).all()
