"""Any other dataset: a table with a row for each expression beside a folder of videos or of folders of frames.

    ROOT/labels.csv     subject,video,fps,type,onset,apex,offset; and path, where the video is called otherwise

SMIC-E-long, 4DME and own recordings come in such forms. The table may be an Excel file. Where apex or type are unknown
their cells stay empty; a row without type, onset, apex and offset says that a video has no expressions; without fps, or
with an empty one, a video file's own is taken.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from livespot.datasets.expressions import Findings, Labelled, label_file, read
from livespot.datasets.found import Found, Known, Location
from livespot.datasets.scanning import Scan, assemble
from livespot.datasets.sheets import Record, read_sheets, records
from livespot.evaluation.labels import rate
from livespot.files import VIDEOS

LABEL_FILES = ("labels.csv", "labels.xls*", "*.csv", "*.xls*")

REQUIRED = {"subject": ("subject",), "video": ("video",), "onset": ("onset",), "offset": ("offset",)}
OPTIONAL = {"fps": ("fps",), "type": ("type",), "apex": ("apex",), "path": ("path",)}


def scan(root: Path, labels: Path | None, findings: Findings, base: str = "0") -> Scan:
    """Labels and folders, brought together; `base`, one of BASES, says how the table counts frames.

    Raises LivespotError that names every row that cannot be used.
    """
    file = label_file(root, LABEL_FILES, labels, findings)
    rows = records(read_sheets(file), findings.sources, REQUIRED, OPTIONAL)
    locations = _locations(root, rows, findings)
    found = list(_labels(rows, locations, findings, base != "0"))
    return assemble(Known(file.stem), Found(found, locations, base), findings)


def _locations(root: Path, rows: Sequence[Record], findings: Findings) -> dict[str, Location]:
    """By video; what its first row says of it."""
    about: dict[str, tuple[str, str, float | None]] = {}
    found: dict[str, Location] = {}
    for row in rows:
        name, says = row["video"], (row["subject"], row["path"], _fps(row, findings))
        if not name or not row["subject"]:
            findings.fault(row.place, f"{'subject' if name else 'video'} is empty")
        elif about.setdefault(name, says) != says:
            findings.fault(row.place, f"subject, fps or path of video {name} differ from those in a row before")
        elif name not in found:
            found[name] = Location(name, row["subject"], _path(root, row), says[2])
    return found


def _path(root: Path, row: Record) -> Path | None:
    """What the table says, or what is called like the video, with the subject's folder or without."""
    wanted = [root / row["path"]] if row["path"] else [root / row["video"], root / row["subject"] / row["video"]]
    endings = ("", *VIDEOS, *map(str.upper, VIDEOS))
    paths = [path.with_name(f"{path.name}{ending}") for path in wanted for ending in endings]
    return next((path for path in paths if path.exists()), None)


def _fps(row: Record, findings: Findings) -> float | None:
    fps = rate(row["fps"])
    if row["fps"] and fps is None:
        findings.fault(row.place, f"fps {row['fps']}: expected frames a second, above 0")
    return fps


def _labels(
    rows: Sequence[Record], locations: Mapping[str, Location], findings: Findings, zeros: bool
) -> Iterator[Labelled]:
    for row in rows:
        says = any(row[name] for name in ("onset", "apex", "offset", "type"))
        if says and row["video"] in locations and (label := read(row, row["video"], findings, zeros=zeros)):
            yield label
