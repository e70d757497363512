import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.action_units import BLINK, EXPRESSIONS, UNITS, SkinField, backward, course
from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT
from livespot.records import LANDMARKS

SIZE = (300, 260)


@pytest.fixture(scope="module")
def field() -> SkinField:
    points = np.random.default_rng(0).uniform(80, 180, (LANDMARKS, 2)).astype(np.float32)
    points[EYE_OUTER_LEFT], points[EYE_OUTER_RIGHT] = (80, 120), (180, 120)
    return SkinField(points, SIZE)


def peak(displacement: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(displacement, axis=-1).max())


def enlarged(coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    """The field at every pixel, as renderers make it."""
    return cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)


@pytest.mark.parametrize("name", UNITS)
def test_intensity_is_the_peak_displacement_in_inter_ocular_distances(field: SkinField, name: str) -> None:
    displacement_iod = field.coarse_iod({name: 0.05})
    assert displacement_iod.shape == (*field.grid_px[0].shape, 2)
    assert peak(displacement_iod) == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_scaled_expression_peaks_at_its_amplitude(field: SkinField, name: str) -> None:
    assert peak(field.coarse_iod(field.scaled(EXPRESSIONS[name], 0.03))) == pytest.approx(0.03, rel=1e-5)


def test_directions_follow_a_face_that_is_turned() -> None:
    points = np.random.default_rng(1).uniform(80, 180, (LANDMARKS, 2)).astype(np.float32)
    points[EYE_OUTER_LEFT], points[EYE_OUTER_RIGHT] = (130, 80), (130, 180)
    displacement_iod = SkinField(points, SIZE).coarse_iod({"AU17": 0.1})
    assert displacement_iod[..., 0].max() == pytest.approx(0.1, rel=1e-5)
    assert np.abs(displacement_iod[..., 1]).max() < 1e-5


def test_a_picture_read_where_its_skin_came_from_shows_it_where_the_displacement_points(field: SkinField) -> None:
    coarse_px = field.coarse_iod({"AU12_left": 0.08}) * np.float32(field.iod_px)
    displacement, came_from = enlarged(coarse_px), enlarged(backward(coarse_px, field.spacing_px))
    y, x = (int(i) for i in np.unravel_index(np.linalg.norm(displacement, axis=-1).argmax(), SIZE))
    dot = np.zeros(SIZE, np.uint8)
    dot[y - 2 : y + 3, x - 2 : x + 3] = 200
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    moved = cv2.remap(dot, columns - came_from[..., 0], rows - came_from[..., 1], cv2.INTER_CUBIC).astype(float)
    assert (moved * columns).sum() / moved.sum() - x == pytest.approx(displacement[y, x, 0], abs=0.3)
    assert (moved * rows).sum() / moved.sum() - y == pytest.approx(displacement[y, x, 1], abs=0.3)


def sloping(degrees: float) -> NDArray[np.float32]:
    """Landmarks of which the outer eye corners lie 100 px apart, on a line that slopes."""
    points = np.random.default_rng(1).uniform(80, 180, (LANDMARKS, 2)).astype(np.float32)
    half_px = 50 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    points[[EYE_OUTER_LEFT, EYE_OUTER_RIGHT]] = 130 - half_px, 130 + half_px
    return points


def test_what_is_the_same_everywhere_is_so_in_every_window_and_is_told_along_the_eyes() -> None:
    face = SkinField(sloping(90), SIZE)
    down = np.broadcast_to(np.array([0.0, 0.1]), (1, *face.grid_px[0].shape, 2))
    np.testing.assert_allclose(face.in_windows(down, [(61,), (0, 17)], 0.075), [[(0.1, 0.0)] * 2], atol=1e-6)


def test_a_window_sees_a_field_around_its_points_as_far_as_it_reaches() -> None:
    points = sloping(0)
    face = SkinField(points, SIZE)
    x_iod, y_iod = ((grid - at) / 100 for grid, at in zip(face.grid_px, points[199], strict=True))
    bump = np.exp(-(x_iod**2 + y_iod**2) / (2 * 0.2**2))[None, ..., None] * np.array([0.0, 1.0])
    seen = face.in_windows(bump, [(199,)], 0.15)[0, 0]
    np.testing.assert_allclose(seen, (0, 0.2**2 / (0.2**2 + 0.15**2)), atol=0.01)


def test_a_course_rises_from_zero_holds_one_and_returns() -> None:
    times = np.linspace(-0.1, 1.1, 121)
    values = np.array([course(t, 0.0, 0.3, 1.0, hold_s=0.2) for t in times])
    assert values[times < 0].max() == 0 and values[times >= 1].max() == 0
    assert (values[(times > 0.3) & (times < 0.5)] == 1).all()
    assert (np.diff(values[times < 0.5]) >= 0).all() and (np.diff(values[times > 0.3]) <= 0).all()


def test_a_course_with_its_apex_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="expected onset < apex"):
        course(0.0, 0.0, 1.2, 1.0)


def test_a_blink_closes_both_eyes_by_their_opening(field: SkinField) -> None:
    closed_iod = field.coarse_iod(field.scaled(BLINK, field.eye_opening_iod))
    assert peak(closed_iod) == pytest.approx(field.eye_opening_iod, rel=1e-5)
