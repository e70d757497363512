"""What becomes of clips when the engine fails: at a batch, at one clip, for a while, for good."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.batching import PATIENCE_S, Batcher, Holes, Missed
from livespot.capture.source import in_real_time
from livespot.config import InferSettings, Settings
from livespot.errors import EngineError
from livespot.pipeline import Pipeline, Step
from livespot.records import Clip, Event, Frame, Gap, Scores, Status
from tests.films import FPS, MotionScorer, Picture, Played, events, frames

Fails = Callable[[int, NDArray[np.float32]], bool]


@dataclass
class Planned(MotionScorer):
    """Fails where the plan says so, by the number of the call and the clips."""

    fails: Fails
    gathers: bool = False
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        self.batches.append(len(inputs["clips"]))
        if self.fails(len(self.batches) - 1, inputs["clips"]):
            raise EngineError("the GPU is out of memory")
        return super().score(inputs)


def clip(t_s: float, source: str = "cam", bad: bool = False) -> Clip:
    patches = np.full((2, 2, 112, 112), np.nan if bad else 0, np.float32)
    return Clip({"clips": patches}, 0, source, round(FPS * t_s), t_s, arrival_s=100 + t_s)


def has_nan(_: int, clips: NDArray[np.float32]) -> bool:
    return bool(np.isnan(clips).any())


def never(_: int, __: NDArray[np.float32]) -> bool:
    return False


def always(_: int, __: NDArray[np.float32]) -> bool:
    return True


def test_all_clips_are_scored_in_one_batch_and_keep_their_order() -> None:
    scorer = Planned(never)
    judged = Batcher(scorer).score([clip(1.0, "a"), clip(2.0, "b"), clip(3.0, "c")])
    assert scorer.batches == [3]
    assert [(one.source, one.t_s) for one in judged] == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    assert all(isinstance(one, Scores) for one in judged)


def test_a_clip_that_cannot_be_scored_costs_no_other_its_scores() -> None:
    judged = Batcher(Planned(has_nan)).score([clip(1.0, "a"), clip(1.0, "b", bad=True), clip(1.0, "c")])
    assert [type(one) for one in judged] == [Scores, Missed, Scores]
    assert judged[1] == Missed(0, "b", 1.0, "the GPU is out of memory")


def test_a_failure_of_a_batch_is_made_good_clip_by_clip() -> None:
    scorer = Planned(lambda call, _: call == 0)
    judged = Batcher(scorer).score([clip(1.0, "a"), clip(1.0, "b")])
    assert scorer.batches == [2, 1, 1]
    assert [type(one) for one in judged] == [Scores, Scores]


def test_an_engine_is_given_up_when_it_has_scored_nothing_for_long() -> None:
    batcher = Batcher(Planned(always))
    for t_s in np.arange(0, PATIENCE_S, 0.5):
        assert [type(one) for one in batcher.score([clip(t_s)])] == [Missed]
    with pytest.raises(EngineError, match="out of memory"):
        batcher.score([clip(PATIENCE_S + 0.1)])


def test_an_engine_that_scores_now_and_then_is_not_given_up() -> None:
    batcher = Batcher(Planned(lambda call, _: call % 9 != 8))
    judged = [one for t_s in np.arange(0, 5 * PATIENCE_S, 0.5) for one in batcher.score([clip(t_s)])]
    assert {type(one) for one in judged} == {Scores, Missed}


def test_a_failure_at_the_very_end_is_raised() -> None:
    batcher = Batcher(Planned(lambda call, _: call > 0))
    batcher.score([clip(0.0)])
    batcher.give_up()
    batcher.score([clip(1.0)])
    with pytest.raises(EngineError, match="out of memory"):
        batcher.give_up()


def test_a_hole_reaches_from_the_first_moment_missed_to_the_next_scores() -> None:
    holes = Holes()
    for t_s in (1.0, 1.1, 1.2):
        assert holes.push(Missed(3, "cam", t_s, "why")) == []
    assert holes
    assert holes.push(Scores(0.1, 0.1, 3, "cam", 39, 1.3, 0.0)) == [Gap("cam", 1.0, 1.3, "not_scored", 3, frames=3)]
    assert not holes
    assert holes.push(Scores(0.1, 0.1, 3, "cam", 40, 1.4, 0.0)) == []


def test_a_face_that_leaves_takes_its_hole_with_it() -> None:
    holes = Holes()
    holes.push(Missed(3, "cam", 1.0, "why"))
    assert holes.forget([2, 3]) == [Gap("cam", 1.0, 1.0, "not_scored", 3, frames=1)]
    assert not holes


def watched(scorer: MotionScorer, *sources: Played) -> list[Step]:
    with Pipeline(Settings(method="network"), sources, scorer) as pipeline:
        return list(chain.from_iterable(pipeline))


def told(steps: Sequence[Step]) -> list[Gap | Status]:
    return [item for step in steps for item in step.told if not isinstance(item, Event)]


def test_an_engine_that_fails_for_a_while_is_told_and_the_service_goes_on(pictures: list[Picture]) -> None:
    fails_s = (0.5, 0.8)
    steps = watched(Planned(lambda call, _: fails_s[0] * FPS <= call < fails_s[1] * FPS), Played(frames(pictures)))
    connecting, running, failing, gap, again, ended = told(steps)
    assert [type(item) for item in (connecting, running, failing, again, ended)] == [Status] * 5
    assert isinstance(failing, Status) and isinstance(again, Status) and isinstance(gap, Gap)
    assert (failing.state, failing.detail) == ("running", "not scored: the GPU is out of memory")
    assert (again.state, again.detail) == ("running", "")
    assert (gap.reason, gap.frames, gap.face) == ("not_scored", 9, 0)
    assert gap.to_s - gap.from_s == pytest.approx(9 / FPS)
    scored_s = [scores.t_s for step in steps for scores in step.scores]
    assert not [t_s for t_s in scored_s if gap.from_s <= t_s < gap.to_s]
    assert sum(step.frame is not None for step in steps) == len(pictures)
    assert events(steps)


def test_an_engine_without_room_for_a_batch_scores_every_source_all_the_same(pictures: list[Picture]) -> None:
    alone = [scores for step in watched(MotionScorer(), Played(frames(pictures, "a"), "a")) for scores in step.scores]
    scorer = Planned(lambda _, clips: len(clips) > 1)
    steps = watched(scorer, *(Played(frames(pictures, name), name) for name in ("a", "b")))
    assert max(scorer.batches) == 2
    of_a = [scores for step in steps if step.source == "a" for scores in step.scores]
    assert [(one.index, one.micro) for one in of_a] == [(one.index, one.micro) for one in alone]
    assert not [item for item in told(steps) if isinstance(item, Gap)]


def test_an_engine_that_never_scores_ends_the_service_with_its_reason(pictures: list[Picture]) -> None:
    with pytest.raises(EngineError, match="out of memory"):
        watched(Planned(always), Played(frames(pictures[:40])))


def gathering(gather_ms: float) -> Settings:
    return Settings(method="network", infer=InferSettings(gather_ms=gather_ms))


def test_where_a_batch_pays_clips_wait_for_those_of_other_cameras(pictures: list[Picture]) -> None:
    def shares_of_two(gather_ms: float) -> float:
        scorer = Planned(never, gathers=True)
        sources = [Played(in_real_time(frames(pictures[:60], name)), name, live=True) for name in ("a", "b")]
        with Pipeline(gathering(gather_ms), sources, scorer) as pipeline:
            list(pipeline)
        return sum(size == 2 for size in scorer.batches) / len(scorer.batches)

    assert shares_of_two(30.0) > 0.5


def test_a_dead_camera_delays_the_others_by_no_more_than_the_wait(pictures: list[Picture]) -> None:
    over = threading.Event()

    def dead() -> Iterator[Frame]:
        yield from frames(pictures[:1], "dead")
        over.wait(60)

    scorer = Planned(never, gathers=True)
    sources = [Played(dead(), "dead", live=True), Played(frames(pictures, "alive"), "alive")]
    with Pipeline(gathering(2.0), sources, scorer) as pipeline:
        alive = 0
        for turn in pipeline:
            alive += sum(step.frame is not None and step.source == "alive" for step in turn)
            if alive == len(pictures):
                over.set()
    assert alive == len(pictures)
    assert scorer.batches == [1] * len(scorer.batches) != []
