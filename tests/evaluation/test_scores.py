import math
from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livespot.errors import SettingsError
from livespot.evaluation.labels import Span, Video
from livespot.evaluation.matching import HIT_IOU, RULES, Counts
from livespot.evaluation.scores import GROUPS, Evaluation, Tally, bootstrap, evaluate, tally
from livespot.records import EXPRESSION_TYPES
from tests.evaluation.tables import predictions, spans, videos

RULE_NAMES = pytest.mark.parametrize("rule", RULES)

Side = dict[str, tuple[Span, ...]]

SIDES = st.dictionaries(
    st.sampled_from(["s1_a", "s1_b", "s2_a", "s3_a"]),
    st.lists(
        st.tuples(st.sampled_from(EXPRESSION_TYPES), st.integers(0, 40), st.integers(0, 15)).map(
            lambda one: (one[0], one[1], one[1] + one[2])
        ),
        max_size=5,
        unique=True,
    ).map(spans),
)
"""Crowded videos."""


def score(labelled: Side, predicted: Side, rule: str = "official") -> Evaluation:
    """Of labels and predictions by video; each video is 100 frames long."""
    known = {name: Video(name, name.partition("_")[0], 30.0, 100, truths) for name, truths in labelled.items()}
    return evaluate(known, predicted, rule)


def test_classes_are_matched_apart_and_counted_together() -> None:
    labelled = {"s1_a": spans([("micro", 0, 9), ("macro", 50, 89)])}
    predicted = {"s1_a": spans([("micro", 0, 9), ("micro", 50, 89), ("macro", 0, 9)])}
    total = score(labelled, predicted).total
    assert total == Tally(micro=Counts(tp=1, fp=1), macro=Counts(fp=1, fn=1))
    assert total.overall == Counts(tp=1, fp=2, fn=1)


def test_without_classes_a_hit_counts_for_the_class_of_its_truth() -> None:
    labelled = {"s1_a": spans([("micro", 0, 9), ("macro", 50, 89)])}
    predicted = {"s1_a": spans([("micro", 50, 89), ("macro", 0, 9), ("macro", 20, 29)])}
    total = score(labelled, predicted, "class-agnostic").total
    assert total == Tally(micro=Counts(tp=1), macro=Counts(tp=1, fp=1))


def test_a_prediction_in_a_video_that_nobody_labelled_is_false() -> None:
    found = score({"s1_a": spans([("micro", 0, 9)])}, {"typo": spans([("micro", 0, 9)])})
    assert found.total == Tally(micro=Counts(fp=1, fn=1))
    assert [one.video.name for one in found.unlabelled] == ["typo"]
    assert [one.video.name for one in found.without_predictions] == ["s1_a"]


def test_a_video_that_is_labelled_as_calm_may_stay_without_predictions() -> None:
    found = score({"s1_calm": (), "s1_a": spans([("micro", 0, 9)])}, {"s1_a": spans([("micro", 0, 9)])})
    assert found.total == Tally(micro=Counts(tp=1))
    assert found.unlabelled == found.without_predictions == []


@RULE_NAMES
def test_nothing_at_all_scores_zero(rule: str) -> None:
    found = score({}, {}, rule)
    assert found.total == Tally()
    assert found.total.overall.f1 == 0
    assert found.intervals == dict.fromkeys(GROUPS)
    assert (found.frames.accuracy, found.frames.edit) == (0, 0)


def test_a_rule_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(SettingsError, match="there is no rule ofical: give official, one-to-one"):
        score({}, {}, "ofical")


def test_every_truth_and_prediction_has_its_outcome() -> None:
    labelled = {"s1_a": spans([("micro", 0, 9), ("micro", 30, 39)])}
    predicted = {"s1_a": spans([("micro", 0, 9), ("micro", 1, 9), ("micro", 60, 69)])}
    [video] = score(labelled, predicted, "drop-duplicates").videos
    told = [(outcome.result, outcome.truth, outcome.prediction) for outcome in video.outcomes]
    assert told == [
        ("TP", Span(0, 9, "micro"), Span(0, 9, "micro")),
        ("FN", Span(30, 39, "micro"), None),
        ("FP", None, Span(60, 69, "micro")),
        ("-", None, Span(1, 9, "micro")),
    ]


def test_the_curve_falls_as_hits_must_overlap_more() -> None:
    labelled = {"s1_a": spans([("micro", 0, 9), ("macro", 50, 89)])}
    predicted = {"s1_a": spans([("micro", 0, 2), ("macro", 50, 77)])}  # overlaps of 0.3 and 0.7
    f1 = {iou: (found.micro.f1, found.macro.f1) for iou, found in score(labelled, predicted).curve}
    assert list(f1) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [iou for iou in f1 if f1[iou] == (1, 1)] == [0.1, 0.2, 0.3]
    assert [iou for iou in f1 if f1[iou] == (0, 1)] == [0.4, 0.5, 0.6, 0.7]
    assert [iou for iou in f1 if f1[iou] == (0, 0)] == [0.8, 0.9]


def test_errors_of_hits_are_in_frames_and_in_milliseconds_of_their_own_video() -> None:
    slow = videos({"s1_a": [("macro", 100, 139)]}, fps=30)
    fast = videos({"s2_a": [("macro", 100, 139), ("macro", 300, 339)]}, fps=200)
    seen = predictions({"s1_a": [("macro", 97, 139)], "s2_a": [("macro", 110, 140), ("macro", 500, 539)]})
    errors = evaluate(slow | fast, seen).errors["overall"]
    assert errors.hits == 2
    assert astuple(errors.onset_frames) == (3.5, 6.5, 6.5)
    assert astuple(errors.onset_ms) == pytest.approx((-25, 75, 75))
    assert astuple(errors.offset_frames) == (0.5, 0.5, 0.5)
    assert astuple(errors.offset_ms) == pytest.approx((2.5, 2.5, 2.5))


def test_without_hits_there_are_no_errors() -> None:
    errors = score({"s1_a": spans([("micro", 0, 9)])}, {}).errors["micro"]
    assert errors.hits == 0
    assert math.isnan(errors.onset_frames.mean)


def test_the_bootstrap_is_the_same_for_a_seed_and_holds_the_score() -> None:
    subjects = [Tally(Counts(tp, 6 - tp, 2), Counts(tp, 1, 1)) for tp in range(7)]
    total = sum(subjects, Tally())
    found = bootstrap(subjects, 3)
    assert found == bootstrap(subjects, 3) != bootstrap(subjects, 4)
    for group in GROUPS:
        interval = found[group]
        assert interval is not None
        assert 0 < interval[0] < total.of(group).f1 < interval[1] < 1


def test_subjects_that_are_all_alike_leave_no_doubt_and_one_alone_tells_nothing() -> None:
    alike = Tally(Counts(2, 1, 1), Counts(1, 0, 1))
    assert bootstrap([alike] * 5, 0) == {group: (alike.of(group).f1,) * 2 for group in GROUPS}
    assert bootstrap([alike], 0) == dict.fromkeys(GROUPS)


def test_videos_of_a_subject_are_drawn_together() -> None:
    truth = spans([("micro", 0, 9)])
    same = score({"s1_a": truth, "s1_b": truth}, {"s1_a": truth})
    apart = score({"s1_a": truth, "s2_a": truth}, {"s1_a": truth})
    assert same.intervals["micro"] is None
    assert apart.intervals["micro"] == (0, 1)


@RULE_NAMES
@settings(max_examples=40)
@given(labelled=SIDES, predicted=SIDES)
def test_counts_are_those_of_the_outcomes_and_each_truth_has_one(rule: str, labelled: Side, predicted: Side) -> None:
    found = score(labelled, predicted, rule)
    outcomes = [outcome for one in found.videos for outcome in one.outcomes]
    assert tally(outcomes) == found.total == dict(found.curve)[HIT_IOU]
    truths = [outcome.truth for outcome in outcomes if outcome.truth]
    assert sorted(truths) == sorted(span for one in labelled.values() for span in one)


@RULE_NAMES
@settings(max_examples=40)
@given(labelled=SIDES, predicted=SIDES, data=st.data())
def test_order_changes_nothing(rule: str, labelled: Side, predicted: Side, data: st.DataObject) -> None:
    first = score(labelled, predicted, rule)
    mixed = [dict(data.draw(st.permutations(list(side.items())))) for side in (labelled, predicted)]
    again = score(mixed[0], mixed[1], rule)
    assert (again.videos, again.total, again.curve) == (first.videos, first.total, first.curve)
    assert (again.intervals, again.frames) == (first.intervals, first.frames)


@RULE_NAMES
@settings(max_examples=40)
@given(first=st.tuples(SIDES, SIDES), second=st.tuples(SIDES, SIDES))
def test_merging_two_sets_adds_their_counts(rule: str, first: tuple[Side, Side], second: tuple[Side, Side]) -> None:
    others = [{f"other_{name}": found for name, found in side.items()} for side in second]
    both = score(first[0] | others[0], first[1] | others[1], rule)
    apart = score(*first, rule), score(*second, rule)
    assert both.total == apart[0].total + apart[1].total
    assert both.frames.right == apart[0].frames.right + apart[1].frames.right


@RULE_NAMES
@settings(max_examples=40)
@given(labelled=SIDES, predicted=SIDES)
def test_f1_never_rises_when_a_hit_is_removed(rule: str, labelled: Side, predicted: Side) -> None:
    found = score(labelled, predicted, rule)
    for one in found.videos:
        for outcome in one.outcomes:
            others = {one.video.name: tuple(span for span in one.predictions if span is not outcome.prediction)}
            alone: Side = {one.video.name: (outcome.truth,)} if outcome.truth else {}
            if outcome.result == "TP" and not score(alone, others, rule).total.overall.tp:
                assert score(labelled, predicted | others, rule).total.overall.f1 <= found.total.overall.f1
