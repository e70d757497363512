import numpy as np
import pytest

from livespot.action_units import BLINK, EXPRESSIONS, UNITS, SkinField, course, warp
from livespot.landmarks import EYE_OUTER_LEFT, EYE_OUTER_RIGHT
from livespot.records import LANDMARKS

SIZE = (300, 260)


@pytest.fixture(scope="module")
def field() -> SkinField:
    points = np.random.default_rng(0).uniform(80, 180, (LANDMARKS, 2)).astype(np.float32)
    points[EYE_OUTER_LEFT], points[EYE_OUTER_RIGHT] = (80, 120), (180, 120)
    return SkinField(points, SIZE)


@pytest.mark.parametrize("name", UNITS)
def test_intensity_is_the_peak_displacement_in_inter_ocular_distances(field: SkinField, name: str) -> None:
    displacement = field.displacement_px({name: 0.05})
    assert displacement.shape == (*SIZE, 2)
    assert np.linalg.norm(displacement, axis=-1).max() == pytest.approx(0.05 * field.iod_px, rel=0.02)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_scaled_expression_peaks_at_its_amplitude(field: SkinField, name: str) -> None:
    displacement = field.displacement_px(field.scaled(EXPRESSIONS[name], 0.03))
    assert np.linalg.norm(displacement, axis=-1).max() == pytest.approx(0.03 * field.iod_px, rel=0.02)


def test_directions_follow_a_face_that_is_turned() -> None:
    points = np.random.default_rng(1).uniform(80, 180, (LANDMARKS, 2)).astype(np.float32)
    points[EYE_OUTER_LEFT], points[EYE_OUTER_RIGHT] = (130, 80), (130, 180)
    displacement = SkinField(points, SIZE).displacement_px({"AU17": 0.1})
    assert displacement[..., 0].max() == pytest.approx(10, rel=0.02)
    assert np.abs(displacement[..., 1]).max() < 1e-3


def test_warping_takes_the_skin_where_the_displacement_points(field: SkinField) -> None:
    intensities = {"AU12_left": 0.08}
    displacement = field.displacement_px(intensities)
    y, x = (int(i) for i in np.unravel_index(np.linalg.norm(displacement, axis=-1).argmax(), SIZE))
    dot = np.zeros(SIZE, np.uint8)
    dot[y - 2 : y + 3, x - 2 : x + 3] = 200
    moved = warp(dot, field.came_from_px(intensities)).astype(float)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    assert (moved * columns).sum() / moved.sum() - x == pytest.approx(displacement[y, x, 0], abs=0.3)
    assert (moved * rows).sum() / moved.sum() - y == pytest.approx(displacement[y, x, 1], abs=0.3)


def test_no_displacement_leaves_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    assert (warp(image, np.zeros((40, 50, 2), np.float32)) == image).all()


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
    displacement = field.displacement_px(field.scaled(BLINK, field.eye_opening_iod))
    assert np.linalg.norm(displacement, axis=-1).max() == pytest.approx(field.eye_opening_iod * field.iod_px, rel=0.02)
