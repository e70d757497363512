"""Motion lowers what heads and lids explain, and puts the bounds of events where the skin moved."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from livespot.config import DecodeSettings
from livespot.motion.evidence import Evidence
from livespot.motion.regions import REGIONS
from livespot.motion.search import KEPT_S
from livespot.records import Event, ExpressionType, Motion
from tests.motion.test_search import BROWS, SMILE, Array, Movement, bump, motions, regular, step
from tests.motion.test_spotter import blinking, bounds_s, nodding, places

REFERENCES_S = (0.2, 0.5)


def weighed(made: Sequence[Motion], references_s: Sequence[float] = REFERENCES_S) -> Array:
    """(T, 2) what is unexplained for micro and macro after each frame."""
    own = Evidence(DecodeSettings(), references_s)
    shares = []
    for motion in made:
        own.push(motion)
        shares.append(own.unexplained())
    return np.array(shares)


def seen(made: Sequence[Motion]) -> Evidence:
    own = Evidence(DecodeSettings(), REFERENCES_S)
    for motion in made:
        own.push(motion)
    return own


def proposed(onset_s: float, apex_s: float, offset_s: float, fps: float = 30.0) -> Event:
    """What a network says of times."""
    onset, apex, offset = (round(t_s * fps) for t_s in (onset_s, apex_s, offset_s))
    kind: ExpressionType = "micro" if offset_s - onset_s <= 0.5 else "macro"
    return Event("cam-0-0", "close", kind, "cam", 0, onset_s, onset, apex_s, apex, offset_s, offset, 0.7, 9.0, 109.0)


def test_all_is_unexplained_while_nothing_moves() -> None:
    shares = weighed(motions(regular(30.0, 4.0)))
    assert shares.shape == (120, 2)
    assert shares.min() > 0.95


@pytest.mark.parametrize(("regions", "size_iod"), [(SMILE, 0.05), (BROWS, 0.02)], ids=["a smile", "brows"])
def test_an_expression_is_unexplained(regions: tuple[str, ...], size_iod: float) -> None:
    shares = weighed(motions(regular(30.0, 4.0), [Movement(bump(2.0, 1.0), size_iod, regions)]))
    assert shares.min() > 0.9


def test_a_blink_is_explained() -> None:
    t_s = regular(30.0, 4.0)
    movements, unlike = blinking(t_s, 2.0)
    shares = weighed(motions(t_s, movements, unlike=unlike))
    assert shares[:58].min() > 0.95
    assert shares[63:67].max() < 0.3
    assert shares[90:].min() > 0.95


def test_of_several_references_the_first_is_for_micro_and_the_last_for_macro() -> None:
    t_s = regular(30.0, 4.0)
    movements, unlike = blinking(t_s, 2.0)
    made = motions(t_s, movements, unlike=unlike)
    micro, macro = weighed(made).T
    assert (micro != macro).any()
    np.testing.assert_array_equal(weighed(made, (0.2, 0.3, 0.5)).T, (micro, macro))
    np.testing.assert_array_equal(weighed(made, (0.2,)).T, (micro, micro))


def test_without_references_nothing_is_explained_away_and_events_are_refined() -> None:
    t_s = regular(30.0, 6.0)
    movements, unlike = blinking(t_s, 1.0)
    made = motions(t_s, [*movements, Movement(bump(3.0, 1.2), 0.05, SMILE)], unlike=unlike)
    assert (weighed(made, ()) == 1).all()
    own = Evidence(DecodeSettings(), ())
    for motion in made:
        own.push(motion)
    refined = own.refined(proposed(2.8, 3.6, 4.4))
    np.testing.assert_allclose(bounds_s(refined), (3.0, 3.6, 4.2), atol=0.15)
    assert set(refined.regions) == places(SMILE)


@pytest.mark.parametrize("axis", [4, 5], ids=["a turn", "a nod"])
def test_a_head_that_turns_explains_what_it_leaves(axis: int) -> None:
    t_s = regular(30.0, 6.0)
    movements, head = nodding(t_s, axis, 0.4, 1.2)
    moving = (t_s > 3.3) & (t_s < 3.5)
    assert weighed(motions(t_s, movements, head=head))[moving].max() < 0.3
    assert weighed(motions(t_s, movements))[moving].min() > 0.5, "as skin it is more than the lids explain"


def test_a_smile_during_a_blink_is_explained_less_than_the_blink() -> None:
    t_s = regular(30.0, 4.0)
    movements, unlike = blinking(t_s, 2.0)
    smile = Movement(step(2.0, 0.2), 0.06, SMILE)
    alone, together = (weighed(motions(t_s, shown, unlike=unlike)) for shown in (movements, [*movements, smile]))
    assert (together[63:67] > 1.5 * alone[63:67]).all()


@pytest.mark.parametrize("fps", [30.0, 200.0])
@pytest.mark.parametrize(("long_s", "size_iod", "regions"), [(0.4, 0.02, BROWS), (1.2, 0.05, SMILE)])
@pytest.mark.parametrize(("early", "late"), [(-0.2, 0.0), (0.2, 0.0), (0.0, 0.2), (0.0, -0.2), (-0.1, 0.1), (0.2, 0.2)])
def test_wrong_bounds_are_moved_onto_the_movement(
    fps: float, long_s: float, size_iod: float, regions: tuple[str, ...], early: float, late: float
) -> None:
    own = seen(motions(regular(fps, 6.0), [Movement(bump(3.0, long_s), size_iod, regions)]))
    wrong = proposed(3.0 + early * long_s, 3.0 + 0.55 * long_s, 3.0 + (1 + late) * long_s, fps)
    right = own.refined(wrong)
    true_s = 3.0 + np.array([0, 0.5, 1]) * long_s
    near_s = 0.05 + 0.2 * long_s  # before and after are taken from beyond wrong bounds, where the skin has moved
    np.testing.assert_allclose(bounds_s(right), true_s, atol=near_s)
    assert np.abs(bounds_s(right) - true_s).sum() < np.abs(bounds_s(wrong) - true_s).sum()
    assert set(right.regions) == places(regions)
    frames = np.array([right.onset_frame, right.apex_frame, right.offset_frame])
    np.testing.assert_allclose(frames, fps * bounds_s(right), atol=1e-6)
    assert right.type == ("micro" if long_s < 0.5 else "macro")
    assert replace(right, regions=()) == replace(
        wrong, type=right.type, onset_s=right.onset_s, onset_frame=right.onset_frame, apex_s=right.apex_s,
        apex_frame=right.apex_frame, offset_s=right.offset_s, offset_frame=right.offset_frame,
    )  # fmt: skip


def test_bounds_that_would_make_it_another_class_are_left() -> None:
    own = seen(motions(regular(30.0, 6.0), [Movement(bump(3.0, 0.4), 0.03, SMILE)]))
    macro = proposed(2.95, 3.2, 3.5)
    assert macro.type == "macro" and bounds_s(own.refined(macro)).tolist() == bounds_s(macro).tolist()


def test_an_open_event_stays_as_it_is() -> None:
    own = seen(motions(regular(30.0, 6.0), [Movement(bump(3.0, 0.5), 0.03, SMILE)]))
    opened = replace(proposed(2.8, 3.2, 3.6), phase="open", offset_s=None, offset_frame=None)
    assert own.refined(opened) == opened


def test_bounds_stay_where_the_movement_is_another_one() -> None:
    event = proposed(2.0, 2.5, 3.0)
    other = seen(motions(regular(30.0, 6.0), [Movement(bump(2.4, 0.2), 0.03, BROWS)])).refined(event)
    np.testing.assert_array_equal(bounds_s(other), bounds_s(event))


def test_an_event_that_was_never_watched_stays_as_it_is() -> None:
    event = proposed(2.8, 3.2, 3.6)
    own = Evidence(DecodeSettings(), REFERENCES_S)
    assert own.refined(event) == event
    assert own.refined(replace(event, truncated=True)) == replace(event, truncated=True)
    seen_before = seen(motions(regular(30.0, 6.0), [Movement(bump(3.0, 0.5), 0.03, SMILE)]))
    seen_before.reset()
    assert seen_before.refined(event) == event


def test_an_event_older_than_what_is_kept_keeps_its_bounds() -> None:
    own = seen(motions(regular(10.0, 3 * KEPT_S), [Movement(bump(3.0, 0.5), 0.03, SMILE)]))
    event = proposed(2.8, 3.2, 3.6)
    np.testing.assert_array_equal(bounds_s(own.refined(event)), bounds_s(event))


def test_shares_are_shares_whatever_comes() -> None:
    rng = np.random.default_rng(2)
    t_s = np.cumsum(rng.uniform(0.005, 0.2, 300))
    wild = motions(t_s, noise_iod=0.1, unlike=rng.random((300, len(REGIONS))), head=rng.normal(0, 0.3, (300, 6)))
    shares = weighed(wild)
    assert np.isfinite(shares).all() and shares.min() >= 0 and shares.max() <= 1


def test_an_event_stays_as_it_is_where_motion_shows_nothing() -> None:
    event = proposed(2.8, 3.2, 3.6)
    assert seen(motions(regular(30.0, 6.0), noise_iod=0.0)).refined(event) == event


def test_refined_events_do_not_overlap() -> None:
    own = seen(motions(regular(30.0, 7.0), [Movement(bump(3.0, 2.0), 0.05, SMILE)]))
    first, second = (own.refined(proposed(*times_s)) for times_s in ((3.1, 3.6, 4.0), (4.0, 4.4, 5.0)))
    assert first.offset_s is not None and second.onset_s >= first.offset_s


def test_an_event_that_was_cut_off_keeps_its_offset() -> None:
    own = seen(motions(regular(30.0, 7.0), [Movement(bump(3.0, 2.0), 0.05, SMILE)]))
    cut = replace(proposed(3.1, 3.9, 4.5), truncated=True)
    assert own.refined(cut).offset_s == 4.5


def test_a_long_pause_begins_anew() -> None:
    made = motions(regular(30.0, 6.0), [Movement(bump(2.0, 0.4), 0.02, SMILE)])
    late = [replace(motion, t_s=motion.t_s + 60, index=motion.index + 1800) for motion in made]
    own = seen([*made, *late[:3]])
    assert own.refined(proposed(2.0, 2.2, 2.4)) == proposed(2.0, 2.2, 2.4)
    assert own.unexplained() == (1.0, 1.0)
