"""livespot keygen, listen and run: keys, the past, who may bind where."""

import json
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from livespot.cli import app
from livespot.errors import PublishError
from livespot.publish import Publisher
from tests.publish.examples import CLOSE, OPEN, RUNNING

FREE_PORT = "tcp://127.0.0.1:*"
SENT_S = 0.2
"""After so long what was published is sent, so that who comes then comes late."""


def livespot(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def refusal(*arguments: object) -> str:
    result = livespot(*arguments)
    assert isinstance(result.exception, PublishError), result.output
    return str(result.exception)


def heard(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_keygen_writes_a_file_to_give_away_and_one_to_keep(tmp_path: Path) -> None:
    result = livespot("keygen", "interview", "--folder", tmp_path)
    public, secret = tmp_path / "interview.key", tmp_path / "interview.key_secret"
    assert (str(public) in result.stdout, str(secret) in result.stdout) == (True, True)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    kept = secret.read_text(encoding="utf-8").split('secret-key = "')[1].split('"')[0]
    assert kept not in result.output
    assert "never overwritten" in refusal("keygen", "interview", "--folder", tmp_path)


def test_listen_begins_with_what_is_so_now_and_with_the_past_on_request() -> None:
    with Publisher(FREE_PORT) as publisher:
        sent = [publisher.publish(record) for record in (RUNNING, OPEN, CLOSE)]
        time.sleep(SENT_S)
        now = heard(livespot("listen", publisher.endpoint, "--timeout", 1.5, "--json"))
        past = heard(livespot("listen", publisher.endpoint, "--timeout", 1.5, "--json", "--past", 60))
    assert now == sent[:1]
    assert sorted(past, key=str) == sorted(sent, key=str)


def test_listen_says_what_it_could_not_have() -> None:
    with Publisher(FREE_PORT, keep=1) as publisher:
        for _ in range(3):
            publisher.publish(CLOSE)
        time.sleep(SENT_S)
        result = livespot("listen", publisher.endpoint, "--timeout", 1.5, "--past", 60)
    assert "cam1: lost event 0 to 1" in result.stdout


def test_listen_needs_a_key_where_the_publisher_has_one(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    for name in ("server", "friend"):
        livespot("keygen", name, "--folder", tmp_path)
    (allowed / "friend.key").write_bytes((tmp_path / "friend.key").read_bytes())
    with Publisher(FREE_PORT, key=tmp_path / "server.key_secret", allowed_keys=allowed) as publisher:
        publisher.publish(RUNNING)
        keys = ("--key", tmp_path / "friend.key_secret", "--server-key", tmp_path / "server.key")
        assert len(heard(livespot("listen", publisher.endpoint, "--timeout", 1, "--json", *keys))) == 1
        assert "wants a key" in refusal("listen", publisher.endpoint, "--timeout", 5)


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:*", "tcp://*:*"])
def test_run_lets_no_other_machine_connect_without_keys(endpoint: str) -> None:
    words = refusal("run", "--source", "demo://?seconds=2", "--endpoint", endpoint)
    assert "livespot keygen" in words
    assert "--insecure" in words


def test_run_with_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    livespot("keygen", "server", "--folder", tmp_path)
    key = tmp_path / "server.key_secret"
    key.chmod(0o644)
    options = ("--set", f"publish.key={key}", "--set", f"publish.allowed_keys={tmp_path}")
    assert "chmod 600" in refusal("run", "--source", "demo://?seconds=2", *options)
