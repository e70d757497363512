"""From a row of a label file to an expression in frames that lie on disk. Whatever is wrong with a row is named.

    row --read--> Labelled, frames as the dataset counts --settle--> by the conventions --place--> Span, 0-based

Frames of a dataset are converted here and nowhere else.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from livespot.datasets.conventions import DONE, OFFSETS, Conventions, flag
from livespot.datasets.footage import Footage
from livespot.datasets.places import label_files
from livespot.datasets.sheets import Record
from livespot.errors import LivespotError
from livespot.evaluation.labels import LAST_FRAME, SHOWN_PROBLEMS, Span
from livespot.records import ExpressionType

WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)

NO_APEX = ("", "0", "-1", "-", "/", "\\", "n/a", "na", "nan", "none")
"""What stands where no apex was found."""

TYPES: Mapping[str, ExpressionType] = {"micro": "micro", "me": "micro", "macro": "macro", "mae": "macro"}

MICRO_MAX_S = 0.5
"""Where a label has no type: micro up to this, offset - onset, the boundary included."""


@dataclass
class Findings:
    """What was met on the way."""

    title: str
    conventions: Conventions
    faults: list[str] = field(default_factory=list)
    """Rows and folders that cannot be used."""
    notes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    """What was read, where there was a choice."""
    label_files: list[Path] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    """How often a question of the conventions came up."""

    def decide(self, question: str, what: str) -> bool:
        """Counts it; False where the convention refuses or drops what `what` names."""
        self.met[question] += 1
        chosen = self.conventions.of(question)
        if chosen == "refuse":
            self.faults.append(f"{what} ({flag(question)} chooses what to do)")
        else:
            self.notes.append(f"{what}: {DONE[chosen]}")
        return chosen not in ("refuse", "drop")

    def fault(self, place: str, what: str) -> None:
        """Something that cannot be used."""
        self.faults.append(f"{place}: {what}")

    def refuse(self) -> None:
        """Raises LivespotError that names all faults, or where they are to be left out makes notes of them."""
        if not self.faults:
            return
        if self.conventions.faulty == "drop":
            self.met["faulty"] += len(self.faults)
            self.notes += [f"{fault}: left out" for fault in self.faults]
            return
        more = len(self.faults) - SHOWN_PROBLEMS
        lines = self.faults[:SHOWN_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        count = "1 problem" if len(self.faults) == 1 else f"{len(self.faults)} problems"
        hint = "--faulty drop leaves out what cannot be used, and says so"
        raise LivespotError("\n  ".join((f"{self.title} has {count}; nothing was written:", *lines, hint)))


@dataclass(frozen=True)
class Labelled:
    """An expression as its label file has it; frames are those of the dataset."""

    place: str
    """File, sheet and row."""
    video: str
    onset: int
    apex: int | None
    offset: int
    type: ExpressionType | None
    offset_known: bool = True
    """Otherwise a convention made it up, and it ends with the video at the latest."""


def read(record: Record, video: str, findings: Findings, type_if_none: str = "", zeros: bool = True) -> Labelled | None:
    """Cells as numbers; None, and a fault, where they are none. Columns: onset, apex, offset, type.

    `zeros`: whether a frame 0 means that nobody annotated it.
    """
    problems: list[str] = []
    onset, offset = (_frame(record[name], name, problems) for name in ("onset", "offset"))
    without = record["apex"].lower() in NO_APEX and (zeros or record["apex"] != "0")
    apex = None if without else _frame(record["apex"], "apex", problems)
    kind = _type(record["type"] or type_if_none, problems)
    for problem in problems:
        findings.fault(record.place, problem)
    if problems or onset is None or offset is None:
        return None
    return Labelled(record.place, video, onset, apex, offset, kind)


def _frame(text: str, name: str, problems: list[str]) -> int | None:
    if not WHOLE.fullmatch(text):
        problems.append(f"{name} {text or 'is empty'}: expected a frame, a whole number")
        return None
    number = int(text)
    if number < 0:
        problems.append(f"{name} {number} is negative")
    elif number > LAST_FRAME:
        problems.append(f"{name} {number} is beyond any video")
    return number


def _type(text: str, problems: list[str]) -> ExpressionType | None:
    """`Micro - 1/2`, `macro-expression` and the like; None where the cell is empty."""
    found = TYPES.get(re.split(r"[\s_-]", text.lower(), maxsplit=1)[0])
    if found is None and text:
        problems.append(f"type {text} is unknown: expected micro or macro")
    return found


def settle(label: Labelled, fps: float, findings: Findings, zeros: bool = True) -> Labelled | None:
    """Zeros, a missing apex and a missing type by convention; None where the expression is left out.

    `zeros` as of `read`. A type that is given stays.
    """
    if zeros:
        settled = _offset_zero(label, findings)
        settled = _onset_zero(settled, findings) if settled else None
        if settled is None:
            return None
        label = settled
    if label.onset > label.offset:
        findings.fault(label.place, f"onset {label.onset} is after offset {label.offset}")
        return None
    return _typed(_with_apex(label, findings), fps, findings)


def _offset_zero(label: Labelled, findings: Findings) -> Labelled | None:
    if label.offset != 0:
        return label
    findings.met[f"offset_zero {label.type}"] += 1
    findings.met["offset_zero"] += 1
    chosen = findings.conventions.offset_zero
    if chosen == "drop":
        return None
    if label.apex is None:
        findings.fault(label.place, "offset 0 and no apex to end it by")
        return None
    return replace(label, offset=OFFSETS[chosen](label.onset, label.apex), offset_known=False)


def _onset_zero(label: Labelled, findings: Findings) -> Labelled | None:
    if label.onset != 0:
        return label
    findings.met[f"onset_zero {label.type}"] += 1
    findings.met["onset_zero"] += 1
    return None if findings.conventions.onset_zero == "drop" else label


def _with_apex(label: Labelled, findings: Findings) -> Labelled:
    if label.apex is None:
        findings.met["missing_apex"] += 1
        middle = findings.conventions.missing_apex == "middle"
        return replace(label, apex=(label.onset + label.offset) // 2 if middle else None)
    if not label.onset <= label.apex <= label.offset:
        outside = f"apex {label.apex} is outside its expression, {label.onset} to {label.offset}"
        findings.notes.append(f"{label.place}: {outside}: unknown in the table")
        return replace(label, apex=None)
    return label


def _typed(label: Labelled, fps: float, findings: Findings) -> Labelled:
    if label.type is not None:
        return label
    findings.met["typed by duration"] += 1
    return replace(label, type="micro" if label.offset - label.onset <= MICRO_MAX_S * fps else "macro")


def place(label: Labelled, footage: Footage, shift: int, findings: Findings) -> Span | None:
    """The expression in frames that lie on disk, by the order in which they are read; None where it is left out.

    `shift`: what to add to a frame of the labels to get the number in the name of its picture.
    """
    within = _within(label, footage, shift, findings)
    if within is None:
        return None
    numbers, (onset, offset) = footage.numbers, within
    first = int(np.searchsorted(numbers, onset))
    last = int(np.searchsorted(numbers, offset, side="right")) - 1
    if first > last:
        findings.fault(label.place, f"frames {label.onset} to {label.offset} are all missing in {footage.path.name}")
        return None
    apex = None if label.apex is None else int(np.searchsorted(numbers, label.apex + shift))
    assert label.type is not None, "settle has typed it"
    return Span(first, last, label.type, apex=None if apex is None or not first <= apex <= last else apex)


def _within(label: Labelled, footage: Footage, shift: int, findings: Findings) -> tuple[int, int] | None:
    """Onset and offset as numbers of pictures, neither before the first nor after the last one."""
    onset, offset = label.onset + shift, label.offset + shift
    if label.onset == 0:  # by convention it begins with the video
        onset = footage.first
    if not label.offset_known:
        offset = min(offset, footage.last)
    if onset >= footage.first and offset <= footage.last:
        return onset, offset
    there = f"{footage.first - shift} to {footage.last - shift}"
    what = f"{label.place}: frames {label.onset} to {label.offset} are beyond the video, which has {there}"
    if offset < footage.first or onset > footage.last:
        findings.fault(label.place, what.partition(": ")[2])
        return None
    return (max(onset, footage.first), min(offset, footage.last)) if findings.decide("beyond", what) else None


def label_file(root: Path, patterns: Sequence[str], given: Path | None, findings: Findings) -> Path:
    """The table of labels: the one given, or what fits the first of `patterns`. Raises LivespotError."""
    found = [given] if given else label_files(root, patterns)
    if not found:
        raise LivespotError(
            f"{findings.title}: no label file is at or below {root}; expected {' or '.join(patterns)}: "
            "give it with --labels"
        )
    findings.label_files.append(found[0])
    others = ", ".join(file.name for file in found[1:])
    findings.sources.append(f"labels: {found[0]}" + (f"; also there: {others} (--labels chooses)" if others else ""))
    return found[0]
