"""What is kept of every publisher whose messages go out at one endpoint: its own, and behind a proxy those of others.

Streams of different publishers have different names, which the proxy sees to: who does not say whose messages are meant
is answered from all of them.
"""

from collections.abc import Iterator
from itertools import chain

from livespot.publish.archive import Archive, Replay, Sent, Topic
from livespot.publish.messages import OWN_STREAM, Message


class Archives:
    """An `Archive` for each publisher; asked itself, it answers for all."""

    def __init__(self, own: str, archive: Archive, keep: int) -> None:
        """`own` is the publisher at the endpoint itself, with its `archive`; of the others `keep` messages of each
        topic can be replayed."""
        self._own, self._keep = own, keep
        self._archives = {own: archive}

    @property
    def metrics(self) -> Message | None:
        """What the endpoint's own publisher measured of itself."""
        return self._archives[self._own].metrics

    def push(self, sent: Sent) -> None:
        """Keep a message. Of machines that the proxy's heartbeat names no more, all is forgotten."""
        publisher = sent.message["publisher"]
        if publisher not in self._archives:
            self._archives[publisher] = Archive(self._keep)
        self._archives[publisher].push(sent)
        if sent.message["kind"] != "heartbeat":
            return
        for stream, kinds in sent.message.get("next", {}).items():
            for kind, number in kinds.items():
                self._archives[publisher].expect(stream, kind, number)
        if "upstreams" in sent.message:
            for gone in self._archives.keys() - {self._own, *sent.message["upstreams"].values()}:
                del self._archives[gone]

    def of(self, publisher: str | None) -> "Archive | Archives | None":
        """What is kept of a publisher, of all where it is None; None where it is not known."""
        return self if publisher is None else self._archives.get(publisher)

    def last(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """As `Archive.last`, of all publishers, the endpoint's own first."""
        return chain.from_iterable(one.last(prefix) for one in self._archives.values())

    def topics(self) -> dict[tuple[str, str], Topic]:
        """The numbers of every topic; of heartbeats, the endpoint's own."""
        others = [
            (name, numbers)
            for publisher, one in self._archives.items()
            for name, numbers in one.topics().items()
            if publisher != self._own and name[0] != OWN_STREAM
        ]
        return self._archives[self._own].topics() | dict(others)

    def state(self) -> list[bytes]:
        """The last message of every source's status, and of every event that is open."""
        return list(chain.from_iterable(one.state() for one in self._archives.values()))

    def replay(self, stream: str, kind: str, first: int, last: int | None = None) -> Replay:
        """As `Archive.replay`, of whoever publishes the stream."""
        return self._holder(stream, kind).replay(stream, kind, first, last)

    def replay_since(self, stream: str, kind: str, utc_s: float, last: int | None = None) -> Replay:
        """As `Archive.replay_since`, of whoever publishes the stream."""
        return self._holder(stream, kind).replay_since(stream, kind, utc_s, last)

    def _holder(self, stream: str, kind: str) -> Archive:
        holders = (one for one in self._archives.values() if (stream, kind) in one.topics())
        return next(holders, self._archives[self._own])
