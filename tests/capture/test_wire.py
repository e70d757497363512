"""The pipe between a reader and who started it: everything arrives, and nobody waits longer than agreed."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
import pytest

from livespot.capture import wire
from livespot.capture.source import Picture
from livespot.capture.wire import LENGTHS, Failed, Message, Opened, Ready, Receiver, send

PATIENCE_S = 10.0


@contextmanager
def pipe() -> Iterator[tuple[IO[bytes], Receiver, IO[bytes]]]:
    """The sender's end, the receiver, and its end."""
    out, into = os.pipe()
    with os.fdopen(out, "rb", buffering=0) as reading, os.fdopen(into, "wb", buffering=0) as writing:
        yield writing, Receiver(reading), reading


@pytest.mark.parametrize("message", [Ready(), Opened(25.0, None), Opened(None, 40), Failed("gone"), Failed("", True)])
def test_what_is_said_arrives(message: Message) -> None:
    with pipe() as (writing, receiver, _):
        send(writing, message)
        assert receiver.receive(PATIENCE_S) == message


@pytest.mark.parametrize("stamp_s", [None, 12.34])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1081, 1919, 3)])
def test_a_picture_arrives_however_large_it_is(shape: tuple[int, ...], stamp_s: float | None) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with pipe() as (writing, receiver, _):
        sender = threading.Thread(target=send, args=(writing, Picture(image, stamp_s, 5.5)))
        sender.start()
        got = receiver.receive(PATIENCE_S)
        sender.join()
    assert isinstance(got, Picture)
    assert np.array_equal(got.image, image)
    assert (got.stamp_s, got.arrival_s) == (stamp_s, 5.5)
    assert got.image.flags.writeable


def test_messages_arrive_in_order() -> None:
    with pipe() as (writing, receiver, _):
        for number in range(20):
            send(writing, Failed(str(number)))
        assert [receiver.receive(PATIENCE_S) for _ in range(20)] == [Failed(str(number)) for number in range(20)]


def test_nobody_waits_for_a_sender_that_says_nothing() -> None:
    with pipe() as (_, receiver, _):
        assert receiver.receive(0.01) is None


def test_the_end_of_the_sender_is_told_after_what_it_said() -> None:
    with pipe() as (writing, receiver, _):
        send(writing, Ready())
        writing.close()
        assert receiver.receive(PATIENCE_S) == Ready()
        with pytest.raises(EOFError, match="ended"):
            receiver.receive(PATIENCE_S)


def test_a_sender_that_stops_in_the_middle_of_a_message_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "WHOLE_S", 0.05)
    with pipe() as (writing, receiver, _):
        writing.write(LENGTHS.pack(100, 0) + b"{")
        with pytest.raises(EOFError, match="middle of a message"):
            receiver.receive(PATIENCE_S)


def test_who_sends_to_nobody_learns_of_it() -> None:
    with pipe() as (writing, _, reading):
        reading.close()
        with pytest.raises(BrokenPipeError):
            send(writing, Ready())
