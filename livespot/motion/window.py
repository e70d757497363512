"""The recent regional motion of a face as one array for a network: the same cells of time whatever the frame rate.

    |----|----|----|----|----|....  cells of the grid, each the mean of straight lines between frames
    <------- motion_s ------->   ^
                 newest edge     newest frame: less than a cell later

Cells are counted from the first frame on, so all frames within one cell see the same window.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespot.motion.search import GRID_HZ, NOISE, Array, Paths, columns
from livespot.records import MAX_PAUSE_S, ClipSpec, Motion

Window = NDArray[np.float32]


class MotionWindow:
    """Windows of the regional motion of one face, as a `ClipSpec` asks for.

    There is a window from the first frame on. What was before the face was watched is its earliest cell, repeated: a
    face at rest. After a gap `reset` it; after a long pause it begins anew by itself, as the tracker does.
    """

    latency_s = 0.0
    """A window is told when its newest frame comes."""

    def __init__(self, spec: ClipSpec) -> None:
        self._shape = spec.motion_shape
        self.reset()

    def push(self, motion: Motion) -> Window:
        """The window float32 (channels, cells) that ends with this motion, at the newest edge of the grid.

        Rows as `records.MOTION_CHANNELS` says. It is not to be written to: frames within one cell share it.
        Raises ValueError where the motion is not later than the one before.
        """
        self._advance(motion.t_s)
        passed = self._paths.add(motion)
        if passed.start == 0:
            self._window = self._at_rest(columns(motion)[None])
        elif passed:
            cells = self._cells(passed)
            before = self._at_rest(cells) if passed.start == 1 else self._window
            self._window = self._continued(before, channels(cells).T)
        return self._window

    def flush(self) -> list[Window]:
        """Nothing is held back."""
        return []

    def reset(self) -> None:
        """Forget everything."""
        self._paths = Paths()
        self._last_s: float | None = None

    def _advance(self, t_s: float) -> None:
        if self._last_s is not None:
            if t_s <= self._last_s:
                raise ValueError(f"motion at {t_s} s came after that at {self._last_s} s; expected times that increase")
            if t_s - self._last_s > MAX_PAUSE_S:
                self.reset()
        self._last_s = t_s

    def _cells(self, passed: range) -> Array:
        """(cells, columns) the means over the cells that end at the edges passed."""
        edges = np.arange(passed.start - 1, passed.stop)
        return np.asarray(np.diff(self._paths.at(edges), axis=0) * GRID_HZ)

    def _continued(self, before: Window, new: Window) -> Window:
        length = self._shape[1]
        kept = max(length - new.shape[1], 0)
        return np.concatenate([before[:, length - kept :], new[:, -length:]], axis=1)

    def _at_rest(self, cells: Array) -> Window:
        """A window of nothing but the earliest of some cells."""
        return np.repeat(channels(cells[:1]).T, self._shape[1], axis=1)


def channels(cells: NDArray[Any]) -> Window:
    """(T, channels) of cells (T, columns) of a path: with the standard error in place of its square."""
    paths = cells.astype(np.float32)
    paths[:, NOISE] = np.sqrt(np.maximum(paths[:, NOISE], 0))  # a difference of long sums may fall below nothing
    return paths
