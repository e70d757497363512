"""Stream time: by stamps, without stamps, of clocks that jump, and what is missing in it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livespot.capture.source import Picture
from livespot.capture.timeline import (
    EARLY_S,
    FEWEST_FRAMES,
    MEASURED_FRAMES,
    WRAPS_S,
    LiveTimeline,
    Placed,
    Timeline,
    with_gaps,
)
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


FPS = 25.0
INTERVAL_S = 1 / FPS
NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


def pictures_of(shots: Iterable[tuple[float | None, float]]) -> list[Picture]:
    """Pictures from (stamp, arrival) in seconds."""
    return [Picture(NO_IMAGE, stamp_s, arrival_s) for stamp_s, arrival_s in shots]


def placed(*connections: Iterable[tuple[float | None, float]], interval_s: float = INTERVAL_S) -> list[Placed]:
    timeline = LiveTimeline(interval_s)
    found: list[Placed] = []
    for number, shots in enumerate(connections):
        if number:
            timeline.reset()
        for picture in pictures_of(shots):
            found += timeline.push(picture)
        found += timeline.flush()
    return found


def steady(frames: int, stamp_s: float = 0.0, arrival_s: float = 100.0, fps: float = FPS) -> list[tuple[float, float]]:
    return [(stamp_s + number / fps, arrival_s + number / fps) for number in range(frames)]


def jumps(found: Sequence[Placed]) -> list[int]:
    return [number for number, one in enumerate(found) if one.jumped]


def lost(found: Sequence[Placed]) -> dict[int, int]:
    return {number: one.lost for number, one in enumerate(found) if one.lost}


def times_s(found: Sequence[Placed]) -> list[float]:
    return [one.t_s for one in found]


def test_a_live_source_is_timed_by_its_stamps_from_zero() -> None:
    found = placed(steady(50, stamp_s=5.0))
    assert times_s(found) == pytest.approx([number / FPS for number in range(50)])
    assert (jumps(found), lost(found)) == ([], {})


def test_a_picture_that_comes_twice_is_left_out() -> None:
    shots = steady(20)
    found = placed([*shots[:10], (shots[9][0], shots[9][1] + 0.001), *shots[10:]])
    assert times_s(found) == pytest.approx([number / FPS for number in range(20)])


def test_pictures_that_were_lost_are_counted() -> None:
    shots = steady(40)
    found = placed(shots[:20] + shots[23:])
    assert lost(found) == {20: 3}
    assert found[20].t_s == pytest.approx(23 / FPS)


def test_a_burst_after_a_pause_is_no_hole_and_does_not_move_time() -> None:
    shots = [(stamp_s, max(arrival_s, 101.7) if stamp_s > 1.0 else arrival_s) for stamp_s, arrival_s in steady(80)]
    found = placed(shots)
    assert times_s(found) == pytest.approx([number / FPS for number in range(80)])
    assert (jumps(found), lost(found)) == ([], {})


@pytest.mark.parametrize("reset_s", [0.0, -3.0, 2.5, 7200.0])
def test_a_clock_that_begins_anew_or_jumps_is_followed_and_told(reset_s: float) -> None:
    found = placed(steady(20, 1.0) + steady(20, reset_s, 100 + 20 / FPS))
    assert times_s(found) == pytest.approx([number / FPS for number in range(40)])
    assert (jumps(found), lost(found)) == ([20], {})


def test_pictures_lost_while_the_clock_jumped_are_counted_by_arrival() -> None:
    found = placed(steady(20, 1.0) + steady(20, 7200.0, 100 + 30 / FPS))
    assert (jumps(found), lost(found)) == ([20], {20: 10})
    assert found[20].t_s == pytest.approx(30 / FPS)


def test_one_wrong_stamp_does_not_move_what_follows() -> None:
    shots = steady(40)
    shots[20] = (shots[17][0] + 0.01, shots[20][1])
    found = placed(shots)
    assert times_s(found) == pytest.approx([number / FPS for number in range(40)])


def test_a_clock_that_stood_still_in_a_pause_is_told_with_the_length_of_the_pause() -> None:
    found = placed(steady(50) + steady(80, 2.0, 100 + 2.0 + 2.4))
    [jump] = jumps(found)
    assert found[jump].t_s - found[jump - 1].t_s == pytest.approx(2.4 + INTERVAL_S)
    assert found[-1].t_s == pytest.approx(129 / FPS + 2.4)


@pytest.mark.parametrize("wrap_s", WRAPS_S)
def test_stamps_go_on_where_their_counter_wraps(wrap_s: float) -> None:
    found = placed([((wrap_s - 0.5 + t_s) % wrap_s, arrival_s) for t_s, arrival_s in steady(40)])
    assert times_s(found) == pytest.approx([number / FPS for number in range(40)], abs=1e-6)
    assert (jumps(found), lost(found)) == ([], {})


def test_a_rate_that_is_declared_wrong_is_measured() -> None:
    for declared_s in (1 / 100, 1 / 25, 1.0):
        timeline = LiveTimeline(declared_s)
        found = [one for picture in pictures_of(steady(40, fps=50)) for one in timeline.push(picture)]
        assert timeline.interval_s == pytest.approx(1 / 50)
        assert [number for number in lost(found) if number > FEWEST_FRAMES] == []


def test_a_rate_is_measured_where_half_of_the_first_pictures_are_lost() -> None:
    """Steps of one frame and of four: their median lies between the two groups."""
    timeline = LiveTimeline(1 / 30)
    shots = [(number / 30, 100 + number / 30) for number in (0, 1, 2, 6, 10)]
    times_s = [one.t_s for picture in pictures_of(shots) for one in timeline.push(picture)]
    assert times_s == pytest.approx([stamp_s for stamp_s, _ in shots])
    assert timeline.interval_s == pytest.approx(1 / 30)


def test_a_camera_that_halves_its_rate_in_the_dark_is_soon_believed() -> None:
    found = placed(steady(30) + steady(40, 30 / FPS, 100 + 30 / FPS, fps=FPS / 2))
    assert all(number < 30 + MEASURED_FRAMES for number in lost(found))
    assert found[-1].t_s == pytest.approx(30 / FPS + 39 * 2 / FPS)


@pytest.mark.parametrize("real_fps", [FPS / 2, FPS * 1.2])
def test_a_camera_that_counts_frames_at_another_rate_than_it_gives_them_is_corrected(real_fps: float) -> None:
    found = placed([(number / FPS, 100 + number / real_fps) for number in range(2500)])
    assert times_s(found[-1:])[0] - times_s(found[-2:])[0] == pytest.approx(1 / real_fps, rel=0.02)
    assert all(before.t_s < after.t_s for before, after in pairwise(found))
    assert (jumps(found), lost(found)) == ([], {})


@pytest.mark.parametrize("apart_s", [1.1, 1.5, 2.6, 2.9])
def test_a_camera_that_gives_less_than_a_picture_a_second_and_stamps_them_as_25_is_corrected(apart_s: float) -> None:
    timeline = LiveTimeline(INTERVAL_S)
    shots = pictures_of((number * INTERVAL_S, 100 + number * apart_s) for number in range(200))
    found = [one for picture in shots for one in timeline.push(picture)]
    assert all(before.t_s < after.t_s for before, after in pairwise(found))
    assert found[-1].t_s - found[-2].t_s == pytest.approx(apart_s, rel=0.02)
    assert timeline.interval_s == pytest.approx(apart_s, rel=0.02)


def test_bursts_and_drifting_clocks_do_not_look_like_another_rate() -> None:
    bursts = [
        (1.0001 * number / FPS, 100 + 12 * (number // 12) / FPS + 0.001 * (number % 12)) for number in range(2500)
    ]
    found = placed(bursts)
    assert times_s(found) == pytest.approx([1.0001 * number / FPS for number in range(2500)])
    assert (jumps(found), lost(found)) == ([], {})


def test_without_stamps_time_is_that_of_arrival_and_only_long_pauses_are_holes() -> None:
    shots = [(0.0, arrival_s) for _, arrival_s in steady(30)] + [(0.0, 101.66), (0.0, 101.7), (0.0, 104.7)]
    found = placed(shots)
    assert times_s(found) == pytest.approx([arrival_s - 100 for _, arrival_s in shots])
    assert list(lost(found)) == [32]


def test_what_waited_while_a_connection_opened_is_put_where_it_was_shot() -> None:
    """The second begins with a second of pictures at once, as FFmpeg gives them after it has looked at a stream."""
    late = [(stamp_s, max(arrival_s, 111.0)) for stamp_s, arrival_s in steady(50, 300.0, 110.0)]
    found = placed(steady(50), late)
    assert found[50].t_s == pytest.approx(10.0)
    assert found[-1].t_s == pytest.approx(10 + 49 / FPS)
    assert (jumps(found), lost(found)) == ([], {})


def test_pictures_older_than_the_last_of_the_connection_before_still_follow_it() -> None:
    found = placed(steady(50), steady(20, 0.0, 101.0))
    assert found[50].t_s == pytest.approx(50 / FPS)


@dataclass(frozen=True)
class Shot:
    """What becomes of a picture, and of those before it."""

    lost: int = 0
    """Pictures before this one that never arrive."""
    late_s: float = 0.0
    stamp_jitter: float = 0.0
    """Share of the interval."""
    twice: bool = False
    jump_s: float = 0.0
    """Of the source's clock, before this picture."""
    early: bool = False
    """One of the first of a connection: any may be lost."""


SHOTS = st.builds(
    Shot,
    lost=st.sampled_from([0] * 8 + [1, 2, 8, 40]),
    late_s=st.sampled_from([0.0, 0.001, 0.004, 0.3, 0.7]),
    stamp_jitter=st.floats(-0.1, 0.1),
    twice=st.sampled_from([False] * 5 + [True]),
)
JUMPS = st.builds(Shot, jump_s=st.floats(-1e4, -0.1) | st.floats(EARLY_S + 0.1, 1e4))
WARM_UPS = st.lists(st.builds(Shot, lost=st.sampled_from([0, 0, 1, 3]), early=st.just(True)), max_size=20)
CALM = [Shot()] * 30
"""So many pictures until the interval is known, or until a burst is over."""


def shown(shots: Sequence[Shot], start_s: float, wrap_s: float) -> Iterator[tuple[int, Picture, Shot]]:
    """What arrives of the shots: the number of each picture in truth, the picture, and what became of it."""
    number, arrival_s, clock_s, whole = -1, 0.0, start_s, 0
    for shot in shots:
        lost = shot.lost if whole >= 3 or shot.early else 0  # where every second is lost, the rate is half
        whole = 0 if lost else whole + 1
        number += 1 + lost
        clock_s += shot.jump_s
        arrival_s = max(arrival_s + 1e-5, 100 + number / FPS + shot.late_s)
        stamp_s = (clock_s + (number + shot.stamp_jitter) / FPS) % wrap_s
        for _ in range(1 + shot.twice):
            yield number, Picture(NO_IMAGE, stamp_s, arrival_s), shot


@settings(max_examples=60)
@given(
    WARM_UPS,
    st.lists(st.tuples(st.lists(SHOTS, max_size=40), JUMPS), min_size=1, max_size=3),
    st.sampled_from([0.01, 0.04, 0.1]),
    st.sampled_from([0.0, 1000.0, *(wrap_s - 2 for wrap_s in WRAPS_S)]),
    st.sampled_from([*WRAPS_S, 1e12]),
)
def test_time_increases_is_right_within_half_a_frame_and_tells_every_hole(
    warm_up: list[Shot], stretches: list[tuple[list[Shot], Shot]], declared_s: float, start_s: float, wrap_s: float
) -> None:
    """A lossy warm-up, jitter, drops, repeats, jumps, wraps, bursts and a wrong header.

    No burst is on its way where a clock jumps: then arrival is all there is.
    """
    shots = [*warm_up, *CALM, *(one for before, jump in stretches for one in (*before, *CALM, jump, *CALM))]
    timeline = LiveTimeline(declared_s)
    arrived = list(shown(shots, start_s, wrap_s))
    found = [one for _, picture, _ in arrived for one in timeline.push(picture)] + timeline.flush()
    truth = {id(picture): (number, shot) for number, picture, shot in arrived}
    numbers = [truth[id(one.picture)][0] for one in found]
    assert numbers == sorted({number for number, _, _ in arrived})
    assert all(before.t_s < after.t_s for before, after in pairwise(found))
    assert [one.t_s for one in found] == pytest.approx(
        [(number - numbers[0]) / FPS for number in numbers], abs=INTERVAL_S / 2
    )
    first = max(1, len(warm_up))  # the interval is not known before
    holes = [after - before - 1 for before, after in pairwise(numbers[first - 1 :])]
    assert [one.lost for one in found[first:]] == [
        pytest.approx(hole, abs=1 if hole > 8 else 0)
        for hole in holes  # an interval known to a percent or two
    ]
    assert [one.jumped for one in found] == [truth[id(one.picture)][1].jump_s != 0 for one in found]
