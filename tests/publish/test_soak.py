"""An hour of stream time, replayed fast to subscribers of every temper, each in a process of its own."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from livespot.publish import Publisher
from livespot.publish.messages import Record
from tests.publish.examples import CLOSE, LOST_FACE, OPEN, RUNNING, SCORES, UPDATE
from tests.publish.test_zmq import FREE_PORT

FPS, STREAM_S, CAMERAS = 28, 3600, ("cam1", "door")
"""A score for each frame of each camera, and for each EVENT_S an event: more than 200,000 messages."""

EVENT_S = 10
MESSAGES = 200_000
PACE_A_S = 2_000
"""Messages that are published in a second at most, about 36 times as fast as they came about."""

KEEP = 5_000
SLOW = 10_000
"""So many messages a slow subscriber takes at 200 a second; then it wants to know what it has missed."""

ROOT = Path(__file__).parents[2]

LISTENER = """
import json, sys, time
from livespot.publish import subscribe
endpoint, wanted, slow = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
numbers, lost, told = {}, 0, 0
with subscribe(endpoint, ("event", "gap", "status", "score", "lost"), past_s=float("inf"), timeout_s=60) as messages:
    print("listening", flush=True)
    for message in messages:
        if message["kind"] == "lost":
            key, some = (message["stream"], message["of"]), range(message["first"], message["last"] + 1)
            lost += len(some)
        else:
            key, some = (message["stream"], message["kind"]), [message["seq"]]
        numbers.setdefault(" ".join(key), []).extend(some)
        told += len(some)
        if told >= wanted:
            break
        if told % 100 == 0 and told < slow:
            time.sleep(0.5)
whole = all(seq == list(range(len(seq))) for seq in numbers.values())
print(json.dumps({"whole": whole, "told": {key: len(seq) for key, seq in numbers.items()}, "lost": lost}))
"""

PASSER_BY = """
import sys, time
from livespot.publish import subscribe
while True:
    with subscribe(sys.argv[1], ("score",), timeout_s=20.0) as messages:
        if next(messages, None):
            print("joined", flush=True)
    time.sleep(1.0)
"""


def started(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def an_hour() -> Iterator[Record]:
    """What two cameras have to tell in an hour, in order of time."""
    for frame in range(FPS * STREAM_S):
        t_s = frame / FPS
        for source in CAMERAS:
            yield replace(SCORES, source=source, index=frame, t_s=t_s)
            if frame % (FPS * EVENT_S) == 0:
                yield from an_event(source, frame, t_s)
    yield from (replace(RUNNING, source=source, state="ended", t_s=float(STREAM_S)) for source in CAMERAS)


def an_event(source: str, frame: int, t_s: float) -> Iterator[Record]:
    """One expression in its phases, and a face that is lost afterwards."""
    for record in (OPEN, UPDATE, CLOSE):
        offset_s = t_s + 0.4 if record.phase == "close" else None
        moved = replace(record, onset_s=t_s, apex_s=t_s + 0.2, offset_s=offset_s, decided_s=t_s + 0.5)
        yield replace(moved, source=source, id=f"{source}-{frame}")
    yield replace(LOST_FACE, source=source, from_s=t_s + 1, to_s=t_s + 2)


def publish_all(publisher: Publisher, victim: "subprocess.Popen[str]") -> tuple[dict[str, int], list[float]]:
    """How many messages each topic had, and the memory in MB, now and then."""
    memory_mb, sent = [], defaultdict[str, int](int)
    began_s = time.monotonic()
    for number, record in enumerate(an_hour()):
        message = publisher.publish(record)
        sent[f"{message['stream']} {message['kind']}"] += 1
        if number % 100 == 0:
            publisher.heartbeat()
            time.sleep(max(0.0, began_s + number / PACE_A_S - time.monotonic()))
        if number % (MESSAGES // 20) == 0:
            memory_mb.append(psutil.Process().memory_info().rss / 2**20)
        if number == MESSAGES // 2:
            victim.kill()
    return dict(sent), memory_mb


@pytest.mark.soak
def test_each_healthy_subscriber_has_every_number_once_and_the_slow_one_knows_what_it_lost() -> None:
    wanted = sum(1 for _ in an_hour())
    assert wanted >= MESSAGES
    with Publisher(FREE_PORT, heartbeat_s=0.2, keep=KEEP) as publisher:
        healthy = [started(LISTENER, publisher.endpoint, wanted, 0) for _ in range(2)]
        slow = started(LISTENER, publisher.endpoint, wanted, SLOW)
        passer_by, victim = started(PASSER_BY, publisher.endpoint), started(LISTENER, publisher.endpoint, wanted, 0)
        try:
            for one in (*healthy, slow, victim):
                assert one.stdout and one.stdout.readline() == "listening\n"
            sent, memory_mb = publish_all(publisher, victim)
            while any(one.poll() is None for one in (*healthy, slow)):
                publisher.heartbeat()
                time.sleep(0.05)
        finally:
            for one in (*healthy, slow, passer_by, victim):
                one.kill()
        reports = [json.loads(one.communicate()[0]) for one in (*healthy, slow)]
        visits = passer_by.communicate()[0].count("joined")
        victim.communicate()
    for report in reports[:-1]:
        assert report == {"whole": True, "told": sent, "lost": 0}
    assert (reports[-1]["whole"], reports[-1]["told"], reports[-1]["lost"] > 0) == (True, sent, True)
    assert visits > 10
    assert max(memory_mb[10:]) - memory_mb[10] < 20
    memory = f"memory {memory_mb[0]:.0f}, {memory_mb[10]:.0f} half way, {memory_mb[-1]:.0f} MB"
    print(f"{wanted} messages, the slow one lost {reports[-1]['lost']}, {visits} visits, {memory}")
