"""Commands around the event stream: listen to another livespot, make keys."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.markup import escape

from livespot import config
from livespot.cli.common import JsonOption, err, examples, out
from livespot.cli.words import tell

if TYPE_CHECKING:
    from livespot.publish.follower import Notice
    from livespot.publish.messages import Kind

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "livespot listen",
        "livespot listen tcp://10.0.0.5:5556 --stream door --kind event --kind gap",
        "livespot listen tcp://10.0.0.5:5556 --key interview.key_secret --server-key server.key",
        "livespot listen --past 600 --json >> events.jsonl",
    )
)
def listen(
    endpoint: Annotated[str, typer.Argument(help="Where a livespot publishes.")] = config.PublishSettings().endpoint,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", "-k", help="Of event, gap, status, score, heartbeat, lost, restart; repeats."),
    ] = None,
    stream: Annotated[list[str] | None, typer.Option("--stream", help="Only this source; repeats.")] = None,
    past: Annotated[float, typer.Option(min=0, help="Begin with the last so many seconds, as far as kept.")] = 0.0,
    key: Annotated[Path | None, typer.Option(help="Your secret file of `livespot keygen`.")] = None,
    server_key: Annotated[str | None, typer.Option(help="The publisher's public key, or its file.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="End after so many seconds without a message.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what is so now, then events as they come. Ctrl-C ends it."""
    from livespot.publish import subscribe

    kinds = cast("list[Kind | Notice]", kind or ["event", "gap", "status", "lost", "restart"])
    subscription = subscribe(endpoint, kinds, stream or (), timeout, past_s=past, key=key, server_key=server_key)
    with suppress(KeyboardInterrupt), subscription as messages:
        err.print(f"listening to [bold]{escape(endpoint)}[/]")
        for message in messages:
            tell(message, as_json, all_kinds=True)


@commands.command(epilog=examples("livespot keygen server", "livespot keygen interview --folder keys"))
def keygen(
    name: Annotated[str, typer.Argument(help="Whose key it is: the files are called so.")],
    folder: Annotated[Path, typer.Option(help="Where the two files are written.")] = Path(),
) -> None:
    """Make a key: a public file to give away and a secret one to keep, for a publisher or a subscriber.

    The publisher is given its secret file (publish.key) and a directory of the subscribers' public ones
    (publish.allowed_keys); a subscriber its own secret file and the publisher's public one.
    """
    from livespot.publish.keys import generate

    public, secret = generate(folder, name)
    out.print(f"{escape(str(public))}  to give away", highlight=False, soft_wrap=True)
    out.print(f"{escape(str(secret))}  to keep, readable by you alone", highlight=False, soft_wrap=True)
