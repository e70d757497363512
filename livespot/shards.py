"""Many cameras in several processes: in one, Python uses little more than one core, however many threads it has.

    cameras 1, 3, 5 -> Pipeline with an engine of its own --+
                                                            +-> Shards -> Steps without pictures
    cameras 2, 4, 6 -> Pipeline with an engine of its own --+

Each process reads, aligns, scores and decodes for its cameras, so what goes from process to process is small.
"""

import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from math import ceil
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TypeAlias

import numpy as np

from livespot.capture.camera import Camera
from livespot.capture.source import Source
from livespot.config import NETWORK_METHODS, Settings
from livespot.engines import ChosenScorer
from livespot.errors import LivespotError, SourceError
from livespot.infer import Scorer
from livespot.pipeline import TICK_S, Load, Pipeline, Step
from livespot.processes import begin_worker, deaf_children, settle

Make: TypeAlias = Callable[[], Source | Camera]
"""Makes a source, in the process that is to read it. It is pickled: a function of a module, or a partial of one."""

CAMERAS_EACH = 3
"""A process is worth its memory for so many cameras."""
LOADS_S = 0.5
"""A process tells what waits in it this often."""
PATIENCE_S = 5.0
"""A process that was told to end and has not by then is ended."""

NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


def processes_for(settings: Settings, cameras: int, scorer: Scorer | None) -> int:
    """Among how many processes so many cameras are shared out; 1 is none beside this one."""
    if settings.infer.processes is not None:
        return min(settings.infer.processes, cameras)
    if scorer is not None and scorer.gathers:
        return 1
    return max(1, min(ceil(cameras / CAMERAS_EACH), _cores()))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Shards:
    """Iterated like a `Pipeline`; the frames of its steps come without pictures.

    A context manager: entering starts the processes. Raises LivespotError where one of them was ended from outside,
    and what a pipeline raises.
    """

    def __init__(self, settings: Settings, makes: Sequence[Make], processes: int) -> None:
        self.live = frozenset(source.name for source in (make() for make in makes) if source.live)
        """Sources that wait for nobody: where they are silent, time goes on."""
        self.stopped = False
        """Whether `stop` was called."""
        self._settings = settings
        self._shares = [makes[first::processes] for first in range(processes)]
        self._workers: list[_Worker] = []

    @property
    def dropped(self) -> int:
        """Frames of live sources dropped so far because the rest was too slow."""
        return sum(load.dropped for load in self.loads().values())

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes that work for it beside our own and the readers."""
        return tuple(worker.pid for worker in self._workers if not worker.ended)

    @property
    def heard_s(self) -> float:
        """Monotonic time when each of these processes had been heard; they tell of every turn, with or without news."""
        return min((worker.heard_s for worker in self._workers if not worker.ended), default=math.inf)

    def loads(self) -> dict[str, Load]:
        """What waited and was dropped `LOADS_S` ago at most, by source. Any thread may call it."""
        return {source: load for worker in self._workers for source, load in worker.loads.items()}

    def stop(self) -> None:
        """Ask for the end: no more frames are taken in, what is under way is finished. Any thread may call it."""
        told, self.stopped = self.stopped, True
        for worker in () if told else self._workers:  # who is told again and again reads it once: the pipe would fill
            worker.stop()

    def __enter__(self) -> "Shards":
        with deaf_children():
            self._workers = [_Worker(self._settings, share) for share in self._shares]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()

    def __iter__(self) -> Iterator[list[Step]]:
        working = {worker.pipe: worker for worker in self._workers}
        while working:
            ready = [working[pipe] for pipe in connection.wait(list(working), TICK_S) if isinstance(pipe, Connection)]
            yield [step for worker in ready for step in worker.take()]
            working = {pipe: worker for pipe, worker in working.items() if not worker.ended}
        failures = [worker.failure for worker in self._workers if worker.failure is not None]
        if failures:
            raise SourceError("\n".join(str(failure) for failure in failures)) from failures[0]


@dataclass(frozen=True)
class _Over:
    """A process has watched its sources to their end."""

    failure: SourceError | None
    """Of those that failed on the way."""


class _Worker:
    """One process as it is seen from ours."""

    def __init__(self, settings: Settings, makes: Sequence[Make]) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.loads: dict[str, Load] = {}
        self.heard_s = math.inf
        """Infinite before it has begun, which takes it a while."""
        self.ended = False
        self.failure: SourceError | None = None
        self._process = context.Process(target=_watch, args=(theirs, settings, makes), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        theirs.close()

    def take(self) -> list[Step]:
        """What it sent. Raises what it raised, but for sources that failed on the way: other processes go on."""
        try:
            sent = self.pipe.recv()
        except (EOFError, ConnectionError):
            raise LivespotError(
                f"the process of {', '.join(self.loads) or 'some sources'} was ended from outside, perhaps for want "
                "of memory: start livespot again; fewer of infer.processes need less"
            ) from None
        if isinstance(sent, Exception):
            raise sent
        if isinstance(sent, _Over):
            self.failure, self.ended = sent.failure, True
            return []
        steps, loads = sent
        self.heard_s = time.monotonic()
        self.loads = loads or self.loads
        return list(steps)

    def stop(self) -> None:
        """Ask it to finish."""
        with suppress(OSError):  # where it is gone, whoever takes from it is told
            self.pipe.send("stop")

    def end(self) -> None:
        """At once, where it has not ended by itself."""
        if self.ended:
            self._process.join(PATIENCE_S)
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()


def watching(
    settings: Settings, makes: Sequence[Make], scorer: Scorer | None, pictures: bool = False
) -> Pipeline | Shards:
    """What watches these sources: one pipeline with `scorer`, or several processes where that is worth it.

    Where `pictures` are to be looked at there is one.
    """
    processes = 1 if pictures else processes_for(settings, len(makes), scorer)
    if processes > 1:
        return Shards(settings, makes, processes)
    return Pipeline(settings, [make() for make in makes], scorer)


def _watch(pipe: Connection, settings: Settings, makes: Sequence[Make]) -> None:
    """The work of a process: a pipeline of its own, whose steps are sent."""
    begin_worker()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who ends a whole service ends us by ending the one that started us
    try:
        failure = _run(pipe, settings, [make() for make in makes])
    except LivespotError as error:
        pipe.send(error)
    except Exception:  # its trace cannot be pickled
        pipe.send(RuntimeError(traceback.format_exc()))
    else:
        pipe.send(_Over(failure))


def _run(pipe: Connection, settings: Settings, sources: Sequence[Source | Camera]) -> SourceError | None:
    """Raises what the pipeline raises before its sources have ended, as for one that cannot be opened."""
    network = settings.method in NETWORK_METHODS
    with (
        ChosenScorer(settings.infer) if network else nullcontext() as scorer,
        Pipeline(settings, sources, scorer, by_turns=True) as pipeline,
    ):
        settle()
        threading.Thread(target=_stop_when_told, args=(pipe, pipeline), daemon=True).start()
        try:
            _send(pipe, pipeline)
        except SourceError as error:
            if not pipeline.ended:
                raise
            return error
    return None


def _send(pipe: Connection, pipeline: Pipeline) -> None:
    """What the pipeline tells, turn by turn; now and then, and at the end, what waited and was dropped."""
    told_s = -math.inf
    try:
        for steps in pipeline:
            due = time.monotonic() > told_s + LOADS_S
            told_s = time.monotonic() if due else told_s
            pipe.send(([_light(step) for step in steps], pipeline.loads() if due else None))
    finally:
        pipe.send(([], pipeline.loads()))


def _light(step: Step) -> Step:
    """The step without its picture, which is large and not looked at."""
    return step if step.frame is None else replace(step, frame=replace(step.frame, image=NO_PICTURE))


def _stop_when_told(pipe: Connection, pipeline: Pipeline) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        return
    pipeline.stop()
