"""How well each method spots where it is known what was shown: in animated portraits, and in filmed faces.

    portrait --VirtualCamera--+                            +-- motion, live ----+
                              +--> Aligner, once a video --+-- ...              +--> official rule, counts summed
    clip --Injected-----------+                            +-- both ------------+

Each video is watched twice, with expressions put in and without: what is told of the second is a false alarm. All
expressions are synthetic. A filmed face moves by itself, too, and nobody wrote down when: on clips that counts as false
alarms. So the calm stretches of each clip are played once more, forth and back.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from rich.table import Table

from livespot.align import Aligner
from livespot.bench.alignment import Landmarks
from livespot.bench.calm import ForthAndBack, calm_frames, stretches
from livespot.bench.figures import _machine, _one_thread
from livespot.capture.opencv import VideoFile, declared_frames
from livespot.capture.source import Source
from livespot.capture.virtual import Expression, VirtualCamera
from livespot.config import Settings
from livespot.errors import SourceError
from livespot.evaluation.matching import HIT_IOU, Counts, Interval, intersection_over_union, match
from livespot.files import PICTURES, VIDEOS, files_in
from livespot.infer import Scorer
from livespot.landmarks import FaceMesh
from livespot.pipeline import Found, Pipeline, Step, _track
from livespot.records import EXPRESSION_TYPES, Event, ExpressionType, Face
from livespot.synth.injected import Injected, expressions

METHODS: Mapping[str, Mapping[str, Any]] = {
    "motion, live": {"method": "motion"},
    "motion, offline": {"method": "motion", "motion": {"lookahead_s": math.inf}},
    "zhang2020": {"method": "zhang2020"},
    "mdmo": {"method": "mdmo"},
    "network": {"method": "network"},
    "both": {"method": "both"},
}
"""Settings of each; what is not said is as in `Settings`."""

PORTRAITS: Mapping[float, str] = {30.0: "portraits, 30/s", 200.0: "portraits, 200/s"}
CLIPS = "clips"
CALM: Mapping[str, float] = {"clips, calm to 3 %": 0.03, "clips, calm to 2 %": 0.02}
"""Groups of videos: portraits by frame rate, clips, and stretches of them, played forth and back, in which the shape of
the face varies by less than this, in IOD. A variation of 3 % is as large as a small macro-expression."""

SECONDS = {30.0: 20.0, 200.0: 6.0}
"""Length of a portrait's video, by frame rate."""
CALM_S = 30.0
"""A calm stretch is played for so long."""
SLOWER = {30.0: 1, 200.0: 2}
"""One portrait in so many is shown at a frame rate: what has more frames takes longer."""
SEEDS = 2
"""One seed for each clip and so many portraits."""

TUNED = (3, 13)
"""Of 40 portraits, sorted by name, those on which the thresholds of motion and of the papers' methods were set."""
TRAINED_SHARE = 5 / 6
"""On the portraits that come before, by name, the network that comes with livespot was trained; of those that come
after, its thresholds were set on every other one, in even places."""

BINS_IOD: Mapping[ExpressionType, tuple[tuple[float, float], ...]] = {
    "micro": ((0.008, 0.012), (0.012, 0.016), (0.016, 0.02), (0.02, math.inf)),
    "macro": ((0.03, 0.05), (0.05, 0.07), (0.07, math.inf)),
}
"""Peak displacements, [from, to)."""


@dataclass(frozen=True)
class Span:
    """An expression that was shown or told."""

    type: ExpressionType
    frames: Interval
    onset_s: float
    offset_s: float
    amplitude_iod: float = 0.0
    """Peak displacement of what was shown."""


@dataclass(frozen=True)
class Sight:
    """What became of an expression that was shown; errors are those of the best hit, None where there is none."""

    type: ExpressionType
    amplitude_iod: float
    onset_error_s: float | None
    offset_error_s: float | None


@dataclass(frozen=True)
class Tally:
    """What one method made of some videos. Tallies add."""

    micro: Counts = field(default_factory=Counts)
    macro: Counts = field(default_factory=Counts)
    sights: tuple[Sight, ...] = ()
    micro_alarms: int = 0
    macro_alarms: int = 0
    """Told while nothing was shown."""
    alarmless_s: float = 0.0
    """How long a face was watched while nothing was shown."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Tally)))

    def figures(self) -> dict[str, Any]:
        """Everything that is told of a method, as JSON can hold it; what cannot be said is None."""
        counts = {"micro": self.micro, "macro": self.macro, "overall": self.micro + self.macro}
        return {
            "f1": {kind: round(found.f1, 3) for kind, found in counts.items()},
            "counts": {kind: {"tp": found.tp, "fp": found.fp, "fn": found.fn} for kind, found in counts.items()},
            "hit_of_shown": {kind: self._by_amplitude(kind) for kind in EXPRESSION_TYPES},
            "false_alarms_per_minute": {
                "micro": self._a_minute(self.micro_alarms),
                "macro": self._a_minute(self.macro_alarms),
            },
            "onset_error_ms": _median_ms([sight.onset_error_s for sight in self.sights]),
            "offset_error_ms": _median_ms([sight.offset_error_s for sight in self.sights]),
        }

    def _by_amplitude(self, kind: ExpressionType) -> dict[str, tuple[int, int]]:
        found = [(sight.amplitude_iod, sight.onset_error_s is not None) for sight in self.sights if sight.type == kind]
        return {bin_name(low, high): _hit_of_shown(found, low, high) for low, high in BINS_IOD[kind]}

    def _a_minute(self, alarms: int) -> float | None:
        return round(60 * alarms / self.alarmless_s, 2) if self.alarmless_s else None


def bin_name(low_iod: float, high_iod: float) -> str:
    """A range of amplitudes in % of the IOD."""
    return f"{100 * low_iod:g}+" if math.isinf(high_iod) else f"{100 * low_iod:g}-{100 * high_iod:g}"


def _hit_of_shown(found: Iterable[tuple[float, bool]], low: float, high: float) -> tuple[int, int]:
    inside = [hit for amplitude_iod, hit in found if low <= amplitude_iod < high]
    return sum(inside), len(inside)


def _median_ms(errors_s: Iterable[float | None]) -> float | None:
    known = [error_s for error_s in errors_s if error_s is not None]
    return round(1000 * float(np.median(known)), 1) if known else None


def shown(truth: Iterable[Expression], times_s: Sequence[float]) -> list[Span]:
    """Expressions over the frames of a recording, whose times are given: a frame's index is its place among them."""
    spans = []
    for one in truth:
        first, beyond = np.searchsorted(times_s, (one.onset_s, one.offset_s)).tolist()
        spans.append(Span(one.type, (first, max(first, beyond - 1)), one.onset_s, one.offset_s, one.amplitude_iod))
    return spans


def told(events: Iterable[Event]) -> list[Span]:
    """Closed events."""
    return [
        Span(event.type, (event.onset_frame, event.last_frame), event.onset_s, event.offset_s)
        for event in events
        if event.last_frame is not None and event.offset_s is not None
    ]


def tally(truth: Sequence[Span], found: Sequence[Span]) -> Tally:
    """What was told of a video in which expressions were shown."""
    micro, macro = (
        match([one.frames for one in truth if one.type == kind], [one.frames for one in found if one.type == kind])
        for kind in EXPRESSION_TYPES
    )
    return Tally(micro, macro, tuple(_sight(one, found) for one in truth))


def _sight(truth: Span, found: Iterable[Span]) -> Sight:
    hits = [one for one in found if _hits(truth, one)]
    if not hits:
        return Sight(truth.type, truth.amplitude_iod, None, None)
    best = max(hits, key=lambda one: intersection_over_union(truth.frames, one.frames))
    onset_error_s, offset_error_s = abs(best.onset_s - truth.onset_s), abs(best.offset_s - truth.offset_s)
    return Sight(truth.type, truth.amplitude_iod, onset_error_s, offset_error_s)


def _hits(truth: Span, found: Span) -> bool:
    return truth.type == found.type and intersection_over_union(truth.frames, found.frames) >= HIT_IOU


def alarms(found: Sequence[Span], watched_s: float) -> Tally:
    """What was told of a video in which nothing was shown."""
    micro, macro = (sum(one.type == kind for one in found) for kind in EXPRESSION_TYPES)
    return Tally(micro_alarms=micro, macro_alarms=macro, alarmless_s=watched_s)


class Rival:
    """One method that watches one video, its faces and gaps told as the pipeline tells them."""

    def __init__(self, settings: Settings, scorer: Scorer, source: VirtualCamera | Injected) -> None:
        self._pipeline = Pipeline(settings, [source], scorer)
        (self._stream,) = self._pipeline._streams
        self.events: list[Event] = []

    def push(self, found: Found) -> None:
        """Take what the aligner found in the next frame."""
        for step in self._pipeline._finished([(self._stream, self._stream._begin(*found))], time.monotonic()):
            self._keep(step)

    def end(self) -> None:
        """The video is over."""
        self._keep(self._stream._end())

    def _keep(self, step: Step) -> None:
        self.events += [one for one in step.told if isinstance(one, Event) and one.phase == "close"]


class Watch:
    """One video, aligned once and watched by all methods; iterated once, a turn for each frame."""

    def __init__(self, source: VirtualCamera | Injected, methods: Mapping[str, Settings], scorer: Scorer) -> None:
        self.times_s: list[float] = []
        self.seen: list[bool] = []
        """Whether a face was found in each frame."""
        self.truth: list[Span] = []
        self.events: dict[str, list[Span]] = {}
        self._source = source
        self._methods = methods
        self._scorer = scorer

    def __iter__(self) -> Iterator[None]:
        rivals = {name: Rival(settings, self._scorer, self._source) for name, settings in self._methods.items()}
        align = next(iter(self._methods.values())).align
        with self._source as source, Aligner(align, source.name) as aligner:
            for frame, found, passed_s in _track(source, aligner, nullcontext()):
                for rival in rivals.values():
                    rival.push((frame, found, passed_s))
                if frame is not None:
                    self.times_s.append(frame.t_s)
                    self.seen.append(any(isinstance(one, Face) for one in found))
                    yield
        for rival in rivals.values():
            rival.end()
        self.truth = shown(self._source.truth, self.times_s)
        self.events = {name: told(rival.events) for name, rival in rivals.items()}

    @property
    def watched_s(self) -> float:
        """How long a face was seen."""
        return float(np.mean(self.seen) * (self.times_s[-1] - self.times_s[0]))


class Trial:
    """All videos; iterated once, a turn for each frame that was watched, of `frames` in all as far as is known.

    Raises SourceError where a folder holds none, when it is made, or where no face is in any, at the end.
    """

    def __init__(self, faces: Path | None, clips: Path | None, videos: int, settings: Settings, scorer: Scorer) -> None:
        self._portraits = [] if faces is None else chosen(files_in(faces, PICTURES, "portrait"), videos)
        self._clips = [] if clips is None else files_in(clips, VIDEOS, "video")
        self._seeds = range(max(videos // SEEDS, 1))
        self._scorer = scorer
        self._methods = {name: with_method(settings, changes) for name, changes in METHODS.items()}
        self._tallies: defaultdict[str, defaultdict[str, Tally]] = defaultdict(partial(defaultdict, Tally))
        self.notes: list[str] = []
        """Why a portrait or a clip was left out."""
        self.frames = sum(2 * round(fps * SECONDS[fps]) * len(paths) for fps, paths in self._shows())
        self.frames += (len(self._seeds) + 1) * sum(map(declared_frames, self._clips))

    def __iter__(self) -> Iterator[None]:
        with _one_thread():
            for fps, paths in self._shows():
                for path in paths:
                    yield from self._or_note(self._portrait(path, fps))
            for path in self._clips:
                yield from self._or_note(self._clip(path))
        if not self._tallies:
            raise SourceError("no face is found in any of them:\n" + "\n".join(self.notes))

    def figures(self) -> dict[str, Any]:
        """All figures by group of videos and by method, and the machine, as a dict that JSON can hold."""
        groups = {name: _group(by_method) for name, by_method in self._tallies.items()}
        protocol = "official rule, IoU >= 0.5; expressions are synthetic; errors are medians over hits"
        machine = _machine() | {"engine": self._scorer.name}
        return {"protocol": protocol, "groups": groups, "notes": self.notes, "machine": machine}

    def _shows(self) -> Iterator[tuple[float, list[Path]]]:
        """Frame rates, and the portraits that are shown at each."""
        return ((fps, self._portraits[:: SLOWER[fps]]) for fps in SECONDS)

    def _or_note(self, turns: Iterator[None]) -> Iterator[None]:
        try:
            yield from turns
        except SourceError as error:
            self.notes.append(str(error))

    def _portrait(self, path: Path, fps: float) -> Iterator[None]:
        group, seconds, seed = PORTRAITS[fps], SECONDS[fps], _seed(path)
        camera = partial(VirtualCamera, path, path.stem, seed, fps, seconds, realtime=False)
        expressive, calm = camera(), camera()
        expressive.truth = tuple(expressions(np.random.default_rng((seed, int(fps))), 0.0, seconds))
        calm.truth = ()
        watch = Watch(expressive, self._methods, self._scorer)
        yield from watch
        self._add(group, {name: tally(watch.truth, events) for name, events in watch.events.items()})
        watch = Watch(calm, self._methods, self._scorer)
        yield from watch
        self._add(group, {name: alarms(events, watch.watched_s) for name, events in watch.events.items()})

    def _clip(self, path: Path) -> Iterator[None]:
        yield from self._filmed(CLIPS, partial(VideoFile, path, path.stem), _seed(path))
        meshes, times_s = _meshes(path)
        for group, within_iod in CALM.items():
            for place, stretch in enumerate(stretches(calm_frames(meshes, times_s, within_iod), times_s)):
                yield from self._stretch(group, path, stretch, _seed(path) + 1000 * place)

    def _stretch(self, group: str, path: Path, stretch: range, seed: int) -> Iterator[None]:
        with VideoFile(path, path.stem) as source:
            frames = list(islice(source, stretch.start, stretch.stop))
        fps = 1 / float(np.median(np.diff([frame.t_s for frame in frames])))
        self.frames += (len(self._seeds) + 1) * round(CALM_S * fps)
        yield from self._filmed(group, partial(ForthAndBack, frames, fps, CALM_S), seed)

    def _filmed(self, group: str, source: Callable[[], Source], seed: int) -> Iterator[None]:
        """A recording as it is, then with expressions."""
        watch = Watch(Injected(source(), 0, calm=True), self._methods, self._scorer)
        yield from watch
        self._add(group, {name: alarms(events, watch.watched_s) for name, events in watch.events.items()})
        for each in self._seeds:
            watch = Watch(Injected(source(), seed + each), self._methods, self._scorer)
            yield from watch
            self._add(group, {name: tally(watch.truth, events) for name, events in watch.events.items()})

    def _add(self, group: str, tallies: Mapping[str, Tally]) -> None:
        for name, one in tallies.items():
            self._tallies[group][name] += one


def with_method(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings with those of one of `METHODS`."""
    motion = settings.motion.model_copy(update=dict(changes.get("motion", {})))
    return settings.model_copy(update={"method": changes["method"], "motion": motion})


def chosen(portraits: Sequence[Path], count: int) -> list[Path]:
    """Portraits by chance of their names: first of those on which nothing was tuned or trained, then of all others."""
    known = {path: place in _known_places(len(portraits)) for place, path in enumerate(portraits)}
    return sorted(portraits, key=lambda path: (known[path], sha256(path.stem.encode()).digest()))[:count]


def _known_places(count: int) -> set[int]:
    """Places in the sorted folder of the portraits on which something was tuned or trained."""
    return {place for place in range(count) if place < TRAINED_SHARE * count or place % 2 == 0 or place % 40 in TUNED}


def _seed(path: Path) -> int:
    """Its name is its seed, so that no two faces do the same."""
    return crc32(path.stem.encode())


def _meshes(path: Path) -> tuple[list[Landmarks | None], list[float]]:
    """The mesh of the first face of each frame of a video, and the times of the frames."""
    with VideoFile(path, path.stem) as source, FaceMesh() as mesh:
        seen = [(next(iter(mesh.find(frame.image)), None), frame.t_s) for frame in source]
    return [landmarks for landmarks, _ in seen], [t_s for _, t_s in seen]


def _group(by_method: Mapping[str, Tally]) -> dict[str, Any]:
    any_method = next(iter(by_method.values()))
    return {
        "expressions": {kind: sum(sight.type == kind for sight in any_method.sights) for kind in EXPRESSION_TYPES},
        "minutes_without": round(any_method.alarmless_s / 60, 2),
        "methods": {name: one.figures() for name, one in by_method.items()},
    }


def to_rich(figures: Mapping[str, Any]) -> Table:
    """One table: a section for each group of videos, a row for each method."""
    table = Table(
        title="Synthetic expressions", title_justify="left", caption=_caption(), caption_justify="left",
        header_style="bold", box=None, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    table.add_column("F1", no_wrap=True)
    for head in ("micro", "macro", "all", "alarms", "of micro", "of macro", "on/off"):
        table.add_column(head, justify="right", no_wrap=True)
    for group, found in figures["groups"].items():
        of = [f"of {number}" for number in found["expressions"].values()]
        table.add_row(f"[bold]{group}[/]", *of, "", f"{found['minutes_without']:g} min", style="cyan")
        for method, one in found["methods"].items():
            table.add_row(f" {method}", *_cells(one))
    return table


def _caption() -> str:
    micro, macro = (", ".join(bin_name(*one) for one in BINS_IOD[kind]) for kind in EXPRESSION_TYPES)
    return (
        "alarms: micro / macro a minute where nothing is shown; of micro, of macro: share that is hit, in %, by peak "
        f"displacement in % of the IOD ({micro}; {macro}); on/off: median error of onset and offset of hits, in ms"
    )


def _cells(one: Mapping[str, Any]) -> Iterator[str]:
    yield from (_decimals(f1, 2) for f1 in one["f1"].values())
    yield "/".join(_decimals(rate, 1) for rate in one["false_alarms_per_minute"].values())
    for kind in EXPRESSION_TYPES:
        yield " ".join(f"{_percent(hit, of):>3}" for hit, of in one["hit_of_shown"][kind].values())
    yield "/".join(_decimals(one[f"{edge}_error_ms"], 0) for edge in ("onset", "offset"))


def _decimals(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _percent(hit: int, of: int) -> str:
    return f"{100 * hit / of:.0f}" if of else "-"
