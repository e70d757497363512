"""How many cameras this machine carries: a clip is played as so many live sources at once, and watched as `run` does.

The number doubles until one is not carried, then the border is sought between. From a source's pictures to the event
stream all is real; where the pictures come from is a choice:

    memory     decoded before; all cameras show the same pictures, each from another one on: what livespot itself costs
    cameras    each has the reader process of a camera, which decodes a file: that and the way between processes, too
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray
from rich.table import Table

from livespot.bench.figures import _machine
from livespot.capture.camera import Camera
from livespot.capture.opencv import VideoFile
from livespot.capture.virtual import HEIGHT_PX, WIDTH_PX, VirtualCamera
from livespot.config import Settings
from livespot.errors import SourceError
from livespot.infer import Scorer
from livespot.live import serve
from livespot.pipeline import Pipeline
from livespot.processes import settle
from livespot.publish.zmq import Publisher
from livespot.records import Frame
from livespot.shards import Make, Shards, watching

Say: TypeAlias = Callable[[str], None]
Origin: TypeAlias = Literal["memory", "cameras"]

WARM_UP_S = 4.0
"""Of every trial: models are loaded and all faces are found at once, and most networks cannot look back yet."""
CLIP_FRAMES = 300
"""Held in memory and played forth and back."""
LATE_MS = 100.0
"""A number of cameras is carried with a p99 of arrival to published up to this."""
FULL_RATE = 0.95
"""And where each is seen at this share of its frame rate at least: a file that is decoded too late is not dropped."""
TRIES = 2
"""A number that is not carried is tried again: something else may have run on this machine for a moment."""
MARGIN_S = 20.0
"""A file is longer by this: cameras come one after the other, the first of many some seconds before the last."""
PATIENCE_S = 60.0
"""A trial whose cameras have not all come by then is given up."""
PHASE = 0.618034
"""Cameras are not in step: each is this share of a frame interval behind the one before."""


class Replay:
    """Pictures as a camera would show them: live, at a frame rate, for ever, forth and back.

    A frame arrives when it is due: that its thread wakes later is a delay like any other.
    """

    def __init__(self, name: str, clip: Path, fps: float, number: int = 0) -> None:
        """`clip` is a file of `numpy.save`, uint8 (N, H, W, 3). `number` is that of the camera, from 0."""
        self.name = name
        self.live = True
        self.fps: float | None = fps
        self.frame_count: int | None = None
        self.note = ""
        self._clip = clip
        self._interval_s = 1 / fps
        self._number = number

    def __enter__(self) -> "Replay":
        self._pictures = np.load(self._clip, mmap_mode="r")  # one copy of them for all processes
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._pictures

    def __iter__(self) -> Iterator[Frame]:
        """Frames at the times at which they are due."""
        begun_s = time.monotonic() + self._number * PHASE % 1 * self._interval_s
        for index in count():
            due_s = begun_s + index * self._interval_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            yield Frame(self._picture(index), self.name, index, index * self._interval_s, due_s)

    def _picture(self, index: int) -> NDArray[np.uint8]:
        last = max(len(self._pictures) - 1, 1)
        place = (index + self._number * CLIP_FRAMES // 7) % (2 * last)
        return np.asarray(self._pictures[last - abs(last - place)], np.uint8)


@dataclass(frozen=True)
class Trial:
    """What so many cameras led to, after the warm-up."""

    cameras: int
    frames: int
    dropped: int
    p50_ms: float
    """Arrival to published, of all frames."""
    p99_ms: float
    worst_p99_ms: float
    """Of the camera that fared worst."""
    largest_ms: float
    slowest_fps: float
    """Frames a second of the camera with the fewest."""
    cores_busy: float
    """Of all processes, the readers' too."""
    fps: float

    @property
    def carried(self) -> bool:
        """Nothing dropped, nothing late, no camera held up."""
        return not self.dropped and self.p99_ms <= LATE_MS and self.slowest_fps >= FULL_RATE * self.fps


class Capacity:
    """Trials with more and more cameras. Raises SourceError for a clip that cannot be used."""

    def __init__(
        self, settings: Settings, scorer: Scorer | None, fps: float = 30.0, origin: Origin = "memory",
        clip: Path | None = None, seconds: float = 10.0, most: int = 64,
    ) -> None:  # fmt: skip
        """`clip` is a video; left out, the virtual camera's. `most` cameras are tried."""
        self._settings, self._scorer = settings, scorer
        self._fps, self._origin, self._clip = fps, origin, clip
        self._seconds, self._most = seconds, most
        self._engine = scorer.name if scorer is not None else None
        self._trials: list[Trial] = []

    def search(self, say: Say) -> int:
        """The largest number of cameras that is carried, 0 if none is. `say` is told what is tried."""
        with tempfile.TemporaryDirectory() as folder:
            clip = self._prepared(Path(folder), say)
            low, high = 0, 1
            while high <= self._most and self._tried(clip, high, say).carried:
                low, high = high, 2 * high
            high = min(high, self._most + 1)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._tried(clip, middle, say).carried else (low, middle)
        return low

    def measure(self, cameras: Sequence[int], say: Say) -> None:
        """These numbers of cameras alone."""
        with tempfile.TemporaryDirectory() as folder:
            clip = self._prepared(Path(folder), say)
            for number in cameras:
                self._tried(clip, number, say)

    def figures(self) -> dict[str, Any]:
        """All that was measured, as a dict that JSON can hold."""
        carried = [trial.cameras for trial in self._trials if trial.carried]
        return {
            "fps": self._fps,
            "pictures_from": self._origin,
            "method": self._settings.method,
            "seconds": self._seconds,
            "trials": [asdict(trial) | {"carried": trial.carried} for trial in self._trials],
            "carried": max(carried, default=0),
            "machine": _machine() | {"engine": self._engine},
        }

    def _tried(self, clip: Path, cameras: int, say: Say) -> Trial:
        for turn in range(TRIES):
            say(f"{cameras} cameras" + (", once more" if turn else ""))
            trial = self._trial([self._make(clip, number) for number in range(cameras)])
            if trial.carried:
                break
        self._trials.append(trial)
        return trial

    def _make(self, clip: Path, number: int) -> Make:
        name = f"cam{number}"
        if self._origin == "memory":
            return partial(Replay, name, clip, self._fps, number)
        return partial(Camera, str(clip), name, self._settings.capture)

    def _trial(self, makes: Sequence[Make]) -> Trial:
        late_ms: defaultdict[str, list[float]] = defaultdict(list)
        pipeline = watching(self._settings, makes, self._scorer)
        clock = _Clock(len(makes))
        with Publisher("tcp://127.0.0.1:*") as publisher, pipeline:
            settle()
            for turn in serve(pipeline, publisher, self._settings.publish.scores):
                now_s = time.monotonic()
                frames = [step.frame for step in turn.steps if step.frame is not None]
                if clock.measures(frames, now_s, pipeline):
                    for frame in frames:
                        late_ms[frame.source].append(1000 * (now_s - frame.arrival_s))
                if clock.elapsed_s(now_s) >= self._seconds:
                    clock.finish(now_s, pipeline)
                    break
        return clock.trial(late_ms, self._fps)

    def _prepared(self, folder: Path, say: Say) -> Path:
        say("the clip")
        lasts_s = WARM_UP_S + self._seconds + MARGIN_S
        if self._origin == "memory":
            return _in_memory(folder / "clip.npy", self._clip, self._fps)
        return _checked(self._clip, lasts_s) if self._clip else _film(folder / "clip.avi", self._fps, lasts_s)


class _Clock:
    """From when on a trial counts, and what it took."""

    def __init__(self, cameras: int) -> None:
        self._cameras = cameras
        self._seen: set[str] = set()
        self._began_s = time.monotonic()
        self._all_s: float | None = None
        self._from_s: float | None = None

    def measures(self, frames: Sequence[Frame], now_s: float, pipeline: Pipeline | Shards) -> bool:
        """Whether the warm-up, which begins when all cameras have come, is over."""
        if self._all_s is None:
            self._seen.update(frame.source for frame in frames)
            self._all_s = now_s if len(self._seen) == self._cameras else None
            if now_s - self._began_s > PATIENCE_S:
                seen = f"{len(self._seen)} of {self._cameras} cameras"
                raise SourceError(f"{seen} gave a picture within {PATIENCE_S:g} s: try fewer, or another clip")
        elif self._from_s is None and now_s - self._all_s >= WARM_UP_S:
            self._from_s, self._dropped, self._busy_s = now_s, pipeline.dropped, _busy_s()
        return self._from_s is not None

    def elapsed_s(self, now_s: float) -> float:
        """Since the warm-up."""
        return 0.0 if self._from_s is None else now_s - self._from_s

    def finish(self, now_s: float, pipeline: Pipeline | Shards) -> None:
        """It is over."""
        self._took_s = self.elapsed_s(now_s)
        self._cores = (_busy_s() - self._busy_s) / self._took_s
        self._dropped = pipeline.dropped - self._dropped

    def trial(self, late_ms: Mapping[str, Sequence[float]], fps: float) -> Trial:
        """All that was counted."""
        everything = np.concatenate([*late_ms.values(), np.zeros(0)])
        p50, p99, largest = np.percentile(everything, (50, 99, 100)).tolist() if len(everything) else (0.0,) * 3
        fewest = min(map(len, late_ms.values())) if len(late_ms) == self._cameras else 0
        return Trial(
            cameras=self._cameras,
            frames=len(everything),
            dropped=self._dropped,
            p50_ms=round(p50, 2),
            p99_ms=round(p99, 2),
            worst_p99_ms=round(max((float(np.percentile(one, 99)) for one in late_ms.values()), default=0.0), 2),
            largest_ms=round(largest, 2),
            slowest_fps=round(fewest / self._took_s, 2),
            cores_busy=round(self._cores, 3),
            fps=fps,
        )


def to_rich(figures: dict[str, Any]) -> Table:
    """The trials for the terminal, by number of cameras."""
    title = f"{figures['fps']:g} frames/s, pictures from {figures['pictures_from']}, method {figures['method']}"
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("cameras", "dropped", "p50 ms", "p99 ms", "worst camera's", "largest", "cores busy", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for trial in sorted(figures["trials"], key=lambda one: int(one["cameras"])):
        late = (f"{trial[name]:.1f}" for name in ("p50_ms", "p99_ms", "worst_p99_ms", "largest_ms"))
        verdict = "[green]carried[/]" if trial["carried"] else "[red]not carried[/]"
        table.add_row(str(trial["cameras"]), str(trial["dropped"]), *late, f"{trial['cores_busy']:.2f}", verdict)
    table.caption = f"carried: nothing dropped, p99 of arrival to published at most {LATE_MS:g} ms, no camera held up"
    table.caption_justify = "left"
    return table


def _busy_s() -> float:
    """Processor time of this process and all that it started."""
    ours = psutil.Process()
    total_s = 0.0
    for process in (ours, *ours.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total_s += times.user + times.system
    return total_s


def _in_memory(target: Path, clip: Path | None, fps: float) -> Path:
    """The first pictures of the clip, or of the virtual camera's at that rate, for `Replay`."""
    source = VirtualCamera(seconds=CLIP_FRAMES / fps, fps=fps, realtime=False) if clip is None else VideoFile(clip, "c")
    with source:
        pictures = [frame.image for frame, _ in zip(source, range(CLIP_FRAMES), strict=False)]
    if len(pictures) < 2:
        raise SourceError(f"{clip} has {len(pictures)} pictures: give a clip of some seconds")
    np.save(target, np.stack(pictures))
    return target


def _film(path: Path, fps: float, seconds: float) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (WIDTH_PX, HEIGHT_PX))
    with VirtualCamera(seconds=seconds, fps=fps, realtime=False) as camera:
        for frame in camera:
            writer.write(frame.image)
    writer.release()
    return path


def _checked(clip: Path, lasts_s: float) -> Path:
    with VideoFile(clip, "clip") as source:
        frames = source.frame_count
        long_s = (frames or 0) / (source.fps or 30.0)
    if long_s < lasts_s:
        raise SourceError(
            f"{clip} lasts {long_s:.1f} s; a trial needs {ceil(lasts_s)} s: give a longer one, or fewer --seconds"
        )
    return clip
