import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from livespot.normalise import KERNEL_PX, SIGMA_PX, local_contrast
from livespot.records import CROP_PX

SEEDS = st.integers(0, 2**32 - 1)


def equation_1(crop: NDArray[np.uint8]) -> NDArray[np.float64]:
    """g = (f - m) / max(s, c) pixel by pixel in float64, the window written out; borders mirrored."""
    radius = KERNEL_PX // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    window = np.exp(-(x**2 + y**2) / (2 * SIGMA_PX**2))
    window /= window.sum()

    def weighted(image: NDArray[np.float64]) -> NDArray[np.float64]:
        around = np.pad(image, radius, mode="reflect")
        means = np.empty_like(image)
        for row, column in np.ndindex(*image.shape):
            means[row, column] = (window * around[row : row + KERNEL_PX, column : column + KERNEL_PX]).sum()
        return means

    f_minus_m = crop - weighted(crop.astype(np.float64))
    s = np.sqrt(weighted(f_minus_m**2))
    normalised: NDArray[np.float64] = f_minus_m / np.maximum(s, s.mean())
    return normalised


def noise(seed: int, low: int = 0, high: int = 255) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(low, high, (CROP_PX, CROP_PX), np.uint8, endpoint=True)


def skin(seed: int, low: int = 0, high: int = 255) -> NDArray[np.uint8]:
    """Smooth blotches with flat ground between, from `low` to `high`: contrast that differs from place to place."""
    blotches = np.maximum(cv2.GaussianBlur(noise(seed).astype(np.float32), (0, 0), 5) - 127, 0)
    crop: NDArray[np.uint8] = (low + blotches / blotches.max() * (high - low)).astype(np.uint8)
    return crop


def dot(grey: int, dot_grey: int) -> NDArray[np.uint8]:
    crop = np.full((CROP_PX, CROP_PX), grey, np.uint8)
    crop[40, 70] = dot_grey
    return crop


def crops(highest: st.SearchStrategy[int]) -> st.SearchStrategy[NDArray[np.uint8]]:
    return st.builds(noise, SEEDS, st.just(0), highest) | st.builds(skin, SEEDS, st.just(0), highest)


RAMP = np.add.outer(np.arange(CROP_PX), np.arange(CROP_PX)).astype(np.uint8)


@pytest.mark.parametrize(
    "crop",
    [noise(0), noise(1, 100, 101), skin(2), skin(3, 200, 210), RAMP, dot(200, 201), dot(0, 255)],
    ids=["noise", "faint noise", "skin", "faint skin", "ramp", "faint dot", "bright dot"],
)
def test_it_is_equation_1(crop: NDArray[np.uint8]) -> None:
    normalised = local_contrast(crop)
    assert normalised.dtype == np.float32 and normalised.shape == crop.shape
    np.testing.assert_allclose(normalised, equation_1(crop), atol=2e-4)


@settings(max_examples=40, deadline=None)
@given(crops(st.integers(1, 41)), st.integers(1, 5), st.integers(0, 50))
def test_brightness_and_contrast_do_not_matter(crop: NDArray[np.uint8], gain: int, brightness: int) -> None:
    changed = (gain * crop.astype(int) + brightness).astype(np.uint8)
    np.testing.assert_allclose(local_contrast(changed), local_contrast(crop), atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(crops(st.just(255)))
def test_a_negative_is_the_other_way_round(crop: NDArray[np.uint8]) -> None:
    np.testing.assert_allclose(local_contrast(np.bitwise_not(crop)), -local_contrast(crop), atol=1e-3)


def test_a_flat_crop_is_zeros_at_any_brightness() -> None:
    flat = {grey: local_contrast(np.full((CROP_PX, CROP_PX), grey, np.uint8)) for grey in range(256)}
    assert [grey for grey, normalised in flat.items() if not (normalised == 0).all()] == []


def test_the_crop_is_left_as_it_was() -> None:
    crop = noise(0)
    kept = crop.copy()
    local_contrast(crop)
    np.testing.assert_array_equal(crop, kept)
