"""The event stream at an MQTT broker, for home automation, dashboards and whatever else listens there.

    <topic>/v1/<stream>/<kind>    each message as JSON; the last status of each source is retained
    <topic>/v1/<name>/state       online or offline, retained; offline is the bridge's last will

Events, gaps, status and what was lost go out with QoS 1: they wait here while the broker is away, MAX_WAITING of them,
and beyond that with the publisher, which keeps them for replay. Scores go out with QoS 0.
"""

import json
import ssl
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from livespot.errors import PublishError
from livespot.publish.messages import Message

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo
    from paho.mqtt.reasoncodes import ReasonCode

MAX_WAITING = 1_000
"""Messages that the broker has not taken yet."""

IN_FLIGHT = 100
KEEPALIVE_S = 15
RECONNECT_S, RECONNECT_MAX_S = 1, 10
LEAVE_S = 2.0
"""How long leaving may take to hand the last messages over, to connect for it included."""

PAUSE_S = 0.05

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_UNRELIABLE = ("score",)
"""Kinds of which the next message makes up for a lost one."""
_REFUSALS = ("Bad user name or password", "Not authorized")


@dataclass(frozen=True)
class Broker:
    """Where the broker is, and who asks."""

    address: str
    """mqtt://host:port, or mqtts:// for TLS; the port may be left out."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    """Certificates that are trusted; the system's where left out."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.username or parts.password:
            raise PublishError("the broker's address holds a login: give --user, and the password in a file")
        if parts.scheme not in _PORTS or not parts.hostname or not _has_port(parts):
            raise PublishError(f"{self.address} is no broker: give mqtt://host:1883, or mqtts://host:8883 for TLS")
        if self.ca and not self.ca.is_file():
            raise PublishError(f"there is no file {self.ca}: give one with the certificates that are trusted")

    @property
    def host(self) -> str:
        """Name or address."""
        return urlsplit(self.address).hostname or ""

    @property
    def port(self) -> int:
        """The one given, or the usual one."""
        return urlsplit(self.address).port or _PORTS[urlsplit(self.address).scheme]

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted and the broker's certificate verified."""
        return urlsplit(self.address).scheme == "mqtts"


class MqttBridge:
    """Passes messages on to a broker. A context manager that belongs to one thread; paho has one of its own."""

    def __init__(self, broker: Broker, topic: str = "livespot", name: str = "bridge") -> None:
        """`name` is the bridge's own, in the topic of its state. Raises PublishError where paho-mqtt is missing."""
        self._broker, self._topic, self._state = broker, topic, f"{topic}/v1/{name}/state"
        self._refused: str | None = None
        self._handed: deque[MQTTMessageInfo] = deque()
        """What the broker has not confirmed yet, and maybe some that it has; the oldest first."""
        self._client = self._new_client(name)

    def __enter__(self) -> "MqttBridge":
        """Connects when it can: the broker need not be there yet."""
        self._client.connect_async(self._broker.host, self._broker.port, KEEPALIVE_S)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._handed:
            self._handed[-1].wait_for_publish(LEAVE_S)
        self._client.publish(self._state, "offline", retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    def pass_on(self, message: Message) -> None:
        """Hand a message to the broker; waits while too many wait already. Raises PublishError where it refuses us."""
        kind = message["kind"]
        topic, content = f"{self._topic}/v1/{message['stream']}/{kind}", json.dumps(message)
        if kind in _UNRELIABLE:
            self._client.publish(topic, content)
            return
        while (handed := self._client.publish(topic, content, 1, kind == "status")).rc == _paho().MQTT_ERR_QUEUE_SIZE:
            self.check()
            time.sleep(PAUSE_S)
        handed.rc = _paho().MQTT_ERR_SUCCESS  # without a connection it only waits; paho's info would tell it as failed
        self._handed.append(handed)
        while self._handed and self._handed[0].is_published():
            self._handed.popleft()

    @property
    def untaken(self) -> int:
        """Messages with QoS 1 that were passed on and that the broker has not confirmed."""
        return sum(not handed.is_published() for handed in self._handed)

    def check(self) -> None:
        """Raises PublishError where the broker refuses us."""
        if self._refused:
            raise PublishError(f"{self._broker.address} refuses us: {self._refused}: look at --user and the password")

    def _new_client(self, name: str) -> "Client":
        mqtt = _paho()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"livespot-{name}-{uuid.uuid4().hex[:8]}")
        client.on_connect = self._greet
        client.will_set(self._state, "offline", qos=1, retain=True)
        client.max_queued_messages_set(MAX_WAITING)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.reconnect_delay_set(RECONNECT_S, RECONNECT_MAX_S)
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            client.tls_set_context(ssl.create_default_context(cafile=self._broker.ca))
        return client  # type: ignore[no-any-return]

    def _greet(self, client: "Client", _: object, __: object, reason: "ReasonCode", ___: object) -> None:
        """In paho's thread, after each connection: the will of the one before may have been carried out. QoS 0, since
        that does not wait behind what waits."""
        if not reason.is_failure:
            client.publish(self._state, "online", retain=True)
        elif str(reason) in _REFUSALS:
            self._refused = str(reason)


def _has_port(address: SplitResult) -> bool:
    """Whether its port, where one is given, can be."""
    try:
        return address.port != 0
    except ValueError:
        return False


def _paho() -> Any:
    try:
        import paho.mqtt.client
    except ModuleNotFoundError:
        raise PublishError("paho-mqtt is not installed: pip install 'livespot[mqtt]'") from None
    return paho.mqtt.client
