"""What a run measures of itself, as Prometheus reads it: http://address:port/metrics, text.

The names are Prometheus' way: base units, `_total` where it only grows. Labels hold names of sources and words of
livespot's own, never an address.
"""

import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, get_args

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from livespot.errors import PublishError
from livespot.metrics import BUCKETS_S, RunMetrics, Spread
from livespot.publish import endpoint as endpoints
from livespot.records import State

CLIENTS = 4
"""Answered at the same time; who comes beyond them is hung up on."""

SILENCE_S = 5.0
"""A client that says nothing, or takes nothing, for so long is hung up on."""


class Exporter(Collector):
    """Serves the metrics that it was last given. A context manager: entering binds, leaving closes."""

    def __init__(self, endpoint: str, insecure: bool = False) -> None:
        """`endpoint`: address:port. Other machines can read it only where `insecure` says that they may."""
        self.latest: RunMetrics | None = None
        """Replaced as a whole, by any thread; nothing is served of None."""
        self.url = f"http://{endpoint}/metrics"
        """Once entered, with the port that was taken."""
        self._endpoint, self._insecure = endpoint, insecure

    def __enter__(self) -> "Exporter":
        """Raises PublishError where it cannot be bound."""
        host, port = self._checked()
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server = _Server(host, port, registry)
        except OSError as error:
            raise PublishError(
                f"metrics cannot be served at {self._endpoint}: {error.strerror or error}: stop what is bound there, "
                "perhaps another livespot, or give another address:port of this machine"
            ) from None
        self.url = f"http://{self._endpoint.rpartition(':')[0]}:{self._server.server_address[1]}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, name="livespot-prometheus", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for at each request."""
        return iter(()) if self.latest is None else families(self.latest)

    def _checked(self) -> tuple[str, int]:
        as_url = f"tcp://{self._endpoint}"
        endpoints.check(as_url)
        if not (self._insecure or endpoints.is_local(as_url)):
            raise PublishError(
                f"{self._endpoint} lets anyone in the network read the metrics: give 127.0.0.1:port, or say --insecure"
            )
        host, _, port = self._endpoint.rpartition(":")
        return host.strip("[]"), int(port)


def families(run: RunMetrics) -> Iterator[Metric]:
    """All metrics of a run."""
    yield GaugeMetricFamily("livespot_uptime_seconds", "Since the run began.", run.uptime_s)
    yield GaugeMetricFamily("livespot_idle_seconds", "Since the last turn of the loop.", run.idle_s)
    if run.recording is not None:
        yield GaugeMetricFamily("livespot_recording", "1 while it can be recorded.", not run.recording.error)
        yield CounterMetricFamily(
            "livespot_recording_lost_messages", "Messages that could not be recorded.", run.recording.lost
        )
    yield from _counters(run)
    yield from _gauges(run)
    yield from _durations(run)


def _counters(run: RunMetrics) -> Iterator[Metric]:
    for name, documentation, field in (
        ("frames", "Frames that were watched.", "frames"),
        ("dropped_frames", "Frames that livespot was too slow for.", "dropped_frames"),
        ("reconnects", "How often the source came back.", "reconnects"),
        ("stalls", "How often the source was silent while it was connected.", "stalls"),
    ):
        counter = CounterMetricFamily(f"livespot_{name}", documentation, labels=["source"])
        for source, one in run.sources.items():
            counter.add_metric([source], getattr(one, field))
        yield counter
    for name, documentation, label, field in (
        ("gaps", "Stretches that were not watched.", "reason", "gaps"),
        ("gap_seconds", "Stream time that was not watched.", "reason", "gap_s"),
        ("events", "Expressions that were told to their end.", "type", "events"),
    ):
        counter = CounterMetricFamily(f"livespot_{name}", documentation, labels=["source", label])
        for source, one in run.sources.items():
            for value, count in getattr(one, field).items():
                counter.add_metric([source, value], count)
        yield counter


def _gauges(run: RunMetrics) -> Iterator[Metric]:
    state = GaugeMetricFamily("livespot_source_state", "1 for the state it is in.", labels=["source", "state"])
    faces = GaugeMetricFamily("livespot_faces", "Faces in view.", labels=["source"])
    depth = GaugeMetricFamily("livespot_queue_depth", "What waits in line.", labels=["source", "queue"])
    memory = GaugeMetricFamily(
        "livespot_resident_memory_bytes",
        "Of livespot itself, and of the process that reads a source.",
        labels=["process", "source"],
    )
    memory.add_metric(["livespot", ""], run.resident_bytes)
    for queue, waiting in run.queues.items():
        depth.add_metric(["", queue], waiting)
    if run.recording is not None:
        depth.add_metric(["", "recording"], run.recording.waiting)
    for source, one in run.sources.items():
        for name in get_args(State):
            state.add_metric([source, name], one.state == name)
        faces.add_metric([source], one.faces)
        for queue, waiting in one.queues.items():
            depth.add_metric([source, queue], waiting)
        if one.resident_bytes is not None:
            memory.add_metric(["reader", source], one.resident_bytes)
    yield from (state, faces, depth, memory)


def _durations(run: RunMetrics) -> Iterator[Metric]:
    latency = HistogramMetricFamily(
        "livespot_latency_seconds", "From the arrival of a frame to published.", labels=["source"]
    )
    stages = HistogramMetricFamily(
        "livespot_stage_seconds", "The same by stages, which add up to it.", labels=["source", "stage"]
    )
    for source, one in run.sources.items():
        latency.add_metric([source], _buckets(one.latency), one.latency.sum_s)
        for stage, took in one.stages.items():
            stages.add_metric([source, stage], _buckets(took), took.sum_s)
    yield from (latency, stages)


def _buckets(took: Spread) -> list[tuple[str, float]]:
    bounds = (*BUCKETS_S, float("inf"))
    return [
        (floatToGoString(bound), count)  # type: ignore[no-untyped-call]
        for bound, count in zip(bounds, took.cumulative, strict=True)
    ]


class _Server(ThreadingTCPServer):
    """Answers few clients at a time, each in a thread, none for long."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self._free = threading.BoundedSemaphore(CLIENTS)
        super().__init__((host, port), _handler(registry))

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # clients that hang up or fall silent are no news
            super().handle_error(request, client_address)


def _handler(registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    handler: type[BaseHTTPRequestHandler] = MetricsHandler.factory(registry)
    handler.timeout = SILENCE_S
    return handler
