"""Who may connect: CURVE keys in files, and the answers to ZeroMQ's question whether a client's key is allowed.

Key files have the form of ZeroMQ's own certificates: NAME.key holds the public key and may be given away,
NAME.key_secret holds both and is readable by its owner only. Secrets are in no message, no `repr` and no log.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from livespot.errors import PublishError

PUBLIC, SECRET = ".key", ".key_secret"
"""How the names of key files end."""

REREAD_S = 0.5
"""So often the directory of allowed keys is looked at."""

ZAP = "inproc://zeromq.zap.01"
"""Where libzmq asks whether a client may connect."""

_HEAD = "# {what} of {name}, made by `livespot keygen`. {rule}\nmetadata\ncurve\n"
_KEY_CHARACTERS = 40


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair, both halves in ZeroMQ's 40 characters."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class ClientKeys:
    """What a subscriber needs: its own pair, and the public key of the publisher that it means."""

    own: KeyPair
    server: bytes

    def configure(self, one: "zmq.Socket[bytes]") -> None:
        """To be set before connect."""
        one.curve_publickey, one.curve_secretkey, one.curve_serverkey = self.own.public, self.own.secret, self.server


def generate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a pair; its public and its secret file. Raises PublishError where one exists already."""
    _check_curve()
    public, secret = zmq.curve_keypair()
    files = folder / f"{name}{PUBLIC}", folder / f"{name}{SECRET}"
    public_line = f'    public-key = "{public.decode()}"\n'
    head = _HEAD.format(what="Public key", name=name, rule="It may be given away.")
    secret_head = _HEAD.format(what="Secret key", name=name, rule="Keep it to yourself.")
    _write_new(files[1], f'{secret_head}{public_line}    secret-key = "{secret.decode()}"\n', 0o600)
    _write_new(files[0], head + public_line, 0o644)
    return files


def load_pair(file: Path) -> KeyPair:
    """The pair of a secret file. Raises PublishError where it is none, or others can read it."""
    _check_curve()
    public, secret = _load(file)
    if secret is None:
        raise PublishError(f"{file} holds no secret key: give the file that ends in {SECRET}")
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PublishError(f"{file} can be read by others than its owner: chmod 600 {file}")
    return KeyPair(public, secret)


def load_public(given: Path | str) -> bytes:
    """The public key of a file, or the 40 characters themselves. Raises PublishError."""
    if isinstance(given, str) and len(given) == _KEY_CHARACTERS and not Path(given).exists():
        return given.encode()
    return _load(Path(given))[0]


def client_keys(key: Path | str | None, server_key: Path | str | None) -> ClientKeys | None:
    """Keys of a subscriber, None where it has none. Raises PublishError where one is given without the other."""
    if key is None and server_key is None:
        return None
    if key is None or server_key is None:
        raise PublishError("a key and the server's public key belong together: give both, or neither")
    return ClientKeys(load_pair(Path(key)), load_public(server_key))


class Guard:
    """Decides which clients may connect: those whose public keys lie in a directory, which is read again and again."""

    def __init__(self, key: Path, allowed: Path | None) -> None:
        """Raises PublishError where the key or the directory cannot be read."""
        self._pair = load_pair(key)
        if allowed is None or not allowed.is_dir():
            what = "no directory of allowed keys is given" if allowed is None else f"{allowed} is no directory"
            raise PublishError(f"{what}: give publish.allowed_keys one that holds the {PUBLIC} files of clients")
        self._folder = allowed
        self._read_s = time.monotonic()
        self._allowed = frozenset(_public_keys(allowed))

    def configure(self, one: "zmq.Socket[bytes]") -> None:
        """Let a socket accept allowed clients only; to be set before bind."""
        one.curve_server = True
        one.curve_secretkey = self._pair.secret
        one.zap_domain = b"livespot"

    def reread(self, now_s: float) -> bool:
        """Look at the directory if it is time; whether a key has gone since."""
        if now_s < self._read_s + REREAD_S:
            return False
        before, self._read_s, self._allowed = self._allowed, now_s, frozenset(_public_keys(self._folder))
        return not before <= self._allowed

    def allows(self, public: bytes) -> bool:
        """Whether this key, in ZeroMQ's 40 characters, is allowed, as far as is known."""
        return public in self._allowed

    def answer(self, request: list[bytes]) -> list[bytes]:
        """The answer to libzmq's question about one client, in its protocol ZAP 1.0."""
        version, number, _, _, _, mechanism, *credentials = request
        public = z85.encode(credentials[0]) if mechanism == b"CURVE" and credentials else b""
        if self.allows(public):
            return [version, number, b"200", b"OK", public, b""]
        return [version, number, b"400", b"this key is not allowed", b"", b""]


def _public_keys(folder: Path) -> Iterator[bytes]:
    """Public keys of a directory; what is none, or half written, allows nobody."""
    for file in folder.glob(f"*{PUBLIC}"):
        with suppress(PublishError):
            yield _load(file)[0]


def _load(file: Path) -> tuple[bytes, bytes | None]:
    if not file.is_file():
        raise PublishError(f"there is no key file {file}: `livespot keygen` makes one")
    try:
        public, secret = zmq.auth.load_certificate(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it holds no key"
        raise PublishError(f"{file} cannot be used as a key: {reason}: `livespot keygen` makes one") from None
    if not all(len(key) == _KEY_CHARACTERS for key in (public, secret) if key is not None):
        raise PublishError(f"{file} cannot be used as a key: a key has {_KEY_CHARACTERS} characters")
    return public, secret


def _write_new(file: Path, text: str, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise PublishError(f"{file} exists: a key is never overwritten, give another name") from None
    except OSError as error:
        raise PublishError(f"{file} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def _check_curve() -> None:
    if not zmq.has("curve"):
        raise PublishError("this pyzmq was built without CURVE: pip install --force-reinstall pyzmq")
