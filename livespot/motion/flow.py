"""Dense optical flow by name: what published spotting methods measure motion with, for comparison with the tracker.

A flow tells for every pixel of the first crop how far its skin has come in the second. Regions are read from it through
the windows of the tracker, so that all of them are compared on the same skin.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.motion.tracker import OFFSETS_PX, WEIGHTS

Grey: TypeAlias = NDArray[np.uint8]
"""uint8 (H, W)."""
Flow: TypeAlias = NDArray[np.float32]
"""float32 (H, W, 2): x, y in pixels."""

DIS_FINEST_SCALE = 0
"""The pixels themselves: motion of a tenth of a pixel is lost at the preset's half resolution."""
DIS_PATCH_PX, DIS_STRIDE_PX = 8, 4

FARNEBACK_SCALE, FARNEBACK_LEVELS = 0.5, 3
FARNEBACK_WINDOW_PX, FARNEBACK_STEPS = 15, 5
FARNEBACK_POLY_PX, FARNEBACK_POLY_SIGMA_PX = 7, 1.5
"""As in published code of the challenge of 2022 (Yu, first place)."""


def dis(first: Grey, second: Grey) -> Flow:
    """Dense inverse search (Kroeger 2016), with variational refinement."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    method.setFinestScale(DIS_FINEST_SCALE)
    method.setPatchSize(DIS_PATCH_PX)
    method.setPatchStride(DIS_STRIDE_PX)
    return np.asarray(method.calc(first, second, _empty(first)), np.float32)


def farneback(first: Grey, second: Grey) -> Flow:
    """Polynomial expansion (Farneback 2003)."""
    flow = cv2.calcOpticalFlowFarneback(
        first, second, _empty(first), FARNEBACK_SCALE, FARNEBACK_LEVELS, FARNEBACK_WINDOW_PX,
        FARNEBACK_STEPS, FARNEBACK_POLY_PX, FARNEBACK_POLY_SIGMA_PX, 0,
    )  # fmt: skip
    return np.asarray(flow, np.float32)


def tvl1(first: Grey, second: Grey) -> Flow:
    """Total variation and L1 norm (Zach 2007): the most exact of the three, and some hundred times as slow."""
    return np.asarray(cv2.optflow.DualTVL1OpticalFlow.create().calc(first, second, _empty(first)), np.float32)


FLOWS: Mapping[str, Callable[[Grey, Grey], Flow]] = {"dis": dis, "farneback": farneback, "tvl1": tvl1}


def windows(flow: Flow, middles_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """The flow in each region's window, float32 (N, P, 2), around the middles (N, 2)."""
    x, y = ((middles_px[:, axis : axis + 1] + OFFSETS_PX[:, axis]).astype(np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def regional(flow: Flow, middles_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean flow (N, 2) in each region's Gaussian window, around the middles (N, 2)."""
    return np.asarray(np.einsum("p,npc->nc", WEIGHTS, windows(flow, middles_px)), np.float32)


def _empty(crop: Grey) -> Flow:
    return np.zeros((*crop.shape, 2), np.float32)
