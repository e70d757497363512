"""One endpoint for the streams of several machines.

The proxy follows each machine as any subscriber does, so that what is lost between them is asked for again, and passes
every message on as it was published: publisher, numbers and times stay those of the machine. It keeps what passed and
answers snapshots and replays itself, for machines that are gone, too. Only heartbeats are changed: they say that
requests are answered here, and name the machine.

Of itself the proxy publishes heartbeats, which name the publisher behind each machine, and the status of each machine,
as a stream with the machine's name.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import zmq

from livespot.config import NAME
from livespot.errors import PublishError
from livespot.publish.encoding import encoder
from livespot.publish.followers import Followers
from livespot.publish.keys import ClientKeys
from livespot.publish.link import Link
from livespot.publish.messages import KINDS, OWN_STREAM, Message
from livespot.publish.zmq import Publisher
from livespot.records import State, Status

RETRY_S = 5.0
"""A machine that cannot be followed, since it refuses the key or hangs, is tried again after this."""

POLL_MS = 100

_ENCODE = encoder("json")


@dataclass(frozen=True)
class Upstream:
    """A machine whose stream is passed on."""

    name: str
    endpoint: str
    keys: ClientKeys | None = None


class Proxy:
    """Passes on what machines publish. A context manager that belongs to one thread; the publisher is open already."""

    def __init__(self, publisher: Publisher, upstreams: Iterable[Upstream], past_s: float, silence_s: float) -> None:
        """`past_s`: what a machine published in so many seconds before it was reached is passed on and kept, too; where
        it gives no sign of life for `silence_s`, it is said to be stalled. Raises PublishError where two machines have
        the same name."""
        self._publisher = publisher
        self._machines = [_Machine(one, past_s, silence_s) for one in upstreams]
        names = [one.name for one in self._machines]
        if len(set(names)) < len(names) or OWN_STREAM in names:
            raise PublishError(f"machines named {', '.join(names)}: give each a name of its own, none {OWN_STREAM}")
        self._owners: dict[str, _Machine] = {}
        """Of each stream, the machine that had it first."""
        self._opened_s = time.monotonic()

    def __enter__(self) -> "Proxy":
        self._name_upstreams()
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self._machines:
            machine.close()

    def turn(self) -> list[Message]:
        """Pass on what has arrived; what the proxy itself has to say of machines whose state has changed."""
        for machine in self._machines:
            for message in machine.take():
                self._pass_on(machine, message)
        told = [self._publisher.publish(status) for one in self._machines if (status := one.news(self._stream_s()))]
        self._publisher.heartbeat()
        return told

    def wait(self) -> None:
        """Until something arrives, or a moment has passed."""
        poller = zmq.Poller()
        for machine in self._machines:
            for one in machine.sockets:
                poller.register(one, zmq.POLLIN)
        poller.poll(POLL_MS)

    def _pass_on(self, machine: "_Machine", message: Message) -> None:
        if message["publisher"] != machine.publisher:
            self._change_publisher(machine, message["publisher"])
        if message["kind"] == "heartbeat":
            message = self._own_heartbeat(machine, message)
        elif message["stream"] != OWN_STREAM and not self._owns(machine, message["stream"]):
            return
        self._publisher.pass_on(message, _utc_s(message))

    def _change_publisher(self, machine: "_Machine", publisher: str) -> None:
        """A machine is heard for the first time, or was started anew: said before anything of it is passed on."""
        machine.begin(publisher)
        self._owners = {stream: owner for stream, owner in self._owners.items() if owner is not machine}
        self._name_upstreams()

    def _name_upstreams(self) -> None:
        self._publisher.name_upstreams({one.name: one.publisher for one in self._machines})

    def _owns(self, machine: "_Machine", stream: str) -> bool:
        """Whether a stream is the machine's to publish: two of one name could not be told apart."""
        reserved = any(stream == one.name for one in self._machines)
        owner = None if reserved else self._owners.setdefault(stream, machine)
        if owner is not machine:
            machine.leave_out(stream, owner.name if owner else "the proxy")
        return owner is machine

    def _own_heartbeat(self, machine: "_Machine", message: Message) -> Message:
        """The heartbeat as those behind the proxy need it: without streams that are not passed on."""
        told = message.get("next", {})
        numbers = {name: told[name] for name in told if name == OWN_STREAM or self._owns(machine, name)}
        return message | {"next": numbers, "requests": self._publisher.requests, "upstream": machine.name}

    def _stream_s(self) -> float:
        return time.monotonic() - self._opened_s


class _Machine:
    """What is known of an upstream, and the connection to it."""

    def __init__(self, upstream: Upstream, past_s: float, silence_s: float) -> None:
        self.name = upstream.name
        self.publisher: str | None = None
        """The one that was heard last."""
        self._upstream, self._silence_s = upstream, silence_s
        self._followers = Followers(KINDS, past_s=past_s)
        self._link: Link | None = None
        self._retry_s = 0.0
        self._trouble: str | None = None
        """Why it is not followed for now."""
        self._left_out: dict[str, str] = {}
        """Streams that are not passed on, and who has another of that name."""
        self._told: Status | None = None

    @property
    def sockets(self) -> list["zmq.Socket[bytes]"]:
        """What to wait for."""
        return self._link.sockets if self._link else []

    def take(self) -> Iterable[Message]:
        """What has arrived, in order, heartbeats last, since they promise what came before; nothing while something is
        asked for that belongs before it."""
        try:
            if self._link is None and time.monotonic() >= self._retry_s:
                upstream = self._upstream
                self._link = Link(upstream.endpoint, self._followers, self._silence_s, upstream.keys)
            if self._link:
                self._link.turn()
        except PublishError as error:
            self._fail(str(error))
        if not self._followers.settled:
            return []
        messages = list(self._followers.ready)
        self._followers.ready.clear()
        if any("upstreams" in message for message in messages):
            self._fail(f"{self._upstream.endpoint} is a proxy itself: give the machines behind it")
            return []
        self._trouble = None if messages else self._trouble
        turns = list(dict.fromkeys(message["publisher"] for message in messages))
        messages.sort(key=lambda message: (turns.index(message["publisher"]), message["kind"] == "heartbeat"))
        return filter(_is_sound, messages)

    def begin(self, publisher: str) -> None:
        """Another publisher is heard from now on."""
        self.publisher = publisher
        self._left_out.clear()

    def leave_out(self, stream: str, owner: str) -> None:
        """A stream of it is not passed on, since `owner` has one of that name."""
        self._left_out[stream] = owner

    def news(self, t_s: float) -> Status | None:
        """What it is doing, where that has changed."""
        before = self._told or Status(self.name, "connecting", t_s, "")
        state = self._state()
        back = state == "running" and before.state in ("waiting", "stalled") and self.publisher is not None
        status = Status(
            self.name, state, t_s, self._detail(state),
            before.reconnects + back, before.stalls + (state == "stalled" and before.state != "stalled"),
        )  # fmt: skip
        if self._told is not None and replace(status, t_s=self._told.t_s) == self._told:
            return None
        self._told = status
        return status

    def close(self) -> None:
        """Close every socket."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _state(self) -> State:
        if self._trouble is not None:
            return "stalled"
        if self._link is not None and self._link.connected:
            return "running" if self.publisher else "connecting"
        return "waiting" if self._told and self._told.state != "connecting" else "connecting"

    def _detail(self, state: State) -> str:
        if state != "running":
            return self._trouble or f"{self._upstream.endpoint} is not reached: tried again for ever"
        return "; ".join(
            f"{stream} is left out, {owner} has a stream of that name: rename one"
            for stream, owner in self._left_out.items()
        )

    def _fail(self, trouble: str) -> None:
        self.close()
        self._trouble, self._retry_s = trouble, time.monotonic() + RETRY_S


def _is_sound(message: Message) -> bool:
    """Whether it can be kept and passed on: one machine's mistake must not end the others' streams. Not all that can be
    read can be written again: NaN, and in msgpack bytes and times."""
    try:
        _ENCODE(message)
        told = [message["id"], message["phase"]] if message["kind"] == "event" else []
        sound = message["kind"] in KINDS and all(isinstance(one, str) for one in told)
        return sound and bool(NAME.fullmatch(message["stream"])) and _utc_s(message) > 0
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return False


def _utc_s(message: Message) -> float:
    return datetime.fromisoformat(message["utc"].replace("Z", "+00:00")).timestamp()
