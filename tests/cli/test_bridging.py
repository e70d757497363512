"""What the commands that bring the stream elsewhere refuse, and in which words."""

import pytest
from typer.testing import CliRunner

from livespot.cli import app
from livespot.errors import LivespotError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "tcp://0.0.0.0:*"], "lets anyone in the network hear"),
        (["--key", "no.key_secret"], "opens nothing"),
        (["--allowed-keys", "."], "keeps nobody out"),
        (["--server-key", "0" * 40], "belong together"),
        (["--server-key", "a", "--server-key", "b"], "2 --server-key for 1 --from"),
        (["--from", "a b=tcp://127.0.0.1:1"], "a name has letters"),
        (["--from", "tcp://127.0.0.1:1"], "give each a name of its own"),
    ],
)
def test_what_a_proxy_cannot_use_is_refused_with_what_to_do(options: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["proxy", "--from", "tcp://127.0.0.1:1", *options])
    assert isinstance(done.exception, LivespotError)
    assert words in str(done.exception)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--broker", "broker:1883"], "is no broker"),
        (["--broker", "mqtt://broker:99999"], "is no broker"),
        (["--broker", "mqtt://broker:port"], "is no broker"),
        (["--broker", "mqtt://broker", "--topic", "lab/#"], "+ and # stand for many"),
        (["--broker", "mqtt://broker", "--user", "me", "--password-file", "nowhere"], "holds no password"),
        (["--broker", "mqtts://broker", "--ca", "nowhere.pem"], "no file nowhere.pem"),
        (["--broker", "mqtt://broker", "--key", "me.key_secret"], "belong together"),
    ],
)
def test_what_a_bridge_cannot_use_is_refused_with_what_to_do(options: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["bridge", "mqtt", *options])
    assert isinstance(done.exception, LivespotError)
    assert words in str(done.exception)
