"""The unseen test sets of the Micro-Expression Grand Challenge: clips of SAMM and CAS(ME)3 whose labels nobody has.

    ROOT/SAMM_.../006_3/006_3_0001.jpg     200 frames a second: a folder with samm in its name lies above
    ROOT/CAS_.../12/1.jpg                  30 frames a second: with cas in it

The table has each clip without expressions, its own name standing for the subject, so that it can be prepared and
spotted like any other.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from livespot.datasets.expressions import Findings
from livespot.datasets.found import Found, Known, Location
from livespot.datasets.places import entries, has_pictures, is_video, levels
from livespot.datasets.scanning import Scan, assemble
from livespot.errors import LivespotError

SETS: Mapping[int, Known] = {
    2022: Known("MEGC 2022 unseen test set", videos=10, videos_by_fps={200: 5, 30: 5}),
    2023: Known("MEGC 2023 unseen test set", videos=30, videos_by_fps={200: 10, 30: 20}),
}

FPS: Mapping[str, float] = {"samm": 200, "cas": 30}
"""By what stands in the name of a folder above."""

DEPTH = 3


def scan(year: int, root: Path, findings: Findings) -> Scan:
    """Clips at or below the root. Raises LivespotError where none of those names tells how fast one was recorded."""
    clips = list(_clips(root))
    if not clips:
        raise LivespotError(
            f"no folder of frames and no video is at or below {root}: give the one that was unpacked to"
        )
    locations = [_location(root, clip) for clip in clips]
    by_name: dict[str, Location] = {}
    for location in locations:
        known = by_name.setdefault(location.name, location)
        if known is not location:
            findings.fault(location.name, f"two clips are called so, {known.path} and {location.path}: rename one")
    return assemble(SETS[year], Found((), by_name), findings)


def _clips(root: Path) -> Iterator[Path]:
    for level in levels(root, DEPTH):
        for folder in level:
            if folder != root and has_pictures(folder):
                yield folder
            yield from (entry for entry in entries(folder) if entry.is_file() and is_video(entry))


def _location(root: Path, clip: Path) -> Location:
    name = clip.stem if clip.is_file() else clip.name
    return Location(name, name, clip, _fps(clip.relative_to(root.parent)))


def _fps(path: Path) -> float | None:
    """What the nearest folder says that says anything."""
    rates = (rate for part in reversed(path.parts) for name, rate in FPS.items() if name in part.lower())
    return next(rates, None)
