"""Finding a dataset's files, wherever its archives were unpacked to below the folder that the user names."""

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from livespot.capture.folder import IMAGE_TYPES
from livespot.errors import LivespotError, SourceError
from livespot.files import VIDEOS

DEPTH = 3
"""Videos are sought so far below the root."""

LABELS_DEPTH = 2
"""Files of labels: below it lie millions of pictures."""


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name, but for pictures and what hides; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(folder / entry.name for entry in found if not _is_picture(entry.name) and not _hides(entry))
    except OSError:
        return []


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    return [entry for entry in entries(folder) if entry.is_dir()]


def pictures(folder: Path) -> list[str]:
    """Names of the pictures in a folder, in no order. Raises SourceError where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in found if _is_picture(entry.name)]
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror or error}") from error


def has_pictures(folder: Path) -> bool:
    """Whether frames lie in it directly."""
    try:
        with os.scandir(folder) as found:
            return any(_is_picture(entry.name) for entry in found)
    except OSError:
        return False


def is_video(path: Path) -> bool:
    """A video file, by its name."""
    return path.suffix.lower() in VIDEOS


def _is_picture(name: str) -> bool:
    return f".{name.rpartition('.')[2].lower()}" in IMAGE_TYPES


def _hides(entry: "os.DirEntry[str]") -> bool:
    """Also what Excel leaves beside a file that is open."""
    return entry.name.startswith((".", "~$"))


def levels(root: Path, depth: int) -> Iterator[list[Path]]:
    """The root, its folders, theirs and so on."""
    level = [root]
    yield level
    for _ in range(depth):
        level = [inner for folder in level for inner in folders(folder)]
        yield level


def home(root: Path, pattern: str) -> Path | None:
    """The folder nearest to the root in which a folder is called like `pattern`, a regular expression."""
    for level in levels(root, DEPTH):
        for folder in level:
            if any(re.fullmatch(pattern, inner.name, re.IGNORECASE) for inner in folders(folder)):
                return folder
    return None


def label_files(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Files at or below the root whose name fits one of `patterns`, those of the first pattern first."""
    files = [
        entry
        for level in levels(root, LABELS_DEPTH)
        for folder in level
        for entry in entries(folder)
        if entry.is_file()
    ]
    ranked = [[file for file in files if fnmatch(file.name.lower(), pattern.lower())] for pattern in patterns]
    return list(dict.fromkeys(file for fitting in ranked for file in fitting))


def check_root(root: Path) -> None:
    """Raises LivespotError where it is no folder."""
    if not root.is_dir():
        raise LivespotError(f"{root} is no folder: give the one that the dataset was unpacked to")
