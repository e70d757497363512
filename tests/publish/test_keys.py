"""Keys: files that keep their secret, and who is let in, over real sockets."""

import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import zmq

from livespot.errors import PublishError
from livespot.publish import Message, Publisher, Subscription, subscribe
from livespot.publish.encoding import decode
from livespot.publish.keys import Guard, client_keys, generate, load_pair, load_public
from tests.publish.examples import CLOSE, OPEN
from tests.publish.test_zmq import FREE_PORT, PATIENCE_S, arrived


@dataclass(frozen=True)
class Keys:
    """A folder with keys of a server and of two clients, one of which is allowed."""

    folder: Path
    allowed: Path

    def secret(self, name: str) -> Path:
        return self.folder / f"{name}.key_secret"

    def public(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def allow(self, name: str) -> None:
        (self.allowed / f"{name}.key").write_bytes(self.public(name).read_bytes())

    def revoke(self, name: str) -> None:
        (self.allowed / f"{name}.key").unlink()

    def publisher(self) -> Publisher:
        return Publisher(FREE_PORT, heartbeat_s=0.05, key=self.secret("server"), allowed_keys=self.allowed)

    def subscriber(self, publisher: Publisher, name: str, server: str = "server") -> Subscription:
        key, server_key = self.secret(name), self.public(server)
        return subscribe(publisher.endpoint, timeout_s=0.1, past_s=60, key=key, server_key=server_key)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    for name in ("server", "friend", "stranger"):
        generate(tmp_path, name)
    made = Keys(tmp_path, allowed)
    made.allow("friend")
    return made


@pytest.fixture
def guarded(keys: Keys) -> Iterator[Publisher]:
    with keys.publisher() as publisher:
        yield publisher


def listen_on(publisher: Publisher, subscription: Subscription) -> None:
    """Until an error, or patience ends."""
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        publisher.publish(CLOSE)
        publisher.heartbeat()
        next(subscription, None)


def test_a_secret_file_is_for_its_owner_alone_and_a_public_one_holds_no_secret(keys: Keys) -> None:
    secret = load_pair(keys.secret("friend"))
    assert stat.S_IMODE(keys.secret("friend").stat().st_mode) == 0o600
    assert secret.secret.decode() not in keys.public("friend").read_text(encoding="utf-8")
    assert load_public(keys.public("friend")) == load_public(secret.public.decode()) == secret.public


def test_a_secret_is_in_no_repr(keys: Keys) -> None:
    made = client_keys(keys.secret("friend"), keys.public("server"))
    assert made
    assert made.own.secret.decode() not in repr(made) + str(made.own)


def test_a_key_is_never_overwritten(keys: Keys) -> None:
    before = keys.secret("friend").read_bytes()
    with pytest.raises(PublishError, match="never overwritten"):
        generate(keys.folder, "friend")
    assert keys.secret("friend").read_bytes() == before


def test_allowed_keys_without_a_key_are_refused_since_they_would_keep_nobody_out(keys: Keys) -> None:
    with pytest.raises(PublishError, match=r"keeps nobody out.*give publish.key"):
        Publisher(FREE_PORT, allowed_keys=keys.allowed).__enter__()


def test_a_secret_that_others_can_read_is_refused(keys: Keys) -> None:
    keys.secret("friend").chmod(0o640)
    with pytest.raises(PublishError, match="chmod 600"):
        load_pair(keys.secret("friend"))


def test_what_is_no_key_is_refused_without_being_quoted(keys: Keys, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.key_secret"
    wrong.write_text('curve\n    public-key = "short"\n    secret-key = "hush"\n', encoding="utf-8")
    wrong.chmod(0o600)
    with pytest.raises(PublishError, match="40 characters") as caught:
        load_pair(wrong)
    assert "hush" not in str(caught.value)
    for file, words in ((tmp_path / "none.key", "no key file"), (keys.public("friend"), "no secret key")):
        with pytest.raises(PublishError, match=words):
            load_pair(file)


def test_one_key_without_the_other_is_refused(keys: Keys) -> None:
    with pytest.raises(PublishError, match="belong together"):
        subscribe("tcp://127.0.0.1:5556", key=keys.secret("friend"))
    with pytest.raises(PublishError, match=r"allowed_keys"), Publisher(FREE_PORT, key=keys.secret("server")):
        pass


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:*", "tcp://*:*", "tcp://192.0.2.1:5556", "tcp://eth0:*"])
def test_other_machines_are_not_let_in_without_a_key_unless_that_is_said(endpoint: str) -> None:
    with pytest.raises(PublishError, match=r"livespot keygen.*--insecure"), Publisher(endpoint):
        pass
    with pytest.raises(PublishError, match="--insecure"), Publisher(FREE_PORT, requests=endpoint):
        pass


def test_with_keys_or_on_demand_other_machines_are_let_in(keys: Keys) -> None:
    with (
        Publisher("tcp://0.0.0.0:*", insecure=True),
        Publisher("tcp://0.0.0.0:*", key=keys.secret("server"), allowed_keys=keys.allowed),
    ):
        pass


def test_a_client_whose_key_is_allowed_hears_and_may_ask(keys: Keys, guarded: Publisher) -> None:
    sent = [guarded.publish(OPEN), guarded.publish(CLOSE)]
    with keys.subscriber(guarded, "friend") as subscription:
        assert arrived(subscription, 2) == sent


def test_a_client_whose_key_is_not_allowed_is_told_so(keys: Keys, guarded: Publisher) -> None:
    with keys.subscriber(guarded, "stranger") as subscription, pytest.raises(PublishError, match="refuses this key"):
        listen_on(guarded, subscription)


def test_a_client_that_means_another_server_is_told_so(keys: Keys, guarded: Publisher) -> None:
    with (
        keys.subscriber(guarded, "friend", server="stranger") as subscription,
        pytest.raises(PublishError, match="server's key may be another"),
    ):
        listen_on(guarded, subscription)


def test_a_client_without_a_key_is_told_so(guarded: Publisher) -> None:
    with subscribe(guarded.endpoint, timeout_s=0.1) as subscription, pytest.raises(PublishError, match="wants a key"):
        listen_on(guarded, subscription)


def test_a_client_with_a_key_is_told_where_the_publisher_uses_none(keys: Keys) -> None:
    with (
        Publisher(FREE_PORT) as publisher,
        keys.subscriber(publisher, "friend") as subscription,
        pytest.raises(PublishError, match="may use none"),
    ):
        listen_on(publisher, subscription)


def test_a_key_that_is_allowed_while_livespot_runs_is_let_in(keys: Keys, guarded: Publisher) -> None:
    keys.allow("stranger")
    time.sleep(0.6)
    sent = guarded.publish(CLOSE)
    with keys.subscriber(guarded, "stranger") as subscription:
        assert arrived(subscription, 1) == [sent]


def test_a_key_that_is_revoked_is_put_out_and_the_others_miss_nothing(keys: Keys, guarded: Publisher) -> None:
    keys.allow("stranger")
    time.sleep(0.6)
    with keys.subscriber(guarded, "friend") as friend, keys.subscriber(guarded, "stranger") as stranger:
        sent = [guarded.publish(CLOSE)]
        assert arrived(friend, 1) == arrived(stranger, 1) == sent
        keys.revoke("stranger")
        heard: list[Message] = []
        put_out = False
        give_up_s = time.monotonic() + PATIENCE_S
        while not (put_out and len(heard) == len(sent) - 1) and time.monotonic() < give_up_s:
            if not put_out:
                sent.append(guarded.publish(CLOSE))
                put_out = is_put_out(stranger)
            guarded.heartbeat()
            heard += [message for message in [next(friend, None)] if message]
    assert put_out
    assert heard == sent[1:]


def is_put_out(subscription: Subscription) -> bool:
    try:
        next(subscription, None)
    except PublishError as error:
        return "refuses this key" in str(error)
    return False


def asking(
    publisher: Publisher, context: "zmq.Context[zmq.Socket[bytes]]", keys: Keys, name: str
) -> "zmq.Socket[bytes]":
    one = context.socket(zmq.DEALER)
    made = client_keys(keys.secret(name), keys.public("server"))
    assert made
    made.configure(one)
    one.connect(publisher.requests or "")
    return one


def test_requests_are_answered_to_allowed_keys_only_and_no_more_once_revoked(keys: Keys, guarded: Publisher) -> None:
    with (
        zmq.Context() as context,
        asking(guarded, context, keys, "friend") as friend,
        asking(guarded, context, keys, "stranger") as stranger,
    ):
        for one in (friend, stranger):
            one.linger = 0
            one.send(b'{"request": "snapshot"}')
        assert friend.poll(10_000)
        assert decode(friend.recv_multipart()[0])["reply"] == "snapshot"
        assert not stranger.poll(100)
        keys.revoke("friend")
        time.sleep(0.7)
        friend.send(b'{"request": "snapshot"}')
        assert not friend.poll(300)


def test_a_plaintext_client_gets_no_answer_and_hears_nothing(guarded: Publisher) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as sub, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        sub.subscribe(b"")
        sub.connect(guarded.endpoint)
        dealer.connect(guarded.requests or "")
        dealer.send(b'{"request": "snapshot"}')
        for _ in range(20):
            guarded.publish(CLOSE)
            assert not sub.poll(10)
        assert not dealer.poll(10)


def test_files_that_are_no_keys_allow_nobody_and_disturb_nobody(keys: Keys) -> None:
    (keys.allowed / "broken.key").write_bytes(b"\xff\xfe\x00")
    (keys.allowed / "folder.key").mkdir()
    (keys.allowed / "notes.txt").write_text("hello", encoding="utf-8")
    guard = Guard(keys.secret("server"), keys.allowed)
    assert guard.allows(load_public(keys.public("friend")))
    assert not guard.allows(load_public(keys.public("stranger")))
    assert not guard.allows(b"")
