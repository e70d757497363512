"""Stream time out of a source's own time stamps, and the holes in it."""

from collections.abc import Iterable, Iterator

from livespot.records import Frame, Gap


class Timeline:
    """Strictly increasing seconds from 0 for the pictures of one source.

    A stamp that repeats or goes back is put half a frame interval after the picture before it.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._start_s = 0.0
        self._first: tuple[float | None, float] | None = None
        self._last_s = -interval_s

    def place(self, stamp_s: float | None, otherwise_s: float) -> float:
        """Time of the next picture: by its stamp, or by `otherwise_s` where the source has no stamps.

        Both count from any origin, each from its own. Stamps that do not move from the first are none.
        """
        if self._first is None:
            self._first = (stamp_s, otherwise_s)
        first_stamp_s, first_otherwise_s = self._first
        if stamp_s is not None and first_stamp_s is not None and stamp_s > first_stamp_s:
            elapsed_s = stamp_s - first_stamp_s
        else:
            elapsed_s = otherwise_s - first_otherwise_s
        t_s = self._start_s + elapsed_s
        self._last_s = t_s if t_s > self._last_s else self._last_s + self._interval_s / 2
        return self._last_s

    def restart(self) -> None:
        """The stamps begin anew with the next picture; it follows the last by one interval."""
        self._start_s = self._last_s + self._interval_s
        self._first = None


def with_gaps(items: Iterable[Frame | Gap]) -> Iterator[Frame | Gap]:
    """The same items of one source, with a Gap in line wherever frames were lost or the source began anew.

    Frames that a Gap in `items` already accounts for are not told twice.
    """
    previous: Frame | None = None
    told_frames = 0
    for item in items:
        if isinstance(item, Gap):
            told_frames += item.frames or 0
        else:
            if previous is not None:
                yield from _hole(previous, item, told_frames)
            previous, told_frames = item, 0
        yield item


def _hole(previous: Frame, frame: Frame, told_frames: int) -> Iterator[Gap]:
    lost = frame.index - previous.index - 1 - told_frames
    if frame.epoch != previous.epoch:
        yield Gap(frame.source, previous.t_s, frame.t_s, "reconnect")
    elif lost > 0:
        yield Gap(frame.source, previous.t_s, frame.t_s, "frames_lost", frames=lost)
