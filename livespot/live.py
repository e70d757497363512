"""A pipeline as a service: publishes what it tells, shows what it sees, counts what it does."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType

from livespot.config import PublishSettings, RecordSettings
from livespot.meter import Meter
from livespot.overlay import Overlay, Window
from livespot.pipeline import Pipeline, Step
from livespot.publish.messages import Message
from livespot.publish.zmq import Publisher
from livespot.records import Event, Scores, Status
from livespot.shards import Shards


@dataclass(frozen=True)
class Turn:
    """One turn of the loop: the messages that went out, and the counts so far."""

    steps: list[Step]
    messages: list[Message]
    meter: Meter


def publisher_of(settings: PublishSettings, record: RecordSettings | None = None) -> Publisher:
    """The publisher that settings ask for; not opened yet."""
    record = record or RecordSettings()
    return Publisher(
        settings.endpoint,
        settings.heartbeat_s,
        requests=settings.requests,
        keep=settings.keep,
        encoding=settings.encoding,
        key=settings.key,
        allowed_keys=settings.allowed_keys,
        insecure=settings.insecure,
        record=record.folder,
        record_scores=record.scores,
    )


def serve(
    pipeline: Pipeline | Shards,
    publisher: Publisher,
    scores: bool = False,
    duration_s: float | None = None,
    meter: Meter | None = None,
) -> Iterator[Turn]:
    """Publish everything the pipeline tells, turn by turn, until it ends or has run for `duration_s`.

    Scores are published where `scores` is set. Duration is stream time of the source that is least far; where a camera
    sends no frame, the clock takes over. It is counted on `meter`, where one is given.
    """
    meter = meter or Meter()
    reached: dict[str, tuple[float, float]] = {}
    for steps in pipeline:
        messages = [publisher.publish(record) for step in steps for record in step.told]
        if scores:
            messages += [publisher.publish(record) for step in steps for record in step.scores]
        messages += publisher.heartbeat()
        now_s = time.monotonic()
        for step in steps:
            meter.count(step, now_s)
        meter.turned_s = now_s
        yield Turn(steps, messages, meter)
        for step in steps:
            if step.frame is not None:
                reached[step.source] = (step.frame.t_s, now_s)
            elif any(isinstance(told, Status) and told.state == "ended" for told in step.told):
                reached.pop(step.source, None)
            else:
                reached.setdefault(step.source, (0.0, now_s))
        elapsed_s = min(
            (t_s + (now_s - at_s if source in pipeline.live else 0.0) for source, (t_s, at_s) in reached.items()),
            default=0.0,
        )
        if duration_s is not None and elapsed_s >= duration_s:
            pipeline.stop()


@contextmanager
def stopping_on_signals(pipeline: Pipeline | Shards) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the pipeline to finish; a second one ends it at once. In the main thread only."""

    def restore() -> None:
        for number, handler in kept.items():
            signal.signal(number, handler)

    def stop(_: int, __: FrameType | None) -> None:
        restore()
        pipeline.stop()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in kept:
            signal.signal(number, stop)
        yield
    finally:
        restore()


class Windows:
    """A window for each source. A context manager, for the main thread."""

    def __init__(self, thresholds: tuple[float, float], sources: list[str], max_faces: int) -> None:
        self._overlays = {source: Overlay(thresholds, max_faces) for source in sources}
        self._stack = ExitStack()

    def __enter__(self) -> "Windows":
        """Raises LivespotError where there is no display."""
        with ExitStack() as opening:
            self._windows = {source: opening.enter_context(Window(f"livespot: {source}")) for source in self._overlays}
            self._stack = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, turn: Turn) -> bool:
        """Draw the newest frame of each source; False once a window was closed or q pressed."""
        newest = {}
        for step in turn.steps:
            overlay = self._overlays[step.source]
            for item in (*step.scores, *step.told):
                if isinstance(item, (Scores, Event)):
                    overlay.push(item)
            if step.frame is not None:
                newest[step.source] = step
        caption = f"{turn.meter.fps:.0f} fps   {turn.meter.latency_ms():.0f} ms"
        return all(
            self._windows[source].show(self._overlays[source].draw(step.frame, step.faces, caption))
            for source, step in newest.items()
            if step.frame is not None
        )
