"""Paths are integrals that forget nothing and do not grow; patterns are what leaves and returns.

Also the motion that the tests of spotting make up: records without pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from livespot.motion.regions import EXPRESSIVE, GROUPS, REGIONS
from livespot.motion.search import GRID_HZ, KEPT_S, SCALES_S, Paths, Pattern, Search, group_strength
from livespot.records import Motion

Array: TypeAlias = NDArray[np.float64]
Course: TypeAlias = Callable[[Array], Array]
"""Times in seconds -> how much of a movement shows."""

BROWS = tuple(name for name in REGIONS if name.startswith("brow"))
SMILE = tuple(
    f"{name}_{side}" for name in ("mouth_corner", "nasolabial", "cheek", "upper_lip") for side in ("left", "right")
)
LIDS = ("upper_lid_left", "upper_lid_right")
NOISE_IOD = 0.001


def bump(begin_s: float, long_s: float) -> Course:
    """A raised cosine: away and back."""
    return lambda t_s: np.where(
        (begin_s < t_s) & (t_s < begin_s + long_s), 0.5 - 0.5 * np.cos(2 * np.pi * (t_s - begin_s) / long_s), 0.0
    )


def step(begin_s: float, long_s: float) -> Course:
    """Half a raised cosine: away, and no return."""
    return lambda t_s: 0.5 - 0.5 * np.cos(np.pi * np.clip((t_s - begin_s) / long_s, 0, 1))


@dataclass(frozen=True)
class Movement:
    """Regions that move along one direction."""

    course: Course
    size_iod: float
    regions: tuple[str, ...]
    x: float = 0.0
    y: float = -1.0

    def at(self, t_s: Array) -> Array:
        """(T, regions, 2) in IOD."""
        moves = np.array([[name in self.regions] for name in REGIONS]) * np.array([self.x, self.y])
        return np.asarray(self.size_iod * self.course(t_s)[:, None, None] * moves)


def regular(fps: float, seconds: float) -> Array:
    return np.arange(round(fps * seconds)) / fps


def motions(
    t_s: Array,
    movements: Sequence[Movement] = (),
    seed: int = 0,
    noise_iod: float = NOISE_IOD,
    unlike: Array | None = None,
    head: Array | None = None,
) -> list[Motion]:
    """Motion that adds up movements and noise; `unlike` (T, regions) and `head` (T, 6) are calm where left out."""
    shape = (len(t_s), len(REGIONS))
    moved = np.random.default_rng(seed).normal(0, noise_iod, (*shape, 2))
    moved += sum((movement.at(t_s) for movement in movements), np.zeros((*shape, 2)))
    unlike = np.zeros(shape) if unlike is None else unlike
    head = np.zeros((len(t_s), 6)) if head is None else head
    noise = np.full(len(REGIONS), noise_iod, np.float32)
    return [
        Motion(
            moved[row].astype(np.float32), noise, unlike[row].astype(np.float32), head[row].astype(np.float32),
            0, "cam", row, float(t_s[row]), 100 + float(t_s[row]),
        )
        for row in range(len(t_s))
    ]  # fmt: skip


def filled(made: Sequence[Motion]) -> Paths:
    paths = Paths()
    for motion in made:
        paths.add(motion)
    return paths


def found(made: Sequence[Motion]) -> tuple[list[Pattern], Paths]:
    paths, search = Paths(), Search()
    patterns = [pattern for motion in made for edge in paths.add(motion) for pattern in search.look(paths, edge)]
    return patterns, paths


def integral(t_s: Array, values: Array, until_s: Array) -> Array:
    """Of straight lines between the values (T, ...), from the first time until others."""
    all_s = np.union1d(t_s, until_s)
    flat = values.reshape(len(t_s), -1)
    lines = np.stack([np.interp(all_s, t_s, column) for column in flat.T], axis=1)
    parts = np.diff(all_s)[:, None] * (lines[1:] + lines[:-1]) / 2
    sums = np.concatenate([np.zeros((1, flat.shape[1])), np.cumsum(parts, axis=0)])
    return np.asarray(sums[np.searchsorted(all_s, until_s)].reshape(len(until_s), *values.shape[1:]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.002, 0.3), min_size=3, max_size=40), st.integers(0, 1000))
def test_cells_are_the_exact_means_of_straight_lines_whatever_the_times(intervals_s: list[float], seed: int) -> None:
    t_s = 7.0 + np.cumsum([0.0, *intervals_s])
    made = motions(t_s, seed=seed, noise_iod=0.05)
    paths = filled(made)
    edges_s = np.array([paths.time_s(edge) for edge in range(paths.count)])
    assert edges_s[-1] <= t_s[-1] < edges_s[-1] + 1 / GRID_HZ + 1e-9
    displacement = np.array([motion.displacement_iod for motion in made], np.float64)
    means = np.diff(integral(t_s, displacement, edges_s), axis=0) * GRID_HZ
    np.testing.assert_allclose(paths.cells(0, paths.count - 1), means, atol=1e-9)


def test_every_edge_is_told_once_as_the_path_passes_it() -> None:
    t_s = np.array([3.0, 3.004, 3.019, 3.02, 3.5, 3.51])
    paths = Paths()
    told = [paths.add(motion) for motion in motions(t_s)]
    assert [edge for edges in told for edge in edges] == list(range(paths.count))
    assert [len(edges) for edges in told[:3]] == [1, 0, 0]
    assert paths.time_s(0) == 3.0
    assert all(paths.edge(paths.time_s(edge)) == edge for edge in range(paths.count))


def test_the_time_between_frames_is_the_usual_one() -> None:
    t_s = regular(60.0, 2.0)
    assert filled(motions(np.delete(t_s, [40, 41, 42, 60]))).frames_s == pytest.approx(1 / 60)


def test_an_hour_of_motion_takes_no_more_room_than_a_minute() -> None:
    hour = motions(np.arange(0, 3600, 0.5), [Movement(lambda t_s: t_s % 7, 0.01, BROWS)])
    paths = filled(hour[:120])
    room = paths._integrals.shape
    for motion in hour[120:]:
        paths.add(motion)
    assert paths._integrals.shape == room
    assert paths.count - paths.first >= KEPT_S * GRID_HZ / 2
    newest = paths.cells(paths.count - 26, paths.count - 1)
    ends = np.array([motion.displacement_iod for motion in hour[-2:]], np.float64)
    np.testing.assert_allclose(newest.mean(axis=0), ends.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("long_s", [0.2, 0.4, 1.0, 2.0])
def test_a_movement_that_returns_is_strongest_at_about_its_own_scale_and_time(long_s: float) -> None:
    patterns, paths = found(motions(regular(30.0, 9.0), [Movement(bump(4.0, long_s), 0.03, SMILE)]))
    best = max(patterns, key=lambda pattern: pattern.strength)
    assert 0.5 * long_s < SCALES_S[best.scale] < 2.2 * long_s
    assert 4.0 + 0.5 * long_s < paths.time_s(best.edge) < 4.0 + 2.5 * long_s
    assert set(np.argsort(best.evidence)[-len(SMILE) :]) == {REGIONS.index(name) for name in SMILE}
    assert best.moved_iod[REGIONS.index("cheek_left"), 1] < 0, "up is negative"
    assert 0.01 < best.size_iod <= 0.03 + 2 * NOISE_IOD


@pytest.mark.parametrize("course", [step(4.0, 0.3), lambda t_s: t_s / 9], ids=["a step that stays", "a drift"])
def test_what_does_not_return_is_weak(course: Course) -> None:
    t_s = regular(30.0, 9.0)
    returned, _ = found(motions(t_s, [Movement(bump(4.0, 0.6), 0.05, BROWS)]))
    stayed, _ = found(motions(t_s, [Movement(course, 0.05, BROWS)]))
    assert max((pattern.strength for pattern in stayed), default=0.0) < 0.2 * max(
        pattern.strength for pattern in returned
    )


def test_strengths_rise_as_a_pattern_ends_and_fall_again() -> None:
    paths, search = Paths(), Search()
    assert search.strengths == (0.0, 0.0)
    strengths = {}
    for motion in motions(regular(30.0, 6.0), [Movement(bump(3.0, 0.3), 0.02, BROWS)]):
        for edge in paths.add(motion):
            list(search.look(paths, edge))
        strengths[motion.index] = search.strengths
    micro = np.array([pair[0] for pair in strengths.values()])
    assert micro[95:108].max() > 2 * max(micro[:88].max(), micro[140:].max())


def test_regions_of_a_group_that_agree_are_stronger_together_and_none_counts_alone() -> None:
    weight = np.full((1, len(REGIONS)), 1 / 0.002**2)
    group = GROUPS[0]

    def strength(moves: dict[str, float]) -> float:
        moved = np.array([[(0.0, moves.get(name, 0.0)) for name in REGIONS]])
        return float(group_strength(moved, weight)[0][0, 0])

    together = strength(dict.fromkeys(group, 0.01))
    assert together == pytest.approx(len(group) ** 0.5 * 5)
    assert strength({group[0]: 0.01}) == 0
    assert strength({group[0]: 0.01, group[1]: -0.01}) < 0.2 * together, "they disagree"
    assert strength({group[0]: 0.1, group[1]: 0.002, group[2]: 0.002}) < together


def test_groups_are_of_regions_that_exist() -> None:
    assert {name for group in GROUPS for name in group} <= set(EXPRESSIVE)
    assert all(len(group) >= 2 for group in GROUPS)
