"""One video on its way into a cache: its frames through the live aligner, its face onto the disk.

It is written into a folder beside its place and takes its place once all of it is on the disk: what has its place is
whole, whenever the machine stops. An aligner that follows several faces at once has a lane for each, in which one face
follows another, and the lane in which one was seen longest is kept.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from livespot.align import Aligner
from livespot.capture import Source, open_recording
from livespot.capture.timeline import with_gaps
from livespot.config import AlignSettings, CaptureSettings, SourceSettings
from livespot.datasets.cache import ABOUT, CROP_BYTES, CROPS, MESH, MESHES, ROW, ROWS, Row, carried, folder_of
from livespot.errors import LivespotError
from livespot.landmarks import apply
from livespot.records import Face, Frame, Gap

PART = ".part-"
"""What the folder of an unfinished video begins with."""


@dataclass(frozen=True)
class Task:
    """One video to be aligned."""

    name: str
    path: Path
    fps: float | None
    """Of a folder of frames; a file has its own clock."""
    frames: int
    """As far as that is known beforehand."""
    origin: Row
    """What tells this video from others."""
    settings: AlignSettings
    cache: Path


def align(task: Task) -> Iterator[None]:
    """Align one video, a turn for each frame. Raises SourceError where it cannot be read."""
    place = folder_of(task.cache, task.name)
    part = task.cache / f"{PART}{place.name}"
    try:
        with closing(_Lanes(part, task.settings.max_faces)) as lanes:
            source = open_recording(SourceSettings(uri=str(task.path.resolve()), fps=task.fps), CaptureSettings())
            with source, Aligner(task.settings, source.name) as aligner:
                for item in with_gaps(source):
                    if isinstance(item, Gap):
                        lanes.lose(item)
                    else:
                        lanes.push(item, aligner.push(item))
                        yield
            whole = lanes.finish({"video": task.name, "origin": task.origin, **_about(source)})
        shutil.rmtree(place, ignore_errors=True)  # one that is damaged
        whole.replace(place)
    except OSError as error:
        raise LivespotError(
            f"{task.cache} does not take all of {task.name}: {error.strerror or error}: make room; "
            "the same command goes on"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _about(source: Source) -> Row:
    return {"source": source.name, "fps": source.fps, "note": source.note}


class _Lanes:
    """As many faces at once as the aligner follows."""

    def __init__(self, folder: Path, count: int) -> None:
        self._lanes = [_Lane(folder / str(number)) for number in range(count)]
        self._of: dict[int, _Lane] = {}
        self._lost: list[Gap] = []

    def lose(self, gap: Gap) -> None:
        """Frames were lost; the next frame follows."""
        self._lost.append(gap)

    def push(self, frame: Frame, found: Sequence[Face | Gap]) -> None:
        """What was found in the next frame."""
        faces = {id(self._lane(face)): face for face in found if isinstance(face, Face)}
        for lane in self._lanes:
            lane.push(frame, faces.get(id(lane)), self._lost)
        for gap in found:
            if isinstance(gap, Gap) and gap.face is not None:
                self._of.pop(gap.face).lose(gap)
        self._lost = []

    def _lane(self, face: Face) -> "_Lane":
        """The lane of a face; a new one takes the first that is free."""
        if face.face not in self._of:
            self._of[face.face] = next(lane for lane in self._lanes if lane not in self._of.values())
        return self._of[face.face]

    def finish(self, about: Row) -> Path:
        """The folder of the lane in which a face was seen longest, with all on the disk."""
        best = max(self._lanes, key=lambda lane: lane.seen)
        others = [lane.seen for lane in self._lanes if lane is not best and lane.seen]
        return best.finish(about | {"others": others})

    def close(self) -> None:
        """Whatever happened."""
        for lane in self._lanes:
            lane.close()


class _Lane:
    """The files of one face at a time, as `cache.Prepared` reads them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._crops, self._rows, self._meshes = ((folder / name).open("wb") for name in (CROPS, ROWS, MESHES))
        self._count = self._mesh_count = 0
        self._last = (0, 0.0)
        self._mesh_crop_px: NDArray[np.float64] | None = None
        self._faces: Counter[int] = Counter()
        self._gaps: list[tuple[int, Row]] = []

    @property
    def seen(self) -> int:
        """Frames with a face."""
        return self._faces.total()

    def push(self, frame: Frame, face: Face | None, lost: Sequence[Gap]) -> None:
        """The next frame, before which others were lost."""
        for gap in lost:
            self._tell(frame.index, gap)
        self._skip_to(frame)
        row = np.zeros((), ROW)
        row["t_s"], row["face"] = frame.t_s, -1 if face is None else face.face
        if face is not None:
            row["transform"] = face.transform
            self._crops.write(face.crop.tobytes())
            self._add_mesh(face)
            self._faces[face.face] += 1
        else:
            self._crops.seek(CROP_BYTES, os.SEEK_CUR)  # a hole takes no disk
        self._add_row(row)
        self._last = frame.index, frame.t_s

    def lose(self, gap: Gap) -> None:
        """The face is lost, as was found out in the frame that was pushed last."""
        self._tell(self._count - 1, gap)

    def finish(self, about: Row) -> Path:
        """The folder, with all on the disk."""
        self._crops.truncate(self._count * CROP_BYTES)
        for data in (self._crops, self._rows, self._meshes):
            _settle(data)
        counts = {"frames": self._count, "seen": self.seen, "meshes": self._mesh_count, "faces": self._faces}
        with (self._folder / ABOUT).open("w", encoding="utf-8") as words:
            json.dump(about | counts | {"gaps": self._gaps}, words, indent=2)
            _settle(words)
        return self._folder

    def close(self) -> None:
        """Whatever happened."""
        for file in (self._crops, self._rows, self._meshes):
            file.close()

    def _skip_to(self, frame: Frame) -> None:
        """Rows for frames that were lost, at times between those around them."""
        index, t_s = self._last
        for lost in range(self._count, frame.index):
            row = np.zeros((), ROW)
            row["t_s"], row["face"] = t_s + (lost - index) * (frame.t_s - t_s) / (frame.index - index), -1
            self._crops.seek(CROP_BYTES, os.SEEK_CUR)
            self._add_row(row)

    def _add_row(self, row: NDArray[Any]) -> None:
        self._rows.write(row.tobytes())
        self._count += 1

    def _add_mesh(self, face: Face) -> None:
        """Keep the landmarks, where they are not those before, carried here."""
        mesh_px = self._mesh_crop_px
        if mesh_px is not None and np.array_equal(carried(mesh_px, face.transform), face.landmarks):
            return
        self._mesh_crop_px = apply(face.transform, face.landmarks)
        mesh = np.zeros((), MESH)
        mesh["row"], mesh["landmarks"] = self._count, face.landmarks
        self._meshes.write(mesh.tobytes())
        self._mesh_count += 1

    def _tell(self, row: int, gap: Gap) -> None:
        told = asdict(gap)
        del told["source"]
        self._gaps.append((row, told))


def _settle(file: IO[Any]) -> None:
    """Let all of a file be on the disk itself: a machine may lose its power, too."""
    file.flush()
    os.fsync(file.fileno())
