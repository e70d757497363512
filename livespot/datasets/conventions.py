"""What a dataset's files leave open, and what is done about it: chosen by name, named in every report.

The labels of no dataset say what a zero means, and some name frames that do not exist. Groups decide differently, and
figures that rest on different decisions cannot be compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from livespot.errors import SettingsError

APEX_TO_OFFSET_FRAMES = 20
"""CAS(ME)2, 30 frames a second: what some groups add to the apex."""

CHOICES: Mapping[str, Mapping[str, str]] = {
    "offset_zero": {
        "apex": "ends at its apex, as the organisers of the challenge have it",
        "apex+20": "ends 20 frames after its apex",
        "mirrored": "ends as long after its apex as it began before it",
        "drop": "is left out",
    },
    "onset_zero": {"keep": "begins with the video", "drop": "is left out"},
    "missing_apex": {"unknown": "has none in the table", "middle": "gets the middle of onset and offset"},
    "beyond": {
        "refuse": "is an error",
        "cut": "is cut to the frames that are there",
        "drop": "is left out",
    },
    "holes": {
        "refuse": "is an error",
        "close": "is used: frames after a hole move up, and labels with them",
        "drop": "is left out",
    },
    "faulty": {"refuse": "is an error", "drop": "is left out"},
}
"""What may be chosen for each; the first is the default."""

DONE: Mapping[str, str] = {"drop": "left out", "cut": "cut", "close": "closed"}
"""What was done where a choice is made for one row or folder."""

SUBJECTS: Mapping[str, str] = {
    "offset_zero": "an expression with offset 0",
    "onset_zero": "an expression with onset 0",
    "missing_apex": "an expression without apex",
    "beyond": "an expression that goes beyond the frames of its video",
    "holes": "a video with missing frames between others",
    "faulty": "what cannot be used, and what is refused otherwise,",
}


@dataclass(frozen=True)
class Conventions:
    """One choice for each question."""

    offset_zero: str = "apex"
    onset_zero: str = "keep"
    missing_apex: str = "unknown"
    beyond: str = "refuse"
    holes: str = "refuse"
    faulty: str = "refuse"

    def __post_init__(self) -> None:
        for question, choices in CHOICES.items():
            if self.of(question) not in choices:
                raise SettingsError(f"{flag(question)} {self.of(question)}: expected {' or '.join(choices)}")

    def of(self, question: str) -> str:
        """The choice by the name of its field."""
        return str(getattr(self, question))

    def says(self, question: str) -> str:
        """The choice in words."""
        return f"{SUBJECTS[question]} {CHOICES[question][self.of(question)]} ({flag(question)} {self.of(question)})"


def flag(question: str) -> str:
    """How the command line calls it."""
    return f"--{question.replace('_', '-')}"


def _at_apex(onset: int, apex: int) -> int:  # noqa: ARG001
    return apex


def _after_apex(onset: int, apex: int) -> int:  # noqa: ARG001
    return apex + APEX_TO_OFFSET_FRAMES


def _mirrored(onset: int, apex: int) -> int:
    return apex + (apex - onset)


OFFSETS: Mapping[str, Callable[[int, int], int]] = {
    "apex": _at_apex,
    "apex+20": _after_apex,
    "mirrored": _mirrored,
}
"""Offset from (onset, apex), by the choice for offset 0."""
