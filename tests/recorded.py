"""Recordings for the tests of what reads them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from livespot.publish import Publisher
from livespot.publish.messages import Record

FREE_PORT = "tcp://127.0.0.1:*"
ROOT = Path(__file__).parents[1]

_VICTIM = """
import sys, time
from pathlib import Path
from livespot.publish import Publisher
from tests.publish.examples import OPEN, UPDATE
with Publisher("tcp://127.0.0.1:*", record=Path(sys.argv[1])) as publisher:
    for record in (OPEN, UPDATE):
        publisher.publish(record)
    publisher.heartbeat()
    time.sleep(0.1)
    print(publisher.recording.file, flush=True)
    time.sleep(60)
"""


def session(folder: Path, records: Iterable[Record]) -> Path:
    """The file of a session that ended in good order."""
    with Publisher(FREE_PORT, record=folder, record_scores=True) as publisher:
        for record in records:
            publisher.publish(record)
    assert publisher.recording
    return publisher.recording.file


def killed_session(folder: Path) -> Path:
    """The file of a session that was killed with -9 while an event was open."""
    command = [sys.executable, "-c", _VICTIM, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout
        file = Path(victim.stdout.readline().strip())
        os.kill(victim.pid, signal.SIGKILL)
    return file
