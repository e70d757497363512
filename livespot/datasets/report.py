"""What a scan found, for the terminal and for programs."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from livespot.datasets.counting import Count
from livespot.datasets.scanning import Scan

SHOWN = 40
"""Notes on a terminal; JSON has them all."""


def figures(scan: Scan) -> dict[str, Any]:
    """All of it, as plain values that JSON can hold."""
    return {
        "dataset": scan.title,
        "counts": {count.what: asdict(count) | {"differs": count.differs} for count in scan.counts},
        "conventions": list(scan.conventions),
        "notes": list(scan.notes),
    }


def to_rich(scan: Scan) -> Table:
    """Found beside known; what differs stands out, also without colour."""
    table = Table(title=scan.title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    for heading in ("found", "known", "", "in the table"):
        table.add_column(heading, justify="right")
    for count in scan.counts:
        known = _number(count.known)
        differs = "[red]differs[/]" if count.differs else ""
        table.add_row(count.what, _number(count.found), _roughly(count, known), differs, _number(count.table))
    return table


def _roughly(count: Count, known: str) -> str:
    return f"about {known}" if count.rough and known else known


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def notes(scan: Scan) -> Iterator[str]:
    """As many as a terminal holds."""
    yield from scan.notes[:SHOWN]
    if len(scan.notes) > SHOWN:
        yield f"and {len(scan.notes) - SHOWN} more: --json has all"
