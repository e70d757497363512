"""A folder of long videos with exact labels: what `livespot synth` makes.

    portrait --Performance--+              +--> NAME.avi    the pictures
                            +-- one video --+
    clip ------Injected-----+              +--> NAME.npz    what is true of every frame
                                                labels.csv, videos.json: of all of them, once all are made

A video depends on the seed, its number, and its portrait or clip alone; one that shows no face gives way to the next.
It is there once its .npz is, which is written last: a run that was killed goes on where it was. `labels.csv` has a row
for each expression, and an empty one for a video without any; frames are 0-based, and `offset` is the last of the
expression. Each .npz holds, of every frame in the order of the video,

    displacement_iod  (T, regions, 2)  how far the skin has come in each of `regions`, x along the eyes, in IOD
    intensities       (T, units)       of each of `units`, action units, lids and gaze: peak displacement in IOD
    pose              (T, 6)           of the head, `pose_columns`; not a number where a clip moves by itself
    repeats           (T,)             whether the recorder lost it: it shows what the one before shows
    times_s           (T,)

Of a clip the first two are what was put in: what its face does by itself nobody knows.

Pictures are JPEG of quality 95 in an AVI: at the apex of micro-expressions of 0.8 % of the IOD that changes what
`RegionTracker` measures by 0.03 % (median over 12 portraits), for 30 kB a frame; OpenCV's own MJPG by 0.09 % for 11 kB,
its mp4v by 0.10 % for 4 kB. The tracker itself errs by 0.15 %.
"""

import csv
import json
from collections.abc import Collection, Generator, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from zipfile import BadZipFile
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.action_units import EXPRESSIONS
from livespot.capture.opencv import FPS_OTHERWISE, VideoFile, declared_frames
from livespot.capture.virtual import Expression
from livespot.errors import LivespotError, SettingsError, SourceError
from livespot.files import LOCK, PICTURES, VIDEOS, files_in, locked, make_folder, replacing
from livespot.motion.regions import REGIONS
from livespot.processes import workers
from livespot.synth.injected import Injected
from livespot.synth.performance import Performance
from livespot.synth.script import NAMES, POSE

Row: TypeAlias = dict[str, Any]

COLUMNS = ("video", "subject", "fps", "type", "onset", "apex", "offset", "amplitude_iod", "units")
VIDEO_COLUMNS = ("frames", "path")
"""What is told of the video itself, after what is told of an expression."""

JPEG_QUALITY = 95
LABELS, SUMMARY = "labels.csv", "videos.json"


@dataclass(frozen=True)
class Order:
    """What videos are asked for; `seconds` and `fps` are those of portraits, clips have their own."""

    faces: Path | None = None
    clips: Path | None = None
    """Folders. With both, portraits and clips alternate."""
    videos: int = 10
    seconds: float = 30.0
    fps: float = 30.0
    seed: int = 0
    calm: bool = False
    """Nothing is expressed; all else happens."""


@dataclass(frozen=True)
class Task:
    """One video to be made."""

    name: str
    base: Path
    """The portrait or clip."""
    seed: int

    @property
    def filmed(self) -> bool:
        """Whether its base is a clip."""
        return self.base.suffix.lower() in VIDEOS


class Videos:
    """The videos of an order in a folder; those that are not there yet are made.

    Iterated once: each turn tells how many frames were made in it, of `frames` in all, as far as that is known.
    """

    def __init__(self, folder: Path, order: Order, jobs: int = 1) -> None:
        """`jobs` processes make one video each at a time; a single one is this process itself.

        Raises SourceError where there is nothing to make videos of, SettingsError where `folder` has another purpose.
        """
        portraits = [] if order.faces is None else files_in(order.faces, PICTURES, "portrait")
        clips = [] if order.clips is None else files_in(order.clips, VIDEOS, "video")
        self._order, self._folder, self._jobs = order, folder, jobs
        self._bases = portraits, clips
        self._settings = _settings(order, portraits, clips)
        _check(folder, self._settings)
        self._is_new = not folder.exists()
        self.frames = 0
        self.left_out: dict[str, str] = {}
        """Why a portrait or clip could not be used, by the name of its file."""
        self._plan()

    def __iter__(self) -> Generator[int, None, None]:
        """Raises SourceError where no video could be made, of which nothing is left, SettingsError in another's run."""
        make_folder(self._folder, parents=False)
        with locked(self._folder, by="livespot synth"):
            self._begin()
            try:
                with workers(self._jobs) if self._jobs > 1 else nullcontext() as pool:
                    while self._missing:
                        yield from self._in_processes(pool) if pool else self._here()
                        self._plan()
            finally:
                self._tidy()
            self._end()

    def summary(self) -> Row:
        """What is in the folder, in figures."""
        made = [about for task in self._tasks if (about := _about(self._folder, task))]
        labels = [row for about in made for row in about["labels"]]
        return {
            "videos": len(made),
            "minutes": round(sum(about["frames"] / about["fps"] for about in made) / 60, 2),
            **{kind: sum(row["type"] == kind for row in labels) for kind in ("micro", "macro")},
            "left_out": self.left_out,
            "labels": str(self._folder / LABELS),
        }

    def _plan(self) -> None:
        """What is to be made still, where something else takes the place of what could not be used."""
        self._tasks = tasks(self._order, *self._bases, self.left_out)
        self._missing = [task for task in self._tasks if _about(self._folder, task) is None]
        bases = {task.base: task for task in self._missing}
        self._lengths = {base: _frame_count(task, self._order) for base, task in bases.items()}
        self.frames += sum(self._lengths[task.base] for task in self._missing)

    def _here(self) -> Iterator[int]:
        for task in self._missing:
            if task.base.name in self.left_out:
                continue
            try:
                for _ in make(task, self._order, self._folder):
                    yield 1
            except SourceError as error:
                self._leave_out(task, error)

    def _in_processes(self, pool: Executor) -> Iterator[int]:
        begun = {pool.submit(_make, task, self._order, self._folder): task for task in self._missing}
        for done in as_completed(begun):
            error = None if done.cancelled() else done.exception()
            if isinstance(error, SourceError):
                self._leave_out(begun[done], error)
                for other in begun:
                    if begun[other].base == begun[done].base:
                        other.cancel()
            elif not done.cancelled():
                yield done.result()

    def _leave_out(self, task: Task, error: SourceError) -> None:
        if task.base.name not in self.left_out:
            self.left_out[task.base.name] = str(error)
            self.frames -= sum(self._lengths[one.base] for one in self._missing if one.base == task.base)

    def _begin(self) -> None:
        """From here on the folder says what it is for."""
        _check(self._folder, self._settings)  # another run may have begun since
        self._tidy()
        if self._missing:
            (self._folder / LABELS).unlink(missing_ok=True)
            self._summarise([], complete=False)

    def _tidy(self) -> None:
        """Remove what was not whole when a run or a process was killed."""
        for part in self._folder.glob(".part-*"):
            part.unlink()

    def _end(self) -> None:
        made = [about for task in self._tasks if (about := _about(self._folder, task))]
        if not made:
            (self._folder / SUMMARY).unlink(missing_ok=True)
            if self._is_new:
                (self._folder / LOCK).unlink()
                self._folder.rmdir()
            raise SourceError("no video could be made:\n" + "\n".join(self.left_out.values()))
        with replacing(self._folder / LABELS) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, (*COLUMNS, *VIDEO_COLUMNS), lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for about in made for row in _rows(about))
        self._summarise([{key: value for key, value in about.items() if key != "labels"} for about in made])

    def _summarise(self, videos: list[Row], complete: bool = True) -> None:
        left_out = dict(sorted(self.left_out.items()))
        summary = {"settings": self._settings, "complete": complete, "videos": videos, "left_out": left_out}
        with replacing(self._folder / SUMMARY) as part:
            part.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def tasks(
    order: Order, portraits: Sequence[Path], clips: Sequence[Path], unfit: Collection[str] = frozenset()
) -> list[Task]:
    """The videos of an order: portraits in turn, shuffled by the seed, and clips likewise. In the place of one of
    `unfit`, names of files, is the next that is fit; there are no videos where none is."""
    rng = np.random.default_rng(order.seed)
    kinds = [[kind[place] for place in rng.permutation(len(kind))] for kind in (portraits, clips) if kind]
    if not kinds:
        raise SettingsError("nothing to make videos of: give --faces, a folder of portraits, or --clips, one of videos")
    bases = [_base(kinds, number, unfit) for number in range(order.videos)]
    return [_task(order, number, base) for number, base in enumerate(bases) if base is not None]


def _base(kinds: Sequence[Sequence[Path]], number: int, unfit: Collection[str]) -> Path | None:
    """The first that is fit of the kind whose turn it is, then of the other."""
    turn, place = divmod(number, len(kinds))
    in_turn = (
        kind[(turn + more) % len(kind)] for kind in (*kinds[place:], *kinds[:place]) for more in range(len(kind))
    )
    return next((base for base in in_turn if base.name not in unfit), None)


def _task(order: Order, number: int, base: Path) -> Task:
    return Task(f"{number:04}_{base.stem}", base, crc32(f"{order.seed} {number} {base.name}".encode()))


def _settings(order: Order, portraits: Sequence[Path], clips: Sequence[Path]) -> Row:
    """Everything that the videos depend on: of the folders, the names of what is in them."""
    bases = {"faces": _digest(portraits), "clips": _digest(clips)}
    return asdict(order) | bases | {"livespot": version("livespot")}


def _digest(paths: Sequence[Path]) -> str:
    names = "\n".join(path.name for path in paths)
    return names and f"{len(paths)} files, sha256 of their names {sha256(names.encode()).hexdigest()[:16]}"


def _check(folder: Path, settings: Row) -> None:
    """Raises SettingsError where `folder` holds anything but videos of these settings, of which there may be fewer."""
    if not folder.exists() or (folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())):
        return
    try:
        there = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["settings"]
        differing = [key for key in settings if there[key] != settings[key] and key != "videos"]
        fewer = there["videos"] > settings["videos"]
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(
            f"{folder} holds something else than videos of `livespot synth`: give a new folder"
        ) from None
    if differing or fewer:
        told = ", ".join(f"{key} {there[key]} instead of {settings[key]}" for key in differing or ["videos"])
        raise SettingsError(f"{folder} holds videos of other settings, {told}: give these, or another folder")


def _frame_count(task: Task, order: Order) -> int:
    """As far as it is known beforehand."""
    if not task.filmed:
        return round(order.seconds * order.fps)
    return declared_frames(task.base)


def _about(folder: Path, task: Task) -> Row | None:
    """What the .npz of a video says in words, None where there is none yet: another base may have had the same name."""
    if not (folder / f"{task.name}.avi").exists():
        return None
    try:
        with np.load(folder / f"{task.name}.npz") as truth:
            about: Row = json.loads(str(truth["about"]))
        return about if about["seed"] == task.seed else None
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def _make(task: Task, order: Order, folder: Path) -> int:
    return sum(1 for _ in make(task, order, folder))


def make(task: Task, order: Order, folder: Path) -> Iterator[None]:
    """Write one video and what is true of it, a turn for each frame. Raises SourceError where it shows no face."""
    with _source(task, order) as source:
        fps = source.fps or FPS_OTHERWISE
        with replacing(folder / f"{task.name}.avi") as part, _Writer(part, fps) as writer:
            for frame in source:
                writer.write(frame.image)
                yield
        about = _told(task, source, fps)
        with replacing(folder / f"{task.name}.npz") as part:
            np.savez_compressed(part, about=np.array(json.dumps(about)), **_truth(source))


def _source(task: Task, order: Order) -> Performance | Injected:
    if task.filmed:
        return Injected(VideoFile(task.base, task.name), task.seed, order.calm)
    return Performance(task.base, task.name, task.seed, order.fps, order.seconds, expressive=not order.calm)


def _truth(source: Performance | Injected) -> dict[str, NDArray[Any]]:
    """What is true of every frame of a source that was played."""
    if isinstance(source, Injected):
        intensities = source.intensities()
        pose, repeats = np.full((len(intensities), len(POSE)), np.nan), np.zeros(len(intensities), np.bool_)
    else:
        intensities, pose = source.script.intensities(source.times_s), source.script.poses(source.times_s)
        repeats = np.array([source.filming.repeats(index) for index in range(len(intensities))])
    return {
        "displacement_iod": source.displacement_iod(),
        "regions": np.array(REGIONS),
        "intensities": intensities.astype(np.float32),
        "units": np.array(NAMES),
        "pose": pose.astype(np.float32),
        "pose_columns": np.array(POSE),
        "repeats": repeats,
        "times_s": source.times_s,
    }


def _told(task: Task, source: Performance | Injected, fps: float) -> Row:
    """A video in words and figures, with its labels."""
    filmed = isinstance(source, Injected)
    return {
        "video": task.name,
        "subject": task.base.stem,
        "clip" if filmed else "portrait": task.base.name,
        "seed": task.seed,
        "fps": round(fps, 6),
        "frames": len(source.times_s),
        "conditions": [] if isinstance(source, Injected) else list(source.filming.conditions),
        "talks_s": None if isinstance(source, Injected) else np.round(source.script.talks, 3).tolist(),
        "note": source.note,
        "labels": [_label(task, one, source.times_s, fps) for one in source.truth],
    }


def _label(task: Task, one: Expression, times_s: NDArray[np.float64], fps: float) -> Row:
    """An expression over the frames that show it, at least one."""
    first, beyond = np.searchsorted(times_s, (one.onset_s, one.offset_s)).tolist()
    last = max(first, beyond - 1)
    apex = int(np.abs(times_s[first : last + 1] - one.apex_s).argmin()) + first
    values = (task.name, task.base.stem, round(fps, 6), one.type, first, apex, last, round(one.amplitude_iod, 6))
    return dict(zip(COLUMNS, (*values, ";".join(_units(one))), strict=True))


def _rows(about: Row) -> Iterator[Row]:
    """What the table of labels says of a video: an empty row, where nothing is expressed in it."""
    video = {name: about[name] for name in COLUMNS[:3]}
    place = {"frames": about["frames"], "path": f"{about['video']}.avi"}
    labels: list[Row] = about["labels"] or [{}]
    yield from (video | label | place for label in labels)


def _units(one: Expression) -> list[str]:
    """Names of the units of an expression, which is told as one of `EXPRESSIONS` or by its parts."""
    parts = (f"AU{part}" for part in one.units.split("+"))
    return list(EXPRESSIONS[one.units]) if one.units in EXPRESSIONS else list(parts)


class _Writer:
    """Writes pictures as JPEG into an AVI. A context manager; the first picture sets the size."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._count = 0

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises LivespotError where the file holds fewer frames: OpenCV says nothing of a full disk."""
        if self._writer is not None:
            self._writer.release()
        if error is None and _count(self._path) != self._count:
            raise LivespotError(
                f"{self._path.parent} does not take a whole video: make room on the disk, or a shorter one"
            )

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Append a picture, uint8 (H, W, 3) BGR."""
        if self._writer is None:
            codec, raw = cv2.VideoWriter.fourcc(*"MJPG"), [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
            self._writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, codec, self._fps, picture.shape[1::-1], raw)
        encoded = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1]
        self._writer.write(encoded.reshape(1, -1))
        self._count += 1


def _count(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    return count
