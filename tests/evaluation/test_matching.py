import pytest

from livespot.evaluation.matching import Counts, hits, intersection_over_union, match


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
