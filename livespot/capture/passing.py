"""Sources that pass on the frames of another in their own way; all else is the other's."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from livespot.capture.source import LONGEST_WAIT_S, Source, in_real_time
from livespot.records import Frame

Own = TypeVar("Own", bound="Passing")


class Passing(ABC):
    """What these have in common."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.live = source.live
        self.fps = source.fps
        self.frame_count = source.frame_count
        self.note = ""
        self._source = source

    def __enter__(self: Own) -> Own:
        self._source.__enter__()
        self.fps, self.frame_count = self._source.fps, self._source.frame_count
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the source as they are passed on."""
        yield from self.passed(self._source)
        self.note = self._source.note

    @abstractmethod
    def passed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """What becomes of its frames."""


class Paced(Passing):
    """A recording that plays at its own speed as if it came from a camera: it is live, and waits for nobody."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.live = True

    def passed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Each at its time."""
        return in_real_time(frames, max(LONGEST_WAIT_S, 2 / self.fps if self.fps else 0.0))
