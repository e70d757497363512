"""Tables of labels as text, whatever they were saved as. Every row knows where it stands: complaints say so.

Excel is read by pandas, with openpyxl or, for .xls, xlrd; CSV without them.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livespot.errors import LivespotError

EXCEL = (".xlsx", ".xls")

PREAMBLE_ROWS = 40
"""A header is sought in so many rows: SAMM-LV has nine above it."""

SHOWN_CELLS = 12

Names = Mapping[str, Sequence[str]]
"""Columns as they are called here, and how files may call them, in small letters."""


@dataclass(frozen=True)
class Sheet:
    """Cells are text, blanks around it cut off; an empty one is "", a whole number has no point."""

    path: Path
    name: str
    """Empty for CSV."""
    rows: tuple[tuple[str, ...], ...]

    def place(self, row: int) -> str:
        """Where row `row` of `rows` is found, counted as a table program does."""
        return f"{self}, row {row + 1}"

    def __str__(self) -> str:
        return f"{self.path.name}, sheet {self.name}" if self.name else self.path.name


@dataclass(frozen=True)
class Record:
    """One row, its cells by the name of their column; a column that the table lacks is missing."""

    place: str
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


def read_sheets(path: Path) -> list[Sheet]:
    """All sheets of an Excel file, or the one of a CSV file. Raises LivespotError where it cannot be read."""
    if not path.is_file():
        raise LivespotError(f"{path} is no file: give the table of labels that comes with the dataset")
    return _excel(path) if path.suffix.lower() in EXCEL else [_csv(path)]


def _excel(path: Path) -> list[Sheet]:
    import openpyxl  # noqa: F401  only those who hold a dataset need them: the train extra
    import pandas
    import xlrd  # noqa: F401

    try:
        tables = pandas.read_excel(path, sheet_name=None, header=None, dtype=object, na_filter=False)
    except Exception as error:  # whatever the libraries raise at damaged files
        raise LivespotError(f"{path} cannot be read as an Excel file: {error}: fetch it again") from error
    return [
        Sheet(path, str(name), tuple(tuple(map(_text, cells)) for cells in table.to_numpy()))
        for name, table in tables.items()
    ]


def _csv(path: Path) -> Sheet:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return Sheet(path, "", tuple(tuple(map(_text, cells)) for cells in csv.reader(file)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LivespotError(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def _text(cell: Any) -> str:
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if whole else cell).strip()


def records(
    sheets: Sequence[Sheet], sources: list[str], required: Names, optional: Names | None = None
) -> list[Record]:
    """Rows below the first header that has all of `required`; rows without any text are left out.

    Where other sheets have such a header, too, `sources` is told which one is read. Raises LivespotError where no sheet
    has, which makes it a file of another layout, or no rows.
    """
    fitting = [(sheet, header) for sheet in sheets if (header := _header(sheet, required)) is not None]
    if not fitting:
        columns = ", ".join(map("/".join, required.values()))
        raise another_layout(sheets, f"no sheet has a row with the columns {columns}")
    (sheet, header), *others = fitting
    if others:
        names = ", ".join(other.name for other, _ in others)
        sources.append(f"labels: {sheet}; not read: {names}, with the same columns (as CSV, --labels chooses it)")
    found = list(_below(sheet, header, _columns(sheet.rows[header], {**required, **(optional or {})})))
    if not found:
        raise LivespotError(f"{sheet.path} has no rows below its header")
    return found


def _header(sheet: Sheet, required: Names) -> int | None:
    beginning = enumerate(sheet.rows[:PREAMBLE_ROWS])
    return next((number for number, cells in beginning if len(_columns(cells, required)) == len(required)), None)


def _columns(header: Sequence[str], names: Names) -> dict[str, int]:
    texts = [" ".join(cell.lower().split()) for cell in header]
    found = {name: next((text for text in called if text in texts), None) for name, called in names.items()}
    return {name: texts.index(text) for name, text in found.items() if text is not None}


def _below(sheet: Sheet, header: int, columns: Mapping[str, int]) -> Iterator[Record]:
    for number, cells in enumerate(sheet.rows[header + 1 :], header + 1):
        if any(cells):
            found = {name: cells[column] for name, column in columns.items() if column < len(cells)}
            yield Record(sheet.place(number), found)


def another_layout(sheets: Sequence[Sheet], why: str) -> LivespotError:
    """What to raise where a file is not what it is taken for; it shows how each sheet begins."""
    beginnings = [f"{sheet} begins with {_beginning(sheet)}" for sheet in sheets]
    return LivespotError("\n  ".join((f"{sheets[0].path} has another layout: {why}", *beginnings)))


def _beginning(sheet: Sheet) -> str:
    first = next((cells for cells in sheet.rows if any(cells)), ())
    return ", ".join(cell for cell in first[:SHOWN_CELLS] if cell) or "nothing"
