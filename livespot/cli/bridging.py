"""Commands that bring the event stream elsewhere: several machines under one endpoint, other protocols."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.markup import escape

from livespot import config
from livespot.cli.common import JsonOption, err, examples
from livespot.cli.words import tell
from livespot.errors import SettingsError

if TYPE_CHECKING:
    from livespot.publish.follower import Notice
    from livespot.publish.messages import Kind
    from livespot.publish.proxy import Upstream

TURN_S = 1.0
"""So often it is looked whether the broker refuses us."""

ENDPOINT = config.PublishSettings().endpoint

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "livespot proxy --from tcp://10.0.0.5:5556 --from tcp://10.0.0.6:5556",
        "livespot proxy --from door=tcp://10.0.0.5:5556 --from desk=tcp://10.0.0.6:5556 --listen tcp://*:5556 "
        "--key proxy.key_secret --server-key door.key --server-key desk.key --allowed-keys allowed/",
    )
)
def proxy(
    upstreams: Annotated[
        list[str], typer.Option("--from", help="A livespot's endpoint, or NAME=endpoint; repeats.", show_default=False)
    ],
    listen: Annotated[str, typer.Option(help="Where others subscribe.")] = ENDPOINT,
    requests: Annotated[str | None, typer.Option(help="Where requests are answered; left out, the next port.")] = None,
    key: Annotated[Path | None, typer.Option(help="The proxy's own secret file of `livespot keygen`.")] = None,
    server_key: Annotated[
        list[str] | None, typer.Option(help="The machines' public key: one for all, or one for each --from in turn.")
    ] = None,
    allowed_keys: Annotated[Path | None, typer.Option(help="Folder of public keys that may subscribe here.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let anyone in the network subscribe.")] = False,
    past: Annotated[float, typer.Option(min=0, help="Pass on what was published so many seconds before.")] = 600.0,
    keep: Annotated[int, typer.Option(min=0, help="Messages of each topic that can be replayed.")] = 10_000,
    silence: Annotated[float, typer.Option(min=0.1, help="Seconds after which a silent machine is stalled.")] = 15.0,
    as_json: JsonOption = False,
) -> None:
    """Bring several machines' streams under one endpoint, unchanged, with replay of what passed. Ctrl-C ends it.

    Streams need different names on all machines. What a machine is doing is told as the status of a stream that has the
    machine's name.
    """
    from livespot.publish.proxy import Proxy
    from livespot.publish.zmq import Publisher

    machines = _upstreams(upstreams, key, server_key or [])
    own_key = key if allowed_keys else None
    publisher = Publisher(
        listen, requests=requests, keep=keep, key=own_key, allowed_keys=allowed_keys, insecure=insecure
    )
    if allowed_keys and not key:
        raise SettingsError(f"{allowed_keys} keeps nobody out without --key: give the proxy's own (`livespot keygen`)")
    if key and not (server_key or allowed_keys):
        raise SettingsError(f"{key} opens nothing: give --server-key for the machines, or --allowed-keys for others")
    with suppress(KeyboardInterrupt), publisher, Proxy(publisher, machines, past, silence) as passing:
        err.print(f"passing on {', '.join(escape(one.name) for one in machines)} at [bold]{publisher.endpoint}[/]")
        while True:
            for message in passing.turn():
                tell(message, as_json, all_kinds=True)
            passing.wait()


bridges = typer.Typer(
    help="Pass events on to other systems, from anywhere that the stream reaches.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    epilog=examples("livespot bridge mqtt --broker mqtt://broker", "livespot bridge lsl tcp://10.0.0.5:5556 --scores"),
)
commands.add_typer(bridges, name="bridge")

EndpointArgument = Annotated[str, typer.Argument(help="Where a livespot, or a proxy, publishes.")]
ScoresOption = Annotated[bool, typer.Option("--scores", help="Scores as well, where they are published.")]
PastOption = Annotated[float, typer.Option(min=0, help="Begin with the last so many seconds, as far as kept.")]
KeyOption = Annotated[Path | None, typer.Option(help="Your secret file of `livespot keygen`.")]
ServerKeyOption = Annotated[str | None, typer.Option(help="The publisher's public key, or its file.")]


@bridges.command(
    epilog=examples(
        "livespot bridge mqtt --broker mqtt://broker",
        "LIVESPOT_MQTT_PASSWORD=... livespot bridge mqtt tcp://10.0.0.5:5556 --broker mqtts://broker --user lab "
        "--key me.key_secret --server-key studio.key",
    )
)
def mqtt(
    broker: Annotated[str, typer.Option(help="mqtt://host:1883, or mqtts://host:8883 for TLS.", show_default=False)],
    endpoint: EndpointArgument = ENDPOINT,
    topic: Annotated[str, typer.Option(help="What all topics begin with.")] = "livespot",
    name: Annotated[str, typer.Option(help="Of this bridge, in TOPIC/v1/NAME/state.")] = "bridge",
    user: Annotated[str | None, typer.Option(help="Login at the broker.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Holds the password; left out, LIVESPOT_MQTT_PASSWORD is taken.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="Certificates that are trusted; left out, the system's.")] = None,
    scores: ScoresOption = False,
    past: PastOption = 0.0,
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
) -> None:
    """Publish events, gaps and states at an MQTT broker, as TOPIC/v1/SOURCE/KIND. Ctrl-C ends it.

    TOPIC/v1/NAME/state is online, or offline where the bridge has ended or was killed.
    """
    from livespot.bridges.mqtt import Broker, MqttBridge
    from livespot.publish import subscribe

    if any(sign in topic + name for sign in "+#") or not name:
        raise SettingsError(f"{topic}/v1/{name}/state is no topic: + and # stand for many")
    password = _password(password_file) if user else None
    one = MqttBridge(Broker(broker, user, password, ca), topic, name)
    subscription = subscribe(endpoint, _kinds(scores), timeout_s=TURN_S, past_s=past, key=key, server_key=server_key)
    try:
        with suppress(KeyboardInterrupt), subscription as messages, one:
            err.print(f"passing on [bold]{escape(endpoint)}[/] to {escape(broker)}")
            while True:
                one.check()
                for message in messages:
                    one.pass_on(message)
    finally:
        _tell_untaken(one.untaken, broker)


@bridges.command(
    epilog=examples("livespot bridge lsl", "livespot bridge lsl tcp://10.0.0.5:5556 --scores --name studio")
)
def lsl(
    endpoint: EndpointArgument = ENDPOINT,
    name: Annotated[str, typer.Option(help="Begins the streams' source ids: another for each bridge.")] = "livespot",
    scores: ScoresOption = False,
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
) -> None:
    """Offer events as markers of the Lab Streaming Layer, and scores, stamped with the time of capture. Ctrl-C ends it.

    Streams: livespot (markers when an expression is over), livespot-messages (all as JSON, at once), and with --scores
    livespot-scores-SOURCE-FACE.
    """
    from livespot.bridges.lsl import LslBridge
    from livespot.publish import subscribe

    one, kinds = LslBridge(name), [*_kinds(scores), "heartbeat"]
    subscription = subscribe(endpoint, cast("list[Kind]", kinds), key=key, server_key=server_key)
    with suppress(KeyboardInterrupt), subscription as messages, one:
        err.print(f"passing on [bold]{escape(endpoint)}[/] to the Lab Streaming Layer")
        for message in messages:
            one.pass_on(message)


def _tell_untaken(count: int, broker: str) -> None:
    if count:
        left = f"{escape(broker)} has not taken {count} messages or more"
        err.print(f"[yellow]{left}: --past SECONDS sends them at a new start[/]")


def _kinds(scores: bool) -> "list[Kind | Notice]":
    return ["event", "gap", "status", "lost", "restart", *(["score"] if scores else [])]  # type: ignore[list-item]


def _password(file: Path | None) -> str | None:
    """From the file, or the environment: a command line can be read by everyone on the machine."""
    try:
        return file.read_text(encoding="utf-8").strip() if file else os.environ.get("LIVESPOT_MQTT_PASSWORD")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} holds no password: {getattr(error, 'strerror', 'it is no text')}") from None


def _upstreams(given: list[str], key: Path | None, server_keys: list[str]) -> "list[Upstream]":
    """Raises SettingsError where the keys do not fit the machines."""
    from livespot.publish.keys import client_keys
    from livespot.publish.proxy import Upstream

    if len(server_keys) not in (0, 1, len(given)):
        raise SettingsError(f"{len(server_keys)} --server-key for {len(given)} --from: give one, or one for each")
    keys: list[str | None] = [*(server_keys * len(given) if len(server_keys) == 1 else server_keys)]
    keys = keys or [None] * len(given)
    pairs = (_named(one) for one in given)
    return [
        Upstream(name, endpoint, client_keys(key if server else None, server))
        for (name, endpoint), server in zip(pairs, keys, strict=True)
    ]


def _named(given: str) -> tuple[str, str]:
    """Name and endpoint; the name is made from the endpoint where none is given."""
    name, separator, endpoint = given.partition("=")
    if not separator:
        return re.sub(r"[^A-Za-z0-9_-]+", "-", given.partition("://")[2]).strip("-")[:64], given
    if not config.NAME.fullmatch(name):
        raise SettingsError(f"--from {given}: a name has letters, digits, - and _, 64 at most")
    return name, endpoint
