"""The metrics over HTTP: read by urllib and by Prometheus' own parser, asked for by clients with bad manners."""

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from livespot import prometheus
from livespot.errors import PublishError
from livespot.prometheus import CLIENTS, Exporter
from tests.publish.examples import MEASURED, MEASURED_SOURCE

FREE_PORT = "127.0.0.1:0"
PATIENCE_S = 20.0


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and sorted values of the labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextmanager
def serving(endpoint: str = FREE_PORT) -> Iterator[Exporter]:
    with Exporter(endpoint) as exporter:
        exporter.latest = MEASURED
        yield exporter


def connected(exporter: Exporter) -> socket.socket:
    port = int(exporter.url.rsplit(":", 1)[1].partition("/")[0])
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def test_every_figure_is_read_back_by_the_parser_of_prometheus() -> None:
    with serving() as exporter:
        got = samples(read(exporter.url))
    assert got["livespot_uptime_seconds",] == 7500.0
    assert got["livespot_frames_total", "cam1"] == 60
    assert got["livespot_frames_total", "cam2"] == 70
    assert got["livespot_dropped_frames_total", "cam1"] == 6
    assert got["livespot_gaps_total", "cam1", "reconnect"] == 2
    assert got["livespot_gap_seconds_total", "cam1", "reconnect"] == 8.0
    assert got["livespot_events_total", "cam1", "micro"] == 3
    assert (got["livespot_reconnects_total", "cam1"], got["livespot_stalls_total", "cam1"]) == (2, 4)
    assert (got["livespot_source_state", "cam1", "running"], got["livespot_source_state", "cam1", "stalled"]) == (1, 0)
    assert got["livespot_faces", "cam1"] == 1
    assert (got["livespot_recording",], got["livespot_recording_lost_messages_total",]) == (1, 0)
    assert got["livespot_queue_depth", "", "recording"] == 4
    assert (got["livespot_queue_depth", "cam1", "frames"], got["livespot_queue_depth", "", "messages"]) == (2, 0)
    assert got["livespot_resident_memory_bytes", "", "livespot"] == 412_000_000
    assert got["livespot_resident_memory_bytes", "cam1", "reader"] == 104_000_000
    assert ("livespot_resident_memory_bytes", "cam2", "reader") not in got


def test_histograms_are_cumulative() -> None:
    with serving() as exporter:
        got = samples(read(exporter.url))
    assert got["livespot_latency_seconds_bucket", "0.001", "cam1"] == 0
    assert got["livespot_latency_seconds_bucket", "0.01", "cam1"] == 6
    assert got["livespot_latency_seconds_bucket", "+Inf", "cam1"] == got["livespot_latency_seconds_count", "cam1"] == 60
    assert got["livespot_stage_seconds_sum", "align", "cam1"] == 12.5


def test_each_request_is_answered_with_the_latest() -> None:
    with Exporter(FREE_PORT) as exporter:
        assert read(exporter.url) == ""
        for frames in (1, 2):
            exporter.latest = replace(MEASURED, sources={"cam1": replace(MEASURED_SOURCE, frames=frames)})
            assert samples(read(exporter.url))["livespot_frames_total", "cam1"] == frames


def test_a_port_that_is_taken_is_told_and_what_is_served_there_goes_on() -> None:
    with serving() as exporter:
        taken = exporter.url.removeprefix("http://").removesuffix("/metrics")
        with pytest.raises(PublishError, match=rf"{taken}: Address already in use: stop what is bound"), serving(taken):
            pass
        assert read(exporter.url)


def test_the_port_is_free_again_once_it_is_left() -> None:
    with serving() as exporter:
        read(exporter.url)
    with serving(exporter.url.removeprefix("http://").removesuffix("/metrics")) as again:
        assert read(again.url)


@pytest.mark.parametrize("endpoint", ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"])
def test_other_machines_read_nothing_unless_they_may(endpoint: str) -> None:
    with pytest.raises(PublishError, match="--insecure"), Exporter(endpoint):
        pass


def test_other_machines_read_where_they_may() -> None:
    with Exporter("0.0.0.0:0", insecure=True) as exporter:
        assert read(exporter.url.replace("0.0.0.0", "127.0.0.1")) == ""


def test_an_address_in_the_longer_form_is_served() -> None:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        with serving("[::1]:0") as exporter:
            assert read(exporter.url)
        return
    pytest.skip("this machine has no ::1")


def test_clients_that_say_nothing_are_sent_away_and_those_beyond_a_few_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prometheus, "SILENCE_S", 1.0)
    before = threading.active_count()
    with serving() as exporter, ExitStack() as clients:
        silent = [clients.enter_context(connected(exporter)) for _ in range(CLIENTS + 10)]
        assert silent[-1].recv(1) == b""
        assert threading.active_count() <= before + 1 + CLIENTS
        assert [one.recv(1) for one in silent] == [b""] * len(silent)
        assert until_read(exporter.url)


def until_read(url: str) -> str:
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        with suppress(OSError):
            return read(url)
    raise AssertionError("it is not served again")


def test_a_client_that_asks_and_hangs_up_is_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    with serving() as exporter:
        for _ in range(20):
            with connected(exporter) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert until_read(exporter.url)
    assert capfd.readouterr().err == ""
