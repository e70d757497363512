"""The bounded hand-over between threads: a producer runs in a thread of its own, a consumer takes what waits.

with HandOver(source, FRAMES) as frames, HandOver(track(frames), FACES, ready) as faces:
    ...
    frames.stop()  # where a camera may be silent, so that `track` does not wait for its next frame
"""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, TypeVar

from livespot.records import Frame, Gap, Status

HURRY_S = 0.5
"""Ctrl-C waits no longer for a thread; one that has work takes milliseconds to end, one that waits ends with us."""

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")
Self = TypeVar("Self", bound="_Line[Any, Any]")


class _Line(ABC, Generic[In, Out]):
    """What both hand-overs share: the thread, the line between its two ends, how it ends and what it raises."""

    def __init__(self, items: Iterable[In], ready: threading.Condition | None, name: str) -> None:
        self._items = items
        self._ready = ready or threading.Condition()
        self._line: deque[In] = deque()
        self._error: BaseException | None = None
        self._finished = False
        self._stopped = False
        self._thread = threading.Thread(target=self._produce, name=name, daemon=True)

    def __enter__(self: Self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the thread, but not for long where Ctrl-C brings us here: a camera may be silent for ever."""
        self.stop()
        self._thread.join(HURRY_S if isinstance(error, KeyboardInterrupt) else None)

    def __iter__(self) -> Iterator[Out]:
        """Items as they come, waiting for each, until the producer has ended or `stop` was called."""
        while not self.ended:
            with self._ready:
                self._ready.wait_for(lambda: self.waiting or self.ended)
            yield from self.take(1)

    def __len__(self) -> int:
        """Items in line."""
        return len(self._line)

    @property
    def waiting(self) -> bool:
        """True where `take` has something to give or to raise."""
        return bool(self._line) or (self._finished and self._error is not None)

    @property
    def ended(self) -> bool:
        """True where nothing waits and nothing more will come."""
        return self._stopped or (self._finished and not self.waiting)

    def take(self, most: int | None = None) -> list[Out]:
        """What waits, at once: everything, or up to `most` items. Raises what the producer raised, once."""
        taken: list[Out] = []
        with self._ready:
            while self._line and (most is None or len(taken) < most):
                taken += self._next()
            return taken if taken or not self._finished else self._rest()

    def stop(self) -> None:
        """Ends both sides without waiting for them: what waits is thrown away, whoever iterates comes to the end."""
        with self._ready:
            self._stopped = True
            self._error = None
            self._line.clear()
            self._ready.notify_all()

    @abstractmethod
    def _put(self, item: In) -> None:
        """Puts one item in line; called by the producer's thread."""

    @abstractmethod
    def _next(self) -> list[Out]:
        """Removes the head of the line, which is not empty; gives what the consumer gets for it."""

    def _rest(self) -> list[Out]:
        """What is left when the producer has ended and nothing is in line."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        return []

    def _append(self, item: In) -> None:
        with self._ready:
            if not self._stopped:
                self._line.append(item)
                self._ready.notify_all()

    def _produce(self) -> None:
        error = None
        try:
            for item in self._items:
                self._put(item)
                if self._stopped:
                    break
            if isinstance(self._items, Generator):
                self._items.close()  # what it holds is let go in the thread that used it
        except BaseException as raised:  # for the consumer to raise
            error = raised
        with self._ready:
            self._error = None if self._stopped else error
            self._finished = True
            self._ready.notify_all()


class HandOver(_Line[T, T], Generic[T]):
    """Runs `items` in a thread and hands them on without loss: the producer waits while `capacity` items wait.

    A context manager: entering starts the thread; leaving stops, drains and joins it, even where the producer waits
    for room; leaving by Ctrl-C does not wait for a producer that is silent. Whatever the producer raises is raised in
    the consumer, after the items before it. `ready` is notified at each item and at the end, so that one consumer can
    wait for many hand-overs.
    """

    def __init__(
        self,
        items: Iterable[T],
        capacity: int,
        ready: threading.Condition | None = None,
        name: str = "livespot-hand-over",
    ) -> None:
        super().__init__(items, ready, name)
        self._room = threading.Semaphore(capacity)

    def stop(self) -> None:
        """Ends both sides without waiting for them: what waits is thrown away, whoever iterates comes to the end."""
        super().stop()
        self._room.release()

    def _put(self, item: T) -> None:
        self._room.acquire()
        self._append(item)

    def _next(self) -> list[T]:
        self._room.release()
        return [self._line.popleft()]


class LiveHandOver(_Line[Frame | Gap | Status, Frame | Gap | Status]):
    """The same for frames that come whether or not there is time for them: the producer never waits.

    When `capacity` frames wait, or the first of them arrived more than `staleness_s` ago, all that wait are dropped
    but the newest: whoever is too slow sees a hole now and then between whole stretches, not holes everywhere. A Gap
    stands in line for what was dropped. What the source tells besides frames is never dropped.
    """

    def __init__(
        self,
        items: Iterable[Frame | Gap | Status],
        capacity: int,
        staleness_s: float,
        ready: threading.Condition | None = None,
        name: str = "livespot-live-hand-over",
    ) -> None:
        super().__init__(items, ready, name)
        self.dropped = 0
        """Frames dropped since the start."""
        self._capacity = capacity
        self._staleness_s = staleness_s
        self._waiting_frames = 0
        self._hole: Gap | None = None
        self._delivered_s: float | None = None

    @property
    def waiting(self) -> bool:
        """True where `take` has something to give or to raise."""
        return super().waiting or (self._finished and self._hole is not None)

    def _put(self, item: Frame | Gap | Status) -> None:
        with self._ready:
            if isinstance(item, Frame):
                if self._waiting_frames == self._capacity:
                    self._drop(keep=0)
                self._waiting_frames += 1
            self._append(item)

    def _next(self) -> list[Frame | Gap | Status]:
        head = self._line[0]
        if not isinstance(head, Frame):
            return [self._line.popleft()]
        if time.monotonic() - head.arrival_s > self._staleness_s:
            self._drop(keep=1 if self._waiting_frames > 1 else 0)
            return []
        self._line.popleft()
        self._waiting_frames -= 1
        hole, self._delivered_s, self._hole = self._hole, head.t_s, None
        return [replace(hole, to_s=head.t_s), head] if hole else [head]

    def _rest(self) -> list[Frame | Gap | Status]:
        hole, self._hole = self._hole, None
        return [hole] if hole else super()._rest()

    def _drop(self, keep: int) -> None:
        """Drop all frames but the newest `keep`; what else is in line stays there, in order."""
        kept: deque[Frame | Gap | Status] = deque()
        for item in self._line:
            if isinstance(item, Frame) and self._waiting_frames > keep:
                self._miss(item)
                self._waiting_frames -= 1
            else:
                kept.append(item)
        self._line = kept

    def _miss(self, frame: Frame) -> None:
        from_s = frame.t_s if self._delivered_s is None else self._delivered_s
        hole = self._hole or Gap(frame.source, from_s, frame.t_s, "frames_dropped", frames=0)
        self._hole = replace(hole, to_s=frame.t_s, frames=(hole.frames or 0) + 1)
        self.dropped += 1
