"""From aligned faces to clips: pairs (reference, current) by distances in seconds, whatever the frame rate.

    . . . R . . . . . . . . . . . M . . . C     patches of one face
                                  |<--k-->|     k_micro
          |<------------k---------------->|     k_macro

C is the current frame, at t; M and R are the earlier ones nearest to t - k. Where frames are missing there, or the
face was not yet in view, there is no clip: a reference at another distance would show another motion.
"""

import math
from bisect import bisect_left
from collections import deque
from statistics import median

import numpy as np
from numpy.typing import NDArray

from livespot.records import CROP_PX, MAX_FPS, Clip, ClipSpec, Face

RECENT_INTERVALS = 31
"""The frame interval is the median of this many: it follows a camera that slows down and ignores lost frames."""

ROUNDING_S = 0.0015
"""Timestamps in whole milliseconds err by up to half of one in both frames, and by one in the interval they give."""


class ClipBuffer:
    """The recent patches of one face, in a ring allocated once; cuts the clips a network asks for.

    A reference may be off by half a frame interval (and `ROUNDING_S`). A source faster than `max_fps` overwrites far
    references before they are needed: it gets no clips, never wrong ones.
    """

    latency_s = 0.0
    """A clip is cut when its current frame comes."""

    def __init__(self, spec: ClipSpec, max_fps: float = MAX_FPS) -> None:
        self._spec = spec
        self._capacity = math.ceil(max(spec.references_s) * max_fps) + 2
        self._patches = np.empty((self._capacity, CROP_PX, CROP_PX), np.float32)
        # Every time stands twice, a ring apart: wherever the ring begins, its times are one sorted stretch.
        self._times_s = [0.0] * (2 * self._capacity)
        self._intervals_s: deque[float] = deque(maxlen=RECENT_INTERVALS)
        self._pushed = 0

    def push(self, face: Face, patch: NDArray[np.float32]) -> list[Clip]:
        """Keep the normalised patch float32 (112, 112) of a face; the clip that ends with it, or none.

        The patch is copied once into the ring, each picture of a clip once into the clip: both are yours to change.
        Raises ValueError where the face is not later than the one before.
        """
        self._store(face.t_s, patch)
        slots = [self._slot_near(face.t_s - reference_s) for reference_s in self._spec.references_s]
        frames = np.empty(self._spec.shape, np.float32)
        for stream, slot in enumerate(slots):
            if slot is None:
                return []
            frames[stream, 0] = self._patches[slot]
            frames[stream, 1] = patch
        return [Clip(frames, face.face, face.source, face.index, face.t_s, face.arrival_s)]

    def flush(self) -> list[Clip]:
        """Nothing is held back."""
        return []

    def reset(self) -> None:
        """Forget every patch: after a gap nothing before it is a reference."""
        self._intervals_s.clear()
        self._pushed = 0

    def _store(self, t_s: float, patch: NDArray[np.float32]) -> None:
        if self._pushed:
            last_s = self._times_s[(self._pushed - 1) % self._capacity]
            if t_s <= last_s:
                raise ValueError(f"a face at {t_s} s came after one at {last_s} s; expected times that increase")
            self._intervals_s.append(t_s - last_s)
        slot = self._pushed % self._capacity
        self._patches[slot] = patch
        self._times_s[slot] = self._times_s[slot + self._capacity] = t_s
        self._pushed += 1

    def _slot_near(self, t_s: float) -> int | None:
        """Slot of the frame before the current one nearest to `t_s`; None where that is too far off."""
        earlier = min(self._pushed, self._capacity) - 1
        if not earlier:
            return None
        begin = (self._pushed - 1 - earlier) % self._capacity
        after = bisect_left(self._times_s, t_s, begin, begin + earlier)
        around = range(max(after - 1, begin), min(after + 1, begin + earlier))
        nearest = min(around, key=lambda place: abs(self._times_s[place] - t_s))
        tolerance_s = median(self._intervals_s) / 2 + ROUNDING_S
        return nearest % self._capacity if abs(self._times_s[nearest] - t_s) <= tolerance_s else None
