"""From aligned faces to clips: pairs (reference, current) by distances in seconds, whatever the frame rate.

    . . . R . . . . . . . . . . . M . . . C     patches of one face
                                  |<--k-->|     k_micro
          |<------------k---------------->|     k_macro
                              J<----------|     look-ahead

C is the current frame, at t; M and R are the earlier ones nearest to t - k. Where frames are missing there, or the
face was not yet in view, there is no clip: a reference at another distance would show another motion. The judged frame
J is found in the same way; without a look-ahead it is C. Regional motion that ends with C comes from outside.
"""

import math
from bisect import bisect_left
from collections import deque
from statistics import median

import numpy as np
from numpy.typing import NDArray

from livespot.records import CROP_PX, MAX_FPS, MAX_PAUSE_S, Clip, ClipSpec, Face

RECENT_INTERVALS = 31
"""The frame interval is the median of this many: it follows a camera that slows down and ignores lost frames."""

ROUNDING_S = 0.0015
"""Timestamps in whole milliseconds err by up to half of one in both frames, and by one in the interval they give."""


class ClipBuffer:
    """The recent patches of one face, in a ring allocated once; cuts the clips a network asks for.

    A reference and the judged frame may be off by half a frame interval (and `ROUNDING_S`). No frame is judged twice,
    and none from before a long pause. A source faster than `max_fps` overwrites far frames before they are needed: it
    gets no clips, never wrong ones.
    """

    def __init__(self, spec: ClipSpec, max_fps: float = MAX_FPS) -> None:
        self.latency_s = spec.lookahead_s
        """A clip is cut when its current frame comes, so long after the judged one."""
        self._spec = spec
        self._capacity = math.ceil(max(*spec.references_s, spec.lookahead_s, 0.0) * max_fps) + 2
        self._patches = np.empty((self._capacity if spec.references_s else 0, CROP_PX, CROP_PX), np.float32)
        self._indices = [0] * self._capacity
        # Every time stands twice, a ring apart: wherever the ring begins, its times are one sorted stretch.
        self._times_s = [0.0] * (2 * self._capacity)
        self._intervals_s: deque[float] = deque(maxlen=RECENT_INTERVALS)
        self.reset()

    def push(
        self, face: Face, patch: NDArray[np.float32] | None = None, motion: NDArray[np.float32] | None = None
    ) -> list[Clip]:
        """Take in a face; the clip that ends with it, or none.

        `patch` is its normalised patch float32 (112, 112), `motion` the window float32 (channels, cells) that ends with
        it, each where the network asks for it. The patch is copied once into the ring, each picture of a clip once into
        the clip: both are yours to change. The window goes into the clip as it is.
        Raises ValueError where the face is not later than the one before, or comes without what the network asks for.
        """
        self._check(patch, motion)
        self._store(face, patch)
        judged = self._judged(face.t_s)
        pairs = self._pairs(face.t_s, patch)
        if judged is None or pairs is None:
            return []
        self._judged_s = t_s = self._times_s[judged]
        inputs = {"clips": pairs, "motion": motion}
        asked = {name: array for name in self._spec.shapes if (array := inputs[name]) is not None}
        index = self._indices[judged]
        return [Clip(asked, face.face, face.source, index, t_s, face.arrival_s, lookahead_s=face.t_s - t_s)]

    def flush(self) -> list[Clip]:
        """Nothing is held back."""
        return []

    def reset(self) -> None:
        """Forget every patch: after a gap nothing before it is a reference, or judged."""
        self._intervals_s.clear()
        self._pushed = 0
        self._began_s = self._judged_s = -math.inf

    def _check(self, patch: NDArray[np.float32] | None, motion: NDArray[np.float32] | None) -> None:
        came = [name for name, array in (("patch", patch), ("motion", motion)) if array is not None]
        asked = [name for name, of in (("patch", self._spec.references_s), ("motion", self._spec.motion_s)) if of]
        if came != asked:
            raise ValueError(f"a face came with {' and '.join(came) or 'nothing'}; expected {' and '.join(asked)}")

    def _store(self, face: Face, patch: NDArray[np.float32] | None) -> None:
        t_s = face.t_s
        if self._pushed:
            last_s = self._times_s[(self._pushed - 1) % self._capacity]
            if t_s <= last_s:
                raise ValueError(f"a face at {t_s} s came after one at {last_s} s; expected times that increase")
            self._intervals_s.append(t_s - last_s)
            if t_s - last_s > MAX_PAUSE_S:
                self._began_s = t_s
        slot = self._pushed % self._capacity
        if patch is not None:
            self._patches[slot] = patch
        self._indices[slot] = face.index
        self._times_s[slot] = self._times_s[slot + self._capacity] = t_s
        self._pushed += 1

    def _judged(self, now_s: float) -> int | None:
        """Slot of the frame to be judged; None where none is near enough, or it was judged, or lies before a pause."""
        if not self._spec.lookahead_s:
            return (self._pushed - 1) % self._capacity
        slot = self._slot_near(now_s - self._spec.lookahead_s, beyond=0)
        if slot is None or self._times_s[slot] <= self._judged_s or self._times_s[slot] < self._began_s:
            return None
        return slot

    def _pairs(self, now_s: float, patch: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """(streams, 2, 112, 112) reference and patch; None where a reference is missing."""
        pairs = np.empty(self._spec.shape, np.float32)
        for stream, reference_s in enumerate(self._spec.references_s):
            slot = self._slot_near(now_s - reference_s, beyond=1)
            if slot is None:
                return None
            pairs[stream, 0] = self._patches[slot]
            pairs[stream, 1] = patch
        return pairs

    def _slot_near(self, t_s: float, beyond: int) -> int | None:
        """Slot of the frame nearest to `t_s`, the newest `beyond` left out; None where that is too far off."""
        kept = min(self._pushed, self._capacity)
        if kept < 2:
            return None
        begin = (self._pushed - kept) % self._capacity
        end = begin + kept - beyond
        after = bisect_left(self._times_s, t_s, begin, end)
        around = range(max(after - 1, begin), min(after + 1, end))
        nearest = min(around, key=lambda place: abs(self._times_s[place] - t_s))
        tolerance_s = median(self._intervals_s) / 2 + ROUNDING_S
        return nearest % self._capacity if abs(self._times_s[nearest] - t_s) <= tolerance_s else None
