"""The regional motion of whole videos and what was shown in them: what networks on motion learn from.

A video goes through the live aligner and tracker once; its paths on the grid of `motion.search` are kept, one file a
video, so that learning reads hours of motion without a picture. A run that was killed goes on with the videos that are
missing. What is recorded depends on the settings and the name of each portrait or clip, on nothing before it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from livespot.align import Aligner
from livespot.capture.opencv import VideoFile
from livespot.capture.source import Source
from livespot.capture.virtual import Expression
from livespot.config import AlignSettings
from livespot.errors import SettingsError, SourceError
from livespot.files import replacing
from livespot.motion.search import GRID_HZ, Paths
from livespot.motion.tracker import RegionTracker
from livespot.records import ExpressionType, Face, Gap, ShapesInRepr
from livespot.synth.performance import Performance
from livespot.training.runs import time_left
from livespot.training.settings import RecordingSettings

Kind: TypeAlias = Literal["expressive", "neutral", "clip", "response"]
PERFORMED: tuple[Kind, Kind] = ("expressive", "neutral")
LEAST_S = 2.0
"""Shorter stretches of a face are not kept."""
FIELD_POINTS = 300
"""So many points of the skin tell how far its fastest one moves."""
MOVING = 0.3
"""They are among those that some unit moves by at least this share of its fastest point."""
TELL_EVERY_S = 10.0


@dataclass(frozen=True, repr=False, eq=False)
class Recording(ShapesInRepr):
    """The motion of one face over a stretch without gaps."""

    cells: NDArray[np.float32]
    """(T, columns): means over the cells of the grid, columns as in `motion.search`."""
    begin_s: float
    """When the first cell begins."""
    truth: tuple[Expression, ...]
    """What the whole video shows."""


def recorded(source: Source) -> Iterator[Recording]:
    """The motion of each face of a video, stretch by stretch."""
    watched: dict[int, _Stretch] = {}
    with source, Aligner(AlignSettings(), source.name) as aligner:
        truth: tuple[Expression, ...] = getattr(source, "truth", ())
        for frame in source:
            for item in aligner.push(frame):
                if isinstance(item, Face):
                    watched.setdefault(item.face, _Stretch()).push(item)
                elif isinstance(item, Gap):
                    ended = list(watched) if item.face is None else [item.face]
                    yield from _kept([watched.pop(face) for face in ended if face in watched], truth)
    yield from _kept(list(watched.values()), truth)


def _kept(stretches: Sequence["_Stretch"], truth: tuple[Expression, ...]) -> Iterator[Recording]:
    for stretch in stretches:
        cells = stretch.cells()
        if len(cells) >= LEAST_S * GRID_HZ:
            yield Recording(cells, stretch.begin_s, truth)


class _Stretch:
    def __init__(self) -> None:
        self._tracker, self._paths = RegionTracker(), Paths()
        self._integrals: list[NDArray[np.float64]] = []
        self.begin_s = 0.0

    def push(self, face: Face) -> None:
        for motion in self._tracker.push(face):
            edges = self._paths.add(motion)
            if len(edges):
                self._integrals.append(self._paths.at(np.arange(edges.start, edges.stop)))
        self.begin_s = self._paths.time_s(0)

    def cells(self) -> NDArray[np.float32]:
        integrals = np.concatenate(self._integrals)
        return np.asarray(np.diff(integrals, axis=0) * GRID_HZ, np.float32)


@dataclass(frozen=True, repr=False, eq=False)
class Response(ShapesInRepr):
    """How the skin of one face answers to each unit at intensity 1, in IOD; units as `script.NAMES`."""

    regions_iod: NDArray[np.float32]
    """(units, regions, 2)."""
    fields_iod: NDArray[np.float32]
    """(units, points, 2): points all over the face."""


@dataclass(frozen=True)
class Take:
    """One file to be recorded: a portrait that performs, its response to each unit, or a clip as it is."""

    kind: Kind
    path: Path
    """Of the portrait or the clip."""
    fps: float = 30.0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Of the file without its ending; with the kind it is the seed, so that no two takes show the same."""
        return f"{self.path.stem}-{self.kind}"

    def file(self, folder: Path) -> Path:
        """Where it is kept."""
        return folder / f"{self.name}.npz"

    def source(self) -> Source:
        """What is watched."""
        if self.kind == "clip":
            return VideoFile(self.path, self.path.stem)
        return self.performance()

    def performance(self) -> Performance:
        """A portrait in front of the camera."""
        seed = crc32(self.name.encode())
        return Performance(self.path, self.name, seed, self.fps, self.seconds, self.kind == "expressive")


Keep: TypeAlias = Callable[[Take, Path], int]
"""What watches a take and writes what is kept of it to a file: the frames that it played."""


def performances(portraits: Sequence[Path], count: int, settings: RecordingSettings) -> list[Take]:
    """`count` of the portraits, evenly taken, each with expressions and without; its name decides the frame rate."""
    count = min(count, len(portraits))
    takes = []
    for path in (portraits[place * len(portraits) // count] for place in range(count)):
        fps = settings.fps[crc32(path.stem.encode()) % len(settings.fps)]
        seconds = min(settings.seconds, settings.most_frames / fps)
        takes += [Take(kind, path, fps, seconds) for kind in PERFORMED]
    return takes


def validation_takes(portraits: Sequence[Path], settings: RecordingSettings) -> list[Take]:
    """What is never learnt from, of the portraits that are kept for validation."""
    return performances(portraits, settings.unseen_faces, settings)


def of_kind(kind: Kind, takes: Sequence[Take]) -> list[Take]:
    """Those of one kind."""
    return [take for take in takes if take.kind == kind]


def halves(takes: Sequence[Take]) -> tuple[list[Take], list[Take]]:
    """Takes of every other portrait, and those of the rest: no face is in both."""
    paths = list(dict.fromkeys(take.path for take in takes))
    first = set(paths[::2])
    return [take for take in takes if take.path in first], [take for take in takes if take.path not in first]


def by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    """Paths by their names without the ending, in order."""
    return {path.stem: path for path in paths}


def record(
    takes: Sequence[Take], folder: Path, settings: RecordingSettings, workers: int, keep: Keep | None = None
) -> None:
    """Record into `folder` what is not there yet, in so many processes, and say on the screen how it goes.

    `keep` can be pickled; left out, motion is kept.

    Takes that cannot be recorded are named and left out. Raises SourceError where that is all portraits, SettingsError
    where the folder holds recordings made under other settings.
    """
    claim(folder, settings)
    missing = [take for take in takes if not take.file(folder).exists()]
    console, begun_s = Console(stderr=True), time.monotonic()
    told_s, frames, left_out = begun_s, 0, 0
    for done, (played, problem) in enumerate(_recorder(missing, folder, workers, keep or keep_motion), 1):
        frames, left_out = frames + played, left_out + bool(problem)
        if problem:
            console.print(f"left out: {problem}", highlight=False, markup=False, soft_wrap=True)
        now_s = time.monotonic()
        if now_s - told_s > TELL_EVERY_S or done == len(missing):
            told_s, rate = now_s, (now_s - begun_s) / done
            progress = f"recorded {done} of {len(missing)}  {frames / (now_s - begun_s):.0f} frames/s"
            console.print(f"{progress}  {time_left(rate * (len(missing) - done))}", highlight=False)
    if left_out:
        console.print(f"{left_out} of {len(missing)} left out", highlight=False)
    portraits = [take for take in takes if take.kind != "clip"]
    if portraits and not any(take.file(folder).exists() for take in portraits):
        raise SourceError("no face is found in any of the portraits: check --faces")


def claim(folder: Path, settings: RecordingSettings) -> None:
    """What was recorded under other settings must not be taken for what these ask for. Raises SettingsError."""
    shown = {name: value for name, value in settings.model_dump(mode="json").items() if "faces" not in name}
    note = folder / "settings.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not note.exists():
        with replacing(note) as part:
            part.write_text(json.dumps(shown), encoding="utf-8")
    elif json.loads(note.read_text(encoding="utf-8")) != shown:
        raise SettingsError(
            f"{folder} holds recordings made under other settings or networks: give another --out, or delete it"
        )


class _Recorder(Dataset[tuple[int, str]]):
    """Recording as a data set: its loader has the processes, and they end with the one that asked for them."""

    def __init__(self, takes: Sequence[Take], folder: Path, keep: Keep) -> None:
        self._takes, self._folder, self._keep = takes, folder, keep

    def __len__(self) -> int:
        return len(self._takes)

    def __getitem__(self, place: int) -> tuple[int, str]:
        """Frames that were played, and why the take is left out."""
        cv2.setNumThreads(1)
        take = self._takes[place]
        try:
            return self._keep(take, take.file(self._folder)), ""
        except SourceError as error:
            return 0, str(error)


def _recorder(takes: Sequence[Take], folder: Path, workers: int, keep: Keep) -> "DataLoader[tuple[int, str]]":
    # Fresh processes, not forks: OpenCV's and MediaPipe's threads do not survive one.
    context = "spawn" if workers else None
    recorder = _Recorder(takes, folder, keep)
    return DataLoader(recorder, batch_size=None, num_workers=workers, multiprocessing_context=context)


def keep_motion(take: Take, path: Path) -> int:
    """Watch a take and write its motion, or its response; returns the frames that were played."""
    if take.kind == "response":
        with take.performance() as performance:
            save_response(path, response(performance))
        return 0
    source = take.source()
    save(path, list(recorded(source)))
    return source.frame_count or 0


def response(performance: Performance) -> Response:
    """Of the face of a performance that is entered."""
    regions, fields = performance.answers_iod
    moving = np.flatnonzero(np.linalg.norm(fields, axis=-1).max(axis=0) > MOVING)
    kept = moving[np.linspace(0, len(moving) - 1, FIELD_POINTS).astype(int)]
    return Response(regions.astype(np.float32), fields[:, kept].astype(np.float32))


def save_response(path: Path, of: Response) -> None:
    """Whole or not at all."""
    with replacing(path) as part:
        np.savez(part, regions_iod=of.regions_iod, fields_iod=of.fields_iod)


def load_response(path: Path) -> Response:
    """What `save_response` wrote."""
    with np.load(path) as kept:
        return Response(kept["regions_iod"], kept["fields_iod"])


def save(path: Path, recordings: Sequence[Recording]) -> None:
    """All stretches of one video into one file, whole or not at all."""
    truth = recordings[0].truth if recordings else ()
    arrays: Mapping[str, NDArray[np.generic]] = {
        "begin_s": np.array([one.begin_s for one in recordings], np.float64),
        **truth_arrays(truth),
        **{f"cells_{place}": one.cells for place, one in enumerate(recordings)},
    }
    with replacing(path) as part:
        np.savez(part, **arrays)


def load(path: Path) -> list[Recording]:
    """What `save` wrote."""
    with np.load(path) as kept:
        truth = truth_of(kept)
        return [
            Recording(kept[f"cells_{place}"], float(begin_s), truth) for place, begin_s in enumerate(kept["begin_s"])
        ]


def labels_at(times_s: NDArray[np.float64], truth: Sequence[Expression]) -> NDArray[np.float32]:
    """(T, 2): 1 where a micro-, a macro-expression shows at the times (T,)."""
    labels = np.zeros((len(times_s), 2), np.float32)
    for expression in truth:
        mark(labels, times_s, expression)
    return labels


def mark(labels: NDArray[np.float32], times_s: NDArray[np.float64], expression: Expression) -> None:
    """Write into labels (T, 2) that an expression shows at those of the times (T,) that lie in it."""
    shows = (times_s >= expression.onset_s) & (times_s < expression.offset_s)
    labels[shows, 0 if expression.type == "micro" else 1] = 1


def truth_arrays(truth: Sequence[Expression]) -> dict[str, NDArray[np.generic]]:
    """Expressions as arrays of a file."""
    return {
        "truth": np.array([_row(one) for one in truth], np.float64).reshape(-1, 6),
        "units": np.array([one.units for one in truth], np.str_),
    }


def truth_of(kept: Mapping[str, Any]) -> tuple[Expression, ...]:
    """The expressions of the arrays of `truth_arrays`."""
    rows = zip(kept["truth"], kept["units"], strict=True)
    return tuple(_expression(row.tolist(), str(units)) for row, units in rows)


def _expression(row: Sequence[float], units: str) -> Expression:
    is_micro, onset_s, apex_s, offset_s, hold_s, amplitude_iod = row
    kind: ExpressionType = "micro" if is_micro else "macro"
    return Expression(kind, onset_s, apex_s, offset_s, hold_s, units, amplitude_iod)


def _row(one: Expression) -> tuple[float, ...]:
    is_micro = float(one.type == "micro")
    return is_micro, one.onset_s, one.apex_s, one.offset_s, one.hold_s, one.amplitude_iod
