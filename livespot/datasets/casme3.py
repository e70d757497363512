"""CAS(ME)3, part A: 30 frames a second, a folder of colour pictures for each video, up to 80 hours.

    ROOT/annotation/CAS(ME)3_part_A_v2.xls               subject, video, onset, apex, offset, ..., type
    ROOT/annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx   and ..._MaE_...: no column of types, their names tell
    ROOT/part_A/spNO.1/a/color/1.jpg                     depth/ lies beside it

The first is used where it is there. The recorder lost frames: expect holes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from livespot.datasets.expressions import Findings, Labelled, label_file, read
from livespot.datasets.found import Found, Known, Location
from livespot.datasets.places import folders, home, label_files
from livespot.datasets.scanning import Scan, assemble
from livespot.datasets.sheets import Names, Record, read_sheets, records
from livespot.errors import LivespotError

KNOWN = Known("CAS(ME)3 part A", fps=30, subjects=100, videos=1300, micro=1109, macro=3490, roughly=("videos",))

LABEL_FILES = ("CAS(ME)*3_part_A_v2*.xls*", "CAS(ME)*3_part_A_v[0-9]*.xls*")
HALVES = {"micro": ("*part_A_ME_label*.xls*",), "macro": ("*part_A_MaE_label*.xls*",)}

COLUMNS: Names = {
    "subject": ("subject", "sub"),
    "video": ("video", "filename", "seq"),
    "onset": ("onset", "onset frame"),
    "apex": ("apex", "apex frame"),
    "offset": ("offset", "offset frame"),
}
TYPE: Names = {"type": ("type", "expression type")}

SUBJECT, VIDEO = r"spno\.\d+", r"[a-z]"
COLOR = "color"


def scan(root: Path, labels: Path | None, findings: Findings) -> Scan:
    """Labels and folders, brought together. Raises LivespotError that names every row that cannot be used."""
    found = [label for file, kind in _files(root, labels, findings) for label in _labels(file, kind, findings)]
    place = home(root, SUBJECT)
    if place is None:
        raise LivespotError(f"no folder called like spNO.1 is at or below {root}: give the one with part_A in it")
    on_disk = dict(_on_disk(place, findings))
    names = {label.video for label in found} | set(on_disk)
    locations = {name: Location(name, name.rpartition("_")[0], on_disk.get(name)) for name in names}
    return assemble(KNOWN, Found(found, locations), findings)


def _files(root: Path, given: Path | None, findings: Findings) -> Iterator[tuple[Path, str]]:
    """Label files, each with the type of those of its rows that have none."""
    halves = {kind: patterns for kind, patterns in HALVES.items() if label_files(root, patterns)}
    if given is not None or label_files(root, LABEL_FILES) or not halves:
        yield label_file(root, LABEL_FILES, given, findings), ""
        return
    for kind, patterns in HALVES.items():
        if kind in halves:
            yield label_file(root, patterns, None, findings), kind
        else:
            findings.notes.append(f"no label file of {kind}-expressions was found, nor one of both types")


def _labels(file: Path, kind: str, findings: Findings) -> Iterator[Labelled]:
    required, optional = (COLUMNS, TYPE) if kind else ({**COLUMNS, **TYPE}, {})
    for row in records(read_sheets(file), findings.sources, required, optional):
        video = _video(row, findings)
        if video and (label := read(row, video, findings, kind)):
            yield label


def _video(row: Record, findings: Findings) -> str | None:
    """spNO.1_a, however it was written."""
    subject, video = row["subject"].lower(), row["video"].lower()
    if not re.fullmatch(SUBJECT, subject) or not re.fullmatch(VIDEO, video):
        findings.fault(row.place, f"subject {row['subject']}, video {row['video']}: expected such as spNO.1 and a")
        return None
    return _name(subject, video)


def _name(subject: str, video: str) -> str:
    return f"spNO.{int(subject.partition('.')[2])}_{video.lower()}"


def _on_disk(place: Path, findings: Findings) -> Iterator[tuple[str, Path]]:
    subjects = [folder for folder in folders(place) if re.fullmatch(SUBJECT, folder.name, re.IGNORECASE)]
    for video in (video for subject in subjects for video in folders(subject)):
        if re.fullmatch(VIDEO, video.name, re.IGNORECASE):
            colour = next((inner for inner in folders(video) if inner.name.lower() == COLOR), video)
            yield _name(video.parent.name, video.name), colour
        else:
            findings.notes.append(f"{video}: not called like a video, a to m; left out")
