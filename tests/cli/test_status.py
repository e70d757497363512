"""livespot status: a real run in another process, and answers that a test has made."""

import json
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner, Result

from livespot.cli import app
from livespot.errors import PublishError
from livespot.metrics import RecordingMetrics, RunMetrics, SourceMetrics
from livespot.publish import Publisher, requests
from livespot.records import State
from tests.publish.examples import MEASURED, MEASURED_SOURCE
from tests.test_cli import Done, livespot, refused, stalled_camera, started

FREE_PORT = "tcp://127.0.0.1:*"
PATIENCE_S = 60.0
FILM_FRAMES, CAMERA_FRAMES = 120, 30


def asked(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["status", *map(str, arguments)])


def refusal(*arguments: object) -> str:
    result = asked(*arguments)
    assert isinstance(result.exception, PublishError), result.output
    return str(result.exception)


class Seen(NamedTuple):
    """A run with a camera that has fallen silent, a film that is over and the virtual camera."""

    status: Result
    words: Result
    scraped: str
    run: Done
    endpoint: str
    url: str


@pytest.fixture(scope="module")
def seen(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    limits = ("--set", "capture.stall_s=0.5", "--set", f"capture.read_timeout_s={2 * PATIENCE_S}")
    served = ("--endpoint", FREE_PORT, "--metrics", "127.0.0.1:0", "--method", "motion")
    with stalled_camera() as address:
        sources = ("-s", address, "-s", video, "-s", "demo://?seconds=300")
        run = started(tmp_path_factory.mktemp("run"), "run", *sources, *served, *limits)
        endpoint, url = named(run.err.readline()), named(run.err.readline())
        status = until_all_is_so(endpoint)
        scraped = urllib.request.urlopen(url, timeout=PATIENCE_S).read().decode()
        words = asked(endpoint)
        run.send(signal.SIGINT)
        yield Seen(status, words, scraped, run.ended(), endpoint, url)


def named(line: str) -> str:
    found = re.search(r"\w+://[^ ,\s]+", line)
    assert found, line
    return found[0]


def until_all_is_so(endpoint: str) -> Result:
    """The first answer of which the film is over, the camera silent and the virtual camera in view."""
    give_up_s = time.monotonic() + PATIENCE_S
    states: dict[str, str] = {}
    while time.monotonic() < give_up_s:
        result = asked(endpoint, "--json")
        metrics = json.loads(result.stdout)
        states = {} if metrics is None else {name: one["state"] for name, one in metrics["sources"].items()}
        if states == {"127-0-0-1": "stalled", "macro": "ended", "demo": "running"}:
            return result
    raise AssertionError(states)


def test_each_source_of_a_run_is_told_for_itself(seen: Seen) -> None:
    camera, film, demo = (json.loads(seen.status.stdout)["sources"][name] for name in ("127-0-0-1", "macro", "demo"))
    assert (film["frames"], film["dropped_frames"], film["resident_bytes"]) == (FILM_FRAMES, 0, None)
    assert (camera["stalls"], camera["stalls_per_hour"], camera["reconnects"]) == (1, 1, 0)
    assert camera["resident_bytes"] > 10_000_000
    assert camera["frames"] + camera["dropped_frames"] == CAMERA_FRAMES
    assert "no new picture for" in camera["detail"]
    assert demo["frames"] > 0
    assert demo["faces"] == 1
    assert 0 < demo["latency_s"]["p50"] <= demo["latency_s"]["p95"] <= demo["latency_s"]["p99"]


def test_the_exit_code_tells_that_a_source_does_not_run(seen: Seen) -> None:
    assert (seen.status.exit_code, seen.words.exit_code) == (1, 1)


def test_a_silent_camera_is_shown_as_such(seen: Seen) -> None:
    lines = seen.words.stdout.splitlines()
    assert lines[0].split() == ["127-0-0-1", "macro", "demo"]
    assert re.fullmatch(r"state +stalled for \d+ s +ended for \d+ s +running for \d+ s *", lines[1])


def test_prometheus_reads_the_same(seen: Seen) -> None:
    got = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(seen.scraped)
        for sample in family.samples
    }
    assert got["livespot_frames_total", "macro"] == FILM_FRAMES
    camera = [got[name, "127-0-0-1"] for name in ("livespot_frames_total", "livespot_dropped_frames_total")]
    assert sum(camera) == CAMERA_FRAMES
    assert got["livespot_source_state", "127-0-0-1", "stalled"] == 1
    assert got["livespot_latency_seconds_count", "macro"] == FILM_FRAMES
    stages_s = [value for name, value in got.items() if name[0] == "livespot_stage_seconds_sum" and "macro" in name]
    assert len(stages_s) == 7
    assert sum(stages_s) == pytest.approx(got["livespot_latency_seconds_sum", "macro"])


def test_no_metric_names_an_address(seen: Seen) -> None:
    assert "http" not in seen.scraped
    assert "video" not in seen.scraped


def test_what_answers_ends_with_the_run(seen: Seen) -> None:
    assert seen.run.code == 0
    assert "is not heard within 0.3 s" in refusal(seen.endpoint, "--timeout", 0.3)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(seen.url, timeout=PATIENCE_S)


def test_a_port_for_metrics_that_is_taken_ends_a_run_before_any_camera_opens(tmp_path: Path) -> None:
    with stalled_camera() as address:
        port = address.split(":")[2].partition("/")[0]
        done = livespot(
            tmp_path, "run", "-s", address, "--endpoint", FREE_PORT, "--metrics", f"127.0.0.1:{port}", "--json"
        )
    refused(done, f"127.0.0.1:{port}: Address already in use", "another address:port")


def test_metrics_for_other_machines_need_a_word() -> None:
    words = ("run", "--source", "demo://?seconds=2", "--endpoint", FREE_PORT, "--metrics", "0.0.0.0:0")
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, PublishError)
    assert "--insecure" in str(result.exception)


@contextmanager
def answering(run: RunMetrics | None) -> Iterator[str]:
    with Publisher(FREE_PORT) as publisher:
        if run is not None:
            publisher.measured(run)
        yield publisher.endpoint


def in_state(state: State) -> SourceMetrics:
    return replace(MEASURED_SOURCE, state=state)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (MEASURED, 0),
        (replace(MEASURED, sources={"a": in_state("running"), "b": in_state("stalled")}), 1),
        (replace(MEASURED, sources={"a": in_state("waiting")}), 1),
        (replace(MEASURED, sources={}), 1),
        (replace(MEASURED, idle_s=60.0), 1),
        (None, 1),
        (replace(MEASURED, recording=RecordingMetrics("the disk is full", 9, 1)), 1),
        (replace(MEASURED, recording=None), 0),
    ],
    ids=[
        "all run",
        "one stalls",
        "it waits",
        "no source yet",
        "the loop hangs",
        "nothing measured yet",
        "not recorded",
        "not to be recorded",
    ],
)
def test_the_exit_code_is_0_where_everything_runs_and_1_where_something_does_not(
    run: RunMetrics | None, code: int
) -> None:
    with answering(run) as endpoint:
        assert asked(endpoint).exit_code == code
        assert asked(endpoint, "--json").exit_code == code


def test_the_words_hold_every_figure() -> None:
    with answering(MEASURED) as endpoint:
        words = " ".join(asked(endpoint).stdout.split())
    for told in (
        "running for 1 min 30 s",
        "frames 60, 30.0 a second",
        "events micro 3, macro 1",
        "dropped frames 6",
        "gaps frames_dropped 1, 0.2 s",
        "reconnect 2, 8.0 s",
        "reconnects 2, 1 in the last hour",
        "stalls 4, 3 in the last hour",
        "latency p50, p95, p99 20.0, 200.0, 250.0 ms",
        "align 20.0, 200.0, 250.0 ms",
        "waiting frames 2, faces 1",
        "memory of its reader 104 MB",
        f"{endpoint}: up for 2 h 5 min, 412 MB besides readers",
    ):
        assert told in words


def test_sources_that_do_not_fit_beside_each_other_stand_below() -> None:
    many = replace(MEASURED, sources={f"cam{number}": MEASURED_SOURCE for number in range(5)})
    with answering(many) as endpoint:
        lines = asked(endpoint).stdout.splitlines()
    assert max(map(len, lines)) <= 120
    assert [line.split() for line in lines if "cam" in line] == [["cam0", "cam1", "cam2"], ["cam3", "cam4"]]


def test_a_loop_that_hangs_and_a_run_that_begins_are_said_to() -> None:
    with answering(replace(MEASURED, idle_s=60.0)) as endpoint:
        assert "hangs for 1 min 0 s" in asked(endpoint).stdout
    with answering(None) as endpoint:
        assert "it is starting" in asked(endpoint).stdout


def test_a_recording_that_fails_is_told() -> None:
    with answering(replace(MEASURED, recording=RecordingMetrics("the disk is full", 9, 1))) as endpoint:
        assert "nothing is recorded: the disk is full, lost to it: messages 1" in " ".join(
            asked(endpoint).stdout.split()
        )


def test_an_older_livespot_is_told_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name: answer for name, answer in requests._REQUESTS.items() if name != "metrics"}
    monkeypatch.setattr(requests, "_REQUESTS", known)
    with answering(MEASURED) as endpoint:
        words = refusal(endpoint)
    assert "no such request" in words
    assert "an older livespot runs there, update it" in words


def test_nobody_there_is_exit_code_2(tmp_path: Path) -> None:
    refused(livespot(tmp_path, "status", "tcp://127.0.0.1:9", "--timeout", 0.5), "is not heard within 0.5 s")
    assert "no endpoint" in refusal("http://127.0.0.1:5556")


def test_a_publisher_with_keys_answers_to_who_has_one(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    for name in ("server", "friend"):
        CliRunner().invoke(app, ["keygen", name, "--folder", str(tmp_path)])
    (allowed / "friend.key").write_bytes((tmp_path / "friend.key").read_bytes())
    with Publisher(FREE_PORT, key=tmp_path / "server.key_secret", allowed_keys=allowed) as publisher:
        publisher.measured(MEASURED)
        keys = ("--key", tmp_path / "friend.key_secret", "--server-key", tmp_path / "server.key")
        assert asked(publisher.endpoint, *keys).exit_code == 0
        assert "wants a key" in refusal(publisher.endpoint)


def test_who_watches_finds_a_livespot_that_was_started_anew(tmp_path: Path) -> None:
    with answering(MEASURED) as endpoint:
        watching = started(tmp_path, "status", endpoint, "--watch", "--json", "--timeout", 1)
        assert "sources" in json.loads(watching.out.readline())
    while "error" not in (answer := json.loads(watching.out.readline())):
        pass
    assert "look whether livespot runs there" in answer["error"]
    with Publisher(endpoint, requests=FREE_PORT) as publisher:
        publisher.measured(MEASURED)
        while "sources" not in json.loads(watching.out.readline()):
            pass
        watching.send(signal.SIGINT)
        assert watching.ended().code == 0


def test_watching_goes_on_until_ctrl_c_and_tells_the_newest(tmp_path: Path) -> None:
    with Publisher(FREE_PORT) as publisher:
        publisher.measured(MEASURED)
        watching = started(tmp_path, "status", publisher.endpoint, "--watch", "--json")
        first: dict[str, Any] = json.loads(watching.out.readline())
        publisher.measured(replace(MEASURED, sources={"cam1": replace(in_state("stalled"), frames=99)}))
        second: dict[str, Any] = json.loads(watching.out.readline())
        watching.send(signal.SIGINT)
        assert watching.ended().code == 1
    assert (first["sources"]["cam1"]["frames"], second["sources"]["cam1"]["frames"]) == (60, 99)
