"""Videos whose faces were aligned once: the cache that `livespot prepare` makes, as training and evaluation read it.

    CACHE/labels.csv    the table of labels as it was given last: labels may change, the faces stay
          cache.json    which aligner, how it was set, whether all videos are there, which were left out and why
          videos/NAME/  one video; row i of everything belongs to its frame i, as labels count
              crops       uint8 (frames, 112, 112), zeros where no face was found: holes, which take no disk
              rows        `ROW`: time, transform and face of every frame
              meshes      `MESH`: landmarks, only where the transform does not carry them there from those before
              about.json  counts, gaps, and which file or folder it was

Crops are as they came, for a file of them can be mapped and read anywhere; they are 97 % of a cache. Transforms stay
float64 and times too, so that what is driven from here ends in the same bits as live. Landmarks would add 3,744 bytes a
frame: the aligner itself looks at them only now and then and carries them along between, and so does `carried`. All of
them are compared when they are written, and those that would come back with another bit are kept.

What does not come back is the arrival of a frame: it is the stream time here.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from livespot import align
from livespot.config import AlignSettings
from livespot.errors import LivespotError, SettingsError
from livespot.evaluation.labels import Video, read_labels
from livespot.landmarks import apply, invert
from livespot.records import CROP_PX, LANDMARKS, Face, Gap, ShapesInRepr

Row: TypeAlias = dict[str, Any]

LABELS, STATE, VIDEOS = "labels.csv", "cache.json", "videos"
CROPS, ROWS, MESHES, ABOUT = "crops", "rows", "meshes", "about.json"

CROP_BYTES = CROP_PX * CROP_PX
ROW = np.dtype([("t_s", "<f8"), ("transform", "<f8", (2, 3)), ("face", "<i4")])
"""60 bytes a frame. `face` is -1 where none was found."""
MESH = np.dtype([("row", "<i4"), ("landmarks", "<f4", (LANDMARKS, 2))])
"""3,748 bytes, about two a second."""

LAYOUT = 1
"""Raised where files are laid out otherwise."""


@dataclass(frozen=True, repr=False, eq=False)
class Prepared(ShapesInRepr):
    """The face of one video, one at a time, memory-mapped and read only.

    To another process give the cache's folder and the name: pickled, all of it would be copied.
    """

    video: Video
    crops: NDArray[np.uint8]
    """uint8 (frames, 112, 112), grey; zeros where no face was found."""
    seen: NDArray[np.bool_]
    """bool (frames,): False where no face was found, or the frame was lost."""
    times_s: NDArray[np.float64]
    """float64 (frames,): stream time."""
    source: str
    """What its faces tell as their source."""
    rows: NDArray[np.void]
    """`ROW` (frames,)."""
    meshes: NDArray[np.void]
    """`MESH`, by row."""
    mesh_rows: NDArray[np.int32]
    """int32 (meshes,): the frame of each."""
    gaps: tuple[tuple[int, Gap], ...]
    """With the frame in which each was told."""

    def faces(self) -> Iterator[Face | Gap]:
        """All that the aligner and the source told, in order: each face, and a gap where one was lost or frames were.

        A new number after a gap need not be somebody else: a face that was lost is found again as another one. What
        remembers begins anew at the gap of a face, and at one of the source that is longer than `max_gap_s`.
        """
        gaps = defaultdict(list)
        for row, gap in self.gaps:
            gaps[row].append(gap)
        for row in range(len(self.seen)):
            yield from (gap for gap in gaps[row] if gap.face is None)
            face = self.face(row)
            if face is not None:
                yield face
            yield from (gap for gap in gaps[row] if gap.face is not None)

    def face(self, row: int) -> Face | None:
        """The face of a frame, None where none was found."""
        if not self.seen[row]:
            return None
        transform, t_s = np.array(self.rows["transform"][row]), float(self.times_s[row])
        return Face(
            crop=np.asarray(self.crops[row]),
            landmarks=self._landmarks(row, transform),
            transform=transform,
            face=int(self.rows["face"][row]),
            source=self.source,
            index=row,
            t_s=t_s,
            arrival_s=t_s,
        )

    def _landmarks(self, row: int, transform: NDArray[np.float64]) -> NDArray[np.float32]:
        newest = int(np.searchsorted(self.mesh_rows, row, "right")) - 1
        landmarks, born = np.array(self.meshes["landmarks"][newest]), self.mesh_rows[newest]
        if born == row:
            return landmarks
        return carried(apply(np.array(self.rows["transform"][born]), landmarks), transform)


class Cache:
    """The videos of a cache: iterate `videos`, and take each by its name."""

    def __init__(self, folder: Path) -> None:
        """Raises SettingsError where `folder` holds no cache, or one of another aligner, or not all of its videos."""
        state = read_state(folder)
        told = differences(state["key"], {"layout": LAYOUT, "aligner": align.VERSION})
        if told:
            raise SettingsError(f"{folder} was made by another livespot, {told}: prepare the videos in a new folder")
        if not state["complete"]:
            raise SettingsError(f"{folder} does not hold all of its videos yet: run `livespot prepare` to its end")
        self._folder = folder
        self.key: Row = state["key"]
        """Version and settings of the aligner."""
        self.left_out: dict[str, str] = state["left_out"]
        """Why a video of the table is not here, by its name."""
        videos = read_labels(folder / LABELS)
        self._videos = {name: video for name, video in videos.items() if name not in self.left_out}

    @property
    def videos(self) -> list[Video]:
        """Those with a face, by name."""
        return list(self._videos.values())

    def __getitem__(self, name: str) -> Prepared:
        """Raises LivespotError for a video that is not here, or is damaged."""
        if name not in self._videos:
            why = self.left_out.get(name, "the table of labels does not name it")
            raise LivespotError(f"{self._folder} has no video {name}: {why}")
        folder = folder_of(self._folder, name)
        about = about_of(folder)
        if about is None or not about["meshes"]:  # of a face there is one at least
            raise LivespotError(f"{folder} is damaged: remove it, and run `livespot prepare` again")
        return _opened(folder, self._videos[name], about)


def _opened(folder: Path, video: Video, about: Row) -> Prepared:
    frames = about["frames"]
    rows: NDArray[np.void] = np.memmap(folder / ROWS, ROW, "r", shape=(frames,))
    meshes: NDArray[np.void] = np.memmap(folder / MESHES, MESH, "r", shape=(about["meshes"],))
    return Prepared(
        video=video,
        crops=np.memmap(folder / CROPS, np.uint8, "r", shape=(frames, CROP_PX, CROP_PX)),
        seen=np.array(rows["face"] >= 0),
        times_s=np.array(rows["t_s"]),
        source=about["source"],
        rows=rows,
        meshes=meshes,
        mesh_rows=np.array(meshes["row"]),
        gaps=tuple((row, Gap(about["source"], **gap)) for row, gap in about["gaps"]),
    )


def carried(mesh_crop_px: NDArray[np.float64], transform: NDArray[np.float64]) -> NDArray[np.float32]:
    """Landmarks (468, 2) in pixels of the frame, of a mesh in pixels of the crop: the arithmetic of the aligner."""
    return apply(invert(transform), mesh_crop_px).astype(np.float32)


def key_of(settings: AlignSettings) -> Row:
    """All that the faces of a video depend on, but the video.

    The landmarks are those of MediaPipe's models and the skin is tracked by OpenCV, so their versions count.
    """
    libraries = {"mediapipe": version("mediapipe"), "opencv": version("opencv-contrib-python")}
    return {
        "layout": LAYOUT,
        "aligner": align.VERSION,
        **libraries,
        **{f"align.{name}": value for name, value in settings.model_dump().items()},
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What of `here` is otherwise there, in words; empty where nothing is."""
    return ", ".join(
        f"{name} {there.get(name)} instead of {value}" for name, value in here.items() if there.get(name) != value
    )


def read_state(folder: Path) -> Row:
    """What cache.json says. Raises SettingsError where there is none."""
    try:
        state: Row = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return {name: state[name] for name in ("key", "complete", "left_out")}
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(f"{folder} holds no cache: make one with `livespot prepare`") from None


def folder_of(cache: Path, name: str) -> Path:
    """Where a video lies, whatever it is called."""
    safe = quote(name, safe=" ")
    return cache / VIDEOS / (safe if not safe.startswith(".") else f"%2E{safe[1:]}")


def about_of(folder: Path) -> Row | None:
    """What is told of a video that is whole; None where it is not."""
    try:
        about: Row = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        sizes = {CROPS: CROP_BYTES, ROWS: ROW.itemsize}
        wanted = {name: size * about["frames"] for name, size in sizes.items()}
        wanted[MESHES] = MESH.itemsize * about["meshes"]
        whole = all((folder / name).stat().st_size == size for name, size in wanted.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return about if whole else None
