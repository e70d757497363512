"""The wire contract, version 1: what each record looks like to other programs. `README.md` beside this file is the
contract in words, `schema.json` says the same formally.

A message is two parts: the topic `livespot.v1.<stream>.<kind>.` and one object, in JSON or msgpack. Topics end in a
dot because ZeroMQ matches by prefix, and `cam1` must not hear `cam10`. Within v1 fields are only ever added: a reader
ignores what it does not know.

Frames on the wire are inclusive, as the field writes them: `offset_frame` is the last frame of the expression.
Seconds are half-open, as inside livespot: `offset_s` is when the expression was over, `offset_s - onset_s` how long it
took. The tables of `livespot.tables` follow the same rule.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from livespot.metrics import RecordingMetrics, RunMetrics, SourceMetrics, Spread
from livespot.records import Event, Gap, Scores, Status

SCHEMA = "livespot.v1"

OWN_STREAM = "livespot"
"""The stream of what livespot says of itself: heartbeats belong to no source."""

Kind: TypeAlias = Literal["event", "gap", "status", "score", "heartbeat"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LASTING: tuple[Kind, ...] = ("status", "heartbeat")
"""Kinds of which a new subscriber is sent the last message at once."""

Message: TypeAlias = dict[str, Any]
Record: TypeAlias = Event | Gap | Status | Scores


@dataclass(frozen=True)
class Moment:
    """Both clocks, read together."""

    monotonic_s: float
    utc_s: float
    """Seconds since 1970."""

    @classmethod
    def now(cls) -> "Moment":
        """This moment."""
        return cls(time.monotonic(), time.time())


@dataclass(frozen=True)
class Recording:
    """How the recording of a publisher's messages goes."""

    file: Path
    error: str = ""
    """Why the file cannot be written now; empty where it can."""
    waiting: int = 0
    """Messages that wait until it can."""
    lost: int = 0
    """Messages given up since too many waited: they are not in the file and never will be."""
    failures: int = 0
    """How often writing failed after it had gone well."""

    @property
    def in_words(self) -> str:
        """For people, without the folder's name: strangers may hear it."""
        told = f"nothing is recorded: {self.error}" if self.error else f"recording to {self.file.name}"
        return f"{told}; {self.lost} messages are lost to it" if self.lost else told


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of every message."""
    content: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    return content


def topic(stream: str, kind: Kind) -> bytes:
    """First part of a message, and what to subscribe to for exactly this stream and kind."""
    return f"{SCHEMA}.{stream}.{kind}.".encode()


def body(record: Record, now: Moment) -> Message:
    """Stream, kind, stream time and own fields of a record that is published `now`."""
    if isinstance(record, Event):
        return _header(record.source, "event", record.decided_s) | _event(record, now)
    if isinstance(record, Scores):
        return _header(record.source, "score", record.t_s) | _score(record, now)
    if isinstance(record, Gap):
        return _header(record.source, "gap", record.to_s) | _gap(record)
    return _header(record.source, "status", record.t_s) | _status(record)


def heartbeat(
    uptime_s: float,
    interval_s: float,
    following: Mapping[str, Mapping[str, int]],
    requests: str,
    recording: Recording | None = None,
) -> Message:
    """Body of the message that says livespot is alive; the next one is due in `interval_s`.

    `following` is the number of the next message by stream and kind, `requests` the endpoint that answers questions.
    """
    return _header(OWN_STREAM, "heartbeat", None) | {
        "uptime_s": _microseconds(uptime_s),
        "interval_s": interval_s,
        "next": {stream: dict(numbers) for stream, numbers in following.items()},
        "requests": requests,
        "recording": _recording(recording) if recording else None,
    }


def metrics(run: RunMetrics, now: Moment) -> Message:
    """What a run measured of itself up to `now`, as the answer to the request for it holds it."""
    return {
        "measured_utc": _utc(now.utc_s),
        "uptime_s": _microseconds(run.uptime_s),
        "idle_s": _microseconds(run.idle_s),
        "resident_bytes": run.resident_bytes,
        "queues": dict(run.queues),
        "sources": {name: _source(source) for name, source in run.sources.items()},
        "recording": _recording(run.recording) if run.recording else None,
    }


def envelope(publisher: str, seq: int, now: Moment, message_body: Message) -> Message:
    """A whole message: what all kinds share, then the body. `seq` counts from 0 within one topic of one publisher."""
    return (
        {
            "schema": SCHEMA,
            "publisher": publisher,
            "seq": seq,
        }
        | stamps(now)
        | message_body
    )


def stamps(now: Moment) -> Message:
    """Both clocks, as messages and answers tell them."""
    return {"monotonic_s": _microseconds(now.monotonic_s), "utc": _utc(now.utc_s)}


def _header(stream: str, kind: Kind, t_s: float | None) -> Message:
    return {"stream": stream, "kind": kind, "t_s": None if t_s is None else _microseconds(t_s)}


def _event(event: Event, now: Moment) -> Message:
    since_decided_s = now.monotonic_s - event.arrival_s
    stream_start_utc_s = now.utc_s - since_decided_s - event.decided_s
    return {
        "id": event.id,
        "phase": event.phase,
        "type": event.type,
        "face": event.face,
        "onset_s": _microseconds(event.onset_s),
        "onset_frame": event.onset_frame,
        "onset_utc": _utc(stream_start_utc_s + event.onset_s),
        "apex_s": _microseconds(event.apex_s),
        "apex_frame": event.apex_frame,
        "apex_utc": _utc(stream_start_utc_s + event.apex_s),
        "offset_s": _microseconds(event.offset_s) if event.offset_s is not None else None,
        "offset_frame": event.last_frame,
        "offset_utc": _utc(stream_start_utc_s + event.offset_s) if event.offset_s is not None else None,
        "confidence": _microseconds(event.confidence),
        "truncated": event.truncated,
        "regions": list(event.regions),
        "latency_s": _microseconds(event.latency_s + since_decided_s),
    }


def _score(scores: Scores, now: Moment) -> Message:
    return {
        "face": scores.face,
        "frame": scores.index,
        "micro": _microseconds(scores.micro),
        "macro": _microseconds(scores.macro),
        "latency_s": _microseconds(scores.lookahead_s + now.monotonic_s - scores.arrival_s),
    }


def _status(status: Status) -> Message:
    return {
        "state": status.state,
        "detail": status.detail,
        "reconnects": status.reconnects,
        "stalls": status.stalls,
        "reconnects_per_hour": status.reconnects_per_hour,
        "stalls_per_hour": status.stalls_per_hour,
    }


def _gap(gap: Gap) -> Message:
    return {
        "from_s": _microseconds(gap.from_s),
        "to_s": _microseconds(gap.to_s),
        "reason": gap.reason,
        "face": gap.face,
        "frames": gap.frames,
    }


def _source(source: SourceMetrics) -> Message:
    return {
        "state": source.state,
        "state_s": _microseconds(source.state_s),
        "detail": source.detail,
        "frames": source.frames,
        "fps": round(source.fps, 2),
        "faces": source.faces,
        "dropped_frames": source.dropped_frames,
        "gaps": dict(source.gaps),
        "gap_s": {reason: _microseconds(gap_s) for reason, gap_s in source.gap_s.items()},
        "events": dict(source.events),
        "reconnects": source.reconnects,
        "stalls": source.stalls,
        "reconnects_per_hour": source.reconnects_per_hour,
        "stalls_per_hour": source.stalls_per_hour,
        "latency_s": _spread(source.latency),
        "stages_s": {stage: _spread(took) for stage, took in source.stages.items()},
        "queues": dict(source.queues),
        "resident_bytes": source.resident_bytes,
    }


def _spread(took: Spread) -> Message:
    return {"p50": _microseconds(took.p50_s), "p95": _microseconds(took.p95_s), "p99": _microseconds(took.p99_s)}


def _recording(recording: Recording | RecordingMetrics) -> Message:
    return {"error": recording.error, "waiting": recording.waiting, "lost": recording.lost}


def _microseconds(value: float) -> float:
    """Six decimals: a camera's clock says no more, and a reader is spared sixteen digits. Raises ValueError for NaN."""
    if not math.isfinite(value):
        raise ValueError(f"a message would hold {value}, which JSON has no word for")
    return round(value, 6)


def _utc(utc_s: float) -> str:
    second, microseconds = divmod(round(utc_s * 1e6), 1_000_000)
    return f"{_second(second)}.{microseconds:06d}Z"


@lru_cache(maxsize=64)
def _second(utc_s: int) -> str:
    """The instants of one message lie in few seconds, and writing one out takes long."""
    return datetime.fromtimestamp(utc_s, timezone.utc).isoformat()[:19]
