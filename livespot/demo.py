"""The demo: what a subscriber heard of a virtual camera beside what the camera showed."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from types import TracebackType

from rich import box
from rich.table import Table

from livespot.capture.virtual import Expression
from livespot.errors import PublishError
from livespot.evaluation.matching import HIT_IOU, Interval, intersection_over_union
from livespot.publish.messages import Message
from livespot.publish.subscriber import subscribe
from livespot.publish.zmq import Publisher
from livespot.records import ExpressionType
from livespot.tables import STYLES

HEARTBEAT_S = 0.05
"""Short, so that the listener knows at once that it hears; who listens before that would miss the first events."""

CAPTION = "units: facial action units; motion: of the skin, at most, in % of the distance between the eyes"

JOIN_S = 5.0
"""A subscriber on the same machine that hears nothing for so long never will."""


class Listener:
    """A subscriber in a thread of its own, as another program would be.

    A context manager, within which one pipeline runs to its end: leaving waits for the last message.
    """

    def __init__(self, publisher: Publisher) -> None:
        """`publisher` is open and has a short heartbeat."""
        self.events: list[Message] = []
        """Closed events heard so far."""
        self._publisher = publisher
        self._hears = threading.Event()
        self._ended = threading.Event()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="livespot-demo-listener", daemon=True)

    def __enter__(self) -> "Listener":
        """Raises PublishError where nothing of the publisher arrives."""
        self._thread.start()
        until_s = time.monotonic() + JOIN_S
        while not self._hears.wait(HEARTBEAT_S):
            self._publisher.heartbeat()
            if time.monotonic() > until_s:
                self._leave()
                raise PublishError(f"nothing that {self._publisher.endpoint} sends arrives: is a firewall in the way?")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._ended.wait(JOIN_S)
        self._leave()

    def _leave(self) -> None:
        self._left.set()
        self._thread.join()

    def _listen(self) -> None:
        with subscribe(self._publisher.endpoint, ("event", "status", "heartbeat"), timeout_s=HEARTBEAT_S) as messages:
            while not self._left.is_set():
                if message := next(messages, None):
                    self._hear(message)

    def _hear(self, message: Message) -> None:
        self._hears.set()
        if message["kind"] == "event" and message["phase"] == "close":
            self.events.append(message)
        elif message["kind"] == "status" and message["state"] == "ended":
            self._ended.set()


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
    """The comparison for the terminal, 80 columns wide."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.caption, table.caption_justify = CAPTION, "left"
    for heading in ("shown", "from s", "to s", "units", "motion", "spotted", "from s", "to s", "verdict"):
        table.add_column(heading, justify="right" if heading in ("from s", "to s", "motion") else "left")
    for line in lines:
        table.add_row(*_told_shown(line.shown), *_told_spotted(line.spotted), _verdict(line))
    return table


def _overlap(shown: Expression, event: Message, fps: float) -> float:
    truth: Interval = (ceil(shown.onset_s * fps), max(ceil(shown.offset_s * fps) - 1, ceil(shown.onset_s * fps)))
    return intersection_over_union(truth, (event["onset_frame"], event["offset_frame"]))


def _begin_s(line: Line) -> float:
    if line.shown is not None:
        return line.shown.onset_s
    return float(line.spotted["onset_s"]) if line.spotted else 0.0


def _told_shown(shown: Expression | None) -> tuple[str, ...]:
    if shown is None:
        return ("[dim]nothing[/]", "", "", "", "")
    motion = f"{100 * shown.amplitude_iod:.1f} %"
    return (*_told(shown.type, shown.onset_s, shown.offset_s), shown.units, motion)


def _told_spotted(event: Message | None) -> tuple[str, ...]:
    if event is None:
        return ("[dim]nothing[/]", "", "")
    return _told(event["type"], event["onset_s"], event["offset_s"])


def _told(kind: ExpressionType, onset_s: float, offset_s: float) -> tuple[str, str, str]:
    return f"[{STYLES[kind]}]{kind}[/]", f"{onset_s:.2f}", f"{offset_s:.2f}"


def _verdict(line: Line) -> str:
    if line.hit:
        return "[green]spotted[/]"
    if line.shown is None:
        return "[red]false alarm[/]"
    if line.spotted is None:
        return "[red]missed[/]"
    return f"[yellow]in part, {line.overlap:.2f}[/]"
