"""The order of the stages, and many sources in one batched engine.

A source has two threads, so that reading, tracking and scoring overlap; all else happens in the thread that iterates:

    source -> | hand-over | -> align -> | hand-over | -> what the method takes -> score -> what it decides -> Step
      reader thread            tracker thread              the thread that iterates the pipeline

What a method takes of a face and decides is in `methods`: motion of the skin, or normalise, buffer and decode.

Only the first hand-over may drop frames, and only of live sources. The second holds a few: it is there to overlap.
One step of each source that has news makes one batch: the busier the engine, the more gather while it works.
"""

import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, islice
from types import TracebackType
from typing import Any, TypeAlias

import cv2

from livespot.align import Aligner
from livespot.batching import Batcher, Holes, Judged, Missed
from livespot.capture.camera import Camera
from livespot.capture.handover import HandOver, LiveHandOver
from livespot.capture.source import Source
from livespot.capture.timeline import with_gaps
from livespot.config import Settings
from livespot.errors import SourceError
from livespot.infer import Scorer
from livespot.methods import Watched, watched
from livespot.records import Clip, Event, Face, Frame, Gap, Scores, State, Status

FILE_QUEUE_FRAMES = 8
"""Frames of a file read ahead: enough to hide the pauses of a decoder."""

FACE_QUEUE_FRAMES = 4
"""Tracked frames that wait for the engine; more would only add delay."""

TICK_S = 0.1
"""The pipeline gives a turn to whoever iterates it at least this often, also when no camera delivers."""

Turn: TypeAlias = AbstractContextManager[Any, Any]
"""Held by a thread while it works."""

Told: TypeAlias = Event | Gap | Status
Found: TypeAlias = tuple[Frame | None, list[Face | Gap | Status], tuple[float, ...]]
"""What the tracker hands on: a frame with its faces and the faces lost, or what the source told besides frames; and
the monotonic times between which it had the frame."""


@dataclass(frozen=True, eq=False)
class Step:
    """Everything that one frame of one source led to; without a frame where a source starts, pauses or ends."""

    source: str
    frame: Frame | None = None
    faces: tuple[Face, ...] = ()
    scores: tuple[Scores, ...] = ()
    smoothed: tuple[tuple[float, float], ...] = ()
    """Micro and macro as the thresholds meet them, for each of `scores`: as of `Pipeline.delay_s` before `frame`."""
    told: tuple[Told, ...] = ()
    """In the order in which they are to be told."""
    passed_s: tuple[float, ...] = ()
    """Monotonic times at which the frame was taken by the tracker, aligned, taken by the loop, taken in by the method,
    scored and decoded."""


@dataclass(frozen=True)
class Load:
    """How a source fares at this moment."""

    frames: int
    """Waiting for the tracker."""
    faces: int
    """Tracked frames that wait for the loop."""
    dropped: int
    """Frames dropped so far because the rest was too slow."""
    reader_pid: int | None
    """Process that reads the source, where it has one of its own."""


class Pipeline:
    """Iterates lists of steps, in order within each source, until all sources have ended or `stop` was called.

    A context manager: entering loads the models; the sources are opened when iteration begins. An empty list is a
    turn without news. Cameras and streams open beside each other and are waited for, for ever. Raises SourceError when
    iteration begins for another source that cannot be opened; for one that fails later only after the others ended.
    EngineError where the network failed for long; a shorter failure is told as a gap of reason not_scored.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source | Camera],
        scorer: Scorer | None = None,
        by_turns: bool = False,
    ) -> None:
        """`scorer` is entered already, and stays open; methods without a network need none.

        `by_turns`, threads work one after the other instead of wresting Python's lock from each other at every array:
        less work in all, for where other processes have use for the other cores.
        Raises ValueError where a method with a network is given no scorer.
        """
        example = watched(settings, scorer, source="", face=0)
        self.thresholds = example.thresholds
        """Thresholds of micro and macro in force."""
        self.delay_s = example.delay_s
        """How much earlier than the frame that brings them smoothed scores belong."""
        self._batcher = Batcher(scorer) if scorer is not None else None
        self._gather_s = settings.infer.gather_ms / 1000 if scorer is not None and scorer.gathers else 0.0
        self._ready = threading.Condition()
        self._turn: Turn = threading.Lock() if by_turns else nullcontext()
        self._streams = [_Stream(source, settings, scorer, self._ready, self._turn) for source in sources]
        self.live = frozenset(source.name for source in sources if source.live)
        """Sources that wait for nobody: where they are silent, time goes on."""
        self.stopped = False
        """Whether `stop` was called."""

    @property
    def ended(self) -> bool:
        """Whether all sources have ended."""
        return all(stream.ended for stream in self._streams)

    @property
    def dropped(self) -> int:
        """Frames of live sources dropped so far because the rest was too slow."""
        return sum(stream.dropped for stream in self._streams)

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes that work for it beside our own and the readers: none."""
        return ()

    @property
    def heard_s(self) -> float:
        """Monotonic time when each of these processes had been heard."""
        return math.inf

    def loads(self) -> dict[str, Load]:
        """What waits and was dropped at this moment, by source. Any thread may call it."""
        return {stream.source.name: stream.load() for stream in self._streams}

    def stop(self) -> None:
        """Ask for the end: no more frames are taken in, what is under way is finished. Any thread may call it."""
        self.stopped = True

    def __enter__(self) -> "Pipeline":
        with ExitStack() as opening:
            opening.callback(cv2.setNumThreads, cv2.getNumThreads())
            cv2.setNumThreads(1)  # the cores are busy with threads of our own; more only get in each other's way
            for stream in self._streams:
                opening.enter_context(stream.aligner)
            self._opened = opening.enter_context(ExitStack())  # an iteration that is left early is closed with us
            self._stack = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[list[Step]]:
        yield [stream.says("connecting") for stream in self._streams]
        with self._opened:
            for stream in self._streams:
                self._opened.enter_context(stream.source)
                yield []
            for stream in self._streams:  # no file plays before all are open: its frames would only grow stale
                self._opened.enter_context(stream)
            while watched := [stream for stream in self._streams if not stream.ended]:
                self._wait(watched)
                taken_s = time.monotonic()
                begun = [(stream, step) for stream in watched if (step := stream.take()) is not None]
                yield self._finished(begun, taken_s)
                if self.stopped:
                    for stream in watched:
                        stream.stop()
        self._raise_failures()

    def _wait(self, watched: Sequence["_Stream"]) -> None:
        """For the first news, and then, where a batch pays, a moment for those of the others."""
        with self._ready:
            first = self._ready.wait_for(lambda: any(stream.has_news for stream in watched), TICK_S)
            if first and self._gather_s and len(watched) > 1:
                self._ready.wait_for(lambda: all(stream.has_news for stream in watched), self._gather_s)

    def _finished(self, begun: Sequence[tuple["_Stream", Step]], taken_s: float) -> list[Step]:
        """The steps with all that their frames lead to, scored in one batch."""
        with self._turn:
            clips = [stream.clips(step) for stream, step in begun]
            cut_s = time.monotonic()
            judged = iter(self._batcher.score(list(chain.from_iterable(clips))) if self._batcher else ())
            passed_s = taken_s, cut_s, time.monotonic()
            return [
                stream.decode(step, list(islice(judged, len(own))), passed_s)
                for (stream, step), own in zip(begun, clips, strict=True)
            ]

    def _raise_failures(self) -> None:
        failures = [stream.failure for stream in self._streams if stream.failure is not None]
        if failures:
            raise SourceError("\n".join(str(failure) for failure in failures)) from failures[0]
        if self._batcher is not None:
            self._batcher.give_up()


class _Stream:
    """One source on its way: its two threads, and for each face what remembers."""

    def __init__(
        self,
        source: Source | Camera,
        settings: Settings,
        scorer: Scorer | None,
        ready: threading.Condition,
        turn: Turn,
    ) -> None:
        self.aligner = Aligner(settings.align, source.name)
        self.source = source
        self.ended = False
        self.failure: SourceError | None = None
        self._settings = settings
        self._scorer = scorer
        self._ready = ready
        self._turn = turn
        self._faces: dict[int, Watched] = {}
        self._holes = Holes()
        self._scored = True
        self._frames: HandOver[Frame | Gap | Status] | LiveHandOver | None = None
        self._status = Status(source.name, "connecting", 0.0)
        self._now_s = 0.0

    def __enter__(self) -> "_Stream":
        with ExitStack() as opening:
            frames = self._reader()
            opening.enter_context(frames)
            tracked = _track(frames, self.aligner, self._turn)
            name = f"livespot-track-{self.source.name}"
            self._found = opening.enter_context(HandOver(tracked, FACE_QUEUE_FRAMES, self._ready, name))
            self._frames = frames  # last: whoever asks for the load in another thread finds both
            opening.callback(self.stop)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    @property
    def has_news(self) -> bool:
        return self._found.waiting or self._found.ended

    @property
    def dropped(self) -> int:
        return self._frames.dropped if isinstance(self._frames, LiveHandOver) else 0

    def load(self) -> Load:
        reader_pid = self.source.reader_pid if isinstance(self.source, Camera) else None
        if self._frames is None:
            return Load(frames=0, faces=0, dropped=0, reader_pid=reader_pid)
        return Load(len(self._frames), len(self._found), self.dropped, reader_pid)

    def stop(self) -> None:
        if isinstance(self.source, Camera):
            self.source.stop()
        if self._frames is not None:
            self._frames.stop()

    def take(self) -> Step | None:
        """What the tracker found next, None where nothing waits. The last words come once all before is decoded."""
        try:
            found = self._found.take(1)
        except SourceError as error:
            self.failure, found = error, []
        if found:
            return self._begin(*found[0])
        return self._end() if self._found.ended else None

    def clips(self, step: Step) -> list[Clip]:
        """Take in the faces of a step; what is to be scored."""
        return [clip for face in step.faces for clip in self._of(face.face).clips(face)]

    def decode(self, step: Step, judged: Sequence[Judged], passed_s: tuple[float, ...] = ()) -> Step:
        """The step with the scores of its faces, the events that they decide, and what could not be scored.

        `passed_s`: of `Step`, the loop's.
        """
        by_face = {item.face: item for item in judged if isinstance(item, Scores)}
        decided = [self._of(face.face).decide(by_face.get(face.face)) for face in step.faces]
        scored = [one for one in decided if one.scores is not None]
        return replace(
            step,
            scores=tuple(one.scores for one in scored if one.scores is not None),
            smoothed=tuple(one.smoothed for one in scored),
            told=(*step.told, *self._missed(judged), *(event for one in decided for event in one.events)),
            passed_s=(*step.passed_s, *passed_s, time.monotonic()),
        )

    def says(self, state: State, detail: str = "") -> Step:
        """A step that only tells what the source is doing."""
        self._status = replace(self._status, state=state, t_s=self._now_s, detail=detail)
        return Step(self.source.name, told=(self._status,))

    def _missed(self, judged: Sequence[Judged]) -> list[Told]:
        """What is told of scores that failed: at once that they do, and a gap when they come again."""
        told: list[Told] = [gap for one in judged for gap in self._holes.push(one)]
        if not judged or self._scored != bool(self._holes):
            return told
        self._scored = not self._holes
        why = next((f"not scored: {one.why}" for one in judged if isinstance(one, Missed)), "")
        return [*told, *self.says("running", why).told]

    def _reader(self) -> HandOver[Frame | Gap | Status] | LiveHandOver:
        capture, name = self._settings.capture, f"livespot-read-{self.source.name}"
        if self.source.live:
            return LiveHandOver(self.source, capture.live_queue_frames, capture.staleness_s, name=name)
        return HandOver(self.source, FILE_QUEUE_FRAMES, name=name)

    def _begin(self, frame: Frame | None, found: Sequence[Face | Gap | Status], passed_s: tuple[float, ...]) -> Step:
        """The step of what the tracker handed on, already told to the faces that it breaks off."""
        told: list[Told] = []
        if frame is not None:
            told += self.says("running").told if self._status.state != "running" else ()
            self._now_s = frame.t_s
        for item in found:
            if isinstance(item, Gap):
                told += (item, *self._break(item))
            elif isinstance(item, Status):
                told += (item, *self._hear(item))
        faces = tuple(face for face in found if isinstance(face, Face))
        return Step(self.source.name, frame, faces, told=tuple(told), passed_s=passed_s)

    def _end(self) -> Step:
        """The last step: what is open is closed."""
        self.ended = True
        note = str(self.failure) if self.failure else self.source.note
        return Step(self.source.name, told=(*self._forget(list(self._faces)), *self.says("ended", note).told))

    def _hear(self, status: Status) -> list[Event]:
        """What is open is closed as soon as a source is silent: it may come back tomorrow."""
        self._status = status
        if status.state == "running":
            return []
        return [event for watched in self._faces.values() for event in watched.interrupt()]

    def _break(self, gap: Gap) -> Sequence[Event | Gap]:
        """A lost face is forgotten. All begin anew where the source was gone for longer than a face may be missed."""
        if gap.face is not None:
            return self._forget([gap.face])
        if gap.reason == "reconnect":  # the tracker gives every face a new number
            return self._forget(list(self._faces))
        if gap.to_s - gap.from_s <= self._settings.align.max_gap_s:
            return []
        return [event for watched in self._faces.values() for event in watched.interrupt()]

    def _forget(self, faces: Sequence[int]) -> list[Event | Gap]:
        known = [self._faces.pop(face) for face in faces if face in self._faces]
        return [*self._holes.forget(faces), *(event for watched in known for event in watched.interrupt())]

    def _of(self, face: int) -> Watched:
        """What remembers for a face; made at its first sight."""
        if face not in self._faces:
            self._faces[face] = watched(self._settings, self._scorer, self.source.name, face)
        return self._faces[face]


def _track(frames: Iterable[Frame | Gap | Status], aligner: Aligner, turn: Turn) -> Iterator[Found]:
    """Runs in the tracker thread: what the aligner finds in each frame, and what else the source told in its place."""
    for item in with_gaps(frames):
        if isinstance(item, Frame):
            taken_s = time.monotonic()
            with turn:
                found: list[Face | Gap | Status] = [*aligner.push(item)]
            yield item, found, (taken_s, time.monotonic())
        else:
            yield None, [item], ()
