"""Similarities are those of the plane; FaceMesh finds faces, and nothing where there is none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from livespot.landmarks import (
    CROP_EYES_PX,
    CROP_IOD_PX,
    EYE_INNER_LEFT,
    EYE_INNER_RIGHT,
    EYE_OUTER_LEFT,
    EYE_OUTER_RIGHT,
    RIGID,
    RIGID_CROP_PX,
    FaceMesh,
    apply,
    compose,
    crop_transform,
    inter_ocular_px,
    invert,
    median,
    similarity,
)
from tests.portraits import astronaut

POINTS = np.array([[0.0, 0.0], [10.0, 0.0], [3.0, 7.0], [-4.0, 12.0]])

numbers = st.floats(-100, 100)
affine = st.builds(
    lambda a, b, c, d, x, y: np.array([[a, b, x], [c, d, y]]), *([st.floats(-3, 3)] * 4), numbers, numbers
)
invertible = affine.filter(lambda t: abs(t[0, 0] * t[1, 1] - t[0, 1] * t[1, 0]) > 0.1)
turned = st.builds(
    lambda scale, angle, x, y: np.array(
        [[scale * np.cos(angle), -scale * np.sin(angle), x], [scale * np.sin(angle), scale * np.cos(angle), y]]
    ),
    st.floats(0.1, 10),
    st.floats(-3.1, 3.1),
    numbers,
    numbers,
)


def square(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same transform as a matrix (3, 3) of homogeneous coordinates."""
    return np.vstack([transform, [0, 0, 1]])


@given(turned)
def test_a_similarity_is_found_again_from_the_points_it_moved(transform: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(similarity(POINTS, apply(transform, POINTS)), transform, atol=1e-9)


@given(turned, st.integers(0, 2**32 - 1))
def test_no_other_similarity_fits_noisy_points_better(transform: NDArray[np.float64], seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = apply(transform, POINTS) + rng.normal(0, 1, POINTS.shape)
    weights = rng.uniform(0.1, 1, len(POINTS))

    def misfit(a: float, b: float, x: float, y: float) -> float:
        moved = apply(np.array([[a, -b, x], [b, a, y]]), POINTS)
        return float(weights @ ((moved - targets) ** 2).sum(axis=1))

    found = similarity(POINTS, targets, weights)
    best = np.array([found[0, 0], found[1, 0], found[0, 2], found[1, 2]])
    for nudge in 1e-3 * np.vstack([np.eye(4), -np.eye(4)]):
        assert misfit(*best) < misfit(*(best + nudge))


def test_a_mirrored_face_is_no_similarity() -> None:
    found = similarity(POINTS, POINTS * (-1, 1))
    assert np.linalg.det(found[:, :2]) >= 0


def test_points_without_weight_do_not_count() -> None:
    targets = apply(np.array([[1.0, 0, 5], [0, 1, -2]]), POINTS)
    targets[2] += 50
    found = similarity(POINTS, targets, np.array([1.0, 0.5, 0.0, 1.0]))
    np.testing.assert_allclose(found, [[1, 0, 5], [0, 1, -2]], atol=1e-12)


def test_twice_the_weight_is_the_point_twice() -> None:
    targets = POINTS + np.array([[0, 0], [1, 0], [0, 2], [0, 0]])
    twice = similarity(np.vstack([POINTS, POINTS[2:3]]), np.vstack([targets, targets[2:3]]))
    np.testing.assert_allclose(similarity(POINTS, targets, np.array([1.0, 1.0, 2.0, 1.0])), twice)


@given(st.integers(1, 60), numbers, numbers, st.integers(0, 2**32 - 1))
def test_points_that_coincide_are_refused(count: int, x: float, y: float, seed: int) -> None:
    points = np.tile([x, y], (count, 1))
    weights = np.random.default_rng(seed).uniform(0.1, 1, count)
    with pytest.raises(ValueError, match=rf"similarity of {count} points that coincide"):
        similarity(points, points, weights)


def test_points_close_together_far_from_the_origin_are_not_one() -> None:
    points = 4000 + 1e-3 * POINTS
    np.testing.assert_allclose(similarity(points, points), np.eye(2, 3), atol=1e-4)


@given(affine, affine)
def test_composing_is_multiplying_matrices(after: NDArray[np.float64], before: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(square(compose(after, before)), square(after) @ square(before), atol=1e-9)


@given(invertible)
def test_inverting_is_inverting_the_matrix(transform: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(square(invert(transform)), np.linalg.inv(square(transform)), rtol=1e-6, atol=1e-6)


@given(affine)
def test_applying_is_multiplying_homogeneous_points(transform: NDArray[np.float64]) -> None:
    homogeneous = np.column_stack([POINTS, np.ones(len(POINTS))])
    np.testing.assert_allclose(apply(transform, POINTS), homogeneous @ transform.T, atol=1e-9)


@given(affine, affine)
def test_what_composes_leaves_its_parts_alone(after: NDArray[np.float64], before: NDArray[np.float64]) -> None:
    kept = after.copy(), before.copy()
    compose(after, before)
    assert np.array_equal(after, kept[0]) and np.array_equal(before, kept[1])


def test_plain_alignment_brings_what_is_rigid_to_its_place() -> None:
    landmarks = astronaut().landmarks
    placed = apply(crop_transform(landmarks), landmarks[list(RIGID)])
    assert np.linalg.norm(placed - RIGID_CROP_PX, axis=1).max() < 0.1 * CROP_IOD_PX
    eyes = apply(crop_transform(landmarks), landmarks[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]])
    np.testing.assert_allclose(eyes.mean(axis=0), CROP_EYES_PX, atol=3)


def test_the_face_of_the_portrait_is_found_where_it_is() -> None:
    landmarks = astronaut().landmarks
    assert landmarks.shape == (468, 2) and landmarks.dtype == np.float32
    corners = landmarks[[EYE_OUTER_LEFT, EYE_INNER_LEFT, EYE_INNER_RIGHT, EYE_OUTER_RIGHT]]
    np.testing.assert_allclose(corners.mean(axis=0), (226, 103), atol=5)
    assert (np.diff(corners[:, 0]) > 0).all(), "left and right are the viewer's"
    assert inter_ocular_px(landmarks) == pytest.approx(62, abs=3)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((120, 160, 3), np.uint8),
        np.full((120, 160, 3), 130, np.uint8),
        np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8),
        np.full((1, 160, 3), 130, np.uint8),
        np.full((120, 1, 3), 130, np.uint8),
    ],
    ids=["black", "grey", "noise", "one row", "one column"],
)
def test_no_face_is_found_where_there_is_none(picture: NDArray[Any]) -> None:
    with FaceMesh(max_faces=2) as mesh:
        assert [mesh.find(picture) for _ in range(3)] == [[], [], []]


def test_constructing_is_not_opening_and_leaving_closes() -> None:
    mesh = FaceMesh()
    with pytest.raises(RuntimeError, match="not open"):
        mesh.find(astronaut().picture)
    with mesh:
        assert len(mesh.find(astronaut().picture)) == 1
    with pytest.raises(RuntimeError, match="not open"):
        mesh.find(astronaut().picture)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_median_is_numpys_to_the_last_bit(dtype: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(0)
    for count in (*range(1, 12), 34, 50):
        values = rng.normal(0, 3, count).astype(dtype)
        ours = median(values)
        assert ours == np.median(values) and ours.dtype == dtype
