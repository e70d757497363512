"""Known motion of a textured picture, as each dense flow measures it."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.motion.flow import FLOWS, Flow, Grey, regional, windows
from livespot.records import CROP_PX

SHIFT_PX = (0.6, -0.4)
TOLERANCE_PX = 0.1

MIDDLES_PX = np.array([[30, 40], [80, 40], [56, 60], [40, 85], [75, 85]], np.float32)


def texture(shift_px: tuple[float, float] = (0.0, 0.0)) -> Grey:
    """Smooth noise, moved as a whole."""
    noise = np.random.default_rng(0).normal(size=(CROP_PX, CROP_PX)).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.5), np.float32)
    motion = np.array([[1, 0, shift_px[0]], [0, 1, shift_px[1]]], np.float64)
    size = (CROP_PX, CROP_PX)
    moved = cv2.warpAffine(smooth, motion, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.rint(np.clip(128 + 250 * moved, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("name", FLOWS)
def test_a_known_shift_is_measured_in_every_region(name: str) -> None:
    flow = FLOWS[name](texture(), texture(SHIFT_PX))
    assert flow.shape == (CROP_PX, CROP_PX, 2)
    assert flow.dtype == np.float32
    assert np.abs(regional(flow, MIDDLES_PX) - SHIFT_PX).max() < TOLERANCE_PX


@pytest.mark.parametrize("name", FLOWS)
def test_a_still_picture_does_not_move(name: str) -> None:
    assert np.abs(regional(FLOWS[name](texture(), texture()), MIDDLES_PX)).max() < 0.01


def step() -> Flow:
    """A flow of one pixel to the right in the right half of the crop."""
    flow = np.zeros((CROP_PX, CROP_PX, 2), np.float32)
    flow[:, CROP_PX // 2 :, 0] = 1
    return flow


def test_a_region_sees_only_what_lies_in_its_window() -> None:
    mean = regional(step(), np.array([[20, 50], [90, 50]], np.float32))
    assert mean == pytest.approx(np.array([[0, 0], [1, 0]]), abs=1e-6)


def test_the_middle_of_a_window_counts_most() -> None:
    middles_px: NDArray[np.float32] = np.array([[CROP_PX / 2 - 0.5 + 3, 50]], np.float32)
    assert 0.6 < windows(step(), middles_px)[..., 0].mean() < regional(step(), middles_px)[0, 0] < 0.9
