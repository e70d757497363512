"""The regional motion of whole videos and what was shown in them: what networks on motion learn from.

A video goes through the live aligner and tracker once; its paths on the grid of `motion.search` are kept, one file a
video, so that learning reads thousands of hours of motion without a picture. A run that was killed goes on with the
videos that are missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespot.align import Aligner
from livespot.capture.source import Source
from livespot.capture.virtual import Expression
from livespot.config import AlignSettings
from livespot.motion.search import GRID_HZ, Paths
from livespot.motion.tracker import RegionTracker
from livespot.records import Face, Gap, ShapesInRepr

LEAST_S = 2.0
"""Shorter stretches of a face are not kept."""


@dataclass(frozen=True, repr=False, eq=False)
class Recording(ShapesInRepr):
    """The motion of one face over a stretch without gaps."""

    cells: NDArray[np.float32]
    """(T, columns): means over the cells of the grid, columns as in `motion.search`."""
    begin_s: float
    """When the first cell begins."""
    truth: tuple[Expression, ...]
    """What the whole video shows."""


def recorded(source: Source) -> Iterator[Recording]:
    """The motion of each face of a video, stretch by stretch."""
    watched: dict[int, _Stretch] = {}
    with source, Aligner(AlignSettings(), source.name) as aligner:
        truth: tuple[Expression, ...] = getattr(source, "truth", ())
        for frame in source:
            for item in aligner.push(frame):
                if isinstance(item, Face):
                    watched.setdefault(item.face, _Stretch()).push(item)
                elif isinstance(item, Gap):
                    ended = list(watched) if item.face is None else [item.face]
                    yield from _kept([watched.pop(face) for face in ended if face in watched], truth)
    yield from _kept(list(watched.values()), truth)


def _kept(stretches: Sequence["_Stretch"], truth: tuple[Expression, ...]) -> Iterator[Recording]:
    for stretch in stretches:
        cells = stretch.cells()
        if len(cells) >= LEAST_S * GRID_HZ:
            yield Recording(cells, stretch.begin_s, truth)


class _Stretch:
    def __init__(self) -> None:
        self._tracker, self._paths = RegionTracker(), Paths()
        self._integrals: list[NDArray[np.float64]] = []
        self.begin_s = 0.0

    def push(self, face: Face) -> None:
        for motion in self._tracker.push(face):
            edges = self._paths.add(motion)
            if len(edges):
                self._integrals.append(self._paths.at(np.arange(edges.start, edges.stop)))
        self.begin_s = self._paths.time_s(0)

    def cells(self) -> NDArray[np.float32]:
        integrals = np.concatenate(self._integrals)
        return np.asarray(np.diff(integrals, axis=0) * GRID_HZ, np.float32)


def save(path: Path, recordings: Sequence[Recording]) -> None:
    """All stretches of one video into one file, whole or not at all."""
    part = path.with_suffix(".part.npz")
    arrays = {f"cells_{place}": one.cells for place, one in enumerate(recordings)}
    truth = recordings[0].truth if recordings else ()
    np.savez(
        part,
        begin_s=np.array([one.begin_s for one in recordings]),
        truth=np.array([_row(one) for one in truth], np.float64).reshape(-1, 6),
        units=np.array([one.units for one in truth], np.str_),
        **arrays,
    )
    part.replace(path)


def load(path: Path) -> list[Recording]:
    """What `save` wrote."""
    with np.load(path) as kept:
        truth = tuple(
            Expression("micro" if row[0] else "macro", *row[1:5].tolist(), str(units), float(row[5]))
            for row, units in zip(kept["truth"], kept["units"], strict=True)
        )
        return [
            Recording(kept[f"cells_{place}"], float(begin_s), truth) for place, begin_s in enumerate(kept["begin_s"])
        ]


def _row(one: Expression) -> tuple[float, ...]:
    is_micro = float(one.type == "micro")
    return is_micro, one.onset_s, one.apex_s, one.offset_s, one.hold_s, one.amplitude_iod
