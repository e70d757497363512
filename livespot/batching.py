"""Clips of all streams become scores in one batch; what an engine cannot score is told and does not end the service.

    batch fails -> each of its clips alone -> those that fail, too, are missed: their streams go on without a score
                                              nothing scored for PATIENCE_S: the engine is given up

So a single bad clip costs no other stream its scores, and a GPU that is out of memory for a while costs a gap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from livespot.errors import EngineError
from livespot.infer import Scorer
from livespot.records import Clip, Gap, Scores

PATIENCE_S = 10.0
"""An engine that has failed for so long, by the arrival of the clips, without one success is given up."""


@dataclass(frozen=True)
class Missed:
    """A moment of a face that the engine could not score."""

    face: int
    source: str
    t_s: float
    why: str


Judged: TypeAlias = Scores | Missed


class Batcher:
    """One engine for the clips of many streams."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._failure: EngineError | None = None
        self._failing_since_s = 0.0

    def score(self, clips: Sequence[Clip]) -> list[Judged]:
        """What becomes of each clip, in order.

        Raises EngineError where the engine has scored nothing for `PATIENCE_S`.
        """
        if not clips:
            return []
        try:
            judged = self._scored(clips)
        except EngineError as error:
            judged = self._one_by_one(clips, error)
        if any(isinstance(one, Scores) for one in judged):
            self._failure = None
        elif clips[-1].arrival_s - self._failing_since_s > PATIENCE_S:
            self.give_up()
        return judged

    def give_up(self) -> None:
        """Raises EngineError where the last that was tried failed: a stream that ends so was not watched to its end."""
        if self._failure is not None:
            raise self._failure

    def _one_by_one(self, clips: Sequence[Clip], error: EngineError) -> list[Judged]:
        if self._failure is None:
            self._failing_since_s = clips[0].arrival_s
        self._failure = error
        if len(clips) > 1:
            return [one for clip in clips for one in self._alone(clip)]
        return [Missed(clips[0].face, clips[0].source, clips[0].t_s, str(error))]

    def _alone(self, clip: Clip) -> list[Judged]:
        try:
            return self._scored([clip])
        except EngineError as error:
            return [Missed(clip.face, clip.source, clip.t_s, str(error))]

    def _scored(self, clips: Sequence[Clip]) -> list[Judged]:
        return [
            Scores(
                float(micro), float(macro), clip.face, clip.source, clip.index, clip.t_s, clip.arrival_s,
                clip.lookahead_s,
            )
            for clip, (micro, macro) in zip(clips, self._scorer.score(_batch(clips)), strict=True)
        ]  # fmt: skip


class Holes:
    """What of one source the engine missed, as gaps, face by face."""

    def __init__(self) -> None:
        self._open: dict[int, Gap] = {}

    def __bool__(self) -> bool:
        """Whether a face is missed just now."""
        return bool(self._open)

    def push(self, judged: Judged) -> list[Gap]:
        """The gap that ends with these scores; none while it lasts."""
        if isinstance(judged, Scores):
            closed = self._open.pop(judged.face, None)
            return [] if closed is None else [replace(closed, to_s=judged.t_s)]
        begun = Gap(judged.source, judged.t_s, judged.t_s, "not_scored", face=judged.face, frames=0)
        hole = self._open.get(judged.face, begun)
        self._open[judged.face] = replace(hole, to_s=judged.t_s, frames=(hole.frames or 0) + 1)
        return []

    def forget(self, faces: Sequence[int]) -> list[Gap]:
        """The gaps of faces that are gone."""
        return [self._open.pop(face) for face in faces if face in self._open]


def _batch(clips: Sequence[Clip]) -> Mapping[str, NDArray[np.float32]]:
    """The inputs of several clips as one array each; that of a lone clip is not copied."""
    if len(clips) == 1:
        return {name: array[None] for name, array in clips[0].inputs.items()}
    return {name: np.stack([clip.inputs[name] for clip in clips]) for name in clips[0].inputs}
