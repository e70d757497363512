"""What is recorded of a session: real files, real sockets, disks that are really full, processes killed with -9."""

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from livespot.errors import PublishError
from livespot.publish import Message, Publisher, Subscription, recorder, recording, subscribe
from livespot.publish.archive import Sent
from livespot.publish.encoding import Encoding, decode, encoder
from livespot.publish.follower import Notice
from livespot.publish.messages import OWN_STREAM, Kind, Recording
from tests.publish.examples import CLOSE, LOST_FACE, OPEN, RUNNING, SCORES
from tests.publish.test_desk import asking
from tests.publish.test_zmq import FREE_PORT, PATIENCE_S, arrived

EVERY: tuple[Kind | Notice, ...] = ("event", "gap", "status", "score", "lost")
ROOT = Path(__file__).parents[2]
KILLS = 5
SENT_S = 0.2
"""After so long what was published is sent, so that who comes then comes late."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RETRY_S", 0.05)


def recorded(file: Path, table: str = "messages") -> list[tuple[Any, ...]]:
    with closing(recording.connect(file, write=False)) as connection:
        columns = "stream, kind, seq, content" if table == "messages" else "*"
        return connection.execute(f"SELECT {columns} FROM {table}").fetchall()


def messages_in(file: Path) -> list[Message]:
    return [json.loads(content) for *_, content in recorded(file)]


def own(messages: list[Message]) -> list[tuple[str, str]]:
    """State and detail of what livespot says of its recording."""
    states = [one for one in messages if (one["stream"], one["kind"]) == (OWN_STREAM, "status")]
    return [(one["state"], one["detail"]) for one in states]


def file_of(publisher: Publisher) -> Path:
    assert publisher.recording
    return publisher.recording.file


def until(publisher: Publisher, so: Callable[[Recording], bool]) -> list[Message]:
    """Turns of the loop until recording goes so; what was published in them besides."""
    notices: list[Message] = []
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        notices += publisher.heartbeat()
        assert publisher.recording and time.monotonic() < give_up_s, publisher.recording
        if so(publisher.recording):
            return notices + publisher.heartbeat()
        time.sleep(0.005)


def test_what_anyone_has_heard_is_in_the_file_already(tmp_path: Path) -> None:
    with (
        Publisher(FREE_PORT, 0.05, record=tmp_path) as publisher,
        subscribe(publisher.endpoint, EVERY, ("cam1",), timeout_s=1, past_s=60) as subscription,
    ):
        for one in (OPEN, CLOSE, LOST_FACE, RUNNING) * 5:
            sent = publisher.publish(one)
            assert arrived(subscription, 1) == [sent]
            assert sent in messages_in(file_of(publisher))


def test_a_recording_is_one_file_for_its_owner_alone(tmp_path: Path) -> None:
    with Publisher(FREE_PORT, record=tmp_path / "a" / "b") as publisher:
        publisher.publish(OPEN)
    (file,) = (tmp_path / "a" / "b").iterdir()
    assert file == file_of(publisher)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with closing(sqlite3.connect(file)) as connection:
        told = dict(connection.execute("SELECT * FROM meta").fetchall())
        assert connection.execute("PRAGMA user_version").fetchone() == (recording.VERSION,)
    assert set(told) == {"publisher", "livespot", "started", "host", "boot", "process", "ended"}


def test_while_it_is_made_a_recording_has_a_process_and_afterwards_none(tmp_path: Path) -> None:
    def told() -> dict[str, str]:
        with closing(recording.connect(file_of(publisher), write=False)) as connection:
            return dict(connection.execute("SELECT * FROM meta").fetchall())

    with Publisher(FREE_PORT, record=tmp_path) as publisher:
        assert recording.is_running(told())
        assert not recording.is_running(told() | {"host": "another"})
        assert not recording.is_running(told() | {"boot": "another"})
        assert not recording.is_running(told() | {"process": f"{os.getpid()} 1.0"})
    assert not recording.is_running(told())


def test_two_publishers_record_into_one_folder(tmp_path: Path) -> None:
    with Publisher(FREE_PORT, record=tmp_path) as one, Publisher(FREE_PORT, record=tmp_path) as other:
        messages = [one.publish(OPEN), other.publish(CLOSE)]
    assert [messages_in(file_of(publisher))[-1] for publisher in (one, other)] == messages


@pytest.mark.parametrize("scores", [False, True])
def test_scores_are_recorded_on_request_in_a_narrow_row(scores: bool, tmp_path: Path) -> None:
    with Publisher(FREE_PORT, record=tmp_path, record_scores=scores) as publisher:
        sent = [publisher.publish(replace(SCORES, micro=number / 7, t_s=number / 30)) for number in range(8)]
    found = recorded(file_of(publisher), "scores")
    assert [recording.message("score", sent[0]["publisher"], row) for row in found] == (sent if scores else [])


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_what_is_kept_no_more_is_replayed_from_the_file_byte_for_byte(encoding: Encoding, tmp_path: Path) -> None:
    with (
        Publisher(FREE_PORT, keep=3, encoding=encoding, record=tmp_path, record_scores=True) as publisher,
        zmq.Context() as context,
        context.socket(zmq.SUB) as sub,
        asking(publisher) as one,
    ):
        sub.subscribe(b"livespot.v1.cam1.")
        sub.connect(publisher.endpoint)
        while not sub.poll(20):
            publisher.publish(RUNNING)
        sent: dict[str, list[bytes]] = {"event": [], "score": [], "gap": [], "status": []}
        for record in (OPEN, CLOSE, SCORES, SCORES, LOST_FACE) * 20:
            publisher.publish(replace(record, source="cam1"))
        while len(sent["gap"]) < 20:
            assert sub.poll(10_000)
            content = sub.recv_multipart()[1]
            sent[decode(content)["kind"]].append(content)
        for kind in ("event", "score"):
            one.send(json.dumps({"request": "replay", "stream": "cam1", "kind": kind, "first": 5, "last": 12}).encode())
            head, *contents = one.recv_multipart()
            assert (decode(head)["missing"], decode(head)["resume"]) == (None, None)
            assert contents == sent[kind][5:13]


def test_a_late_joiner_is_told_all_that_was_recorded(tmp_path: Path) -> None:
    with Publisher(FREE_PORT, 0.05, keep=10, record=tmp_path) as publisher:
        sent = [publisher.publish(CLOSE) for _ in range(1000)]
        time.sleep(SENT_S)
        with subscribe(publisher.endpoint, EVERY, ("cam1",), timeout_s=0.2, past_s=60) as subscription:
            publisher.heartbeat()
            assert arrived(subscription, 1000) == sent


def test_what_was_not_recorded_is_told_as_lost_and_nothing_else(tmp_path: Path) -> None:
    with Publisher(FREE_PORT, 0.05, keep=2, record=tmp_path) as publisher:
        events = [publisher.publish(CLOSE) for _ in range(10)]
        scores = [publisher.publish(SCORES) for _ in range(10)]
        time.sleep(SENT_S)
        with subscribe(publisher.endpoint, EVERY, ("cam1",), timeout_s=0.2, past_s=60) as subscription:
            publisher.heartbeat()
            heard = arrived(subscription, 13)
    lost = [(one["of"], one["first"], one["last"]) for one in heard if one["kind"] == "lost"]
    assert lost == [("score", 0, 7)]
    assert [one for one in heard if one["kind"] == "event"] == events
    assert [one for one in heard if one["kind"] == "score"] == scores[8:]


def test_a_replay_since_a_time_looks_it_up_in_the_file(tmp_path: Path) -> None:
    with Publisher(FREE_PORT, keep=2, record=tmp_path) as publisher, asking(publisher) as one:
        sent = []
        for _ in range(30):
            sent.append(publisher.publish(CLOSE))
            time.sleep(0.001)
        request = {"request": "replay", "stream": "cam1", "kind": "event"}
        for number in (0, 1, 17, 27):
            one.send(json.dumps(request | {"since_utc": sent[number]["utc"]}).encode())
            head, *contents = map(decode, one.recv_multipart())
            assert head["missing"] is None
            assert contents == sent[number : 28 if number < 28 else None][: len(contents)]
            assert contents[0] == sent[number]


def test_the_snapshot_tells_from_which_number_on_there_is_a_recording(tmp_path: Path) -> None:
    with Publisher(FREE_PORT, keep=2, record=tmp_path) as publisher, asking(publisher) as one:
        for _ in range(10):
            publisher.publish(CLOSE)
            publisher.publish(SCORES)
        time.sleep(SENT_S)
        one.send(b'{"request": "snapshot"}')
        topics = decode(one.recv_multipart()[0])["topics"]["cam1"]
    assert topics == {"event": {"kept": 0, "next": 10}, "score": {"kept": 8, "next": 10}}


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/livespot"])
def test_a_folder_that_cannot_hold_a_recording_is_refused_and_nothing_is_touched(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(PublishError, match=r"cannot hold a recording.*give a folder"):
        Publisher(FREE_PORT, record=tmp_path / place).__enter__()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_file_that_is_there_already_is_never_opened(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError):
        recording.create(file, {})
    assert file.read_text(encoding="utf-8") == "mine"


def test_what_was_told_is_on_the_disk_itself_some_seconds_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "SYNC_S", 0.02)
    with Publisher(FREE_PORT, record=tmp_path) as publisher:
        publisher.publish(CLOSE)
        publisher.heartbeat()
        give_up_s = time.monotonic() + PATIENCE_S
        kinds: list[tuple[str]] = []
        while ("event",) not in kinds and time.monotonic() < give_up_s:  # as if what lies beside the file were lost
            address = f"file:{file_of(publisher)}?immutable=1"  # which may be read in the midst of a change
            with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(address, uri=True)) as connection:
                kinds = connection.execute("SELECT kind FROM messages").fetchall()
    assert ("event",) in kinds


def test_what_lies_beside_the_file_stays_small_though_writing_never_pauses(tmp_path: Path) -> None:
    messages = [Message(stream="cam1", kind="event", seq=number) for number in range(3000)]
    one = recorder.Recorder(tmp_path, "0" * 32, encoder("json"))
    beside = Path(f"{one.state.file}-wal")
    try:
        for message in messages:
            one.write([Sent(b"", b'{"padded": "%s"}' % (b"." * 700), message, 1.0)])
        assert beside.stat().st_size < 5000 * recording.MAX_WAL_PAGES
    finally:
        one.close()
    assert not beside.exists()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_on_a_full_disk_the_stream_goes_on_says_so_and_is_recorded_whole_once_there_is_room(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk") as folder,
        Publisher(FREE_PORT, 0.02, record=folder) as publisher,
        subscribe(publisher.endpoint, ("event", "status", "heartbeat"), timeout_s=0.2, past_s=60) as subscription,
    ):
        fill(folder / "filler")
        sent = [publisher.publish(CLOSE) for _ in range(500)]
        notices = until(publisher, lambda now: bool(now.error))
        sent += [publisher.publish(CLOSE) for _ in range(500)]
        until(publisher, lambda now: now.waiting > 500)
        heard: list[Message] = []
        listen(publisher, subscription, heard, lambda: waiting(heard[-1]) and len(events(heard)) == 1000)
        (folder / "filler").unlink()
        notices += until(publisher, lambda now: not now.error)
        listen(publisher, subscription, heard, lambda: own(heard)[-2:] == own(notices))
        assert [state for state, _ in own(notices)] == ["stalled", "running"]
        assert "nothing is recorded: " in own(notices)[0][1]
        assert events(heard) == events(messages_in(file_of(publisher))) == sent
        assert publisher.recording == Recording(file_of(publisher), failures=1)


def listen(publisher: Publisher, subscription: Subscription, heard: list[Message], so: Callable[[], bool]) -> None:
    """Turns of the loop, and what is heard in them, until it is so."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not (heard and so()):
        assert time.monotonic() < give_up_s, heard[-3:]
        publisher.heartbeat()
        heard += [message for message in [next(subscription, None)] if message]


def events(messages: list[Message]) -> list[Message]:
    return [one for one in messages if one["kind"] == "event"]


def waiting(message: Message) -> bool:
    told = message.get("recording") or {"error": "", "waiting": 0}
    return bool(told["error"]) and told["waiting"] > 500


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"0" * 4096)


def test_a_folder_on_a_full_disk_is_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder:
        fill(folder / "filler")
        with pytest.raises(PublishError, match=r"cannot hold a recording.*with room"):
            Publisher(FREE_PORT, record=folder).__enter__()
        assert [file.name for file in folder.iterdir()] == ["filler"]


def test_a_folder_whose_name_is_no_text_holds_a_recording(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff?#%41"))
    with Publisher(FREE_PORT, record=folder) as publisher:
        publisher.publish(OPEN)
    assert [message["id"] for message in messages_in(file_of(publisher)) if message["kind"] == "event"] == [OPEN.id]


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """The operating system refuses to make any file of this process longer than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_writing_fails_for_long_the_oldest_are_counted_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_WAITING", {"messages": 100, "scores": 10})
    with Publisher(FREE_PORT, record=tmp_path, record_scores=True) as publisher:
        until(publisher, lambda _: True)
        time.sleep(SENT_S)
        with nothing_can_be_written():
            events = [publisher.publish(CLOSE) for _ in range(150)]
            scores = [publisher.publish(SCORES) for _ in range(50)]
            notices = until(publisher, lambda now: now.waiting == 110)
        notices += until(publisher, lambda now: not now.error)
    told = len(own(notices)) - 1
    assert [state for state, _ in own(notices)] == ["stalled"] * told + ["running"]
    found = messages_in(file_of(publisher))
    assert [one for one in found if one["kind"] == "event"] == events[told - 100 :]
    assert [row[1] for row in recorded(file_of(publisher), "scores")] == [one["seq"] for one in scores[-10:]]
    assert publisher.recording and publisher.recording.lost == 50 + told + 40
    assert f"{90 + told} messages are lost to it" in own(notices)[-1][1]


def test_what_still_waits_when_the_publisher_is_left_is_told_as_lost(tmp_path: Path) -> None:
    with ExitStack() as after, Publisher(FREE_PORT, record=tmp_path) as publisher:
        after.enter_context(nothing_can_be_written())
        publisher.publish(CLOSE)
        until(publisher, lambda now: bool(now.error))
    assert publisher.recording and publisher.recording.lost > 0
    with closing(sqlite3.connect(file_of(publisher))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_somebody_deletes_is_told(tmp_path: Path) -> None:
    with Publisher(FREE_PORT, record=tmp_path) as publisher:
        publisher.publish(CLOSE)
        until(publisher, lambda _: True)
        file_of(publisher).unlink()
        publisher.publish(CLOSE)
        notices = until(publisher, lambda now: bool(now.error))
    assert own(notices)[-1][0] == "stalled"


def test_another_program_that_holds_the_file_holds_up_recording_and_not_the_stream(tmp_path: Path) -> None:
    with (
        Publisher(FREE_PORT, 0.05, record=tmp_path) as publisher,
        subscribe(publisher.endpoint, ("event",), timeout_s=0.2, past_s=60) as subscription,
    ):
        with closing(sqlite3.connect(file_of(publisher), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            sent = publisher.publish(CLOSE)
            publisher.heartbeat()
            assert arrived(subscription, 1) == [sent]
            assert sent not in messages_in(file_of(publisher))
        until(publisher, lambda now: not now.error)
        assert sent in messages_in(file_of(publisher))


VICTIM = """
import sys, time
from pathlib import Path
from livespot.publish import Publisher
from tests.publish.examples import RECORDS
with Publisher("tcp://127.0.0.1:*", heartbeat_s=0.05, record=Path(sys.argv[1])) as publisher:
    print(publisher.endpoint, flush=True)
    while True:
        for record in RECORDS:
            publisher.publish(record)
        publisher.heartbeat()
        time.sleep(0.0003)
"""


def heard_until_killed(folder: Path, moment_s: float) -> list[bytes]:
    """What a subscriber receives of a publisher that is killed so long after its first message."""
    command = [sys.executable, "-c", VICTIM, str(folder)]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as victim,
        zmq.Context() as context,
        context.socket(zmq.SUB) as sub,
    ):
        assert victim.stdout
        sub.rcvhwm = 0
        for kind in ("event", "gap", "status"):
            sub.subscribe(f"livespot.v1.cam1.{kind}.")
        sub.connect(victim.stdout.readline().strip())
        heard = [sub.recv_multipart()[1]]
        kill_s = time.monotonic() + moment_s
        while (left_s := kill_s - time.monotonic()) > 0:
            if sub.poll(round(left_s * 1000)):
                heard.append(sub.recv_multipart()[1])
        os.kill(victim.pid, signal.SIGKILL)
        while sub.poll(200):
            heard.append(sub.recv_multipart()[1])
    return heard


def check_kill(seed: int, folder: Path) -> None:
    heard = heard_until_killed(folder, random.Random(seed).uniform(0.0, 0.4))
    (file,) = folder.glob(f"*{recording.SUFFIX}")
    contents = {content for *_, content in recorded(file)}
    assert heard and [content for content in heard if content.decode() not in contents] == []
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        numbers = connection.execute("SELECT seq FROM messages WHERE stream = 'cam1' AND kind = 'event'").fetchall()
    assert [seq for (seq,) in numbers] == list(range(len(numbers)))


@pytest.mark.parametrize("seed", range(KILLS))
def test_whoever_is_killed_has_recorded_all_that_anyone_heard_of_him(seed: int, tmp_path: Path) -> None:
    check_kill(seed, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(KILLS, 50))
def test_whoever_is_killed_at_any_moment_has_recorded_all_that_anyone_heard_of_him(seed: int, tmp_path: Path) -> None:
    check_kill(seed, tmp_path)
