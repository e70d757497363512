"""Regions that move together are read as one course, with its bounds, whatever the others do."""

import numpy as np
import pytest

from livespot.motion.course import bounds_s, direction, places
from livespot.motion.regions import EXPRESSIVE, REGIONS
from livespot.motion.search import Paths
from tests.motion.test_search import BROWS, SMILE, Array, Movement, bump, filled, motions, regular, step

FLANK = 10


def evidence(**regions: float) -> Array:
    return np.array([regions.get(name, 0.1) for name in REGIONS])


def along(names: tuple[str, ...] = BROWS) -> Array:
    """Up, of all these regions."""
    moved = np.array([[(0.0, -0.02 * (name in names)) for name in REGIONS]])[0]
    return direction(moved, np.linalg.norm(moved, axis=1))


def read(paths: Paths, direction_of: Array, begin_s: float, end_s: float) -> tuple[float, float, float] | None:
    begin, end = paths.edge(begin_s), paths.edge(end_s)
    return bounds_s(paths, direction_of, max(begin - 2 * FLANK, paths.first), begin, end, FLANK)


def test_a_direction_is_that_of_the_regions_with_evidence() -> None:
    moved = np.array([(0.03, 0.04) if name == "chin" else (0.0, -0.5) for name in REGIONS])
    leads = direction(moved, evidence(chin=10.0))
    np.testing.assert_allclose(leads[REGIONS.index("chin")], (0.6, 0.8))
    assert np.count_nonzero(leads) == 2
    both = direction(moved, evidence(chin=10.0, glabella=10.0))
    np.testing.assert_allclose(np.linalg.norm(both, axis=1).sum(), 1.0)
    assert both[REGIONS.index("glabella"), 1] == pytest.approx(-0.5)


def test_regions_that_do_not_move_have_no_direction() -> None:
    assert not direction(np.zeros((len(REGIONS), 2)), np.ones(len(REGIONS))).any()


def test_places_are_told_once_strongest_first() -> None:
    shown = evidence(chin=9.0, brow_inner_left=10.0, brow_outer_left=8.0, glabella=2.0)
    assert places(shown) == ("brow_left", "chin")
    assert set(places(np.ones(len(REGIONS)))) == {region.place for region in EXPRESSIVE.values()}


@pytest.mark.parametrize("long_s", [0.3, 1.0])
@pytest.mark.parametrize("fps", [30.0, 200.0])
def test_the_bounds_are_those_of_the_movement(long_s: float, fps: float) -> None:
    paths = filled(motions(regular(fps, 5.0), [Movement(bump(2.0, long_s), 0.02, BROWS)], noise_iod=0.0))
    found = read(paths, along(), 1.9, 2.1 + long_s)
    assert found is not None
    np.testing.assert_allclose(found, [2.0, 2.0 + long_s / 2, 2.0 + long_s], atol=0.03 + 0.07 * long_s)


def test_noise_and_what_other_regions_do_does_not_move_the_bounds() -> None:
    movement = Movement(bump(2.0, 0.4), 0.02, BROWS)
    calm = read(filled(motions(regular(60.0, 5.0), [movement], noise_iod=0.0)), along(), 1.9, 2.5)
    other = [movement, Movement(bump(1.7, 1.5), 0.1, SMILE)]
    disturbed = read(filled(motions(regular(60.0, 5.0), other, noise_iod=0.001)), along(), 1.9, 2.5)
    assert calm is not None and disturbed is not None
    np.testing.assert_allclose(disturbed, calm, atol=0.05)


def test_a_face_that_drifts_meanwhile_does_not_move_the_bounds() -> None:
    movement = Movement(bump(2.0, 0.6), 0.03, BROWS)
    drift = Movement(lambda t_s: t_s, 0.01, BROWS)
    calm = read(filled(motions(regular(60.0, 5.0), [movement], noise_iod=0.0)), along(), 1.9, 2.7)
    drifting = read(filled(motions(regular(60.0, 5.0), [movement, drift], noise_iod=0.0)), along(), 1.9, 2.7)
    assert calm is not None and drifting is not None
    np.testing.assert_allclose(drifting, calm, atol=0.04)


def test_the_apex_is_where_the_course_is_highest_not_its_middle() -> None:
    early = [Movement(step(2.0, 0.2), 0.03, BROWS), Movement(step(2.2, 1.0), -0.03, BROWS)]
    found = read(filled(motions(regular(100.0, 5.0), early, noise_iod=0.0)), along(), 1.9, 3.3)
    assert found is not None
    assert found[1] == pytest.approx(2.2, abs=0.05)
    assert found[0] < found[1] < found[2]


def test_what_sinks_or_rests_has_no_bounds() -> None:
    sinks = filled(motions(regular(30.0, 5.0), [Movement(bump(2.0, 0.5), 0.02, BROWS, y=1.0)], noise_iod=0.0))
    assert read(sinks, along(), 1.9, 2.6) is None
    rests = filled(motions(regular(30.0, 5.0), noise_iod=0.0))
    assert read(rests, along(), 1.9, 2.6) is None


def test_bounds_stay_within_what_is_kept_where_the_path_ends_or_begins() -> None:
    paths = filled(motions(regular(30.0, 2.3), [Movement(bump(2.0, 0.4), 0.02, BROWS)], noise_iod=0.0))
    found = read(paths, along(), 1.9, 2.2)
    assert found is not None
    assert np.isfinite(found).all() and found[0] < found[1] < found[2] < 2.5
