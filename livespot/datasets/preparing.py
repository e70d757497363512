"""The making of a cache: every frame of every video of a table goes through the live aligner, once.

What is there is never written again, and never taken for something else: a cache of another aligner, of other settings
or of another video under the same name is refused. Videos go to processes whole, and none is ever in memory.
"""

import json
import os
import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import replace
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from livespot.capture.folder import IMAGE_TYPES
from livespot.capture.opencv import declared_frames
from livespot.config import AlignSettings
from livespot.datasets.aligned import PART, Task, align
from livespot.datasets.cache import (
    CROP_BYTES,
    LABELS,
    MESH,
    ROW,
    STATE,
    VIDEOS,
    Row,
    about_of,
    differences,
    folder_of,
    key_of,
    read_state,
)
from livespot.errors import LivespotError, SettingsError, SourceError
from livespot.evaluation.labels import Video, read_labels, write_labels
from livespot.files import locked, make_folder, replacing
from livespot.processes import begin_worker, workers
from livespot.records import MAX_FPS

FRAME_BYTES = CROP_BYTES + ROW.itemsize + MESH.itemsize // 10
"""What a frame is thought to need: its crop, its row, and a mesh now and then."""

ENDS_BYTES = 2**16
"""So much of a file's beginning and end tells it from others of its size, wherever it lies."""

TURN_S = 0.5
"""How often processes are asked how far they are."""

FPS_SLACK = 0.01
"""29.97 is called 30."""


class Preparation:
    """The videos of a table, aligned into a cache; those that are there are left as they are.

    Iterated once: each turn tells how many frames were aligned in it, of `frames` in all, as far as that is known.
    """

    def __init__(self, table: Path, folder: Path, settings: AlignSettings, jobs: int = 1) -> None:
        """`jobs` processes align one video each at a time; a single one is this process itself.

        Raises LivespotError where the table cannot be read, SettingsError where `folder` holds anything but a cache of
        the same aligner, settings and videos, or its disk has not got the room.
        """
        self._videos = read_labels(table)
        if not self._videos:
            raise SettingsError(f"{table} names no video: give a table with a row for each")
        self._folder, self._settings, self._jobs = folder, settings, jobs
        self._key = key_of(settings)
        _check_key(folder, self._key)
        self.left_out: dict[str, str] = {}
        """Why a video could not be used, by its name."""
        self._missing = self._tasks()
        self.frames = sum(task.frames for task in self._missing)
        self.bytes_needed = self.frames * FRAME_BYTES
        _check_room(folder, self.bytes_needed)

    def __iter__(self) -> Generator[int, None, None]:
        """Raises SourceError where no video of the table has a face, SettingsError where another run is at it."""
        make_folder(self._folder)
        with locked(self._folder, by="livespot prepare"):
            self._begin()
            try:
                if self._missing:
                    yield from self._in_processes() if self._jobs > 1 else self._here()
            finally:
                _tidy(self._folder)
            self._end()

    def summary(self) -> Row:
        """What is in the cache, in figures, and what should be known of it."""
        told = {name: about for name, about in self._told().items() if about["seen"]}
        files = (file for name in told for file in folder_of(self._folder, name).iterdir())
        return {
            "cache": str(self._folder),
            "videos": len(told),
            "frames": sum(about["frames"] for about in told.values()),
            "frames_with_face": sum(about["seen"] for about in told.values()),
            "bytes": sum(file.stat().st_size for file in files),
            "left_out": dict(sorted(self.left_out.items())),
            "notes": {name: notes for name, about in told.items() if (notes := _notes(self._videos[name], about))},
        }

    def _tasks(self) -> list[Task]:
        """What is to be done. Raises SettingsError where another video is there under the name of one of the table."""
        tasks, others = [], []
        for video in self._videos.values():
            about = about_of(folder_of(self._folder, video.name))
            try:
                task = _task(video, self._settings, self._folder)
            except SourceError as error:
                if about is None:  # of one that was aligned nothing more is needed
                    self.left_out[video.name] = str(error)
                continue
            if about is None:
                tasks.append(replace(task, frames=_frame_count(video, task)))
            elif told := differences(about["origin"], task.origin):
                others.append(f"{video.name}: {told}")
        if others:
            told = "\n  ".join(others)
            raise SettingsError(f"{self._folder} holds other videos of these names: give a new folder\n  {told}")
        return tasks

    def _here(self) -> Iterator[int]:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # as in processes, so that the same comes out
        try:
            for task in self._missing:
                yield from self._counted(task)
        finally:
            cv2.setNumThreads(threads)

    def _counted(self, task: Task) -> Iterator[int]:
        done, why = 0, ""
        try:
            for _ in align(task):
                done += 1
                yield 1
        except SourceError as error:
            why = str(error)
        self._settle(task, done, why)

    def _in_processes(self) -> Iterator[int]:
        counter, counted = get_context("spawn").Value("q", 0), 0
        with workers(self._jobs, _begin_process, counter) as pool:
            begun = {pool.submit(_align, task): task for task in self._missing}
            waiting = set(begun)
            while waiting:
                done, waiting = wait(waiting, TURN_S, FIRST_COMPLETED)
                for one in done:
                    self._settle(begun[one], *one.result())
                before, counted = counted, counter.get_obj().value  # who holds the lock may have been killed
                yield counted - before

    def _settle(self, task: Task, done: int, why: str) -> None:
        """A video is through, with so many frames; `why` it cannot be used, or empty."""
        self.frames += done - task.frames
        if why:
            self.left_out[task.name] = why

    def _begin(self) -> None:
        """From here on the folder says what it is for."""
        _check_key(self._folder, self._key)  # another run may have begun since
        self._say(complete=False)
        make_folder(self._folder / VIDEOS)
        _tidy(self._folder)
        write_labels(self._folder / LABELS, self._videos.values())

    def _end(self) -> None:
        """Raises LivespotError where a video is gone that was there, or half of it."""
        told = self._told()
        for name, about in told.items():
            if not about["seen"]:
                self.left_out[name] = f"no face is found in {self._videos[name].path}"
        if gone := sorted(self._videos.keys() - told.keys() - self.left_out.keys()):
            raise LivespotError(
                f"{self._folder} does not hold all of {', '.join(gone)} any more: the same command makes them again"
            )
        self._say(complete=True)
        if len(self.left_out) == len(self._videos):
            raise SourceError("no video could be prepared:\n  " + "\n  ".join(_named(self.left_out)))

    def _told(self) -> dict[str, Row]:
        """What is told of each video that is there."""
        found = {name: about_of(folder_of(self._folder, name)) for name in self._videos}
        return {name: about for name, about in found.items() if about is not None}

    def _say(self, complete: bool) -> None:
        state = {"key": self._key, "complete": complete, "left_out": dict(sorted(self.left_out.items()))}
        with replacing(self._folder / STATE) as part:
            part.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")


def _check_key(folder: Path, key: Row) -> None:
    """Raises SettingsError where `folder` holds anything but a cache of the same aligner and settings."""
    if not folder.exists() or (folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())):
        return
    try:
        there = read_state(folder)["key"]
    except SettingsError:
        raise SettingsError(
            f"{folder} holds something else than a cache of `livespot prepare`: give a new folder"
        ) from None
    if told := differences(there, key):
        raise SettingsError(f"{folder} was made by another aligner, {told}: give a new folder, or these settings")


def _check_room(folder: Path, needed: int) -> None:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise SettingsError(
            f"{folder} will need {needed / 1e9:.1f} GB, and its disk has {free / 1e9:.1f} GB left: give one with room"
        )


def _task(video: Video, settings: AlignSettings, cache: Path) -> Task:
    """Raises SourceError where there is no such video."""
    if video.path is None:
        raise SourceError("the table does not say where it lies: expected a column path")
    fps = video.fps if video.path.is_dir() else None
    if fps and fps > MAX_FPS:
        raise SourceError(f"{video.path} has {fps:g} frames a second; expected at most {MAX_FPS:g}")
    return Task(video.name, video.path, fps, 0, _origin(video.path, fps), settings, cache)


def _origin(path: Path, fps: float | None) -> Row:
    """What tells a video from others, wherever it lies. Raises SourceError where there is none."""
    try:
        if path.is_dir():
            return _origin_of_folder(path) | {"fps": fps}
        if path.is_file():
            return {"bytes": path.stat().st_size, "sha256": _digest(path)}
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}; check who may") from None
    raise SourceError(f"{path} is not there")


def _origin_of_folder(folder: Path) -> Row:
    with os.scandir(folder) as entries:  # of which there may be millions
        sizes = {one.name: one.stat().st_size for one in entries if Path(one.name).suffix.lower() in IMAGE_TYPES}
    names = sorted(sizes)
    listed = "\n".join(f"{name} {sizes[name]}" for name in names)
    ends = "".join(_digest(folder / name) for name in names[:1] + names[-1:])
    return {
        "images": len(names),
        "bytes": sum(sizes.values()),
        "sha256": sha256((listed + ends).encode(errors="surrogateescape")).hexdigest(),
    }


def _digest(path: Path) -> str:
    """Of a file's beginning and end."""
    with path.open("rb") as file:
        beginning = file.read(ENDS_BYTES)
        file.seek(max(0, path.stat().st_size - ENDS_BYTES))
        return sha256(beginning + file.read()).hexdigest()


def _frame_count(video: Video, task: Task) -> int:
    """As far as it is known beforehand."""
    return task.origin.get("images") or video.length or declared_frames(task.path)


def _notes(video: Video, about: Row) -> list[str]:
    """What should be known of a video that was aligned."""
    frames, fps, last = about["frames"], about["fps"], max((span.offset for span in video.truths), default=0)
    notes = [about["note"]] if about["note"] else []
    if video.length not in (None, frames):
        notes.append(f"the table says {video.length} frames, {frames} were read")
    if last >= frames:
        notes.append(f"labels reach to frame {last}, its last one is {frames - 1}")
    if fps and video.fps and abs(fps - video.fps) > FPS_SLACK * fps:
        notes.append(f"the table says {video.fps:g} frames a second, the file {fps:g}: its own times are kept")
    if len(about["faces"]) > 1:
        notes.append(f"{len(about['faces'])} faces, one after another: it was lost and found again, or is not one")
    if about["others"]:
        notes.append(f"{len(about['others'])} more at the same time: the face seen longest is kept")
    return notes


def _named(told: dict[str, str]) -> list[str]:
    return [f"{name}: {why}" for name, why in sorted(told.items())]


def _tidy(folder: Path) -> None:
    """Remove what was not whole when a run or a process was killed."""
    for part in folder.glob(f"{PART}*"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink()


_counter: Any = None
"""Of a process among others: frames aligned by all of them."""


def _begin_process(counter: Any) -> None:
    global _counter
    _counter = counter
    begin_worker()


def _align(task: Task) -> tuple[int, str]:
    """How many frames were aligned, and why the video cannot be used, or nothing."""
    done, why = 0, ""
    try:
        for _ in align(task):
            done += 1
            with _counter.get_lock():
                _counter.value += 1
    except SourceError as error:
        why = str(error)
    return done, why
