"""What a person at a terminal sees, and that a pipe beside it gets the JSON and nothing else."""

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path


def _read_all(descriptor: int, into: list[bytes]) -> None:
    try:
        while chunk := os.read(descriptor, 4096):
            into.append(chunk)
    except OSError:  # the terminal's other end is closed
        return


def test_json_goes_to_the_pipe_while_the_status_line_runs_on_the_terminal(engine: Path, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "livespot", "run", "--source", "demo://?seconds=3", "--model", str(engine)]
    with subprocess.Popen(
        [*command, "--endpoint", "tcp://127.0.0.1:*", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=os.environ | {"TERM": "xterm"},
    ) as process:
        os.close(follower)
        seen: list[bytes] = []
        screen = threading.Thread(target=_read_all, args=(leader, seen))
        screen.start()
        assert process.stdout is not None
        lines = process.stdout.read().decode().splitlines()
    screen.join()
    os.close(leader)
    assert process.returncode == 0
    states = [message["state"] for message in map(json.loads, lines) if message["kind"] == "status"]
    assert states == ["connecting", "running", "ended"]
    assert b"latency" in b"".join(seen)
