"""When something happened, in this machine's monotonic clock, though the publisher told it in that of its own.

A message that is published at `monotonic_s` there arrives here a little later, never earlier. So the smallest
difference of the last WINDOW_S is the difference of the clocks, plus the shortest way that a message had; clocks of two
machines, which drift apart by some millionths, add a millisecond over the window. Nothing here reads a clock.
"""

from collections import deque
from dataclasses import dataclass, field

from livespot.publish.messages import Message

WINDOW_S = 60.0

MAX_SAMPLES = 1_000
"""Of one publisher. With more in a window the oldest give way."""


@dataclass
class Clock:
    """The clock of one publisher, as seen from here."""

    ticking: bool = False
    """Whether a message was heard that was not kept for us: a heartbeat is told when it is published, or never."""
    _ahead: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    """When a message was heard, and how far its clock was behind; the smallest of all that come later is kept."""

    def hear(self, message: Message, now_s: float) -> None:
        """Take in a message heard at the monotonic time `now_s`."""
        behind_s = now_s - message["monotonic_s"]
        self.ticking |= message["kind"] == "heartbeat"
        while self._ahead and self._ahead[-1][1] >= behind_s:
            self._ahead.pop()
        self._ahead.append((now_s, behind_s))
        while self._ahead[0][0] < now_s - WINDOW_S:
            self._ahead.popleft()

    def here_s(self, monotonic_s: float) -> float:
        """This machine's monotonic time at the publisher's `monotonic_s`; something was heard before."""
        return monotonic_s + self._ahead[0][1]
