"""CAS(ME)2, also written CAS(ME)^2 or CASME_sq: 30 frames a second, one Excel file of three sheets without headers.

    ROOT/CAS(ME)^2code_final.xlsx
        sheet 0   1, disgust1_2, onset, apex, offset, action units, emotion, type, self-report
        sheet 1   15, s15, 1         a subject's number, folder, and number in sheet 0
        sheet 2   0101, disgust1     a video's code and what was shown
    ROOT/rawpic/s15/15_0101disgustingteeth/img001.jpg, or cropped/, or rawvideo/s15/15_0101disgustingteeth.avi

Forty-four macro-expressions have offset 0: nobody annotated it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from livespot.datasets.expressions import Findings, Labelled, label_file, read
from livespot.datasets.found import Found, Known, Location
from livespot.datasets.places import entries, folders, home, is_video
from livespot.datasets.scanning import Scan, assemble
from livespot.datasets.sheets import Record, Sheet, another_layout, read_sheets
from livespot.errors import LivespotError

KNOWN = Known(
    "CAS(ME)2",
    fps=30,
    subjects=22,
    videos=98,
    labelled_videos=97,
    micro=57,
    macro=300,
    offset_zero_macro=44,
)

LABEL_FILES = ("CAS(ME)*2*code_final*.xls*", "*code_final*.xls*")

COLUMNS = ("subject", "video", "onset", "apex", "offset", "units", "emotion", "type")
"""Of sheet 0; a ninth, the subject's own report, is not needed."""

PICTURES = ("rawpic", "cropped", "rawvideo")
"""The folder that is used is the first of these: livespot aligns faces itself, and loses nothing to compression."""

SUBJECT = r"s\d+"
VIDEO = re.compile(r"(\d+)_(\d{4}).*", re.ASCII)


@dataclass(frozen=True)
class Rules:
    """How sheet 0 names things."""

    subjects: Mapping[str, str]
    """Folder, s15, by number in sheet 0."""
    codes: Mapping[str, str]
    """Code, 0101, by what was shown."""


def scan(root: Path, labels: Path | None, findings: Findings) -> Scan:
    """Labels and folders, brought together. Raises LivespotError that names every row that cannot be used."""
    sheets = read_sheets(label_file(root, LABEL_FILES, labels, findings))
    if len(sheets) < 3:
        raise another_layout(sheets, f"expected three sheets, it has {len(sheets)}")
    rules = _rules(sheets)
    on_disk = _on_disk(root, findings)
    found = list(_labels(sheets[0], rules, on_disk, findings))
    names = {label.video for label in found} | set(on_disk)
    locations = {name: Location(name, _subject(name), on_disk.get(name)) for name in names}
    return assemble(KNOWN, Found(found, locations), findings)


def _subject(video: str) -> str:
    return f"s{video.partition('_')[0]}"


def _rules(sheets: list[Sheet]) -> Rules:
    subjects = {cells[2]: cells[1].lower() for cells in sheets[1].rows if len(cells) > 2 and cells[2]}
    codes = {cells[1].lower(): cells[0].zfill(4) for cells in sheets[2].rows if len(cells) > 1 and cells[1]}
    if not any(re.fullmatch(SUBJECT, folder) for folder in subjects.values()):
        raise another_layout(sheets, "the third column of the second sheet should number the folders s15, s16 ...")
    if not any(re.fullmatch(r"\d{4}", code) for code in codes.values()):
        raise another_layout(sheets, "the third sheet should give codes such as 0101 to disgust1 and so on")
    return Rules(subjects, codes)


def _on_disk(root: Path, findings: Findings) -> dict[str, Path]:
    """Folders or files of videos by name, 15_0101disgustingteeth."""
    place = _pictures_folder(root)
    findings.sources.append(f"pictures: {place}")
    found: dict[str, Path] = {}
    subjects = [folder for folder in folders(place) if re.fullmatch(SUBJECT, folder.name, re.IGNORECASE)]
    for entry in (entry for subject in subjects for entry in entries(subject)):
        if VIDEO.fullmatch(entry.name) and (entry.is_dir() or is_video(entry)):
            found[entry.name if entry.is_dir() else entry.stem] = entry
        else:
            findings.notes.append(f"{entry}: not called like a video, 15_0101...; left out")
    return found


def _pictures_folder(root: Path) -> Path:
    kinds = [root / kind for kind in PICTURES if home(root / kind, SUBJECT) == root / kind]
    place = kinds[0] if kinds else home(root, SUBJECT)
    if place is None:
        raise LivespotError(f"no folder called like s15 is at or below {root}: give the one with {PICTURES[0]} in it")
    return place


def _labels(sheet: Sheet, rules: Rules, on_disk: Mapping[str, Path], findings: Findings) -> Iterator[Labelled]:
    folders_by_code: dict[str, str] = {}
    for name in sorted(on_disk):
        first = folders_by_code.setdefault(_code(name), name)
        if first != name:
            findings.fault(str(on_disk[name]), f"its code is that of {first}, to which the labels go")
    for number, cells in enumerate(sheet.rows):
        if not any(cells):
            continue
        row = Record(sheet.place(number), dict(zip(COLUMNS, cells, strict=False)))
        code = _code_of(row, rules, findings)
        if code and (label := read(row, folders_by_code.get(code, code), findings)):
            yield label


def _code(name: str) -> str:
    """What all names of a video begin with, 15_0101."""
    match = VIDEO.fullmatch(name)
    assert match is not None, name
    return f"{int(match[1])}_{match[2]}"


def _code_of(row: Record, rules: Rules, findings: Findings) -> str | None:
    subject = rules.subjects.get(row["subject"])
    shown = row["video"].lower().partition("_")[0]
    if subject is None or not re.fullmatch(SUBJECT, subject):
        findings.fault(row.place, f"subject {row['subject'] or 'is empty'} has no folder in the second sheet")
    elif shown not in rules.codes:
        findings.fault(row.place, f"video {row['video'] or 'is empty'} has no code in the third sheet")
    else:
        return f"{int(subject[1:])}_{rules.codes[shown]}"
    return None
