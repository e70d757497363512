"""SAMM Long Videos: 200 frames a second, a folder of grey pictures for each video, one Excel file.

    ROOT/SAMM_LongVideos_V2_Release.xlsx     nine rows, then the header; Filename 006_1_2 is an expression in 006_1
    ROOT/SAMM_longvideos/006_1/006_1_0001.jpg

Ten macro-expressions have onset 0: the official count of 343 keeps them. Groups that have used the dataset say that
020_6_5 and 036_7_4 end beyond the last picture of their videos.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from livespot.datasets.expressions import Findings, Labelled, label_file, read
from livespot.datasets.found import Found, Known, Location
from livespot.datasets.places import folders, home
from livespot.datasets.scanning import Scan, assemble
from livespot.datasets.sheets import Record, read_sheets, records
from livespot.errors import LivespotError

KNOWN = Known("SAMM Long Videos", fps=200, subjects=32, videos=147, micro=159, macro=343, onset_zero_macro=10)

LABEL_FILES = ("SAMM_LongVideos_V2*.xls*", "SAMM_LongVideos_V3*.xls*", "SAMM*Long*.xls*")

COLUMNS = {
    "subject": ("subject",),
    "expression": ("filename",),
    "onset": ("onset", "onset frame"),
    "apex": ("apex", "apex frame"),
    "offset": ("offset", "offset frame"),
    "type": ("type",),
}

VIDEO = r"\d{3}_\d+"
EXPRESSION = re.compile(rf"({VIDEO})_\w+", re.ASCII)


def scan(root: Path, labels: Path | None, findings: Findings) -> Scan:
    """Labels and folders, brought together. Raises LivespotError that names every row that cannot be used."""
    sheets = read_sheets(label_file(root, LABEL_FILES, labels, findings))
    found = list(_labels(records(sheets, findings.sources, COLUMNS), findings))
    place = home(root, VIDEO)
    if place is None:
        raise LivespotError(f"no folder called like 006_1 is at or below {root}: give the one that was unpacked to")
    on_disk = {folder.name: folder for folder in folders(place) if re.fullmatch(VIDEO, folder.name)}
    others = [folder for folder in folders(place) if folder.name not in on_disk]
    findings.notes += [f"{folder}: not called like a video, 006_1; left out" for folder in others]
    names = {label.video for label in found} | set(on_disk)
    locations = {name: Location(name, name.partition("_")[0], on_disk.get(name)) for name in names}
    return assemble(KNOWN, Found(found, locations), findings)


def _labels(rows: list[Record], findings: Findings) -> Iterator[Labelled]:
    for row in rows:
        match = EXPRESSION.fullmatch(row["expression"])
        if match is None:
            findings.fault(row.place, f"Filename {row['expression'] or 'is empty'}: expected one such as 006_1_2")
        elif row["subject"].lstrip("0") != match[1].partition("_")[0].lstrip("0"):
            findings.fault(row.place, f"Subject {row['subject'] or 'is empty'} has a Filename {row['expression']}")
        elif label := read(row, match[1], findings):
            yield label
