from pathlib import Path

import pytest

from livespot.datasets.sheets import Record, read_sheets, records
from livespot.errors import LivespotError
from tests.datasets.trees import write_excel

COLUMNS = {"video": ("video", "filename"), "onset": ("onset",)}
EXCEL = pytest.mark.parametrize("name", ["labels.xlsx", "labels.xls"])


@EXCEL
def test_cells_of_an_excel_file_are_text_and_rows_know_their_place(tmp_path: Path, name: str) -> None:
    table = [(), (None, "title"), (6, 30.0), ("NA", " 0101 "), (2.5, None)]
    (sheet,) = read_sheets(write_excel(tmp_path / name, {"First": table}))
    assert sheet.rows[2:] == (("6", "30"), ("NA", "0101"), ("2.5", ""))
    assert sheet.place(3) == f"{name}, sheet First, row 4"


def test_cells_of_a_csv_file_are_text_too(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("\ufeffvideo,onset\n a , 3 \n", encoding="utf-8")
    (sheet,) = read_sheets(tmp_path / "labels.csv")
    assert sheet.rows == (("video", "onset"), ("a", "3"))
    assert sheet.place(1) == "labels.csv, row 2"


@EXCEL
def test_a_header_is_found_below_a_preamble_in_any_sheet_and_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    table = [("about",), *[()] * 8, ("x", "Onset ", "FileName"), (), (1, 2, "a"), (3, 4)]
    found = records(read_sheets(write_excel(tmp_path / name, {"Read me": [("no",)], "Data": table})), [], COLUMNS)
    assert [(row.place, dict(row.cells)) for row in found] == [
        (f"{name}, sheet Data, row 12", {"video": "a", "onset": "2"}),
        (f"{name}, sheet Data, row 13", {"video": "", "onset": "4"}),
    ]


@EXCEL
def test_of_sheets_with_the_same_header_the_one_that_is_read_and_the_others_are_told(tmp_path: Path, name: str) -> None:
    one, two = [("Video", "Onset"), ("a", 1)], [("Filename", "Onset"), ("b", 2)]
    file = write_excel(tmp_path / name, {"Read me": [("no",)], "Macro": one, "Micro": two, "Old": one})
    sources: list[str] = []
    assert [row["video"] for row in records(read_sheets(file), sources, COLUMNS)] == ["a"]
    told = f"labels: {name}, sheet Macro; not read: Micro, Old, with the same columns (as CSV, --labels chooses it)"
    assert sources == [told]


def test_a_column_that_the_table_lacks_is_empty() -> None:
    assert Record("row 1", {"video": "a"})["apex"] == ""


def test_a_file_of_another_layout_is_refused_with_what_each_sheet_begins_with(tmp_path: Path) -> None:
    sheets = read_sheets(write_excel(tmp_path / "labels.xlsx", {"One": [(), ("Name", "Age")], "Two": []}))
    with pytest.raises(LivespotError) as raised:
        records(sheets, [], COLUMNS)
    assert str(raised.value).splitlines() == [
        f"{tmp_path / 'labels.xlsx'} has another layout: no sheet has a row with the columns video/filename, onset",
        "  labels.xlsx, sheet One begins with Name, Age",
        "  labels.xlsx, sheet Two begins with nothing",
    ]


@pytest.mark.parametrize("name", ["labels.xlsx", "labels.xls", "labels.csv"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(LivespotError, match=f"{name} is no file"):
        read_sheets(tmp_path / name)
    (tmp_path / name).write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(LivespotError, match=f"{name} cannot be read as"):
        read_sheets(tmp_path / name)
