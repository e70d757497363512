"""What was labelled and what was predicted, read from tables. Every bad row is named before anything is scored.

Labels are CSV: `video,subject,fps,type,onset,apex,offset`; the columns `frames`, the video's length, and `path`, where
it lies, are used where there are any. A row with type, onset, apex and offset empty says that a video has no
expressions. Every dataset comes down to such a table. Predictions are
`video,type,onset,offset`, with a score if there is one, as CSV or as JSON lines: what `livespot spot --out` writes.
Frames are 0-based, onset and offset inclusive. Other columns are ignored.
"""

import csv
import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from livespot.errors import LivespotError
from livespot.evaluation.matching import Interval
from livespot.files import replacing
from livespot.records import EXPRESSION_TYPES, ExpressionType

LABEL_COLUMNS = ("video", "subject", "fps", "type", "onset", "apex", "offset")
PREDICTION_COLUMNS = ("video", "type", "onset", "offset")

WHOLE = re.compile(r"[-+]?\d{1,15}(\.0*)?", re.ASCII)
"""A table program writes a column of frames with an empty cell in it as 12.0."""

LAST_FRAME = 10**9
"""A video of 50 days."""

SHOWN_PROBLEMS = 200
"""A table of another kind is wrong in every row."""

Row: TypeAlias = dict[str, str]


@dataclass(frozen=True, order=True)
class Span:
    """An expression, labelled or predicted. Sorted by time."""

    onset: int
    """Frames, 0-based; both ends inclusive."""
    offset: int
    type: ExpressionType
    score: float | None = field(default=None, compare=False)
    apex: int | None = field(default=None, compare=False)
    """Frame, where the labels say."""

    @property
    def frames(self) -> Interval:
        """(onset, offset)."""
        return self.onset, self.offset


@dataclass(frozen=True)
class Video:
    """A video and what is labelled in it. One that only the predictions know has no subject and no frame rate."""

    name: str
    subject: str | None = None
    fps: float | None = None
    length: int | None = None
    """Frames, where the labels say."""
    truths: tuple[Span, ...] = ()
    """By time."""
    path: Path | None = None
    """A video file or a folder of frames, where the labels say."""


@dataclass
class Problems:
    """What is wrong in a file, row by row."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, row: int, what: str) -> None:
        """The header is row 1, as a table program counts."""
        self.found.append(f"row {row}: {what}")

    def refuse(self) -> None:
        """Raises LivespotError that names them all."""
        if self.found:
            more = len(self.found) - SHOWN_PROBLEMS
            lines = self.found[:SHOWN_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
            count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
            raise LivespotError("\n  ".join((f"{self.path} has {count}; nothing was taken from it:", *lines)))


def read_labels(path: Path) -> dict[str, Video]:
    """Videos by name. Raises LivespotError that names every bad row."""
    problems = Problems(path)
    videos: dict[str, Video] = {}
    truths: dict[str, list[Span]] = {}
    seen: dict[Hashable, str] = {}
    for number, row in _rows(path, LABEL_COLUMNS, problems):
        video, span = _video(number, row, problems), _labelled(number, row, problems)
        videos[video.name] = _one_video(number, videos.get(video.name, video), video, problems)
        if span:
            truths.setdefault(video.name, []).append(span)
            _check_end(number, span, video.length, problems)
        if span or not row["type"]:
            _check_single(number, (video.name, span), seen, problems)
    problems.refuse()
    return {name: replace(video, truths=tuple(sorted(truths.get(name, ())))) for name, video in sorted(videos.items())}


def write_labels(path: Path, videos: Iterable[Video]) -> None:
    """Write what `read_labels` reads: a row for each expression, an empty one for a video without any.

    Paths are written relative to the table's folder where they lie below it, so that the folder may be moved.
    """
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*LABEL_COLUMNS, "frames", "path"))
        for video in videos:
            place = _relative(video.path, path.parent) if video.path else ""
            about = (video.name, video.subject, f"{video.fps:.10g}" if video.fps else "")
            for span in video.truths or (None,):
                frames = (span.type, span.onset, span.apex, span.offset) if span else (None,) * 4
                writer.writerow((*about, *frames, video.length, place))


def _relative(path: Path, folder: Path) -> str:
    inside = path.resolve().is_relative_to(folder.resolve())
    return str(path.resolve().relative_to(folder.resolve()) if inside else path.resolve())


def read_predictions(paths: Sequence[Path], videos: Mapping[str, Video]) -> dict[str, tuple[Span, ...]]:
    """Predictions of all files by video, by time. `videos` are those with labels: theirs may have a known length.

    Raises LivespotError that names every bad row of the first file that has any.
    """
    found: dict[str, list[Span]] = {}
    seen: dict[Hashable, str] = {}
    for path in paths:
        problems = Problems(path)
        for number, row in _rows(path, PREDICTION_COLUMNS, problems):
            name, span = _text(number, row, "video", problems), _span(number, row, problems)
            if span:
                found.setdefault(name, []).append(span)
                _check_end(number, span, videos[name].length if name in videos else None, problems)
                _check_single(number, (name, row.get("face"), span), seen, problems)
        problems.refuse()
    return {name: tuple(sorted(spans)) for name, spans in sorted(found.items())}


def _rows(path: Path, columns: Sequence[str], problems: Problems) -> Iterator[tuple[int, Row]]:
    """Number and cells of each row that has all `columns`, blanks around them cut off."""
    read = READERS.get(path.suffix.lower(), _csv_rows)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from read(file, columns, problems)
    except OSError as error:
        raise LivespotError(f"{path} cannot be read: {error.strerror or error}: give an existing table") from error
    except UnicodeDecodeError:
        raise LivespotError(f"{path} is not text in UTF-8: save the table as CSV in UTF-8") from None
    except csv.Error as error:
        raise LivespotError(f"{path} is not CSV: {error}") from None


def _csv_rows(lines: Iterator[str], columns: Sequence[str], problems: Problems) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(lines)
    header = [cell.strip() for cell in next(reader, [])]
    if not _has_all(header, columns, problems):
        return
    for cells in reader:
        if len(cells) == len(header):
            yield reader.line_num, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        elif cells:
            problems.add(reader.line_num, f"{len(cells)} cells; the header has {len(header)}")


def _json_rows(lines: Iterator[str], columns: Sequence[str], problems: Problems) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            problems.add(number, f"is not JSON: {error.msg}")
            continue
        if values is None:
            continue
        missing = [name for name in columns if not isinstance(values, dict) or name not in values]
        if missing:
            problems.add(number, f"has no {', '.join(missing)}")
        else:
            yield number, {name: "" if value is None else str(value).strip() for name, value in values.items()}


READERS: dict[str, Callable[[Iterator[str], Sequence[str], Problems], Iterator[tuple[int, Row]]]] = {
    ".jsonl": _json_rows
}
"""By the suffix of the file; any other is CSV."""


def _has_all(header: Sequence[str], columns: Sequence[str], problems: Problems) -> bool:
    missing = [name for name in columns if name not in header]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if missing:
        given = ", ".join(header) or "none"
        problems.add(1, f"no column {', '.join(missing)}; expected {','.join(columns)}, the columns are {given}")
    if twice:
        problems.add(1, f"column {', '.join(twice)} stands twice")
    return not missing and not twice


def _video(number: int, row: Row, problems: Problems) -> Video:
    name, subject = _text(number, row, "video", problems), _text(number, row, "subject", problems)
    length = _whole(number, row, "frames", problems) if row.get("frames") else None
    path = problems.path.parent / row["path"] if row.get("path") else None
    return Video(name, subject, _fps(number, row, problems), length, path=path)


def _labelled(number: int, row: Row, problems: Problems) -> Span | None:
    """None for a video that is said to have no expressions, too."""
    if not any(row[name] for name in ("type", "onset", "apex", "offset")):
        return None
    apex = _whole(number, row, "apex", problems) if row["apex"] else None
    span = _span(number, row, problems)
    return replace(span, apex=apex) if span else None


def _span(number: int, row: Row, problems: Problems) -> Span | None:
    kind = next((kind for kind in EXPRESSION_TYPES if kind == row["type"]), None)
    if kind is None:
        problems.add(number, f"type {row['type'] or 'is empty'}: expected {' or '.join(EXPRESSION_TYPES)}")
    if not row["offset"] and row.get("phase", "close") != "close":
        problems.add(number, "offset is empty: this event never closed, or is open still: leave the row out")
        return None
    onset, offset = _whole(number, row, "onset", problems), _whole(number, row, "offset", problems)
    if onset is not None and offset is not None and onset > offset:
        problems.add(number, f"onset {onset} is after offset {offset}")
        return None
    score = _score(number, row, problems)
    return None if kind is None or onset is None or offset is None else Span(onset, offset, kind, score)


def _whole(number: int, row: Row, name: str, problems: Problems) -> int | None:
    """A frame number, or None where it is none."""
    text = row[name]
    if not WHOLE.fullmatch(text):
        problems.add(number, f"{name} {text or 'is empty'}: expected a frame, a whole number")
        return None
    value = int(text.partition(".")[0])
    if value < 0:
        problems.add(number, f"{name} {value} is negative: frames count from 0")
    elif value > LAST_FRAME:
        problems.add(number, f"{name} {value} is beyond any video")
    return value if 0 <= value <= LAST_FRAME else None


def _fps(number: int, row: Row, problems: Problems) -> float | None:
    fps = rate(row["fps"])
    if fps is None:
        problems.add(number, f"fps {row['fps'] or 'is empty'}: expected frames a second, above 0")
    return fps


def rate(text: str) -> float | None:
    """Frames a second, or None where the text is no number above 0."""
    try:
        fps = float(text)
    except ValueError:
        return None
    return fps if 0 < fps < float("inf") else None


def _one_video(number: int, known: Video, video: Video, problems: Problems) -> Video:
    """What two rows say of a video, which must agree where both say something."""
    facts = (
        ("subject", known.subject, video.subject),
        ("fps", known.fps, video.fps),
        ("frames", known.length, video.length),
        ("path", known.path, video.path),
    )
    for what, before, now in facts:
        if before and now and before != now:
            problems.add(number, f"{what} of video {video.name} is {now}, and {before} in a row before")
    return replace(
        video,
        subject=known.subject,
        fps=known.fps or video.fps,
        length=known.length or video.length,
        path=known.path or video.path,
    )


def _score(number: int, row: Row, problems: Problems) -> float | None:
    if not row.get("score"):
        return None
    try:
        return float(row["score"])
    except ValueError:
        problems.add(number, f"score {row['score']}: expected a number")
        return None


def _text(number: int, row: Row, name: str, problems: Problems) -> str:
    if not row[name]:
        problems.add(number, f"{name} is empty")
    return row[name]


def _check_single(number: int, key: Hashable, seen: dict[Hashable, str], problems: Problems) -> None:
    place = f"row {number} of {problems.path.name}"
    first = seen.setdefault(key, place)
    if first is not place:
        problems.add(number, f"says the same as {first}")


def _check_end(number: int, span: Span, length: int | None, problems: Problems) -> None:
    if length is not None and span.offset >= length:
        problems.add(number, f"offset {span.offset} is beyond the video: its last frame is {length - 1}")
