"""Recordings, read: what each session in a folder recorded, as rows; also of a session that goes on.

Rows of events are those of `tables`, one for each event as it was told last, with UTC and what became of it besides;
rows of the other kinds are the messages themselves, without what all messages share.
"""

import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

from livespot.errors import LivespotError, SettingsError
from livespot.publish import recording
from livespot.publish.messages import Kind, Message
from livespot.records import ExpressionType
from livespot.tables import COLUMNS as EVENT_COLUMNS
from livespot.tables import Row

_EVENT = (*EVENT_COLUMNS, "onset_utc", "apex_utc", "offset_utc", "phase", "truncated", "id", "session")
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "event": _EVENT,
    "gap": ("video", "face", "from_s", "to_s", "reason", "frames", "utc", "session"),
    "status": ("video", "t_s", "state", "detail", "reconnects", "stalls", "utc", "session"),
    "score": ("video", "face", "frame", "t_s", "micro", "macro", "latency_s", "utc", "session"),
}
"""Of the rows of each kind that is recorded."""

_FIELDS = {
    "video": "stream",
    "onset": "onset_frame",
    "apex": "apex_frame",
    "offset": "offset_frame",
    "score": "confidence",
}
"""Where a column is called otherwise than the message's field."""

_BEGINS, _ENDS = ("onset", "from", "t"), ("offset", "apex", "to", "t")
"""What the fields are called of which the first there is says when something began and ended."""

_MISSING = "SELECT max(seq) + 1 - count(*) FROM messages GROUP BY stream, kind"

_NOT_OPENED = (
    "it is not yours, or was not closed and lies where you may not write, which reading it takes then: copy it, with "
    "the files beside it, to a folder of your own"
)

Instant: TypeAlias = float | str
"""Seconds of stream time, or UTC as messages write it."""


@dataclass(frozen=True)
class Session:
    """One start of a livespot that recorded."""

    file: Path
    publisher: str
    livespot: str
    """Version that recorded."""
    started_utc: str
    ended_utc: str | None
    """None where it goes on, or was killed."""
    running: bool
    """Whether it goes on."""
    missing: int
    """Messages that are not in the file though later ones of their topic are: for want of room on the disk."""

    @property
    def name(self) -> str:
        """That of the file."""
        return self.file.stem


@dataclass(frozen=True)
class Wanted:
    """Which rows: those of a kind that overlap [begin, end), of these sources and types, all where left out."""

    kind: Kind = "event"
    types: tuple[ExpressionType, ...] = ()
    sources: tuple[str, ...] = ()
    begin: Instant | None = None
    end: Instant | None = None
    min_confidence: float = 0.0

    def fits(self, message: Message) -> bool:
        """Whether a message is wanted; of an event, its last."""
        return (
            (not self.sources or message["stream"] in self.sources)
            and (not self.types or message["type"] in self.types)
            and message.get("confidence", 1.0) >= self.min_confidence
            and (self.begin is None or _instant(message, _ENDS, self.begin) >= self.begin)
            and (self.end is None or _instant(message, _BEGINS, self.end) < self.end)
        )


def instant(text: str) -> Instant:
    """What --from and --to give: seconds of stream time, or a time, UTC where it says nothing else.

    Raises SettingsError.
    """
    try:
        if math.isfinite(seconds := float(text)):
            return seconds
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise SettingsError(f"{text} is no time: give 2027-01-15T08:00 (UTC), or seconds of stream time") from None
    utc = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def files(path: Path) -> list[Path]:
    """The recordings in a folder, by the second they began in; a file is its own. Raises SettingsError for none."""
    found = [path] if path.is_file() else sorted(path.glob(f"*{recording.SUFFIX}"))
    if not found:
        what = "has no recording" if path.is_dir() else "does not exist"
        raise SettingsError(f"{path} {what}: give the folder of `livespot run --record`, or a file in it")
    return found


def read(file: Path, wanted: Wanted) -> tuple[Session, Iterator[Row]]:
    """A session and its wanted rows, which are read as one goes through them: events by their first message, scores by
    source, the rest as it was published.

    Raises LivespotError where the file cannot be read, which may be found out on the way.
    """
    session = _session(file)
    return session, (_row(session, wanted.kind, message) for message in _messages(session, wanted))


def _session(file: Path) -> Session:
    with _reading(file) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != recording.APPLICATION_ID:
            raise LivespotError(f"{file} is no recording of livespot: give what `livespot run --record` made")
        if version > recording.VERSION:
            raise LivespotError(
                f"{file} was recorded by a newer livespot: its tables have version {version}, this one reads "
                f"{recording.VERSION}: install the newer one"
            )
        told = dict(connection.execute("SELECT key, value FROM meta"))
        missing = sum(one for (one,) in connection.execute(_MISSING))
    running = recording.is_running(told)
    return Session(file, told["publisher"], told["livespot"], told["started"], told.get("ended"), running, missing)


def _messages(session: Session, wanted: Wanted) -> Iterator[Message]:
    with _reading(session.file) as connection:
        table = recording.table(wanted.kind)
        what, of_kind = recording.COLUMNS[table], "" if table == "scores" else "WHERE kind = ? ORDER BY number"
        query = f"SELECT {what} FROM {table} {of_kind}"  # noqa: S608 (all of it is from here)
        found = connection.execute(query, (wanted.kind,) if of_kind else ())
        messages = (recording.message(wanted.kind, session.publisher, row) for row in found)
        yield from filter(wanted.fits, _last_told(messages, session.running) if wanted.kind == "event" else messages)


def _last_told(messages: Iterable[Message], running: bool) -> Iterator[Message]:
    """The last message of each event; one that never closed was cut off, unless the session goes on."""
    last: dict[str, Message] = {}
    for message in messages:
        last[message["id"]] = message
    for message in last.values():
        yield message if message["phase"] == "close" or running else message | {"truncated": True}


def _row(session: Session, kind: Kind, message: Message) -> Row:
    fields = message | {"session": session.name}
    names = _FIELDS if kind == "event" else {"video": "stream"}
    return {column: fields.get(names.get(column, column)) for column in COLUMNS[kind]}


def _instant(message: Message, names: Iterable[str], like: Instant) -> Any:
    """When something began or ended, told as `like` is."""
    ending = "_utc" if isinstance(like, str) else "_s"
    told = (message.get(name + ending) for name in names)
    return next((one for one in told if one is not None), message["utc"] if isinstance(like, str) else 0.0)


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(recording.connect(file, write=False)) as connection:
            yield connection
    except (sqlite3.Error, ValueError) as error:
        why = _NOT_OPENED if "unable to open" in str(error) else "it is damaged, or no recording of livespot"
        raise LivespotError(f"{file} cannot be read: {error}: {why}") from None
