"""Questions to the publisher and their answers: a pure function of what is kept. `README.md` has the contract.

A request is one object: `request`, an `id` that comes back, and what the request needs. An answer is one object, then
the messages it gives, each as it was published. Whatever comes, an answer comes back and nothing is changed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from livespot.errors import PublishError
from livespot.publish.archive import Archive, Replay
from livespot.publish.archives import Archives
from livespot.publish.encoding import Encode, decode
from livespot.publish.messages import SCHEMA, Message, Moment, stamps

MAX_REQUEST_BYTES = 4096
MAX_ID = 64
"""Characters of an id that is given back."""

MAX_SEQ = 2**63 - 1

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Answer: TypeAlias = tuple[Message, list[bytes]]
Kept: TypeAlias = Archive | Archives


class _Refused(Exception):  # noqa: N818
    """The request cannot be answered; its text says why."""


@dataclass(frozen=True)
class Answers:
    """Answers the requests at one endpoint."""

    publisher: str
    """The one at the endpoint itself."""
    encode: Encode

    def answer(self, content: bytes, archives: Archives, now: Moment) -> list[bytes]:
        """The parts of the answer to a request of whatever content."""
        identity: object = None
        publisher = self.publisher
        try:
            request = _parse(content)
            identity = _identity(request)
            kept = _meant(request, archives)
            publisher = request.get("publisher") or publisher
            body, contents = _answer(request, kept)
        except _Refused as refusal:
            body, contents = {"reply": "error", "error": str(refusal)}, []
        head = {"schema": SCHEMA, "publisher": publisher, "id": identity} | stamps(now)
        return [self.encode(head | body | {"count": len(contents)}), *contents]


def snapshot(_: Message, archive: Kept) -> Answer:
    """State of every source, open events, and the numbers of every topic."""
    topics: dict[str, dict[str, dict[str, int]]] = {}
    for (stream, kind), numbers in archive.topics().items():
        topics.setdefault(stream, {})[kind] = {"kept": numbers.kept, "next": numbers.next}
    return {"topics": topics}, archive.state()


def replay(request: Message, archive: Kept) -> Answer:
    """Messages of one topic from a number or a time on."""
    stream, kind = (_text(request, key) for key in ("stream", "kind"))
    last = _number(request, "last") if request.get("last") is not None else None
    if "since_utc" in request:
        given = archive.replay_since(stream, kind, _utc_s(request), last)
    else:
        given = archive.replay(stream, kind, _number(request, "first"), last)
    return {"stream": stream, "kind": kind} | _told(given), given.contents


def clock(_: Message, __: Kept) -> Answer:
    """Nothing but what every answer holds: that the publisher is there, and both its clocks."""
    return {}, []


def metrics(_: Message, archive: Kept) -> Answer:
    """What the run measured of itself."""
    return {"metrics": archive.metrics}, []


_REQUESTS: dict[str, Callable[[Message, Kept], Answer]] = {
    "snapshot": snapshot,
    "replay": replay,
    "metrics": metrics,
    "time": clock,
    "ping": clock,
}


def _answer(request: Message, archive: Kept) -> Answer:
    name = request.get("request")
    if not isinstance(name, str) or name not in _REQUESTS:
        raise _Refused(f"no such request: expected request to be {', '.join(_REQUESTS)}")
    body, contents = _REQUESTS[name](request, archive)
    return {"reply": name} | body, contents


def _parse(content: bytes) -> Message:
    if len(content) > MAX_REQUEST_BYTES:
        raise _Refused(f"the request has {len(content)} bytes: {MAX_REQUEST_BYTES} at most")
    try:
        return decode(content)
    except (ValueError, OverflowError, PublishError) as error:
        raise _Refused(f"the request cannot be read: {str(error)[:200]}") from None


def _meant(request: Message, archives: Archives) -> Kept:
    """What is kept of the publisher that is asked for, of all where none is named."""
    given = request.get("publisher")
    kept = archives.of(given) if given is None or isinstance(given, str) else None
    if kept is None:
        raise _Refused("no such publisher is known here: expected one whose heartbeats come from this endpoint")
    return kept


def _identity(request: Message) -> int | str | None:
    given = request.get("id")
    if isinstance(given, str):
        return given[:MAX_ID]
    return given if isinstance(given, int) and not isinstance(given, bool) and abs(given) <= MAX_SEQ else None


def _told(given: Replay) -> Message:
    missing = None if given.missing is None else {"first": given.missing[0], "last": given.missing[1]}
    return {"first": given.first, "missing": missing, "resume": given.resume}


def _text(request: Message, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _Refused(f"{key} is missing or no name: replay needs stream, kind, and first or since_utc")
    return value


def _number(request: Message, key: str) -> int:
    value = request.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEQ:
        raise _Refused(f"{key} is no number of a message: expected a whole number from 0")
    return value


def _utc_s(request: Message) -> float:
    given: Any = request["since_utc"]
    try:
        moment = datetime.fromisoformat(given.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            raise ValueError
        return moment.timestamp()
    except (AttributeError, ValueError, OverflowError):
        raise _Refused("since_utc is no time: expected one such as 2027-01-15T08:00:00.000000Z") from None
