"""Local contrast normalisation, Yap 2022 equation 1 (after Jarrett 2009)."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMA_PX = 4.0
"""Width of the Gaussian window. Not published; 4 px is 7 % of the inter-ocular distance, as thick as a brow."""

KERNEL_PX = 17
"""The window ends at two sigma: the price is per tap, and what lies beyond weighs less than 5 %."""

FLAT = 1e-6
"""Below this contrast, in grey levels, a picture is flat and normalises to zeros."""


def local_contrast(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalise a grey crop (H, W): g = (f - m) / max(s, c).

    m is the Gaussian-weighted local mean, s the local standard deviation of f - m, c the mean of s over the crop.
    Returns float32 (H, W), about -3 to 3. The same for any brightness and contrast of the same picture.
    """
    # The mean goes first, so that float32 rounds in proportion to the contrast and a flat crop gives exact zeros.
    image = crop.astype(np.float32) - np.float32(cv2.mean(crop)[0])
    window = (KERNEL_PX, KERNEL_PX)
    centred = image - cv2.GaussianBlur(image, window, SIGMA_PX)
    variance = cv2.GaussianBlur(centred * centred, window, SIGMA_PX)
    deviation = cv2.sqrt(variance)
    floor = max(float(cv2.mean(deviation)[0]), FLAT)
    normalised: NDArray[np.float32] = np.divide(centred, np.maximum(deviation, floor), dtype=np.float32)
    return normalised
