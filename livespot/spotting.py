"""Spotting in recordings: the live stages, as fast as the machine allows."""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from livespot.capture import open_recording
from livespot.capture.source import Source
from livespot.config import NETWORK_METHODS, Settings, check
from livespot.engines import ChosenScorer
from livespot.pipeline import Pipeline, Step
from livespot.plot import Trace
from livespot.records import Event, Gap, Status


def spot(video: str | Path, settings: Settings | None = None, fps: float | None = None) -> Iterator[Event]:
    """Closed events of a video file, a folder of images or demo://?realtime=0.

    By motion they come at the end, where all is weighed against each other; with a look-ahead in the settings, or by a
    network, as they are found.

        for event in livespot.spot("interview.mp4"):
            print(event.type, event.onset_s, event.offset_s)

    `fps` is that of a folder of images. The `sources` of the settings are those of live runs: they are not looked at.
    Raises SourceError for what cannot be read, SettingsError for a camera, EngineError for a network that does not fit.
    """
    settings = with_hindsight(settings or Settings())
    source = recording(str(video), settings, fps)
    with scoring(settings) as scorer, Pipeline(settings, [source], scorer) as pipeline:
        for step in chain.from_iterable(pipeline):
            yield from (told for told in step.told if isinstance(told, Event) and told.phase == "close")


def with_hindsight(settings: Settings) -> Settings:
    """Settings for recordings: motion waits for the end, unless its look-ahead is given."""
    if settings.motion.lookahead_s is not None:
        return settings
    motion = settings.motion.model_copy(update={"lookahead_s": math.inf})
    return settings.model_copy(update={"motion": motion})


def scoring(settings: Settings) -> AbstractContextManager[ChosenScorer | None]:
    """The network, not opened yet; None where the method needs none."""
    return ChosenScorer(settings.infer) if settings.method in NETWORK_METHODS else nullcontext()


def recording(uri: str, settings: Settings, fps: float | None = None) -> Source:
    """The source of a recording. Raises SettingsError for a camera, which has no end, and what is no name or rate."""
    [wanted] = check({"sources": [{"uri": uri, "fps": fps}]}, "recording").sources
    return open_recording(wanted, settings.capture)


@dataclass
class Findings:
    """What a pipeline told, gathered from its steps."""

    events: list[Event] = field(default_factory=list)
    """Closed events, in the order in which they closed."""
    gaps: list[Gap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the user should be told about the sources."""
    frames: int = 0
    frames_with_face: int = 0
    last_s: float = 0.0
    """Stream time of the last frame."""
    _scores: dict[tuple[str, int], list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, step: Step) -> None:
        """Take in the next step of any source."""
        if step.frame is not None:
            self.frames += 1
            self.frames_with_face += bool(step.faces)
            self.last_s = max(self.last_s, step.frame.t_s)
        for scores, smoothed in zip(step.scores, step.smoothed, strict=True):
            self._scores[scores.source, scores.face].append(
                (scores.t_s, scores.micro, scores.macro, *smoothed, scores.lookahead_s)
            )
        for told in step.told:
            if isinstance(told, Event) and told.phase == "close":
                self.events.append(told)
            elif isinstance(told, Gap):
                self.gaps.append(told)
            elif isinstance(told, Status) and told.state == "ended" and told.detail:
                self.notes.append(f"{told.source}: {told.detail}")

    def traces(self, delay_s: float) -> list[Trace]:
        """The scores of every face for `plot.timeline`; smoothed ones belong `delay_s` before the newest frame."""
        return [_trace(source, face, rows, delay_s) for (source, face), rows in self._scores.items()]


def _trace(source: str, face: int, rows: list[tuple[float, ...]], delay_s: float) -> Trace:
    t_s, micro, macro, micro_smoothed, macro_smoothed, lookahead_s = np.array(rows, np.float64).T
    after_scores_s = delay_s - float(lookahead_s.mean())  # scores are of the judged frame already
    return Trace(source, face, t_s, micro, macro, micro_smoothed, macro_smoothed, after_scores_s)
