"""Stream time: by stamps, without stamps, and what is missing in it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livespot.capture.timeline import Timeline, with_gaps
from livespot.records import Gap
from tests.capture.media import frame_at

STAMPS = st.one_of(st.none(), st.floats(-10, 1000))


def test_time_is_that_of_the_stamps_from_zero() -> None:
    timeline = Timeline(0.04)
    assert [timeline.place(stamp_s, 0.0) for stamp_s in (5.0, 5.04, 5.07, 9.0)] == pytest.approx([0, 0.04, 0.07, 4.0])


@pytest.mark.parametrize("stamp_s", [None, 0.0, 7.0])
def test_stamps_that_are_missing_or_stand_still_give_way_to_the_other_clock(stamp_s: float | None) -> None:
    timeline = Timeline(0.04)
    assert [timeline.place(stamp_s, other_s) for other_s in (100.0, 100.05, 100.08)] == pytest.approx([0, 0.05, 0.08])


def test_a_repeated_stamp_is_put_half_an_interval_later() -> None:
    timeline = Timeline(0.04)
    times_s = [timeline.place(stamp_s, 0.0) for stamp_s in (1.0, 1.04, 1.04, 1.08)]
    assert times_s == pytest.approx([0, 0.04, 0.06, 0.08])


def test_a_new_start_follows_the_last_picture_by_one_interval() -> None:
    timeline = Timeline(0.04)
    first = [timeline.place(stamp_s, 0.0) for stamp_s in (0.0, 0.04)]
    timeline.restart()
    assert first + [timeline.place(stamp_s, 0.0) for stamp_s in (0.0, 0.04)] == pytest.approx([0, 0.04, 0.08, 0.12])


@given(st.lists(st.tuples(STAMPS, st.booleans()), max_size=50))
def test_time_always_increases(pictures: list[tuple[float | None, bool]]) -> None:
    timeline = Timeline(1 / 30)
    times_s = []
    for number, (stamp_s, restarts) in enumerate(pictures):
        if restarts:
            timeline.restart()
        times_s.append(timeline.place(stamp_s, number / 30))
    assert all(before < after for before, after in pairwise(times_s))


def test_a_jump_of_the_index_becomes_a_gap_before_the_next_frame() -> None:
    before, after = frame_at(0.1, index=3), frame_at(0.5, index=7)
    assert list(with_gaps([before, after])) == [before, Gap("cam0", 0.1, 0.5, "frames_lost", frames=3), after]


def test_frames_without_a_hole_pass_as_they_are() -> None:
    frames = [frame_at(0.1 * number, index=number) for number in range(5)]
    assert list(with_gaps(frames)) == frames


def test_a_new_epoch_becomes_a_gap_of_unknown_length() -> None:
    before, after = frame_at(0.1, index=3), frame_at(4.5, index=4, epoch=1)
    assert list(with_gaps([before, after])) == [before, Gap("cam0", 0.1, 4.5, "reconnect"), after]


def test_frames_already_told_as_dropped_are_not_told_again() -> None:
    before, after = frame_at(0.1, index=3), frame_at(0.5, index=7)
    dropped = Gap("cam0", 0.1, 0.5, "frames_dropped", frames=3)
    assert list(with_gaps([before, dropped, after])) == [before, dropped, after]


def test_what_was_lost_beyond_what_was_dropped_is_told() -> None:
    before, after = frame_at(0.1, index=3), frame_at(0.5, index=7)
    dropped = Gap("cam0", 0.1, 0.5, "frames_dropped", frames=1)
    lost = Gap("cam0", 0.1, 0.5, "frames_lost", frames=2)
    assert list(with_gaps([before, dropped, after])) == [before, dropped, lost, after]
