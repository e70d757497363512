from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livespot.evaluation.matching import (
    RULES,
    Counts,
    Interval,
    assign,
    hits,
    intersection_over_union,
    match,
    overlaps,
)

RULE_NAMES = pytest.mark.parametrize("rule", RULES)

INTERVALS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 12)).map(lambda one: (one[0], one[0] + one[1])),
    max_size=8,
    unique=True,
)
"""Crowded, so that intervals meet, touch and share truths."""


def test_lengths_count_both_ends() -> None:
    assert intersection_over_union((10, 10), (10, 10)) == 1
    assert intersection_over_union((0, 9), (5, 14)) == pytest.approx(5 / 15)


def test_an_overlap_of_exactly_half_is_a_hit() -> None:
    assert match([(0, 9)], [(0, 4)]) == Counts(tp=1)


def test_an_overlap_just_below_half_is_a_miss_and_a_false_alarm() -> None:
    assert match([(0, 9)], [(0, 3)]) == Counts(fp=1, fn=1)


def test_a_second_prediction_on_the_same_truth_is_a_false_alarm() -> None:
    assert match([(0, 9)], [(0, 9), (1, 9)]) == Counts(tp=1, fp=1)


def test_one_prediction_may_hit_two_truths_but_counts_once() -> None:
    truths, predictions = [(0, 9), (2, 11)], [(1, 10)]
    assert hits(truths, predictions) == [True, True]
    assert match(truths, predictions) == Counts(tp=1, fn=1)


def test_intervals_that_only_touch_do_not_overlap() -> None:
    assert intersection_over_union((0, 4), (5, 9)) == 0


def test_a_video_without_truth_makes_every_prediction_a_false_alarm() -> None:
    assert match([], [(0, 9), (20, 29)]) == Counts(fp=2)


def test_counts_add_and_f1_is_taken_from_the_sum() -> None:
    total = Counts(tp=1) + Counts(fp=3, fn=1)
    assert total == Counts(tp=1, fp=3, fn=1)
    assert (total.precision, total.recall) == (0.25, 0.5)
    assert total.f1 == pytest.approx(1 / 3)


def test_nothing_to_find_and_nothing_found_scores_zero() -> None:
    assert (Counts().precision, Counts().recall, Counts().f1) == (0, 0, 0)


def test_an_interval_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="expected onset <= offset"):
        match([(5, 4)], [(0, 1)])


@pytest.mark.parametrize(
    ("tp", "truths", "predictions", "f1"),
    [
        pytest.param(21, 57, 5035, 0.008248, id="CAS(ME)2 micro"),
        pytest.param(109, 300, 1523, 0.119583, id="CAS(ME)2 macro"),
        pytest.param(130, 357, 6558, 0.037599, id="CAS(ME)2 overall"),
        pytest.param(29, 159, 1436, 0.036364, id="SAMM-LV micro"),
        pytest.param(22, 343, 356, 0.062947, id="SAMM-LV macro"),
        pytest.param(51, 502, 1792, 0.044464, id="SAMM-LV overall"),
    ],
)
def test_the_organisers_published_counts_give_their_published_f1(
    tp: int, truths: int, predictions: int, f1: float
) -> None:
    assert round(Counts(tp, predictions - tp, truths - tp).f1, 6) == f1


def counts(rule: str, truths: Sequence[Interval], predictions: Sequence[Interval]) -> tuple[int, int, int]:
    found = match(truths, predictions, RULES[rule])
    return found.tp, found.fp, found.fn


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("official", (1, 0, 0)),
        ("one-to-one", (1, 0, 0)),
        ("drop-duplicates", (1, 0, 0)),
        ("exclusive", (0, 1, 1)),
        ("class-agnostic", (1, 0, 0)),
    ],
)
def test_exactly_half_hits_unless_the_rule_is_exclusive(rule: str, expected: tuple[int, int, int]) -> None:
    # 10 frames and 5 of them; without the last frame 9 and 4, which is less than half anyhow
    assert counts(rule, [(0, 9)], [(0, 4)]) == expected
    # without the last frame 10 and 5: half, and not above; with it 11 and 6
    assert counts(rule, [(0, 10)], [(0, 5)]) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("official", (1, 1, 0)),
        ("one-to-one", (1, 1, 0)),
        ("drop-duplicates", (1, 0, 0)),
        ("exclusive", (1, 1, 0)),
        ("class-agnostic", (1, 1, 0)),
    ],
)
def test_two_predictions_on_one_truth(rule: str, expected: tuple[int, int, int]) -> None:
    assert counts(rule, [(0, 9)], [(0, 9), (1, 9)]) == expected


def test_a_prediction_beside_the_truth_is_false_also_where_duplicates_are_dropped() -> None:
    assert counts("drop-duplicates", [(0, 9)], [(0, 9), (1, 9), (40, 49)]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("official", (2, 0, 0)),
        ("one-to-one", (1, 1, 1)),
        ("drop-duplicates", (2, 0, 0)),
        ("exclusive", (1, 1, 1)),
        ("class-agnostic", (2, 0, 0)),
    ],
)
def test_one_prediction_over_two_truths_serves_both_while_hits_are_no_more_than_predictions(
    rule: str, expected: tuple[int, int, int]
) -> None:
    assert counts(rule, [(0, 9), (2, 11)], [(1, 10)]) == (1, 0, 1)
    assert counts(rule, [(0, 9), (2, 11)], [(1, 10), (50, 59)]) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("official", (1, 0, 1)),
        ("one-to-one", (1, 0, 1)),
        ("drop-duplicates", (1, 0, 1)),
        ("exclusive", (0, 1, 2)),
        ("class-agnostic", (1, 0, 1)),
    ],
)
def test_a_prediction_over_two_adjacent_truths_covers_half_of_each(rule: str, expected: tuple[int, int, int]) -> None:
    assert counts(rule, [(0, 4), (5, 9)], [(0, 9)]) == expected


@RULE_NAMES
def test_adjacent_intervals_share_no_frame(rule: str) -> None:
    assert counts(rule, [(0, 4)], [(5, 9)]) == (0, 1, 1)


@RULE_NAMES
def test_empty_sides(rule: str) -> None:
    assert counts(rule, [], []) == (0, 0, 0)
    assert counts(rule, [(0, 9)], []) == (0, 0, 1)
    assert counts(rule, [], [(0, 9), (20, 29)]) == (0, 2, 0)


def test_an_interval_of_one_frame_has_no_length_where_the_last_frame_does_not_count() -> None:
    assert counts("official", [(7, 7)], [(7, 7)]) == (1, 0, 0)
    assert counts("exclusive", [(7, 7)], [(7, 7)]) == (0, 1, 1)


def test_one_to_one_gives_a_truth_the_prediction_that_overlaps_it_most() -> None:
    found = assign(overlaps([(0, 9)], [(1, 9), (0, 9)]), 1, 2, RULES["one-to-one"])
    assert (found.pairs, found.false) == (((0, 1),), (0,))


def test_what_no_count_holds_is_told() -> None:
    found = assign(overlaps([(0, 9)], [(0, 9), (1, 9)]), 1, 2, RULES["drop-duplicates"])
    assert (found.false, found.uncounted) == ((), (1,))


def test_the_threshold_may_be_another() -> None:
    assert match([(0, 9)], [(0, 2)], iou=0.3) == Counts(tp=1)
    assert match([(0, 9)], [(0, 8)], iou=0.9) == Counts(tp=1)
    assert match([(0, 9)], [(0, 7)], iou=0.9) == Counts(fp=1, fn=1)


@RULE_NAMES
@given(truths=INTERVALS, predictions=INTERVALS)
def test_each_truth_is_counted_once_and_hits_are_no_more_than_predictions(
    rule: str, truths: list[Interval], predictions: list[Interval]
) -> None:
    found = match(truths, predictions, RULES[rule])
    assert found.tp + found.fn == len(truths)
    assert found.tp <= len(predictions)
    assert 0 <= found.fp <= len(predictions) - found.tp


@given(truths=INTERVALS, predictions=INTERVALS)
def test_the_official_rule_counts_as_it_is_written(truths: list[Interval], predictions: list[Interval]) -> None:
    tp = min(sum(hits(truths, predictions)), len(predictions))
    assert match(truths, predictions) == Counts(tp, len(predictions) - tp, len(truths) - tp)


@RULE_NAMES
@given(truths=INTERVALS, predictions=INTERVALS, data=st.data())
def test_order_changes_nothing(
    rule: str, truths: list[Interval], predictions: list[Interval], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(truths)), data.draw(st.permutations(predictions))
    assert match(*shuffled, RULES[rule]) == match(truths, predictions, RULES[rule])


@RULE_NAMES
@given(truths=INTERVALS, predictions=INTERVALS)
def test_f1_never_rises_when_a_hit_is_removed(rule: str, truths: list[Interval], predictions: list[Interval]) -> None:
    chosen = RULES[rule]
    before = assign(overlaps(truths, predictions, chosen.end_frames), len(truths), len(predictions), chosen)
    for truth, hit in before.pairs:
        others = predictions[:hit] + predictions[hit + 1 :]
        if not match([truths[truth]], others, chosen).tp:  # else another would take its place
            assert match(truths, others, chosen).f1 <= before.counts.f1


@given(truths=INTERVALS, predictions=INTERVALS)
def test_dropped_duplicates_never_lower_f1(truths: list[Interval], predictions: list[Interval]) -> None:
    official, kind = match(truths, predictions), match(truths, predictions, RULES["drop-duplicates"])
    assert (kind.tp, kind.fn) == (official.tp, official.fn)
    assert kind.f1 >= official.f1
