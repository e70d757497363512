"""A recording: what was published in one session, in one SQLite file. Its tables, and messages in and out of them.

    messages    every event, gap and status in the order of publication, each whole, as JSON of the wire contract
    scores      one narrow row for each score, from which its message is made again to the digit
    meta        by whom, when and with which livespot it was recorded

Any program that reads SQLite reads it: `SELECT content ->> 'onset_utc' FROM messages WHERE kind = 'event'`. Times in
columns are whole microseconds. No picture of anybody is in it, but when whose face moved is: it is made for its owner
alone.
"""

import json
import os
import platform
import sqlite3
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import psutil

from livespot.publish.messages import SCHEMA, Message, Moment, stamps

SUFFIX = ".sqlite"

APPLICATION_ID = int.from_bytes(b"lspt", "big")
"""By which a file is known as one of livespot's."""

VERSION = 1
"""Of the tables; a higher one is not read. Columns that are added change it too."""

BUSY_S = 0.1
"""How long another program that writes to the file is waited for."""

MAX_WAL_PAGES = 2000
"""Of 4 kB: a writer that never pauses leaves no moment to begin the file beside the recording anew, and does so itself
from this length on."""

Row: TypeAlias = tuple[Any, ...]
Table: TypeAlias = Literal["messages", "scores"]

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    stream TEXT NOT NULL, kind TEXT NOT NULL, seq INTEGER NOT NULL, utc_us INTEGER NOT NULL, content TEXT NOT NULL,
    UNIQUE (stream, kind, seq));
CREATE TABLE scores (
    stream TEXT NOT NULL, seq INTEGER NOT NULL, utc_us INTEGER NOT NULL, monotonic_us INTEGER NOT NULL,
    t_us INTEGER NOT NULL, face INTEGER NOT NULL, frame INTEGER NOT NULL,
    micro_millionths INTEGER NOT NULL, macro_millionths INTEGER NOT NULL, latency_us INTEGER NOT NULL,
    PRIMARY KEY (stream, seq)) WITHOUT ROWID;
"""

INSERT: Mapping[Table, str] = {
    "messages": "INSERT OR IGNORE INTO messages (stream, kind, seq, utc_us, content) VALUES (?, ?, ?, ?, ?)",
    "scores": "INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
}
"""Of a row of `row`. What is there already is let be: an error may have come after it was written."""

ROWS: Mapping[Table, str] = {
    "messages": "messages WHERE stream = :stream AND kind = :kind",
    "scores": "scores WHERE stream = :stream",
}
"""Of one topic, for after FROM."""

COLUMNS: Mapping[Table, str] = {"messages": "content", "scores": "*"}
"""From which `message` makes a message, for after SELECT."""


def create(path: Path, told: Mapping[str, str]) -> None:
    """Make an empty recording; `told` is its `meta`. Raises OSError where it is there already, OSError or sqlite3.Error
    where it cannot be made; nothing is left of it then."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))  # SQLite's files beside it take its mode
    try:
        _fill(path, told)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def meta(publisher: str, now: Moment) -> dict[str, str]:
    """By whom, when and with what a recording is made. `ended` is added when it is closed in good order."""
    return {
        "publisher": publisher,
        "livespot": version("livespot"),
        "started": stamps(now)["utc"],
        "host": platform.node(),
        "boot": _boot(),
        "process": f"{os.getpid()} {_started_s(os.getpid())}",
    }


def is_running(told: Mapping[str, str]) -> bool:
    """Whether the recording with this `meta` is still made: by a process that runs on this machine."""
    number, _, started_s = told["process"].partition(" ")
    if "ended" in told or (told["host"], told["boot"]) != (platform.node(), _boot()):
        return False
    try:
        return abs(_started_s(int(number)) - float(started_s)) < 2  # the clock may have been set since
    except psutil.NoSuchProcess:
        return False


def connect(path: Path, write: bool = True) -> sqlite3.Connection:
    """A connection to a file that is there; one thread at a time may use it. Raises sqlite3.Error.

    A commit is in the operating system's hands when it returns: no end of the process loses it. What brings it to the
    disk, so that no end of the machine does, is a checkpoint, which is the caller's, but for `MAX_WAL_PAGES`.
    """
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode={'rw' if write else 'ro'}"
    connection = sqlite3.connect(address, BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
    if write:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {MAX_WAL_PAGES}")
    return connection


def table(kind: str) -> Table:
    """Where messages of a kind lie."""
    return "scores" if kind == "score" else "messages"


def row(message: Message, utc_s: float, content: str) -> Row:
    """What is recorded of a message; `content` is the message as JSON."""
    if message["kind"] != "score":
        return message["stream"], message["kind"], message["seq"], _whole(utc_s), content
    times_us = (_whole(utc_s), _whole(message["monotonic_s"]), _whole(message["t_s"]))
    scores = (_whole(message["micro"]), _whole(message["macro"]), _whole(message["latency_s"]))
    return message["stream"], message["seq"], *times_us, message["face"], message["frame"], *scores


def message(kind: str, publisher: str, recorded: Row) -> Message:
    """The message of a row of `COLUMNS`, field for field as it was published by `publisher`."""
    if kind != "score":
        content: Message = json.loads(recorded[0])
        return content
    stream, seq, utc_us, monotonic_us, t_us, face, frame, micro, macro, latency_us = recorded
    return (
        {"schema": SCHEMA, "publisher": publisher, "seq": seq}
        | stamps(Moment(monotonic_us / 1e6, utc_us / 1e6))
        | {"stream": stream, "kind": "score", "t_s": t_us / 1e6, "face": face, "frame": frame}
        | {"micro": micro / 1e6, "macro": macro / 1e6, "latency_s": latency_us / 1e6}
    )


def _fill(path: Path, told: Mapping[str, str]) -> None:
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {_TABLES}")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", told.items())
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        connection.close()


def _boot() -> str:
    """Which start of the machine it is; empty where it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started_s(process: int) -> float:
    """When a process was started, since the machine was."""
    return psutil.Process(process).create_time() - psutil.boot_time()


def _whole(value: float) -> int:
    """In millionths, which is as far as messages are told."""
    return round(value * 1e6)
