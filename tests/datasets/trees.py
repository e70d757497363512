"""Made-up datasets in the exact shape of the licensed ones: folders, label files, preambles, odd rows.

Each function writes one and gives back the folder that `livespot datasets scan` is to be told. Frames are so many tiny
blank pictures, or those that a test has made:

    samm_lv(root, {"006_1": pictures, "007_3": 200}, rows({"006_1": [Span(11, 30, "micro", apex=20)]}))
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
import openpyxl
import xlwt

from livespot.evaluation.labels import Span
from tests.films import Picture

Pictures: TypeAlias = int | Sequence[Picture]
"""So many blank ones, or these."""

Cells: TypeAlias = Sequence[Any]

BLANK_JPEG: bytes = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()

SAMM_HEADER = (
    *("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration", "Type", "Action Units", "Notes"),
)
SAMM_TYPES = {"micro": "Micro - 1/2", "macro": "Macro"}
SAMM_LABELS, CASME2_LABELS = "SAMM_LongVideos_V2_Release.xlsx", "CAS(ME)^2code_final.xlsx"
CASME3_LABELS = "CAS(ME)3_part_A_v2.xls"
CASME3_HEADER = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Expression type", "Objective class")


class Row(NamedTuple):
    """An expression as a label file has it: frames from 1, zeros where nobody annotated."""

    video: str
    onset: Any
    apex: Any
    offset: Any
    type: Any


SAMM_VIDEOS: Mapping[str, Pictures] = {"006_1": 60, "006_2": 60, "007_3": 200, "012_1": 20}
SAMM_ROWS = (
    Row("006_1", 11, 15, 31, "Micro - 1/2"),
    Row("006_1", 0, 30.0, 50, "Macro"),
    Row("006_2", 5, -1, 40, "macro"),
    Row("007_3", 3, 50, 190, "MACRO "),
)
"""An onset of 0, a cell that became 30.0, a missing apex, other capitalisation; 012_1 has no expressions."""


def rows(truths: Mapping[str, Iterable[Span]]) -> list[Row]:
    """Rows for expressions whose frames are 0-based, as everywhere in livespot; types as SAMM-LV has them."""
    return [
        Row(video, span.onset + 1, -1 if span.apex is None else span.apex + 1, span.offset + 1, SAMM_TYPES[span.type])
        for video, spans in truths.items()
        for span in spans
    ]


def samm_lv(
    root: Path, videos: Mapping[str, Pictures] = SAMM_VIDEOS, labelled: Iterable[Row] = SAMM_ROWS, preamble: int = 9
) -> Path:
    """`ROOT/SAMM_longvideos/006_1/006_1_0001.jpg`, and an Excel file whose header is in row `preamble` + 1."""
    for video, pictures in videos.items():
        write_frames(root / "SAMM_longvideos" / video, pictures, f"{video}_{{:04d}}.jpg")
    above: list[Cells] = [("SAMM Long Videos dataset",), ("Labels of movements",), *[()] * (preamble - 2)]
    numbers: dict[str, int] = {}
    below = []
    for row in labelled:
        numbers[row.video] = numbers.get(row.video, 0) + 1
        subject, name = int(row.video[:3]), f"{row.video}_{numbers[row.video]}"
        below.append((subject, name, 1, row.onset, row.apex, row.offset, None, row.type, "AU4", ""))
    write_excel(root / SAMM_LABELS, {"FACS_Movement_Only": [*above, SAMM_HEADER, *below]})
    return root


CASME2_VIDEOS: Mapping[str, Pictures] = {
    "15_0101disgustingteeth": 100,
    "15_0502funnyerrors": 80,
    "16_0101disgustingteeth": 90,
}
CASME2_ROWS = (
    Row("15_disgust1_1", 10, 14, 20, "micro-expression"),
    Row("15_disgust1_2", 30, 45, 0, "macro-expression"),
    Row("15_happy1_1", 5, 20, 40, "Macro-expression"),
    Row("16_disgust1_1", 12, "", 60, "macro-expression"),
)
"""An offset of 0, other capitalisation, a missing apex."""


def casme2(
    root: Path,
    videos: Mapping[str, Pictures] = CASME2_VIDEOS,
    labelled: Iterable[Row] = CASME2_ROWS,
    kind: str = "rawpic",
) -> Path:
    """`ROOT/rawpic/s15/15_0101disgustingteeth/img001.jpg`, and an Excel file of three sheets without headers."""
    for video, pictures in videos.items():
        write_frames(root / kind / f"s{video[:2]}" / video, pictures, "img{:03d}.jpg")
    subjects = {"15": 1, "16": 2}
    final = [
        (subjects[subject], name, onset, apex, offset, "4", "negative", type_, "disgust")
        for (subject, _, name), onset, apex, offset, type_ in ((row[0].partition("_"), *row[1:]) for row in labelled)
    ]
    naming = [(int(subject), f"s{subject}", number) for subject, number in subjects.items()]
    codes = [("0101", "disgust1"), ("0502", "happy1")]
    write_excel(root / CASME2_LABELS, {"CASMEcode_final": final, "naming rule1": naming, "naming rule2": codes})
    return root


CASME3_VIDEOS: Mapping[str, Pictures] = {"spNO.1/a": 60, "spNO.1/b": 40, "spNO.12/a": 50}
CASME3_ROWS = (
    Row("spNO.1/a", 8, 12, 20, "Micro-expression"),
    Row("spNO.1/B", 5, 0, 40, " Macro-expression"),
    Row("spNO.12/a", 20, 30, 45, "macro-expression"),
)
"""A video in capitals, a missing apex, blanks and other capitalisation."""


def casme3(root: Path, videos: Mapping[str, Pictures] = CASME3_VIDEOS, labelled: Iterable[Row] = CASME3_ROWS) -> Path:
    """`ROOT/part_A/spNO.1/a/color/1.jpg`, depth beside it, and an .xls file with a header."""
    for video, pictures in videos.items():
        write_frames(root / "part_A" / video / "color", pictures, "{}.jpg")
        write_frames(root / "part_A" / video / "depth", 1, "{}.png")
    table = [(*row.video.split("/"), row.onset, row.apex, row.offset, "4", row.type, 1) for row in labelled]
    write_excel(root / "annotation" / CASME3_LABELS, {"Sheet1": [CASME3_HEADER, *table]})
    return root


def megc(root: Path, samm: Mapping[str, Pictures], cas: Mapping[str, Pictures]) -> Path:
    """Unlabelled clips, `ROOT/SAMM_Test/006_3/006_3_0001.jpg` and `ROOT/CAS_Test/12/12_1.jpg`."""
    for video, pictures in samm.items():
        write_frames(root / "SAMM_Test" / video, pictures, f"{video}_{{:04d}}.jpg")
    for video, pictures in cas.items():
        write_frames(root / "CAS_Test" / video, pictures, f"{video}_{{}}.jpg")
    return root


def write_frames(folder: Path, pictures: Pictures, name: str) -> Path:
    """Pictures numbered from 1 on; `name` has a place for the number."""
    folder.mkdir(parents=True)
    if isinstance(pictures, int):
        for number in range(1, pictures + 1):
            (folder / name.format(number)).write_bytes(BLANK_JPEG)
    else:
        for number, picture in enumerate(pictures, 1):
            assert cv2.imwrite(str(folder / name.format(number)), picture)
    return folder


def write_excel(path: Path, sheets: Mapping[str, Iterable[Cells]]) -> Path:
    """An Excel file of the format that its name ends in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_xls if path.suffix == ".xls" else _write_xlsx
    write(
        path,
        {name: [[None if cell == "" else cell for cell in cells] for cells in table] for name, table in sheets.items()},
    )
    return path


def _write_xlsx(path: Path, sheets: Mapping[str, Iterable[Cells]]) -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, table in sheets.items():
        sheet = book.create_sheet(name)
        for cells in table:
            sheet.append(cells)
    book.save(path)


def _write_xls(path: Path, sheets: Mapping[str, Iterable[Cells]]) -> None:
    book = xlwt.Workbook()
    for name, table in sheets.items():
        sheet = book.add_sheet(name)
        for row, cells in enumerate(table):
            for column, cell in enumerate(cells):
                sheet.write(row, column, cell)
    book.save(str(path))
