"""The command line as its users start it: real processes, real files, real sockets, real signals."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jsonschema
import pytest
from onnx import helper
from typer.main import get_command
from typer.testing import CliRunner

from livespot.capture.virtual import ASTRONAUT
from livespot.cli import app
from livespot.errors import SettingsError
from livespot.evaluation.labels import read_labels
from livespot.publish import Publisher, schema
from livespot.synth.videos import Order, Videos
from livespot.tables import COLUMNS
from tests import films
from tests.films import BLANK, write_video
from tests.infer.engines import CLIP, MOTION_METADATA, write_engine
from tests.publish.examples import CLOSE

PATIENCE_S = 120.0
ROOT = Path(__file__).parents[1]
COMMANDS = list(vars(get_command(app))["commands"])

LIVESPOT = [sys.executable, "-m", "livespot"]
FREE_PORT = "tcp://127.0.0.1:*"
MACRO_AT_2_S = "demo://?seed=4&seconds=60"
"""A macro-expression from 1.98 to 2.93 s."""
NEVER_TOO_SLOW = ("--set", "capture.staleness_s=60", "--set", "capture.live_queue_frames=4096")
"""Where the machine is busy with other things, frames come late instead of being dropped."""

SPOTTED_BYTES = 7_000_000
"""An overlay of that film is so long once the expression is over: one second takes 1.2 MB."""


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Process:
    """A command in a process of its own; killed where it does not end."""

    def __init__(self, folder: Path, command: Sequence[str], **more: str) -> None:
        screens = ("DISPLAY", "WAYLAND_DISPLAY")
        variables = {name: value for name, value in os.environ.items() if name not in screens}
        self._running = subprocess.Popen(
            command,
            cwd=folder,
            env=variables | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._running.stdout is not None
        assert self._running.stderr is not None
        self.out, self.err = self._running.stdout, self._running.stderr
        self._watchdog = threading.Timer(PATIENCE_S, self._running.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        self._lines: list[str] = []

    def wait_for(self, **wanted: str) -> dict[str, Any]:
        """The next message printed that holds all of `wanted`."""
        for line in self.out:
            self._lines.append(line)
            message: dict[str, Any] = json.loads(line)
            if wanted.items() <= message.items():
                return message
        raise AssertionError(f"it ended without {wanted}: {self.ended()}")

    def send(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    def ended(self) -> Done:
        """All that it printed, once it has ended. It never shows a traceback."""
        with self._running:
            out, err = "".join(self._lines) + self.out.read(), self.err.read()
        self._watchdog.cancel()
        assert "Traceback" not in err
        return Done(self._running.returncode, out, err)


def started(folder: Path, *arguments: object, **more: str) -> Process:
    return Process(folder, [*LIVESPOT, *map(str, arguments)], **more)


def livespot(folder: Path, *arguments: object, **more: str) -> Done:
    return started(folder, *arguments, **more).ended()


def objects(out: str) -> list[dict[str, Any]]:
    """One JSON object for each line, and nothing else."""
    return [json.loads(line) for line in out.splitlines()]


def refused(done: Done, *words: str) -> None:
    assert (done.code, done.out) == (2, "")
    assert "livespot: " in done.err
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_says_what_a_command_does_with_an_example(command: str) -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    assert f"livespot {command}" in done.output.partition("Examples:" if command else "Usage:")[2]


def test_every_command_is_in_the_help() -> None:
    assert {"run", "spot", "listen", "demo", "doctor", "bench", "synth", "evaluate"} <= set(COMMANDS)


def test_a_setting_that_does_not_exist_is_refused_with_file_key_value_and_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "live.yaml").write_text("sources: [demo://]\ndecode:\n  micro_treshold: 0.7\n", encoding="utf-8")
    done = livespot(tmp_path, "run", "--config", "live.yaml")
    refused(done, "live.yaml: decode.micro_treshold, given as 0.7, is no setting", "allowed here: ", "micro_threshold")


def test_a_wrong_value_is_refused_with_file_key_value_and_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "live.yaml").write_text("sources: [demo://]\nalign:\n  max_faces: 99\n", encoding="utf-8")
    done = livespot(tmp_path, "run", "--config", "live.yaml")
    refused(done, "live.yaml: align.max_faces is 99: input should be less than or equal to 16")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("decode", "--set decode: expected section.key=value, such as motion.micro_threshold=3.5"),
        ("sources=demo://", "--set sources: expected section.key=value"),
        ("decode.min_s=[", "--set decode.min_s: its value is not YAML"),
        ("decode.min_s=fast", "command line: decode.min_s is 'fast': input should be a valid number"),
    ],
)
def test_a_malformed_assignment_is_refused(tmp_path: Path, assignment: str, words: str) -> None:
    refused(livespot(tmp_path, "run", "--source", "demo://", "--set", assignment), words)


@pytest.mark.parametrize(
    "assignment",
    ["sources=rtsp://u:hush@h/x", "rtsp://u:hush@h.x/y", "rtsp://u:hush@h.x/y?c=1", "a.b=[rtsp://u:hush@h/x"],
)
def test_a_malformed_assignment_is_told_without_the_password_in_it(assignment: str) -> None:
    done = CliRunner().invoke(app, ["run", "--set", assignment])
    assert isinstance(done.exception, SettingsError)
    assert str(done.exception).startswith("--set ")
    assert "hush" not in str(done.exception)


def test_a_run_without_a_source_is_refused(tmp_path: Path) -> None:
    refused(livespot(tmp_path, "run"), "no source is given", "--source demo://")


def test_an_unknown_kind_of_message_is_refused(tmp_path: Path) -> None:
    done = livespot(tmp_path, "listen", "--kind", "smile")
    refused(done, "no messages of kind 'smile'", "event, gap, status, score, heartbeat")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no file interview.mp4: check the path"),
        ("an interview", "interview.mp4 cannot be read as video: it holds text"),
        ("", "interview.mp4 is empty (0 bytes)"),
    ],
)
def test_a_video_that_is_none_is_refused(tmp_path: Path, engine: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "interview.mp4").write_text(content, encoding="utf-8")
    refused(livespot(tmp_path, "spot", "interview.mp4", "--model", engine), words)


@pytest.mark.parametrize(
    ("option", "file", "words"),
    [
        ("--out", "nowhere/events.csv", "nowhere/events.csv cannot be written: there is no folder"),
        ("--out", "events.xls", "events.xls has no known format: end its name in .csv or .jsonl"),
        ("--overlay", "macro.avi", "macro.avi is the video itself"),
    ],
)
def test_what_cannot_be_written_is_refused_before_work_begins(
    tmp_path: Path, video: Path, option: str, file: str, words: str
) -> None:
    (tmp_path / "macro.avi").write_bytes(video.read_bytes())
    refused(livespot(tmp_path, "spot", "macro.avi", option, file, "--model", "missing.onnx"), words)
    assert (tmp_path / "macro.avi").read_bytes() == video.read_bytes()


def test_an_engine_of_another_shape_is_refused(tmp_path: Path, video: Path) -> None:
    model = write_engine(tmp_path / "wide.onnx", clips=("n", 2, 2, 128, 128))
    done = livespot(tmp_path, "spot", video, "--model", model)
    refused(done, "wide.onnx takes clips float32 (any, 2, 2, 128, 128)", f"expected clips float32 (any, {CLIP[0]}, ")


def test_a_file_that_is_no_engine_is_refused(tmp_path: Path, video: Path) -> None:
    (tmp_path / "net.onnx").write_text("not a network", encoding="utf-8")
    refused(livespot(tmp_path, "spot", video, "--model", "net.onnx"), "net.onnx is not an ONNX file that ONNX Runtime")


def test_a_camera_that_is_not_there_is_waited_for(tmp_path: Path, engine: str) -> None:
    process = started(tmp_path, "run", "--source", "63", "--model", engine, "--endpoint", FREE_PORT, "--json")
    told = process.wait_for(kind="status", state="waiting")
    assert told["detail"].startswith("camera 63 cannot be opened: ")
    process.wait_for(kind="status", state="connecting")
    process.send(signal.SIGINT)
    assert process.ended().code == 0


def test_a_port_in_use_is_refused(tmp_path: Path, engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        done = livespot(tmp_path, "run", "--source", "demo://", "--model", engine, "--endpoint", endpoint)
    refused(done, f"{endpoint} cannot be bound: another program is bound there", "give another endpoint")


def test_a_window_without_a_screen_is_refused(tmp_path: Path, engine: str) -> None:
    done = livespot(tmp_path, "run", "--source", "demo://", "--show", "--model", engine, "--endpoint", FREE_PORT)
    refused(done, "a window cannot be opened: there is no display", "--overlay")


def test_a_video_without_a_face_gives_no_events_and_says_so(tmp_path: Path, engine: str) -> None:
    path = write_video(tmp_path / "empty_room.avi", [BLANK] * 30)
    done = livespot(tmp_path, "spot", path, "--model", engine, "--out", "events.csv")
    assert (done.code, done.out) == (0, "")
    assert "no face was found in 30 frames: no events" in done.err
    assert (tmp_path / "events.csv").read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"


def test_what_is_readable_of_a_truncated_video_is_spotted_and_the_rest_is_told(
    tmp_path: Path, engine: str, video: Path
) -> None:
    content = video.read_bytes()
    (tmp_path / "macro.avi").write_bytes(content[: int(0.8 * len(content))])
    done = livespot(tmp_path, "spot", "macro.avi", "--model", engine)
    assert done.code == 0
    assert "macro" in done.out
    assert "macro: declared 120 frames, 9" in done.err
    assert "the file ends early or is damaged" in done.err
    assert max(map(len, done.out.splitlines())) <= 80


def test_spot_writes_a_table_a_timeline_and_a_video_and_prints_nothing_but_json(
    tmp_path: Path, engine: str, video: Path
) -> None:
    outputs = ("--out", "events.csv", "--plot", "timeline.png", "--overlay", "seen.avi", "--json")
    done = livespot(tmp_path, "spot", video, "--model", engine, *outputs)
    assert done.code == 0
    [event] = objects(done.out)
    assert (event["video"], event["face"], event["type"]) == ("macro", 0, "macro")
    with (tmp_path / "events.csv").open(encoding="utf-8", newline="") as file:
        header, row = list(csv.reader(file))
    assert header == list(COLUMNS)
    assert row == [str(event[column]) for column in header[:-1]] + [";".join(event["regions"])]
    assert cv2.imread(str(tmp_path / "timeline.png")) is not None
    seen = cv2.VideoCapture(str(tmp_path / "seen.avi"))
    assert seen.get(cv2.CAP_PROP_FRAME_COUNT) == 120
    seen.release()
    assert "1 event in 4.0 s, 120 frames, 120 with a face" in done.err


@pytest.mark.parametrize("film", ["video", "micro_video"])
def test_a_file_that_plays_in_real_time_is_told_the_events_that_spot_finds(
    tmp_path: Path, request: pytest.FixtureRequest, film: str
) -> None:
    path = request.getfixturevalue(film)
    played = livespot(
        tmp_path, "run", "-s", path, "--realtime", "--json", "--endpoint", FREE_PORT, *NEVER_TOO_SLOW
    )  # fmt: skip
    told = objects(played.out)
    closed = [message for message in told if message.get("phase") == "close"]
    [spotted] = objects(livespot(tmp_path, "spot", path, "--json").out)
    assert [(one["type"], one["onset_frame"], one["apex_frame"]) for one in closed] == [
        (spotted["type"], spotted["onset"], spotted["apex"])
    ]
    assert closed[0]["offset_frame"] == spotted["offset"]
    spent_s = told[-1]["monotonic_s"] - told[0]["monotonic_s"]
    assert spent_s > 119 / films.FPS, "it was played at its own speed"


def test_ctrl_c_ends_spotting_and_what_was_found_is_written(tmp_path: Path, engine: str) -> None:
    outputs = ("--out", "events.csv", "--overlay", "seen.avi")
    process = started(tmp_path, "spot", f"{MACRO_AT_2_S}0&realtime=0", "--model", engine, *outputs)
    seen, give_up_s = tmp_path / "seen.avi", time.monotonic() + PATIENCE_S
    while not (seen.exists() and seen.stat().st_size > SPOTTED_BYTES) and time.monotonic() < give_up_s:
        time.sleep(0.02)
    process.send(signal.SIGINT)
    done = process.ended()
    assert done.code == 130
    assert "interrupted: only what came before is told" in done.err
    with (tmp_path / "events.csv").open(encoding="utf-8", newline="") as file:
        assert [row["type"] for row in csv.DictReader(file)][:1] == ["macro"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_good_order(tmp_path: Path, engine: str, number: signal.Signals) -> None:
    command = ("run", "--source", MACRO_AT_2_S, "--model", engine, "--endpoint", FREE_PORT, "--json", *NEVER_TOO_SLOW)
    process = started(tmp_path, *command)
    opened = process.wait_for(kind="event", phase="open")
    process.send(number)
    done = process.ended()
    *others, last = objects(done.out)
    assert done.code == 0
    assert (last["kind"], last["state"]) == ("status", "ended")
    [closed] = [message for message in others if message.get("phase") == "close"]
    assert (closed["id"], closed["truncated"]) == (opened["id"], True)
    assert ", 1 event, 0 gaps, 0 frames dropped" in done.err


@contextmanager
def stalled_camera() -> Iterator[str]:
    """Address of a camera that sends one second of pictures and then nothing."""
    released = threading.Event()
    picture = cv2.imencode(".jpg", BLANK)[1].tobytes()
    part = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(picture), picture)

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            self.wfile.write(part * 30)
            released.wait(PATIENCE_S)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/video"
        finally:
            released.set()
            server.shutdown()
            thread.join()


def test_ctrl_c_does_not_wait_for_a_camera_that_is_silent(tmp_path: Path, engine: str) -> None:
    patient = ("--set", f"capture.read_timeout_s={2 * PATIENCE_S}")
    with stalled_camera() as address:
        process = started(
            tmp_path, "run", "-s", address, "--model", engine, "--endpoint", FREE_PORT, "--json", *patient
        )
        process.wait_for(kind="status", state="running")
        process.send(signal.SIGINT)
        assert process.ended().code == 0


def test_a_run_ends_after_its_duration(tmp_path: Path, engine: str, video: Path, micro_video: Path) -> None:
    sources = ("--source", video, "--source", micro_video)
    done = livespot(tmp_path, "run", *sources, "--duration", 1, "--model", engine, "--endpoint", FREE_PORT, "--json")
    assert done.code == 0
    messages = objects(done.out)
    ends_s = []
    for stream in ("macro", "micro"):
        told = [message for message in messages if message["stream"] == stream and message["kind"] == "status"]
        assert [message["state"] for message in told] == ["connecting", "running", "ended"]
        ends_s.append(told[-1]["t_s"])
    assert 1.0 <= min(ends_s) < 3.0  # of the one that is least far; how far the other is ahead, depends on the machine


class Broadcast(NamedTuple):
    run: Done
    listener: Done
    head: Done


@pytest.fixture(scope="module")
def broadcast(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Broadcast:
    """A run with two listeners in other processes; one of them reads a line and goes away."""
    folder = tmp_path_factory.mktemp("broadcast")
    source = "demo://?seed=5&seconds=7"  # a blink at 3 s, a macro-expression from 4.56 to 5.67 s
    command = ("run", "-s", source, "--scores", "--model", engine, "--endpoint", FREE_PORT, *NEVER_TOO_SLOW)
    running = started(folder, *command)
    endpoint = running.err.readline().split()[2].rstrip(",")
    kinds = [option for kind in ("event", "status", "heartbeat", "score") for option in ("--kind", kind)]
    listener = started(folder, "listen", endpoint, "--json", *kinds)
    piped = f"{' '.join(LIVESPOT)} listen {endpoint} --kind heartbeat | head -1"
    head = Process(folder, ["sh", "-c", piped]).ended()
    listener.wait_for(kind="status", state="ended")
    listener.send(signal.SIGINT)
    return Broadcast(running.ended(), listener.ended(), head)


def test_a_listener_prints_one_valid_message_a_line(broadcast: Broadcast) -> None:
    messages = objects(broadcast.listener.out)
    for message in messages:
        jsonschema.Draft202012Validator(schema()).validate(message)
    assert {message["kind"] for message in messages} == {"event", "status", "heartbeat", "score"}
    phases = [message["phase"] for message in messages if message["kind"] == "event"]
    assert "open" in phases
    assert phases[-1] == "close"
    assert [message["state"] for message in messages if message["kind"] == "status"][-1] == "ended"


def test_a_listener_misses_nothing_once_it_hears(broadcast: Broadcast) -> None:
    numbers: dict[tuple[str, str], list[int]] = {}
    for message in objects(broadcast.listener.out):
        numbers.setdefault((message["stream"], message["kind"]), []).append(message["seq"])
    assert all(seq == list(range(seq[0], seq[0] + len(seq))) for seq in numbers.values())
    assert len(numbers["demo", "score"]) > 30


def test_ctrl_c_is_how_a_listener_ends(broadcast: Broadcast) -> None:
    assert broadcast.listener.code == 0
    assert broadcast.listener.err.startswith("listening to tcp://127.0.0.1:")


def test_a_reader_that_goes_away_ends_a_listener_without_a_word(broadcast: Broadcast) -> None:
    assert "livespot: up for" in broadcast.head.out
    assert len(broadcast.head.out.splitlines()) == 1
    assert len(broadcast.head.err.splitlines()) == 1


def test_a_listener_says_on_one_line_where_an_event_is_strongest(tmp_path: Path) -> None:
    where = ("mouth_corner_right", "cheek_right", "chin")
    lines: list[str] = []
    with Publisher(FREE_PORT) as publisher:
        listener = started(tmp_path, "listen", publisher.endpoint)
        reader = threading.Thread(target=lambda: lines.append(listener.out.readline()))
        reader.start()
        while reader.is_alive():
            publisher.publish(replace(CLOSE, regions=where))
            reader.join(0.05)
        listener.send(signal.SIGINT)
        listener.ended()
    assert lines[0].split()[-4:] == ["score", "0.70", "mouth_corner_right", "cheek_right"]


def test_a_run_says_in_words_what_it_spotted(broadcast: Broadcast) -> None:
    assert broadcast.run.code == 0
    last = broadcast.run.out.splitlines()[-1].split()
    assert last[1] == "to"
    assert "macro" in last
    counts = re.search(r"(\d+) frames, .* (\d+) frames? dropped", broadcast.run.err)
    assert counts
    assert int(counts[1]) + int(counts[2]) == 210


def test_the_demo_compares_what_it_showed_with_what_was_heard(tmp_path: Path) -> None:
    sees_expressions_everywhere = [  # also where frames are dropped, as the machine is busy with other things
        helper.make_node("ReduceMean", ["clips", "picture"], ["mean"], keepdims=0),
        helper.make_node("Sigmoid", ["mean"], ["scores"]),
    ]
    model = write_engine(tmp_path / "everywhere.onnx", MOTION_METADATA, sees_expressions_everywhere)
    done = livespot(tmp_path, "demo", "--seconds", 4, "--seed", 3, "--json", "--model", model, "--record", "recordings")
    assert done.code == 0
    recorded = livespot(tmp_path, "events", "recordings", "--json")
    [result] = objects(done.out)
    assert result["shown"] == 1
    heard = result["spotted"] + result["in_part"] + result["false_alarms"]
    assert heard == len(objects(recorded.out)) >= 1
    assert cv2.imread(str(tmp_path / result["timeline"])) is not None


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def synth(tmp_path: Path) -> tuple[object, ...]:
    """Two short videos of one portrait."""
    (tmp_path / "faces").mkdir()
    shutil.copy(ASTRONAUT, tmp_path / "faces")
    return "synth", "videos", "--faces", "faces", "--videos", 2, "--seconds", 2, "--fps", 20, "--json"


def second_video_begun(folder: Path) -> None:
    begun, give_up_s = folder / ".part-0001_astronaut.avi", time.monotonic() + PATIENCE_S
    while not (begun.exists() and begun.stat().st_size) and time.monotonic() < give_up_s:
        time.sleep(0.01)


def test_a_synthesis_that_is_killed_goes_on_where_it_was_to_the_same_files(
    tmp_path: Path, synth: tuple[object, ...]
) -> None:
    process = started(tmp_path, *synth)
    second_video_begun(tmp_path / "videos")
    process.send(signal.SIGKILL)
    assert process.ended().code == -signal.SIGKILL
    left = contents(tmp_path / "videos")
    assert {"0000_astronaut.npz", ".part-0001_astronaut.avi", "videos.json"} <= set(left)
    assert "labels.csv" not in left and not json.loads(left["videos.json"])["complete"]
    made = (tmp_path / "videos" / "0000_astronaut.avi").stat().st_mtime_ns
    done = livespot(tmp_path, *synth)
    assert done.code == 0
    assert (tmp_path / "videos" / "0000_astronaut.avi").stat().st_mtime_ns == made
    assert sum(Videos(tmp_path / "whole", Order(tmp_path / "faces", videos=2, seconds=2.0, fps=20.0))) == 80
    assert contents(tmp_path / "videos") == contents(tmp_path / "whole")
    [summary] = objects(done.out)
    assert (summary["videos"], summary["left_out"], summary["labels"]) == (2, {}, "videos/labels.csv")
    told = read_labels(tmp_path / summary["labels"])
    assert len(told) == 2 and summary["micro"] + summary["macro"] == sum(len(one.truths) for one in told.values())


def test_ctrl_c_ends_a_synthesis_and_leaves_whole_videos(tmp_path: Path, synth: tuple[object, ...]) -> None:
    process = started(tmp_path, *synth)
    second_video_begun(tmp_path / "videos")
    process.send(signal.SIGINT)
    done = process.ended()
    assert (done.code, done.out) == (130, "")
    assert "interrupted: the same command goes on where it was" in done.err
    whole = ["0000_astronaut.avi", "0000_astronaut.npz", "videos.json"]
    assert sorted(contents(tmp_path / "videos")) == [".lock", *whole]


def test_portraits_without_a_face_are_left_out_by_name_and_counted(tmp_path: Path, synth: tuple[object, ...]) -> None:
    cv2.imwrite(str(tmp_path / "faces" / "wall.png"), BLANK)
    done = livespot(tmp_path, *synth[:-1])
    assert done.code == 0
    assert done.out.startswith("2 videos, 0.07 min, ") and done.out.rstrip().endswith("videos/labels.csv")
    assert "left out: no face is found in faces/wall.png" in done.err
    assert "1 file left out" in done.err


def test_a_synthesis_of_no_face_at_all_leaves_nothing(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), BLANK)
    refused(
        livespot(tmp_path, "synth", "videos", "--faces", "."), "no video could be made:\nno face is found in wall.png"
    )
    assert not (tmp_path / "videos").exists()


@pytest.fixture
def tables_to_score(tmp_path: Path) -> tuple[object, ...]:
    """Labels of two subjects, and predictions as `livespot spot` writes them."""
    labels = (
        "video,subject,fps,type,onset,apex,offset",
        "a,s1,200,micro,0,4,9",
        "a,s1,200,macro,50,,99",
        "b,s2,200,,,,",
    )
    (tmp_path / "labels.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    found = (("a", "micro", 0, 4), ("b", "macro", 5, 44))
    rows = [
        ",".join(COLUMNS),
        *(f"{video},0,{kind},{onset},,{offset},0,,1,0.9," for video, kind, onset, offset in found),
    ]
    (tmp_path / "events.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return "evaluate", "--labels", "labels.csv", "--predictions", "events.csv"


def test_predictions_are_scored_for_programs(tmp_path: Path, tables_to_score: tuple[object, ...]) -> None:
    done = livespot(tmp_path, *tables_to_score, "--json")
    assert done.code == 0
    [found] = objects(done.out)
    assert found["rule"] == "official"
    assert found["micro"] | {"tp": 1, "fp": 0, "fn": 0, "precision": 1.0, "recall": 1.0, "f1": 1.0} == found["micro"]
    assert found["macro"] | {"tp": 0, "fp": 1, "fn": 1, "precision": 0.0, "recall": 0.0, "f1": 0.0} == found["macro"]
    assert (
        found["overall"] | {"tp": 1, "fp": 1, "fn": 1, "precision": 0.5, "recall": 0.5, "f1": 0.5} == found["overall"]
    )


def test_predictions_are_scored_by_another_rule_with_log_and_report(
    tmp_path: Path, tables_to_score: tuple[object, ...]
) -> None:
    done = livespot(tmp_path, *tables_to_score, "--rule", "exclusive", "--log", "log.txt", "--report", "out/page")
    assert done.code == 0
    assert done.out.startswith("rule: exclusive (lengths without the last frame")
    assert max(map(len, done.out.splitlines())) <= 80
    assert "report: out/page/index.html" in done.err
    log = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert log == ["1", "a - - 0 4 FP", "a 0 9 - - FN", "a 50 99 - - FN", "b - - 5 44 FP"]
    page = (tmp_path / "out" / "page" / "index.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.endswith("</html>\n")


def test_a_reader_of_a_score_is_told_of_videos_without_labels(
    tmp_path: Path, tables_to_score: tuple[object, ...]
) -> None:
    events = (tmp_path / "events.csv").read_text(encoding="utf-8")
    (tmp_path / "events.csv").write_text(events.replace("b,0,macro", "typo,0,macro"), encoding="utf-8")
    done = livespot(tmp_path, *tables_to_score)
    assert "note: not in the labels: typo; all that was predicted there counts as false" in done.err


@pytest.mark.parametrize(
    ("changed", "options", "words"),
    [
        (("a,0,micro,0,,4", "a,0,micro,9,,4"), (), ("events.csv has 1 problem", "row 2: onset 9 is after offset 4")),
        (("b,0,macro", "b,0,me"), (), ("events.csv has 1 problem", "row 3: type me: expected micro or macro")),
        (("type", "kind"), (), ("row 1: no column type; expected video,type,onset,offset",)),
        (("", ""), ("--rule", "ofical"), ("there is no rule ofical: give official, one-to-one",)),
        (("", ""), ("--log", "events.csv"), ("events.csv is what is to be read: give --log another name",)),
        (("", ""), ("--log", "no/log.txt"), ("no/log.txt cannot be written: there is no folder",)),
        (("", ""), ("--database", "samm"), ("the log names no database samm: give samm-lv or casme2",)),
    ],
)
def test_what_cannot_be_scored_is_refused_and_nothing_is_written(
    tmp_path: Path,
    tables_to_score: tuple[object, ...],
    changed: tuple[str, str],
    options: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    events = (tmp_path / "events.csv").read_text(encoding="utf-8")
    (tmp_path / "events.csv").write_text(events.replace(*changed), encoding="utf-8")
    before = contents(tmp_path)
    outputs = ("--log", "log.txt", "--report", "out")
    refused(livespot(tmp_path, *tables_to_score, *outputs, *options), *words)
    assert contents(tmp_path) == before


def test_the_doctor_tells_programs_what_works(tmp_path: Path) -> None:
    done = livespot(tmp_path, "doctor", "--json")
    findings = json.loads(done.out)
    assert {"Python", "OpenCV", "default engine", "event port"} <= {finding["what"] for finding in findings}
    assert done.code == any(finding["state"] == "failed" for finding in findings)
    assert done.err == ""


def test_a_window_shows_what_is_seen(tmp_path: Path, engine: str, video: Path, display: str) -> None:
    shown = ("--show", "--model", engine, "--endpoint", FREE_PORT)
    done = livespot(tmp_path, "run", "--source", video, *shown, DISPLAY=display)
    assert done.code == 0
    assert "120 frames, 1 event, 0 gaps, 0 frames dropped" in done.err
