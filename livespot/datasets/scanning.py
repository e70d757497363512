"""What labels say and what lies on disk, brought together: videos for the table, and all that a reader must know of it.

    label file --adapter--> Labelled ---+
                                        +--> Scan: videos, counts beside the known ones, conventions, what differs
    folders    --adapter--> Location ---+

A video that is missing on disk, or whose frames cannot be put in order, is reported with what is lost with it, and the
table is made of the others. A row of labels that cannot be used, expressions beyond their video and frames missing
between others are errors until a convention is chosen for them.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from livespot.datasets.conventions import CHOICES
from livespot.datasets.counting import Count, counts
from livespot.datasets.expressions import MICRO_MAX_S, Findings, Labelled, place, settle
from livespot.datasets.footage import Footage, look
from livespot.datasets.found import BASES, Found, Known, Location
from livespot.errors import LivespotError, SourceError
from livespot.evaluation.labels import Span, Video

FPS_SLACK = 0.02
"""A file whose own frame rate is further off than this share of it is another one than the dataset's."""

NAMED = 5
"""So many are named where a note speaks of several that are alike."""


@dataclass(frozen=True)
class Scan:
    """A dataset as it was found."""

    title: str
    videos: tuple[Video, ...]
    """Those that are there; frames 0-based, offset inclusive."""
    counts: tuple[Count, ...]
    conventions: tuple[str, ...]
    """What was read, what was decided, and how often it came up."""
    notes: tuple[str, ...]
    """What differs from what the dataset promises, and what was left out."""
    label_files: tuple[Path, ...]
    """What the labels were read from."""


def assemble(known: Known, found: Found, findings: Findings) -> Scan:
    """Raises LivespotError that names all faults, each with file, sheet and row."""
    footage = dict(_footage(known, found.locations.values(), findings))
    spans, kinds, lost = _spans(known, found, footage, findings)
    _note_losses([found.locations[name] for name in sorted(set(found.locations) - set(footage))], lost, findings)
    videos = tuple(_video(found.locations[name], known, seen, spans[name], findings) for name, seen in footage.items())
    findings.refuse()
    if not videos:
        raise LivespotError("\n  ".join((f"{known.title}: not one video can be used", *findings.notes[:NAMED])))
    _note_beginnings(found.base, footage, findings)
    numbers = tuple(counts(known, found, kinds, findings, videos))
    said = tuple(_conventions(found, findings)), tuple(findings.notes)
    return Scan(known.title, videos, numbers, *said, tuple(findings.label_files))


def _footage(known: Known, locations: Iterable[Location], findings: Findings) -> Iterator[tuple[str, Footage]]:
    for location in sorted(locations, key=lambda one: one.name):
        if location.path is None:
            continue
        try:
            seen = look(location.path)
        except SourceError as error:
            findings.notes.append(f"{location.name}: {error}")
            continue
        if _fps(location, known, seen) is None:
            findings.fault(location.name, f"nothing says how fast {location.path} was recorded")
        elif not seen.holes or findings.decide("holes", f"{location.name}: {seen.holes} in {location.path}"):
            yield location.name, seen


def _spans(
    known: Known, found: Found, footage: Mapping[str, Footage], findings: Findings
) -> tuple[dict[str, list[Span]], Counter[str], Counter[str]]:
    """Expressions by video; how many the labels have by type; how many are lost by video."""
    spans: dict[str, list[Span]] = {name: [] for name in footage}
    kinds: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    seen: dict[Hashable, str] = {}
    for label in found.labels:
        fps = _fps(found.locations[label.video], known, footage.get(label.video))
        settled = settle(label, fps or 0.0, findings, zeros=found.base != "0")
        kinds[(settled or label).type or "unknown"] += 1
        if settled is None or _is_double(settled, (settled.onset, settled.offset), seen, findings):
            continue
        if label.video not in footage:
            lost[label.video] += 1
            continue
        span = place(settled, footage[label.video], _shift(found.base, footage[label.video]), findings)
        if span is not None and not _is_double(settled, span, seen, findings):
            spans[label.video].append(span)
    return spans, kinds, lost


def _is_double(label: Labelled, what: Hashable, seen: dict[Hashable, str], findings: Findings) -> bool:
    first = seen.setdefault((label.video, label.type, what), label.place)
    if first != label.place:
        findings.fault(label.place, f"says the same as {first}")
    return first != label.place


def _shift(base: str, footage: Footage) -> int:
    return {"names": 0, "0": footage.first, "1": footage.first - 1}[base]


def _fps(location: Location, known: Known, footage: Footage | None) -> float | None:
    return location.fps or known.fps or (footage.fps if footage else None)


def _note_losses(gone: Sequence[Location], lost: Counter[str], findings: Findings) -> None:
    for location in gone:
        why = "not in the table" if location.path else "nothing of it was found on disk"
        findings.notes.append(f"{location.name}: {why}; {_expressions_are(lost[location.name])} lost with it")
    if len(gone) > 1:
        all_lost = _expressions_are(sum(lost.values()))
        findings.notes.insert(0, f"{len(gone)} videos are not in the table; {all_lost} lost with them")


def _expressions_are(number: int) -> str:
    return "1 expression is" if number == 1 else f"{number} expressions are"


def _video(location: Location, known: Known, footage: Footage, spans: Sequence[Span], findings: Findings) -> Video:
    fps = _fps(location, known, footage)
    if fps and footage.fps and abs(footage.fps - fps) > FPS_SLACK * fps:
        findings.notes.append(f"{location.name}: {footage.path.name} has {footage.fps:g} frames a second, not {fps:g}")
    return Video(location.name, location.subject, fps, len(footage), tuple(sorted(spans)), footage.path)


def _note_beginnings(base: str, footage: Mapping[str, Footage], findings: Findings) -> None:
    """Whether numbers in names begin at 1 decides which picture a label means, if it counts otherwise."""
    others = [f"{name} with {seen.first}" for name, seen in footage.items() if seen.first != 1]
    if base == "names" and others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        findings.notes.append(f"folders that begin with another frame than 1: {', '.join(others[:NAMED])}{more}")


def _conventions(found: Found, findings: Findings) -> Iterator[str]:
    """Those for zeros and the apex are named also where nothing came up: tables without the words are not trusted."""
    yield from findings.sources
    if not found.labels:
        return
    yield f"{BASES[found.base]}; in the table they count from 0, onset and offset inclusive"
    always = ("offset_zero", "onset_zero", "missing_apex") if found.base != "0" else ("missing_apex",)
    for question in CHOICES:
        times = findings.met[question]
        if question in always or times:
            yield f"{findings.conventions.says(question)}: {times}"
    if times := findings.met["typed by duration"]:
        yield f"an expression without type is micro up to {MICRO_MAX_S:g} s from onset to offset, macro above: {times}"
