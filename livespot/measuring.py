"""Has what a run counts read once a second, in a thread of its own: the loop counts and does nothing else for it."""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

import psutil

from livespot.config import MetricsSettings
from livespot.errors import SettingsError
from livespot.meter import Meter, SourceMeter
from livespot.metrics import RecordingMetrics, RunMetrics, SourceMetrics
from livespot.pipeline import Load, Pipeline
from livespot.publish.zmq import Publisher
from livespot.shards import Shards

if TYPE_CHECKING:
    from livespot.prometheus import Exporter

PERIOD_S = 1.0

NO_LOAD = Load(frames=0, faces=0, dropped=0, reader_pid=None)
"""Of a source whose process has not begun."""


class Measuring:
    """Tells the publisher, and the exporter where there is one, what was measured: at once, then every second.

    A context manager, to be left before both are closed.
    """

    def __init__(
        self,
        meter: Meter,
        pipeline: Pipeline | Shards,
        publisher: Publisher,
        exporter: "Exporter | None" = None,
    ) -> None:
        self._meter, self._pipeline = meter, pipeline
        self._publisher, self._exporter = publisher, exporter
        self._began_s = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="livespot-metrics", daemon=True)

    def __enter__(self) -> "Measuring":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            run = measured(self._meter, self._pipeline, self._publisher, self._began_s)
            self._publisher.measured(run)
            if self._exporter is not None:
                self._exporter.latest = run
            if self._over.wait(PERIOD_S):
                return


def measured(meter: Meter, pipeline: Pipeline | Shards, publisher: Publisher, began_s: float) -> RunMetrics:
    """What was counted up to now in a run that began at the monotonic time `began_s`."""
    loads, recording, now_s = pipeline.loads(), publisher.recording, time.monotonic()
    turned_s = max(min(meter.turned_s, pipeline.heard_s), began_s)
    return RunMetrics(
        uptime_s=now_s - began_s,
        idle_s=max(now_s - turned_s, 0.0),
        resident_bytes=sum(resident_bytes(pid) or 0 for pid in (None, *pipeline.pids)),
        queues={"messages": publisher.waiting},
        sources={name: _read(source, loads.get(name, NO_LOAD), now_s) for name, source in list(meter.sources.items())},
        recording=RecordingMetrics(recording.error, recording.waiting, recording.lost) if recording else None,
    )


def _read(source: SourceMeter, load: Load, now_s: float) -> SourceMetrics:
    return source.read(load, None if load.reader_pid is None else resident_bytes(load.reader_pid), now_s)


def resident_bytes(pid: int | None = None) -> int | None:
    """Memory that a process holds, ours where none is named; None where it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def exporter_of(settings: MetricsSettings) -> "Exporter | None":
    """What settings ask for, not opened yet. Raises SettingsError where the library for it is missing."""
    if settings.endpoint is None:
        return None
    try:
        from livespot.prometheus import Exporter
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error.name} is not installed: pip install 'livespot[metrics]', or leave --metrics out: "
            "`livespot status` needs none"
        ) from None
    return Exporter(settings.endpoint, settings.insecure)
