"""What is written on the wire, and what is not taken for it."""

import sys

import pytest

from livespot.errors import PublishError
from livespot.publish.encoding import Encoding, decode, encoder

VALUE = {"text": "Zürich", "numbers": [1, -2.5, 2**40], "nothing": None, "yes": True}


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_an_object_comes_back_as_it_went(encoding: Encoding) -> None:
    assert decode(encoder(encoding)(VALUE)) == VALUE


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_half_a_character_is_replaced(encoding: Encoding) -> None:
    detail = b"Z\xfcrich.mp4".decode("utf-8", "surrogateescape")  # a file name in Latin-1
    assert decode(encoder(encoding)({"detail": detail, detail: 1})) == {"detail": "Z?rich.mp4", "Z?rich.mp4": 1}


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b"7", b"{", b"{'a': 1}", b'{"a":' * 100_000, b"\x81", b"\x81\xa1", b"\xdf\xff\xff\xff\xff", b"\xff"],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_object_is_an_error_of_value(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode(content)


def test_without_msgpack_json_still_works_and_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = encoder("msgpack")(VALUE)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    assert decode(encoder("json")(VALUE)) == VALUE
    with pytest.raises(PublishError, match="livespot\\[msgpack\\]"):
        encoder("msgpack")
    with pytest.raises(PublishError, match="livespot\\[msgpack\\]"):
        decode(packed)
