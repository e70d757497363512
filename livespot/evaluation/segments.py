"""FESNet's further figures, as MS-TCN defines them: frame-wise accuracy and the segmental edit score.

A frame is neutral, micro or macro; where the two overlap it is micro, the rarer. MS-TCN leaves its background out of
the segments that it compares, so neutral stretches are left out here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from livespot.evaluation.labels import Span

NEUTRAL, MACRO, MICRO = 0, 1, 2

Codes: TypeAlias = NDArray[np.int8]


@dataclass(frozen=True)
class FrameScore:
    """How well frames and the order of segments agree. Scores of videos add."""

    right: int = 0
    frames: int = 0
    edit_sum: float = 0.0
    videos: int = 0

    def __add__(self, other: "FrameScore") -> "FrameScore":
        return FrameScore(
            self.right + other.right,
            self.frames + other.frames,
            self.edit_sum + other.edit_sum,
            self.videos + other.videos,
        )

    @property
    def accuracy(self) -> float:
        """Share of frames with the right class, over the frames of all videos; 0 without frames."""
        return self.right / self.frames if self.frames else 0.0

    @property
    def edit(self) -> float:
        """Mean over videos, [0, 100]; 0 without videos."""
        return self.edit_sum / self.videos if self.videos else 0.0


def frame_score(truths: Sequence[Span], predictions: Sequence[Span], length: int | None) -> FrameScore:
    """Of one video of `length` frames; without that it ends with the last expression."""
    spans = [*truths, *predictions]
    end = length or max((span.offset + 1 for span in spans), default=0)
    edges = np.unique([0, end, *(edge for span in spans for edge in (span.onset, span.offset + 1))])
    shown, told = _codes(truths, edges), _codes(predictions, edges)
    right = int(np.diff(edges)[shown == told].sum())
    return FrameScore(right, end, edit_score(_segments(shown), _segments(told)), 1)


def edit_score(shown: Codes, told: Codes) -> float:
    """100 * (1 - Levenshtein distance / length of the longer sequence); 100 where both are empty."""
    longer = max(len(shown), len(told))
    return 100.0 * (1 - _levenshtein(shown, told) / longer) if longer else 100.0


def _codes(spans: Sequence[Span], edges: NDArray[np.int64]) -> Codes:
    """Class of each stretch between two `edges`, int8 (edges - 1,)."""
    codes = np.zeros(len(edges) - 1, np.int8)
    for kind, code in (("macro", MACRO), ("micro", MICRO)):
        own = [(span.onset, span.offset + 1) for span in spans if span.type == kind]
        for start, stop in np.searchsorted(edges, np.reshape(own, (-1, 2))):
            codes[start:stop] = code
    return codes


def _segments(codes: Codes) -> Codes:
    """Classes one after the other, without the neutral ones; stretches of a class that touch are one segment."""
    begins = np.diff(codes, prepend=np.int8(-1)) != 0
    segments: Codes = codes[begins & (codes != NEUTRAL)]
    return segments


def _levenshtein(a: Codes, b: Codes) -> int:
    """Fewest insertions, deletions and replacements that turn `a` into `b`; a row of the table at once."""
    places = np.arange(len(b) + 1)
    row = places
    for done, code in enumerate(a, 1):
        reached = np.concatenate(([done], np.minimum(row[1:] + 1, row[:-1] + (b != code))))
        row = np.minimum.accumulate(reached - places) + places  # insertions go along the row
    return int(row[-1])
