"""The command that reads what `livespot run --record` recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from livespot.cli.common import Exit, JsonOption, check_output, counted, err, examples, out, print_json
from livespot.errors import LivespotError, SettingsError
from livespot.exports import FORMATS, SUFFIXES, Write
from livespot.publish.messages import Kind
from livespot.recordings import COLUMNS, Session, Wanted, files, instant, read
from livespot.records import EXPRESSION_TYPES, ExpressionType
from livespot.tables import STYLES, Row

_NOT_SHOWN = ("video", "utc", "session", "reconnects", "stalls")
"""Columns that the terminal has no room for, or shows by another name."""

_WRAPPED = ("source", "detail", "region")

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "livespot events recordings",
        "livespot events recordings --type micro --min-confidence 0.8 --from 2027-01-15T08:00",
        "livespot events recordings --source door --out events.csv",
        "livespot events recordings/20270115T080000Z-1a2b3c4d.sqlite --format challenge --out samm_pred.csv",
        "livespot events recordings --kind score --out scores.parquet",
    )
)
def events(
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="What was given to --record, or a file in it.")],
    kind: Annotated[str, typer.Option("--kind", "-k", help="event, gap, status or score.")] = "event",
    types: Annotated[list[str] | None, typer.Option("--type", help="Only micro, or only macro.")] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Only this source; repeats.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="From this time on: UTC, or seconds of stream time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Until this time.")] = None,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Only events of at least this score.")] = 0.0,
    out_file: Annotated[Path | None, typer.Option("--out", "-o", help="Write them to this file.")] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", help=f"Of --out: {', '.join(FORMATS)}; by its name where left out.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what was recorded, or write it to a file; also while it is still recorded.

    Each event is one row, as it was told last. One that was open when its session was killed is marked as cut off and
    has no offset. A recording that cannot be read is named, the others are listed, and the exit code is 2.
    """
    wanted = _wanted(kind, types, source, begin, end, min_confidence)
    write = _writer(out_file, file_format, wanted.kind)
    sessions = _Sessions(files(path), wanted)
    if out_file and write:
        rows = write(out_file, COLUMNS[wanted.kind], (row for _, some in sessions for row in some))
        err.print(f"{counted(rows, 'row')}: {escape(str(out_file))}", highlight=False, soft_wrap=True)
        if as_json:
            print_json({"rows": rows, "out": str(out_file)})
    elif as_json:
        for _, some in sessions:
            for row in some:
                print_json(row)
    else:
        for session, some in sessions:
            _show(session, wanted.kind, list(some))
    if sessions.unreadable:
        raise typer.Exit(Exit.UNUSABLE)


class _Sessions:
    """Sessions and their rows, one after the other; what cannot be read is told and counted."""

    def __init__(self, found: list[Path], wanted: Wanted) -> None:
        self.unreadable = 0
        self._files, self._wanted = found, wanted

    def __iter__(self) -> Iterator[tuple[Session, Iterator[Row]]]:
        for file in self._files:
            with self._telling():
                session, rows = read(file, self._wanted)
                yield session, self._readable(rows)

    def _readable(self, rows: Iterator[Row]) -> Iterator[Row]:
        with self._telling():
            yield from rows

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except LivespotError as error:
            self.unreadable += 1
            err.print(f"[red]livespot:[/] {escape(str(error))}", highlight=False, soft_wrap=True)


def _wanted(
    kind: str,
    types: list[str] | None,
    sources: list[str] | None,
    begin: str | None,
    end: str | None,
    min_confidence: float,
) -> Wanted:
    """Raises SettingsError."""
    if kind not in COLUMNS:
        raise SettingsError(f"--kind {kind} is not recorded: expected {', '.join(COLUMNS)}")
    unknown = [one for one in types or () if one not in EXPRESSION_TYPES]
    if unknown:
        raise SettingsError(f"--type {unknown[0]} does not exist: expected {' or '.join(EXPRESSION_TYPES)}")
    if kind != "event" and (types or min_confidence):
        raise SettingsError(f"--type and --min-confidence are for events: leave them out with --kind {kind}")
    return Wanted(
        kind,
        cast("tuple[ExpressionType, ...]", tuple(types or ())),
        tuple(sources or ()),
        instant(begin) if begin else None,
        instant(end) if end else None,
        min_confidence,
    )


def _writer(file: Path | None, name: str | None, kind: Kind) -> Write | None:
    """What writes the file; None where none is given. Raises SettingsError."""
    if file is None:
        if name:
            raise SettingsError(f"--format {name} needs a file: give --out as well; --json prints JSON lines")
        return None
    check_output(file, () if name else SUFFIXES)
    name = name or SUFFIXES[file.suffix.lower()]
    if name not in FORMATS:
        raise SettingsError(f"--format {name} is unknown: expected {', '.join(FORMATS)}")
    if name == "challenge" and kind != "event":
        raise SettingsError(f"the challenge wants events: leave --kind {kind} out")
    return FORMATS[name]


def _show(session: Session, kind: Kind, rows: list[Row]) -> None:
    """One session on the terminal."""
    state = "goes on" if session.running else f"to {_short(session.ended_utc)}" if session.ended_utc else "cut off"
    missing = f", [red]{counted(session.missing, 'message')} missing[/]" if session.missing else ""
    out.print(f"[bold]{escape(session.name)}[/]  {_short(session.started_utc)} UTC, {state}{missing}", highlight=False)
    if not rows:
        out.print("none", style="dim")
        return
    table = Table(header_style="bold", box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in _in_words(kind, rows[0]):
        table.add_column(
            heading, justify="right" if heading.endswith(" s") else "left", no_wrap=heading not in _WRAPPED
        )
    for row in rows:
        table.add_row(*_in_words(kind, row).values())
    out.print(table)


def _in_words(kind: Kind, row: Row) -> dict[str, str]:
    """Heading and content of each cell."""
    if kind != "event":
        told = {name: value for name, value in row.items() if name not in _NOT_SHOWN}
        return {"source": row["video"], "UTC": _short(row["utc"])} | {
            name.replace("_s", " s"): _number(value) for name, value in told.items()
        }
    ended = "cut off" if row["truncated"] else "open"
    offset_s = row["offset_s"]
    return {
        "source": row["video"],
        "face": str(row["face"]),
        "type": f"[{STYLES[row['type']]}]{row['type']}[/]",
        "onset UTC": _short(row["onset_utc"]),
        "onset s": f"{row['onset_s']:.2f}",
        "offset s": ended if offset_s is None else f"{offset_s:.2f}",
        "score": f"{row['score']:.2f}",
        "region": next(iter(row["regions"]), ""),
    }


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else escape(str(value))


def _short(utc: str) -> str:
    """2027-01-15T08:00:00.500000Z as 01-15 08:00:00.5."""
    return utc[5:21].replace("T", " ")
