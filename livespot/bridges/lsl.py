"""The event stream as streams of the Lab Streaming Layer, stamped with the time of capture in LSL's own clock.

    stream of LSL               type       a sample is
    livespot                    Markers    one string when an expression is over: `cam1 face 0 micro onset`, `... apex`,
                                           `... offset`, each stamped with its own instant; gaps as `cam1 gap begin`
                                           and `cam1 gap end`; `cam1 running` and other states; what was lost
    livespot-messages           Messages   every event (all phases), gap and status at once, as JSON
    livespot-scores-cam1-0      Scores     micro and macro of face 0 of cam1, irregular, where scores are published

LSL's clock is this machine's monotonic clock. An instant is as exact as the arrival of its frame, the camera's own
delay not counted, and the relation of the clocks, see `clock`.
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from livespot.bridges.clock import Clock
from livespot.errors import PublishError
from livespot.publish.messages import Message

MAX_HELD = 1_000
"""Messages of one publisher that wait until its clock is known."""

MAX_SCORE_STREAMS = 64
"""Faces come and go, and each new one has another number: the stream that was silent longest is closed."""

MAX_PUBLISHERS = 256


@dataclass(frozen=True)
class Sample:
    """What goes out on one stream of LSL."""

    stream: str
    value: list[str] | list[float]
    monotonic_s: float
    """When it was so, by the publisher's clock."""


def samples(message: Message) -> Iterator[Sample]:
    """What a message is in LSL; nothing for a heartbeat."""
    kind, stream, now_s = message["kind"], message["stream"], message["monotonic_s"]
    if kind == "heartbeat":
        return
    if kind == "score":
        instant_s = now_s - message.get("latency_s", 0.0)
        yield Sample(f"livespot-scores-{stream}-{message['face']}", [message["micro"], message["macro"]], instant_s)
        return
    markers = list(_markers(message))
    yield from markers
    told_s = now_s - message["latency_s"] if kind == "event" else now_s
    yield Sample("livespot-messages", [json.dumps(message)], told_s)


def _markers(message: Message) -> Iterator[Sample]:
    kind, stream, now_s = message["kind"], message["stream"], message["monotonic_s"]
    if kind == "event" and message["phase"] == "close":
        zero_s = now_s - message["latency_s"] - message["offset_s"]  # of the stream, by the publisher's clock
        for what in ("onset", "apex", "offset"):
            text = f"{stream} face {message['face']} {message['type']} {what}"
            yield Sample("livespot", [text], zero_s + message[f"{what}_s"])
    elif kind == "gap":
        yield Sample("livespot", [f"{stream} gap begin"], now_s - (message["to_s"] - message["from_s"]))
        yield Sample("livespot", [f"{stream} gap end"], now_s)
    elif kind == "status":
        yield Sample("livespot", [f"{stream} {message['state']}"], now_s)


@dataclass
class _Publisher:
    clock: Clock = field(default_factory=Clock)
    held: deque[Message] = field(default_factory=lambda: deque(maxlen=MAX_HELD))


class LslBridge:
    """Outlets of LSL. A context manager that belongs to one thread."""

    def __init__(self, name: str = "livespot") -> None:
        """`name` makes the streams' source ids, by which LSL finds them again after a restart. Raises PublishError
        where pylsl or its library is missing."""
        self._name, self._lsl = name, _pylsl()
        self._publishers: defaultdict[str, _Publisher] = defaultdict(_Publisher)
        self._outlets: dict[str, Any] = {}

    def __enter__(self) -> "LslBridge":
        for stream in ("livespot", "livespot-messages"):
            self._outlet(stream)
        return self

    def __exit__(self, *_: object) -> None:
        self._outlets.clear()

    @property
    def streams(self) -> list[str]:
        """What is offered now."""
        return list(self._outlets)

    def pass_on(self, message: Message) -> None:
        """Send a message, once its publisher's clock is known: from its first heartbeat on. `lost` and `restart` are
        passed on at once, stamped now."""
        now_s = self._lsl.local_clock()
        if "monotonic_s" not in message:
            self._push("livespot", [f"{message['stream']} {message['kind']}"], now_s)
            self._push("livespot-messages", [json.dumps(message)], now_s)
            return
        one = self._publisher(message["publisher"])
        one.clock.hear(message, now_s)
        one.held.append(message)
        while one.clock.ticking and one.held:
            for sample in samples(one.held.popleft()):
                self._push(sample.stream, sample.value, one.clock.here_s(sample.monotonic_s))

    def _publisher(self, publisher: str) -> _Publisher:
        if publisher not in self._publishers and len(self._publishers) == MAX_PUBLISHERS:
            del self._publishers[next(iter(self._publishers))]
        return self._publishers[publisher]

    def _push(self, stream: str, value: list[str] | list[float], lsl_s: float) -> None:
        self._outlet(stream).push_sample(value, lsl_s)

    def _outlet(self, stream: str) -> Any:
        """The outlet, which is opened where it is new; the least lately used scores give way."""
        outlet = self._outlets.pop(stream, None) or self._opened(stream)
        self._outlets[stream] = outlet
        scores = [name for name in self._outlets if name.startswith("livespot-scores-")]
        if len(scores) > MAX_SCORE_STREAMS:
            del self._outlets[scores[0]]
        return outlet

    def _opened(self, stream: str) -> Any:
        scores = stream.startswith("livespot-scores-")
        what = "Scores" if scores else "Markers" if stream == "livespot" else "Messages"
        info = self._lsl.StreamInfo(
            stream, what, 2 if scores else 1, self._lsl.IRREGULAR_RATE,
            self._lsl.cf_float32 if scores else self._lsl.cf_string, f"{self._name}-{stream}",
        )  # fmt: skip
        if scores:
            info.set_channel_labels(["micro", "macro"])
        return self._lsl.StreamOutlet(info)


def _pylsl() -> Any:
    try:
        import pylsl
    except ModuleNotFoundError:
        raise PublishError("pylsl is not installed: pip install 'livespot[lsl]'") from None
    except (RuntimeError, OSError) as error:
        raise PublishError(
            f"pylsl finds no liblsl ({str(error).splitlines()[0]}): its wheel for Linux on x86-64 holds it; elsewhere "
            "install it from https://github.com/sccn/liblsl/releases, and set PYLSL_LIB to its path"
        ) from None
    return pylsl
