"""The messages of one topic in the order of their numbers, each once; what is missing is known exactly."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from livespot.publish.messages import Message


@dataclass(frozen=True)
class Hole:
    """Numbers `first` to `last`, both included, that are missing."""

    first: int
    last: int


@dataclass
class Order:
    """Takes messages in any order, gives them in the one of their numbers."""

    next: int
    """Number of the next message to give."""
    known: int = 0
    """One more than the highest number that is known to exist."""
    _held: dict[int, Message] = field(default_factory=dict)

    def push(self, message: Message) -> None:
        """Take in a message; one that was given already or is held is left out."""
        number = message["seq"]
        if number >= self.next:
            self._held.setdefault(number, message)
            self.known = max(self.known, number + 1)

    def ready(self) -> Iterator[Message]:
        """Give what has nothing missing before it."""
        while self.next in self._held:
            self.next += 1
            yield self._held.pop(self.next - 1)

    def hole(self) -> Hole | None:
        """What is missing before the next message that is held or known to exist."""
        end = min(self._held, default=self.known)
        return Hole(self.next, end - 1) if self.next < end else None

    def settle(self, end: int) -> Iterator[Message | Hole]:
        """Give what is held before number `end`, and tell for good what is missing there."""
        while self.next < end:
            yield from self.ready()
            hole = self.hole()
            if self.next < end:
                last = end - 1 if hole is None else min(hole.last, end - 1)
                yield Hole(self.next, last)
                self.next = last + 1
        yield from self.ready()

    @property
    def held(self) -> int:
        """So many messages are held."""
        return len(self._held)
