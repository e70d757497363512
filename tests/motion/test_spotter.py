"""What is an expression is told once, with its bounds and places; what is not, is not."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from livespot.config import DecodeSettings, MotionSettings
from livespot.motion.regions import EXPRESSIVE, REGIONS, lid_drag
from livespot.motion.search import HEAD_REST_IOD, KEPT_S
from livespot.motion.spotter import MotionSpotter
from livespot.records import Event, Gap, Motion
from tests.motion.test_search import (
    BROWS,
    LIDS,
    SMILE,
    Array,
    Course,
    Movement,
    bump,
    motions,
    regular,
    step,
)

OFFLINE = math.inf
LOOKAHEAD_S = 0.6


def spotter(lookahead_s: float = LOOKAHEAD_S) -> MotionSpotter:
    return MotionSpotter(MotionSettings(lookahead_s=lookahead_s), DecodeSettings(), "cam", 0)


def told(made: Sequence[Motion | Gap], lookahead_s: float = LOOKAHEAD_S) -> list[Event]:
    """All phases."""
    own = spotter(lookahead_s)
    return [event for item in made for event in own.push(item)] + own.flush()


def closed(made: Sequence[Motion | Gap], lookahead_s: float = LOOKAHEAD_S) -> list[Event]:
    return [event for event in told(made, lookahead_s) if event.phase == "close"]


def places(regions: Sequence[str]) -> set[str]:
    return {EXPRESSIVE[name].place for name in regions}


def bounds_s(event: Event) -> Array:
    """Onset, apex, offset."""
    assert event.offset_s is not None
    return np.array([event.onset_s, event.apex_s, event.offset_s])


def dropped(t_s: Array) -> Array:
    return t_s[np.random.default_rng(5).random(len(t_s)) > 0.15]


def unsteady(t_s: Array) -> Array:
    return np.asarray(t_s + np.random.default_rng(6).uniform(-0.4, 0.4, len(t_s)) * t_s[1])


def blinking(t_s: Array, begin_s: float) -> tuple[list[Movement], Array]:
    """Lids that close and drag along what is around them, and how unlike they look (T, regions)."""
    lids = bump(begin_s, 0.3)
    drag = [Movement(lids, 0.15 * 0.5 * lid_drag(name), (name,), y=1.0) for name in REGIONS if name not in LIDS]
    unlike = 0.9 * lids(t_s)[:, None] * np.array([name in LIDS for name in REGIONS])
    return [Movement(lids, 0.15, LIDS, y=1.0), *drag], unlike


def nodding(t_s: Array, axis: int, angle_rad: float, long_s: float) -> tuple[list[Movement], Array]:
    """A head that turns and comes back, what that leaves in all regions, and how it is told (T, 6)."""
    course = bump(3.0, long_s)
    head = np.zeros((len(t_s), 6))
    head[:, axis] = angle_rad * course(t_s)
    return [Movement(course, float(HEAD_REST_IOD[axis]) * angle_rad, REGIONS)], head


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0, 200.0])
@pytest.mark.parametrize(
    ("kind", "long_s", "size_iod", "regions"), [("micro", 0.3, 0.015, BROWS), ("macro", 1.5, 0.05, SMILE)]
)
@pytest.mark.parametrize("times", [np.array, dropped, unsteady])
def test_a_movement_that_returns_is_one_event_with_its_bounds_and_places(
    fps: float, kind: str, long_s: float, size_iod: float, regions: tuple[str, ...], times: Course
) -> None:
    [event] = closed(motions(times(regular(fps, 6.0)), [Movement(bump(2.513, long_s), size_iod, regions)]))
    true_s = 2.513 + np.array([0, long_s / 2, long_s])
    near_s = max(2 / min(fps, 30), long_s / 13)  # the feet of a long bump are flat: it leaves noise later
    assert event.type == kind
    np.testing.assert_allclose(bounds_s(event), true_s, atol=near_s)
    assert set(event.regions) == places(regions)
    assert 0.5 <= event.confidence < 1


def test_an_event_is_told_in_three_phases_that_agree() -> None:
    opened, updated, close = told(motions(regular(30.0, 6.0), [Movement(bump(3.0, 0.4), 0.02, BROWS)]))
    assert (opened.phase, updated.phase, close.phase) == ("open", "update", "close")
    assert opened.id == updated.id == close.id == "cam-0-0"
    assert opened.offset_s is None and updated.offset_s is None and close.offset_s is not None
    again = replace(opened, phase="close", offset_s=close.offset_s, offset_frame=close.offset_frame)
    assert again == close == replace(again, phase=close.phase)
    assert (close.source, close.face, close.truncated) == ("cam", 0, False)
    assert close.arrival_s == 100 + close.decided_s
    assert (close.onset_frame, close.apex_frame, close.offset_frame) == tuple(np.rint(30 * bounds_s(close)).astype(int))


@pytest.mark.parametrize("place", ["brow_left", "brow_right", "mouth_corner_left"])
def test_the_place_that_moves_most_comes_first(place: str) -> None:
    most = tuple(name for name in REGIONS if EXPRESSIVE[name].place == place)
    around = BROWS if place.startswith("brow") else SMILE
    course = bump(2.5, 0.5)
    [event] = closed(motions(regular(30.0, 5.0), [Movement(course, 0.015, around), Movement(course, 0.015, most)]))
    assert event.regions[0] == place


@pytest.mark.parametrize(
    ("course", "size_iod", "regions"),
    [
        (step(4.0, 0.3), 0.05, SMILE),
        (step(1.0, 7.0), 0.05, SMILE),
        (lambda t_s: t_s / 9, 0.1, SMILE),
        (bump(4.0, 0.3), 0.03, ("brow_middle_left",)),
        (bump(4.0, 1.0), 0.05, ("chin",)),
    ],
    ids=["a step that stays", "a slow step", "a drift", "hair over a brow", "a shadow on the chin"],
)
@pytest.mark.parametrize("lookahead_s", [LOOKAHEAD_S, OFFLINE])
def test_what_does_not_return_or_moves_one_region_alone_is_no_event(
    course: Course, size_iod: float, regions: tuple[str, ...], lookahead_s: float
) -> None:
    assert told(motions(regular(30.0, 9.0), [Movement(course, size_iod, regions)]), lookahead_s) == []


def test_one_region_that_trembles_is_no_event() -> None:
    t_s = regular(30.0, 20.0)
    tremble = np.random.default_rng(3).normal(0, 1, len(t_s))
    hair = Movement(lambda at_s: np.interp(at_s, t_s, tremble), 0.02, ("brow_outer_left",))
    assert told(motions(t_s, [hair])) == []


@pytest.mark.parametrize(("fps", "noise_iod"), [(30.0, 0.0), (30.0, 0.001), (30.0, 0.004), (200.0, 0.004)])
def test_noise_is_no_event(fps: float, noise_iod: float) -> None:
    assert told(motions(regular(fps, 20.0), seed=4, noise_iod=noise_iod)) == []


@pytest.mark.parametrize("lookahead_s", [LOOKAHEAD_S, OFFLINE])
def test_a_blink_is_no_event(lookahead_s: float) -> None:
    t_s = regular(30.0, 6.0)
    movements, unlike = blinking(t_s, 3.0)
    assert told(motions(t_s, movements, unlike=unlike), lookahead_s) == []


@pytest.mark.parametrize(("long_s", "size_iod"), [(0.35, 0.03), (1.2, 0.05)])
def test_a_mouth_that_moves_during_a_blink_is_an_event_of_the_mouth(long_s: float, size_iod: float) -> None:
    t_s = regular(30.0, 6.0)
    movements, unlike = blinking(t_s, 3.0)
    smile = Movement(bump(3.0, long_s), size_iod, SMILE)
    [event] = closed(motions(t_s, [*movements, smile], unlike=unlike))
    assert event.regions[0] in places(SMILE)
    np.testing.assert_allclose(bounds_s(event), 3.0 + np.array([0, long_s / 2, long_s]), atol=0.25)


@pytest.mark.parametrize("axis", [4, 5], ids=["a turn", "a nod"])
@pytest.mark.parametrize(("angle_rad", "long_s"), [(0.1, 0.5), (0.3, 1.0), (0.5, 2.0)])
def test_a_head_that_turns_and_comes_back_is_no_event(axis: int, angle_rad: float, long_s: float) -> None:
    t_s = regular(30.0, 7.0)
    movements, head = nodding(t_s, axis, angle_rad, long_s)
    assert told(motions(t_s, movements, head=head)) == []
    assert told(motions(t_s, movements)), "the head's pattern is what speaks against it"


@pytest.mark.parametrize("lookahead_s", [LOOKAHEAD_S, OFFLINE])
def test_two_movements_are_two_events(lookahead_s: float) -> None:
    shown = [Movement(bump(2.0, 0.4), 0.02, BROWS), Movement(bump(4.0, 1.2), 0.05, SMILE)]
    brows, smile = closed(motions(regular(30.0, 8.0), shown), lookahead_s)
    assert (brows.type, smile.type) == ("micro", "macro")
    assert (set(brows.regions), set(smile.regions)) == (places(BROWS), places(SMILE))
    assert brows.id != smile.id


def test_no_id_comes_twice_after_flush_reset_or_gap() -> None:
    made = motions(regular(30.0, 5.0), [Movement(bump(2.0, 0.4), 0.02, BROWS)])
    own = spotter()
    ids = []
    for end in (own.flush, own.reset, lambda: own.push(Gap("cam", 5.0, 6.0, "frames_lost")), own.flush):
        ids += [event.id for motion in made for event in own.push(motion) if event.phase == "close"]
        end()
    assert ids == [f"cam-0-{number}" for number in range(4)]


@pytest.mark.parametrize("lookahead_s", [LOOKAHEAD_S, OFFLINE])
def test_nothing_is_told_across_a_gap_and_what_is_over_is_told_at_once(lookahead_s: float) -> None:
    shown = [Movement(bump(2.0, 0.4), 0.02, BROWS), Movement(bump(4.0, 1.0), 0.05, SMILE)]
    made = motions(regular(30.0, 8.0), shown)
    gap = Gap("cam", 4.5, 5.2, "frames_lost")
    own = spotter(lookahead_s)
    before = [event for motion in made if motion.t_s < 4.5 for event in own.push(motion)] + own.push(gap)
    after = [event for motion in made if motion.t_s > 5.2 for event in own.push(motion)] + own.flush()
    assert [event.phase for event in before] == ["open", "update", "close"]
    assert 1.9 < before[0].onset_s < 2.1
    assert after == []


def test_times_that_do_not_increase_are_refused() -> None:
    first, second = motions(np.array([1.0, 1.04]))
    own = spotter()
    own.push(second)
    for late in (second, first):
        with pytest.raises(ValueError, match=r"came after that at 1\.04 s; expected times that increase"):
            own.push(late)
    own.reset()
    own.push(first)


def various(seed: int, fps: float = 30.0) -> list[Motion]:
    """Movements of any size, length and place, some calm between them."""
    rng = np.random.default_rng(seed)
    shown, begin_s = [], 1.5
    for _ in range(5):
        long_s = rng.uniform(0.2, 0.45) if rng.random() < 0.5 else rng.uniform(0.7, 2.5)
        size_iod = rng.uniform(0.008, 0.03) if long_s < 0.5 else rng.uniform(0.03, 0.08)
        shown.append(Movement(bump(begin_s, long_s), size_iod, SMILE if rng.random() < 0.5 else BROWS))
        begin_s += long_s + rng.uniform(0.5, 2.0)
    return motions(regular(fps, begin_s + 2.0), shown, seed)


@pytest.mark.parametrize("lookahead_s", [0.3, LOOKAHEAD_S, 1.5])
def test_an_event_is_told_once_the_lookahead_has_passed(lookahead_s: float) -> None:
    own = spotter(lookahead_s)
    assert own.latency_s == lookahead_s
    all_told = [event for motion in various(1) for event in own.push(motion)]
    waits_s = [event.decided_s - event.offset_s for event in all_told if event.offset_s is not None]
    lengths_s = [event.offset_s - event.onset_s for event in all_told if event.offset_s is not None]
    assert len(waits_s) >= 4
    assert min(waits_s) >= lookahead_s - 1e-6
    assert max(wait_s - max(lookahead_s, long_s) for wait_s, long_s in zip(waits_s, lengths_s, strict=True)) < 0.1


def test_without_end_all_is_told_by_flush() -> None:
    own = spotter(OFFLINE)
    assert not [event for motion in various(1) for event in own.push(motion)]
    onsets_s = [event.onset_s for event in own.flush()]
    assert len(onsets_s) >= 12
    assert onsets_s == sorted(onsets_s)


@pytest.mark.parametrize("seed", range(6))
def test_live_and_offline_tell_the_same(seed: int) -> None:
    made = various(seed)
    live, offline = closed(made), closed(made, OFFLINE)
    assert [event.type for event in live] == [event.type for event in offline]
    assert len(live) == 5
    for one, other in zip(live, offline, strict=True):
        np.testing.assert_allclose(bounds_s(one), bounds_s(other), atol=2 / 30 + 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_30_and_200_frames_a_second_tell_the_same(seed: int) -> None:
    slow, fast = closed(various(seed)), closed(various(seed, 200.0))
    assert [(event.type, set(event.regions)) for event in slow] == [(event.type, set(event.regions)) for event in fast]
    for one, other in zip(slow, fast, strict=True):
        np.testing.assert_allclose(bounds_s(one), bounds_s(other), atol=4 / 30)


def test_skin_that_is_hidden_tells_nothing() -> None:
    made = motions(regular(30.0, 6.0), [Movement(bump(3.0, 0.5), 0.05, SMILE)])
    hidden = [
        replace(motion, unlike=np.ones_like(motion.unlike), noise_iod=np.full_like(motion.noise_iod, 0.1))
        for motion in made
    ]
    assert told(hidden) == []


def test_strength_stays_in_bounds_and_passes_a_half_where_an_event_ends() -> None:
    own = spotter()
    assert own.strength == (0.0, 0.0)
    strengths = []
    for motion in motions(
        regular(30.0, 8.0), [Movement(bump(2.0, 0.3), 0.02, BROWS), Movement(bump(4.0, 1.5), 5.0, SMILE)]
    ):
        own.push(motion)
        strengths.append(own.strength)
    micro, macro = np.array(strengths).T
    assert np.isfinite(strengths).all() and np.min(strengths) >= 0 and np.max(strengths) < 1
    assert micro[30:55].max() < 0.5 < micro[66:80].max()
    assert macro[30:55].max() < 0.5 < macro[160:200].max()


def test_what_is_kept_does_not_grow() -> None:
    own = spotter(OFFLINE)
    kept = []
    for motion in motions(regular(10.0, 60.0)):
        own.push(motion)
        kept.append(len(own._frames))
    assert kept[-1] == max(kept) == pytest.approx(10 * KEPT_S, abs=2)


def test_a_long_pause_is_not_bridged() -> None:
    t_s = regular(30.0, 14.0)
    raised = motions(t_s, [Movement(lambda at_s: ((at_s >= 9.6) & (at_s < 10.5)).astype(float), 0.05, SMILE)])
    paused = [motion for motion in raised if not 10.0 <= motion.t_s < 11.0]
    assert closed(paused) == []


@pytest.mark.parametrize("fps", [1.0, 5.0, 25.0, 30.0, 200.0])
def test_the_type_is_that_of_the_frames_told(fps: float) -> None:
    rng = np.random.default_rng(7)
    begins_s = np.arange(1.0, 38.0, 2.5)
    movements = [Movement(bump(begin_s, rng.uniform(0.35, 0.65)), 0.03, SMILE) for begin_s in begins_s]
    for event in closed(motions(unsteady(regular(fps, 40.0)), movements)):
        assert event.offset_s is not None and event.onset_s < event.offset_s
        assert (event.type == "micro") == (event.offset_s - event.onset_s <= 0.5 + 1e-6)


def test_events_of_a_recording_are_numbered_as_they_happened() -> None:
    movements = [Movement(bump(begin_s, 0.4), size_iod, SMILE) for begin_s, size_iod in ((2.0, 0.01), (5.0, 0.04))]
    assert [event.id for event in closed(motions(regular(30.0, 8.0), movements), OFFLINE)] == ["cam-0-0", "cam-0-1"]
