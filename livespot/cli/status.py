"""The command that asks a running livespot how its sources fare."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from livespot import config
from livespot.cli.common import Exit, JsonOption, examples, out, print_json
from livespot.errors import PublishError

if TYPE_CHECKING:
    from livespot.publish.asking import Asking

WATCH_S = 1.0
"""As often as a run measures itself."""

HANGS_S = 5.0
"""A loop that has not turned for so long hangs: it turns several times a second."""

COLOURS = {"running": "green", "stalled": "red", "waiting": "red", "connecting": "yellow", "ended": "dim"}

LABEL_COLUMNS, SOURCE_COLUMNS = 24, 28
"""Width on the screen; sources that do not fit beside each other stand below."""

Metrics: TypeAlias = dict[str, Any] | None
"""As the contract describes them; None before anything was measured."""

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "livespot status",
        "livespot status tcp://10.0.0.5:5556 --watch",
        "livespot status tcp://10.0.0.5:5556 --key interview.key_secret --server-key server.key",
        "livespot status --json",
    )
)
def status(
    endpoint: Annotated[str, typer.Argument(help="Where a livespot publishes.")] = config.PublishSettings().endpoint,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second, until Ctrl-C.")] = False,
    key: Annotated[Path | None, typer.Option(help="Your secret file of `livespot keygen`.")] = None,
    server_key: Annotated[str | None, typer.Option(help="The publisher's public key, or its file.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds in which it must answer.")] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Ask a running livespot how its sources fare: frames, gaps, delays, memory.

    The exit code is 0 where all of them run, 1 where one does not or nothing can be recorded, 2 where nobody answers.
    """
    from livespot.publish.asking import Asking

    with Asking(endpoint, timeout, key=key, server_key=server_key) as asking, _shown(endpoint, as_json, watch) as show:
        metrics: Metrics | PublishError = asking.ask("metrics")["metrics"]
        show(metrics)
        with suppress(KeyboardInterrupt):
            while watch:
                time.sleep(WATCH_S)
                metrics = _asked_again(asking)
                show(metrics)
    if isinstance(metrics, PublishError):
        raise typer.Exit(Exit.UNUSABLE)
    if not all_run(metrics):
        raise typer.Exit(Exit.NOT_RUNNING)


def _asked_again(asking: "Asking") -> "Metrics | PublishError":
    """Who watches goes on where nobody answers: a livespot that is started anew is found again."""
    try:
        return cast("Metrics", asking.ask("metrics")["metrics"])
    except PublishError as error:
        return error


def all_run(metrics: Metrics) -> bool:
    """Whether every source runs, the loop that watches them turns, and what is to be recorded can be."""
    if metrics is None or metrics["idle_s"] > HANGS_S or not metrics["sources"]:
        return False
    if metrics["recording"] and metrics["recording"]["error"]:
        return False
    return all(source["state"] == "running" for source in metrics["sources"].values())


def view(endpoint: str, metrics: Metrics | PublishError, width: int) -> RenderableType:
    """The answer for a terminal of `width` columns: tables with a column for each source, a line for the whole."""
    if isinstance(metrics, PublishError):
        return Text(str(metrics), "red")
    if metrics is None:
        return Text(f"{endpoint} is there and watches nothing: it is starting, or hands on what others publish")
    sources = list(metrics["sources"].items())
    beside = max((width - LABEL_COLUMNS) // SOURCE_COLUMNS, 1)
    tables = [_table(dict(sources[first : first + beside])) for first in range(0, len(sources), beside)]
    return Group(*tables, Text.from_markup(_whole(endpoint, metrics)))


@contextmanager
def _shown(endpoint: str, as_json: bool, watch: bool) -> Iterator[Callable[[Metrics | PublishError], None]]:
    """What shows an answer: as JSON, in words, or in the place of the one before."""
    if as_json:
        yield lambda metrics: print_json({"error": str(metrics)} if isinstance(metrics, PublishError) else metrics)
    elif not watch:
        yield lambda metrics: out.print(view(endpoint, metrics, out.width))
    else:
        with Live(console=out, auto_refresh=False) as screen:
            yield lambda metrics: screen.update(view(endpoint, metrics, out.width), refresh=True)


def _table(sources: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", min_width=LABEL_COLUMNS - 2, style="dim")
    for name in sources:
        table.add_column(escape(name), overflow="fold", min_width=SOURCE_COLUMNS - 2, header_style="bold")
    columns = [_cells(source) for source in sources.values()]
    for label in columns[0]:
        table.add_row(label, *(column[label] for column in columns))
    table.add_row()
    return table


def _cells(source: dict[str, Any]) -> dict[str, str]:
    """What is told of a source, by its label."""
    return {
        "state": _state(source),
        "frames": f"{source['frames']}, {source['fps']:.1f} a second",
        "faces in view": str(source["faces"]),
        "events": _counts(source["events"]),
        "dropped frames": str(source["dropped_frames"]),
        "gaps": _gaps(source),
        "reconnects": f"{source['reconnects']}, {source['reconnects_per_hour']} in the last hour",
        "stalls": f"{source['stalls']}, {source['stalls_per_hour']} in the last hour",
        "latency p50, p95, p99": _latency(source["latency_s"]),
        **{f"  {escape(stage)}": _latency(took) for stage, took in source["stages_s"].items()},
        "waiting": _counts(source["queues"]),
        "memory of its reader": _memory(source["resident_bytes"]),
    }


def _state(source: dict[str, Any]) -> str:
    colour = COLOURS.get(source["state"], "default")
    detail = f"\n{escape(source['detail'])}" if source["detail"] else ""
    return f"[{colour}]{escape(source['state'])}[/] for {_time(source['state_s'])}{detail}"


def _whole(endpoint: str, metrics: dict[str, Any]) -> str:
    hangs = f", [red]hangs for {_time(metrics['idle_s'])}[/]" if metrics["idle_s"] > HANGS_S else ""
    return (
        f"{escape(endpoint)}: up for {_time(metrics['uptime_s'])}{hangs}, {_memory(metrics['resident_bytes'])} "
        f"besides readers, waiting: {_counts(metrics['queues'])}{_recording(metrics['recording'])}"
    )


def _recording(recording: dict[str, Any] | None) -> str:
    if not recording:
        return ""
    told = f"[red]nothing is recorded: {escape(recording['error'])}[/]" if recording["error"] else "recorded"
    return f", {told}, lost to it: messages {recording['lost']}"


def _gaps(source: dict[str, Any]) -> str:
    told = [
        f"{escape(reason)} {number}, {source['gap_s'].get(reason, 0.0):.1f} s"
        for reason, number in source["gaps"].items()
        if number
    ]
    return "\n".join(told) or "none"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{escape(what)} {number}" for what, number in counts.items())


def _latency(took: dict[str, float]) -> str:
    return ", ".join(f"{1000 * took[share]:.1f}" for share in ("p50", "p95", "p99")) + " ms"


def _memory(resident_bytes: int | None) -> str:
    return "none of its own" if resident_bytes is None else f"{resident_bytes / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 7 min`."""
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest_s} s"
    return f"{minutes} min {rest_s} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
