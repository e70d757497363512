import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livespot.evaluation.segments import MACRO, MICRO, Codes, FrameScore, edit_score, frame_score
from tests.evaluation.tables import Given, spans

SEQUENCES = st.lists(st.sampled_from((MACRO, MICRO)), max_size=7).map(lambda codes: np.array(codes, np.int8))


def levenshtein(a: list[int], b: list[int]) -> int:
    """As a textbook writes it."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return levenshtein(a[1:], b[1:])
    return 1 + min(levenshtein(a[1:], b), levenshtein(a, b[1:]), levenshtein(a[1:], b[1:]))


def test_frames_with_the_right_class_are_counted() -> None:
    found = frame_score(spans([("micro", 10, 19)]), spans([("micro", 15, 24)]), length=100)
    assert found == FrameScore(right=90, frames=100, edit_sum=100.0, videos=1)
    assert found.accuracy == 0.9


def test_a_frame_of_the_other_class_is_wrong() -> None:
    assert frame_score(spans([("micro", 10, 19)]), spans([("macro", 10, 19)]), length=100).right == 90


def test_where_classes_overlap_the_frame_is_micro() -> None:
    truths = spans([("macro", 0, 49), ("micro", 20, 29)])
    assert frame_score(truths, spans([("macro", 0, 49)]), length=100).right == 90
    assert frame_score(truths, spans([("macro", 0, 19), ("micro", 20, 29), ("macro", 30, 49)]), length=100).right == 100


def test_a_video_of_unknown_length_ends_with_its_last_expression() -> None:
    assert frame_score(spans([("micro", 10, 19)]), spans([("micro", 10, 39)]), length=None).frames == 40


def test_a_calm_video_in_which_nothing_is_predicted_is_right_throughout() -> None:
    assert frame_score((), (), length=50) == FrameScore(50, 50, 100.0, 1)


@pytest.mark.parametrize(
    ("shown", "told", "score"),
    [
        ([("micro", 0, 9), ("macro", 20, 49)], [("micro", 0, 9), ("macro", 20, 49)], 100),
        ([("micro", 0, 9), ("macro", 20, 49)], [("micro", 70, 79)], 50),
        ([("micro", 0, 9), ("macro", 20, 49)], [("macro", 0, 9), ("micro", 20, 49)], 0),
        ([("micro", 0, 9)], [], 0),
        ([("macro", 0, 40)], [("macro", 0, 9), ("macro", 15, 19), ("macro", 30, 40), ("micro", 60, 69)], 25),
        ([("macro", 0, 40)], [("macro", 0, 19), ("macro", 20, 40)], 100),
    ],
)
def test_the_edit_score_compares_the_order_of_segments(shown: list[Given], told: list[Given], score: float) -> None:
    assert frame_score(spans(shown), spans(told), 100).edit == score


@given(shown=SEQUENCES, told=SEQUENCES)
def test_the_edit_score_is_that_of_the_textbook(shown: Codes, told: Codes) -> None:
    longer = max(len(shown), len(told), 1)
    assert edit_score(shown, told) == pytest.approx(100 * (1 - levenshtein(shown.tolist(), told.tolist()) / longer))


def test_accuracy_is_over_all_frames_and_edit_over_videos() -> None:
    short = frame_score(spans([("micro", 0, 9)]), (), length=10)
    long = frame_score((), (), length=90)
    assert (short.accuracy, short.edit) == (0, 0)
    assert ((short + long).accuracy, (short + long).edit) == (0.9, 50)
