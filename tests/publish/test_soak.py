"""Many messages to subscribers of every temper, each in a process of its own.

LIVESPOT_SOAK=200000 publishes as many messages; 2,000 where nothing is said.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil

from livespot.publish import Publisher
from tests.publish.examples import CLOSE, OPEN, SCORES
from tests.publish.test_zmq import FREE_PORT

MESSAGES = int(os.environ.get("LIVESPOT_SOAK", "2000"))
ROOT = Path(__file__).parents[2]
RECORDS = [replace(record, source=source) for source in ("cam1", "door") for record in (OPEN, CLOSE, SCORES, SCORES)]
"""One round, of four topics."""

LISTENER = """
import json, sys, time
from livespot.publish import subscribe
endpoint, pause_s, wanted = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
numbers, lost, told = {}, 0, 0
with subscribe(endpoint, ("event", "score", "lost"), past_s=float("inf"), timeout_s=30) as messages:
    print("listening", flush=True)
    for message in messages:
        if message["kind"] == "lost":
            key, some = (message["stream"], message["of"]), range(message["first"], message["last"] + 1)
            lost += len(some)
        else:
            key, some = (message["stream"], message["kind"]), [message["seq"]]
        numbers.setdefault(key, []).extend(some)
        told += len(some)
        if told >= wanted:
            break
        if told % 100 == 0:
            time.sleep(pause_s)
whole = all(seq == list(range(len(seq))) for seq in numbers.values())
print(json.dumps({"whole": whole, "told": told, "lost": lost}))
"""

PASSER_BY = """
import sys
from livespot.publish import subscribe
while True:
    with subscribe(sys.argv[1], timeout_s=1.0) as messages:
        next(messages, None)
"""


def started(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def publish_all(publisher: Publisher, victim: "subprocess.Popen[str]") -> list[float]:
    """Memory in MB, now and then."""
    memory_mb = []
    for number in range(MESSAGES):
        publisher.publish(RECORDS[number % len(RECORDS)])
        if number % 100 == 0:
            publisher.heartbeat()
            time.sleep(0.02)
        if number % (MESSAGES // 20) == 0:
            memory_mb.append(psutil.Process().memory_info().rss / 2**20)
        if number == MESSAGES // 2:
            victim.kill()
    return memory_mb


def test_each_healthy_subscriber_has_every_number_once_and_the_slow_one_knows_what_it_lost() -> None:
    with Publisher(FREE_PORT, heartbeat_s=0.2, keep=2000) as publisher:
        healthy = [started(LISTENER, publisher.endpoint, 0, MESSAGES) for _ in range(2)]
        slow = started(LISTENER, publisher.endpoint, 0.1, MESSAGES)
        passer_by, victim = started(PASSER_BY, publisher.endpoint), started(LISTENER, publisher.endpoint, 0, MESSAGES)
        try:
            for one in (*healthy, slow, victim):
                assert one.stdout and one.stdout.readline() == "listening\n"
            memory_mb = publish_all(publisher, victim)
            while any(one.poll() is None for one in (*healthy, slow)):
                publisher.heartbeat()
                time.sleep(0.05)
        finally:
            for one in (*healthy, slow, passer_by, victim):
                one.kill()
        reports = [json.loads(one.communicate()[0]) for one in (*healthy, slow)]
        passer_by.communicate()
        victim.communicate()
    for report in reports[:-1]:
        assert report == {"whole": True, "told": MESSAGES, "lost": 0}
    assert (reports[-1]["whole"], reports[-1]["told"]) == (True, MESSAGES)
    assert max(memory_mb[10:]) - memory_mb[10] < 20
    print(f"slow lost {reports[-1]['lost']}, memory {memory_mb[0]:.0f} to {memory_mb[-1]:.0f} MB")
