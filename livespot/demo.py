"""The demo: what a subscriber heard of a virtual camera beside what the camera showed."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from types import TracebackType

from rich.table import Table

from livespot.capture.virtual import Expression
from livespot.errors import PublishError
from livespot.evaluation.matching import HIT_IOU, Interval, intersection_over_union
from livespot.publish.messages import Message
from livespot.publish.subscriber import subscribe
from livespot.publish.zmq import Publisher
from livespot.tables import STYLES

HEARTBEAT_S = 0.05
"""Short, so that the listener knows at once that it hears; who listens before that would miss the first events."""

JOIN_S = 5.0
"""A subscriber on the same machine that hears nothing for so long never will."""


class Listener:
    """A subscriber in a thread of its own, as another program would be. A context manager."""

    def __init__(self, publisher: Publisher) -> None:
        """`publisher` is open and has a short heartbeat."""
        self.events: list[Message] = []
        """Closed events heard so far."""
        self._publisher = publisher
        self._hears = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="livespot-demo-listener", daemon=True)

    def __enter__(self) -> "Listener":
        """Raises PublishError where nothing of the publisher arrives."""
        self._thread.start()
        until_s = time.monotonic() + JOIN_S
        while not self._hears.wait(HEARTBEAT_S):
            self._publisher.heartbeat()
            if time.monotonic() > until_s:
                raise PublishError(f"nothing that {self._publisher.endpoint} sends arrives: is a firewall in the way?")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join()

    def _listen(self) -> None:
        with subscribe(self._publisher.endpoint, ("event", "status", "heartbeat"), timeout_s=JOIN_S) as messages:
            for message in messages:
                self._hears.set()
                if message["kind"] == "event" and message["phase"] == "close":
                    self.events.append(message)
                elif message["kind"] == "status" and message["state"] == "ended":
                    return


@dataclass(frozen=True)
class Line:
    """One expression shown, spotted, or both."""

    shown: Expression | None
    spotted: Message | None
    overlap: float = 0.0
    """Intersection over union of the two, [0, 1]."""

    @property
    def hit(self) -> bool:
        """Whether it was spotted as the challenge's rule asks: the same type, overlapping by half."""
        return (
            self.shown is not None
            and self.spotted is not None
            and self.spotted["type"] == self.shown.type
            and self.overlap >= HIT_IOU
        )


def compare(truth: Sequence[Expression], events: Sequence[Message], fps: float) -> list[Line]:
    """Each shown expression with the event that overlaps it most, then the events left over; by time."""
    left = list(events)
    lines = []
    for shown in truth:
        spotted = max(left, key=lambda event: _overlap(shown, event, fps), default=None)
        overlap = _overlap(shown, spotted, fps) if spotted else 0.0
        if spotted and overlap > 0:
            left.remove(spotted)
            lines.append(Line(shown, spotted, overlap))
        else:
            lines.append(Line(shown, None))
    lines += [Line(None, event) for event in left]
    return sorted(lines, key=_begin_s)


def to_rich(lines: Sequence[Line]) -> Table:
    """The comparison for the terminal."""
    table = Table(header_style="bold")
    for heading in ("shown", "spotted", "verdict"):
        table.add_column(heading)
    for line in lines:
        table.add_row(_told_shown(line.shown), _told_spotted(line.spotted), _verdict(line))
    return table


def _overlap(shown: Expression, event: Message, fps: float) -> float:
    truth: Interval = (ceil(shown.onset_s * fps), max(ceil(shown.offset_s * fps) - 1, ceil(shown.onset_s * fps)))
    return intersection_over_union(truth, (event["onset_frame"], event["offset_frame"]))


def _begin_s(line: Line) -> float:
    if line.shown is not None:
        return line.shown.onset_s
    return float(line.spotted["onset_s"]) if line.spotted else 0.0


def _told_shown(shown: Expression | None) -> str:
    if shown is None:
        return "[dim]nothing[/]"
    times = f"{shown.onset_s:6.2f} to {shown.offset_s:5.2f} s"
    return f"[{STYLES[shown.type]}]{shown.type}[/] {times}  {shown.units}, {100 * shown.amplitude_iod:.1f} %"


def _told_spotted(event: Message | None) -> str:
    if event is None:
        return "[dim]nothing[/]"
    times = f"{event['onset_s']:6.2f} to {event['offset_s']:5.2f} s"
    return f"[{STYLES[event['type']]}]{event['type']}[/] {times}  score {event['confidence']:.2f}"


def _verdict(line: Line) -> str:
    if line.hit:
        return "[green]spotted[/]"
    if line.shown is None:
        return "[red]false alarm[/]"
    if line.spotted is None:
        return "[red]missed[/]"
    return f"[yellow]in part[/], overlap {line.overlap:.2f}"
