"""Writes what is published to a file before it is sent, and finds in it what is kept nowhere else.

    sender's thread    a commit for all that it is about to send: it is in the operating system's hands before any
                       subscriber has it, so that a process killed with -9 has recorded all that it has told
    this one's own     every `SYNC_S` what was committed is brought to the disk, for which a sender should not wait:
                       of what was told, a power cut takes no more than that

Scores, of which there are many, are committed with the next message that is none, or after `SCORES_S`. Where the file
cannot be written, a full disk for one, messages wait in memory, as many as `MAX_WAITING`, and writing is tried again
every `RETRY_S`; the sender goes on.
"""

import math
import sqlite3
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from livespot.errors import PublishError
from livespot.publish import recording
from livespot.publish.archive import MAX_REPLAY_BYTES, MAX_REPLAY_MESSAGES, Sent
from livespot.publish.encoding import Encode, encoder
from livespot.publish.messages import Moment, Recording, stamps
from livespot.publish.recording import Row, Table

SYNC_S = 5.0
SCORES_S = 1.0
RETRY_S = 1.0

MAX_WAITING = {"messages": 10_000, "scores": 10_000}
"""While the file cannot be written, about 10 MB and 3 MB. Beyond it the oldest are given up."""

MAX_AT_ONCE = 500
"""Messages that one commit brings into the file."""

_TO_JSON = encoder("json")


class Recorder:
    """Records one publisher's messages in a file of its own, until it is closed. It belongs to one thread at a time."""

    def __init__(self, folder: Path, publisher: str, encode: Encode, scores: bool = False) -> None:
        """The file is made in `folder`, which is made where it is not there, for its owner alone. `encode` writes what
        is found as it was sent. Scores are recorded where `scores` is set.

        Raises PublishError where the file cannot be made.
        """
        self._publisher, self._encode, self._scores = publisher, encode, scores
        now = Moment.now()
        self._path = folder / f"{_compact(stamps(now)['utc'])}-{publisher[:8]}{recording.SUFFIX}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            recording.create(self._path, recording.meta(publisher, now))
        except (OSError, sqlite3.Error) as error:
            reason = "it is no folder" if isinstance(error, FileExistsError) else _reason(error)
            raise PublishError(
                f"{folder} cannot hold a recording: {reason}: give a folder that is yours, on a disk with room"
            ) from None
        self.state = Recording(self._path)
        """How it goes; may be read by any thread."""
        self._connection: sqlite3.Connection | None = None
        self._waiting: dict[Table, deque[Row]] = {"messages": deque(), "scores": deque()}
        self._lost = 0
        self._tried_s = time.monotonic()
        self._over = threading.Event()
        self._syncing = threading.Thread(target=self._sync, name="livespot-recorder", daemon=True)
        self._syncing.start()

    def write(self, batch: Iterable[Sent]) -> None:
        """Record messages that are about to be sent; with none, what is due of those before. Never raises."""
        for sent in batch:
            kind = sent.message["kind"]
            if kind != "heartbeat" and (self._scores or kind != "score"):
                self._wait(recording.table(kind), recording.row(sent.message, sent.utc_s, _json(sent)))
        if self._due(time.monotonic()):
            self._write_waiting()

    def first(self, stream: str, kind: str) -> int | None:
        """As `archive.Recorded` says."""
        found = self._look(kind, "min(seq)", "", stream)
        return found[0][0] if found else None

    def find(self, stream: str, kind: str, first: int, end: int) -> tuple[int, list[bytes]]:
        """As `archive.Recorded` says."""
        limits = f"AND seq >= :first AND seq < :end ORDER BY seq LIMIT {MAX_REPLAY_MESSAGES}"
        begin, contents, left = end, list[bytes](), MAX_REPLAY_BYTES
        for row in self._look(kind, recording.COLUMNS[recording.table(kind)], limits, stream, first=first, end=end):
            message = recording.message(kind, self._publisher, row)
            begin = begin if contents else message["seq"]
            if message["seq"] != begin + len(contents) or left < 0:
                break
            contents.append(self._encode(message))
            left -= len(contents[-1])
        return begin, contents

    def since(self, stream: str, kind: str, utc_s: float, end: int) -> int | None:
        """As `archive.Recorded` says."""

        def utc_us(seq: int) -> float:
            found = self._look(kind, "utc_us", "AND seq >= :first ORDER BY seq LIMIT 1", stream, first=seq)
            return found[0][0] if found else math.inf

        first = self.first(stream, kind)
        if first is None or first >= end or utc_us(first) >= utc_s * 1e6:
            return None
        return bisect_left(range(end), utc_s * 1e6, first, key=utc_us)

    def close(self) -> None:
        """Record what waits, as far as that is possible, and leave one whole file behind."""
        self._over.set()
        self._syncing.join()
        self._write_waiting()
        self.state = replace(self.state, waiting=0, lost=self.state.lost + self.state.waiting)
        with suppress(sqlite3.Error):
            if self._connection:
                self._connection.execute("INSERT INTO meta VALUES ('ended', ?)", (stamps(Moment.now())["utc"],))
                self._connection.execute("PRAGMA journal_mode = DELETE")  # a reader may be in its way
        self._disconnect()

    def _wait(self, table: Table, row: Row) -> None:
        self._waiting[table].append(row)
        if len(self._waiting[table]) > MAX_WAITING[table]:
            self._waiting[table].popleft()
            self._lost += 1

    def _due(self, now_s: float) -> bool:
        if self.state.error:
            return now_s >= self._tried_s + RETRY_S
        return bool(self._waiting["messages"]) or (bool(self._waiting["scores"]) and now_s >= self._tried_s + SCORES_S)

    def _write_waiting(self) -> None:
        self._tried_s = time.monotonic()
        try:
            self._path.stat()  # where somebody deleted it, SQLite would go on writing into nothing
            for table, rows in self._waiting.items():
                self._commit(table, rows)
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            waiting = sum(map(len, self._waiting.values()))
            failures = self.state.failures + (not self.state.error)
            self.state = Recording(self._path, _reason(error), waiting, self._lost, failures)
        else:
            if self.state.error:
                self.state = replace(self.state, error="", waiting=0, lost=self._lost)

    def _commit(self, table: Table, rows: deque[Row]) -> None:
        """Some at a time, so that finding the disk still full takes no longer than that."""
        while some := list(islice(rows, MAX_AT_ONCE)):
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(recording.INSERT[table], some)
            connection.execute("COMMIT")
            for _ in some:
                rows.popleft()

    def _look(self, kind: str, what: str, limits: str, stream: str, **numbers: int) -> list[Row]:
        """Rows of a topic, of all that was to be written; none where the file cannot be read."""
        if any(self._waiting.values()) and not self.state.error:
            self._write_waiting()
        rows = recording.ROWS[recording.table(kind)]
        with suppress(sqlite3.Error):
            query = f"SELECT {what} FROM {rows} {limits}"  # noqa: S608 (all of it is from here)
            return self._connected().execute(query, {"stream": stream, "kind": kind} | numbers).fetchall()
        return []

    def _connected(self) -> sqlite3.Connection:
        self._connection = self._connection or recording.connect(self._path)
        return self._connection

    def _disconnect(self) -> None:
        """A connection that failed is not used again: the file may have gone and come back."""
        with suppress(sqlite3.Error):
            if self._connection:
                self._connection.close()
        self._connection = None

    def _sync(self) -> None:
        while not self._over.wait(SYNC_S):
            with suppress(sqlite3.Error), closing(recording.connect(self._path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _json(sent: Sent) -> str:
    content = sent.content if sent.content.startswith(b"{") else _TO_JSON(sent.message)
    return content.decode()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _compact(utc: str) -> str:
    """2027-01-15T08:00:00.000000Z as 20270115T080000Z, for the name of a file."""
    return utc[:19].replace("-", "").replace(":", "") + "Z"
