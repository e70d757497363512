"""The command line: what a user asks for, turned into settings, runs and words. Nothing here knows how to spot."""

import os
import sys
from pathlib import Path

import typer
from rich.markup import escape

from livespot.cli import (
    bridging,
    datasets,
    engines,
    learning,
    measuring,
    preparing,
    recorded,
    status,
    streaming,
    watching,
)
from livespot.cli.common import Exit, err
from livespot.errors import LivespotError

app = typer.Typer(
    name="livespot",
    help="Spots micro- and macro-expressions in live video and streams them as events.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (watching, streaming, recorded, status, bridging, measuring, preparing, learning, engines):
    app.add_typer(group.commands)
app.add_typer(datasets.commands, name="datasets")


def main() -> None:
    """Entry point: errors meant for the user become a message and exit code 2."""
    _silence_native_libraries()
    try:
        app()
    except LivespotError as error:
        err.print(f"[red]livespot:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(Exit.UNUSABLE)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


def _silence_native_libraries() -> None:
    """MediaPipe and FFmpeg write notes straight to file descriptor 2: it leads nowhere, our words take another way.

    LIVESPOT_NATIVE_LOG=1 leaves it alone.
    """
    if os.environ.get("LIVESPOT_NATIVE_LOG") == "1":
        return
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 2)
