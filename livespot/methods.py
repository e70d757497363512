"""What a method takes of a face, and what it decides: from aligned faces to events, by motion, a network, or both.

    motion     face -> motion -> spot
    network    face -> normalise -> buffer -> (score) -> decode
                 `-> motion -> window -^        each way where the network asks for what it gives
    both       as network; motion lowers the scores that head and lids explain, and refines the events
    zhang2020, mdmo    the whole video, as published

Scores come from outside, for all faces of all sources in one batch.
"""

from dataclasses import replace
from typing import NamedTuple, Protocol

from livespot.buffer import ClipBuffer
from livespot.config import WHOLE_VIDEO_METHODS, Settings
from livespot.decode import Decoder
from livespot.infer import Scorer
from livespot.motion.baselines import BASELINES, WholeVideo
from livespot.motion.evidence import Evidence
from livespot.motion.search import STRENGTH_DELAY_S
from livespot.motion.spotter import MotionSpotter
from livespot.motion.tracker import RegionTracker
from livespot.motion.window import MotionWindow
from livespot.normalise import local_contrast
from livespot.records import Clip, Event, Face, Motion, Scores

MOTION_THRESHOLD = 0.5
"""Where the strength of a motion is enough, as `MotionSpotter` tells it."""


class Decided(NamedTuple):
    """What one frame of a face decides."""

    events: list[Event]
    scores: Scores | None = None
    smoothed: tuple[float, float] = (0.0, 0.0)


class Watched(Protocol):
    """What remembers for one face, by method; `clips` and `decide` take turns."""

    thresholds: tuple[float, float]
    """Of micro and macro."""
    delay_s: float
    """How much earlier than the frame that brings them smoothed scores belong: look-ahead and low-pass."""

    def clips(self, face: Face) -> list[Clip]:
        """Take in a face; what is to be scored."""
        ...

    def decide(self, scores: Scores | None, /) -> Decided:
        """What the face last taken in decides, with its scores where it has any."""
        ...

    def interrupt(self) -> list[Event]:
        """End what is open: the face was not watched for a while, or is gone."""
        ...


class _ByMotion:
    def __init__(self, settings: Settings, source: str, face: int) -> None:
        self.thresholds, self.delay_s = (MOTION_THRESHOLD, MOTION_THRESHOLD), STRENGTH_DELAY_S
        self._tracker = RegionTracker()
        self._spotter = MotionSpotter(settings.motion, settings.decode, source, face)
        self._motion: list[Motion] = []

    def clips(self, face: Face) -> list[Clip]:
        self._motion = self._tracker.push(face)
        return []

    def decide(self, _: Scores | None) -> Decided:
        (motion,) = self._motion
        events = self._spotter.push(motion)
        strength = micro, macro = self._spotter.strength
        scores = Scores(micro, macro, motion.face, motion.source, motion.index, motion.t_s, motion.arrival_s)
        return Decided(events, scores, strength)

    def interrupt(self) -> list[Event]:
        self._tracker.reset()
        return self._spotter.flush()


class _ByNetwork:
    def __init__(self, settings: Settings, scorer: Scorer, source: str, face: int) -> None:
        self._spec = scorer.clip
        self._tracker, self._window = RegionTracker(), MotionWindow(self._spec)
        self._buffer = ClipBuffer(self._spec)
        self._decoder = Decoder(settings.decode, scorer.calibration, source, face)
        self.thresholds = self._decoder.thresholds
        self.delay_s = self._buffer.latency_s + self._decoder.latency_s

    def clips(self, face: Face) -> list[Clip]:
        return self._cut(face, self._tracker.push(face) if self._spec.motion_s else [])

    def decide(self, scores: Scores | None) -> Decided:
        if scores is None:
            return Decided([])
        events = self._decoder.push(scores)
        return Decided(events, scores, self._decoder.smoothed)

    def interrupt(self) -> list[Event]:
        self._tracker.reset()
        self._window.reset()
        self._buffer.reset()
        return self._decoder.flush()

    def _cut(self, face: Face, motions: list[Motion]) -> list[Clip]:
        """What the network asks for, of a face and its motion; neither is worked out for nothing."""
        patch = local_contrast(face.crop) if self._spec.references_s else None
        window = self._window.push(motions[-1]) if self._spec.motion_s else None
        return self._buffer.push(face, patch, window)


class _ByBoth(_ByNetwork):
    """The network proposes; motion lowers the scores that head and lids explain, and refines the events."""

    def __init__(self, settings: Settings, scorer: Scorer, source: str, face: int) -> None:
        super().__init__(settings, scorer, source, face)
        # A network that is fed motion is shown head and lids beside it, and has learned what they explain: to weigh
        # them once more would lower its scores twice, and below the thresholds it was calibrated with.
        self._evidence = Evidence(settings.decode, () if self._spec.motion_s else self._spec.references_s)

    def clips(self, face: Face) -> list[Clip]:
        motions = self._tracker.push(face)
        for motion in motions:
            self._evidence.push(motion)
        return self._cut(face, motions)

    def decide(self, scores: Scores | None) -> Decided:
        if scores is not None:
            micro, macro = self._evidence.unexplained()
            scores = replace(scores, micro=scores.micro * micro, macro=scores.macro * macro)
        decided = super().decide(scores)
        return decided._replace(events=self._refined(decided.events))

    def interrupt(self) -> list[Event]:
        events = self._refined(super().interrupt())
        self._evidence.reset()
        return events

    def _refined(self, events: list[Event]) -> list[Event]:
        return [self._evidence.refined(event) for event in events]


class _AsPublished:
    def __init__(self, settings: Settings, source: str, face: int) -> None:
        self.thresholds, self.delay_s = (MOTION_THRESHOLD, MOTION_THRESHOLD), 0.0
        self._whole = WholeVideo(BASELINES[settings.method], source, face)

    def clips(self, face: Face) -> list[Clip]:
        self._whole.push(face)
        return []

    def decide(self, _: Scores | None) -> Decided:
        return Decided([])

    def interrupt(self) -> list[Event]:
        return self._whole.flush()


def watched(settings: Settings, scorer: Scorer | None, source: str, face: int) -> Watched:
    """By the method of the settings. Raises ValueError where it needs a scorer and there is none."""
    if settings.method == "motion":
        return _ByMotion(settings, source, face)
    if settings.method in WHOLE_VIDEO_METHODS:
        return _AsPublished(settings, source, face)
    if scorer is None:
        raise ValueError(f"the method {settings.method} without a scorer; expected one, or the method motion")
    return (_ByBoth if settings.method == "both" else _ByNetwork)(settings, scorer, source, face)
