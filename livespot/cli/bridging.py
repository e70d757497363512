"""Commands that bring the event stream elsewhere: several machines under one endpoint, other protocols."""

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from livespot import config
from livespot.cli.common import JsonOption, err, examples
from livespot.cli.words import tell
from livespot.errors import SettingsError

if TYPE_CHECKING:
    from livespot.publish.proxy import Upstream

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
    listen: Annotated[str, typer.Option(help="Where others subscribe.")] = config.PublishSettings().endpoint,
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
    if key and not (server_key or allowed_keys):
        raise SettingsError(f"{key} opens nothing: give --server-key for the machines, or --allowed-keys for others")
    with suppress(KeyboardInterrupt), publisher, Proxy(publisher, machines, past, silence) as passing:
        err.print(f"passing on {', '.join(escape(one.name) for one in machines)} at [bold]{publisher.endpoint}[/]")
        while True:
            for message in passing.turn():
                tell(message, as_json, all_kinds=True)
            passing.wait()


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
