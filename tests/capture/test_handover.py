"""The hand-over between threads, with threads that really run. No test depends on how fast they run."""

import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livespot.capture.handover import HandOver, LiveHandOver
from livespot.capture.timeline import with_gaps
from livespot.records import Frame, Gap, Status
from tests.capture.media import frame_at

LONG_S = 60.0
PATIENCE_S = 10.0


def numbers(threads: set[int]) -> Iterator[int]:
    for number in range(1000):
        threads.add(threading.get_ident())
        yield number


def test_everything_arrives_in_order_from_another_thread() -> None:
    threads: set[int] = set()
    with HandOver(numbers(threads), capacity=3) as line:
        assert list(line) == list(range(1000))
        assert line.ended
    assert threads and threading.get_ident() not in threads


def test_the_producer_waits_while_the_line_is_full() -> None:
    made: list[int] = []
    enough = threading.Event()

    def make() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 4:
                enough.set()
            yield number

    with HandOver(make(), capacity=4) as line:
        assert enough.wait(PATIENCE_S)  # the fifth is made, but there is no room for it
        assert len(line) == 4
        assert made == [0, 1, 2, 3, 4]
        assert list(line) == list(range(100))


def test_leaving_ends_a_producer_that_waits_for_room() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with HandOver(endless(), capacity=2) as line:
        assert next(iter(line)) == 1
    assert line.ended
    assert line.take() == []
    assert closed.is_set()


def test_ctrl_c_does_not_wait_for_a_producer_that_is_silent() -> None:
    began, released = threading.Event(), threading.Event()

    def silent() -> Iterator[int]:
        began.set()
        released.wait(PATIENCE_S)
        yield 1

    def interrupted() -> None:
        with HandOver(silent(), capacity=1, name="silent"):
            assert began.wait(PATIENCE_S)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    [producer] = [thread for thread in threading.enumerate() if thread.name == "silent"]
    released.set()
    producer.join()


def test_stopping_the_first_of_two_ends_the_second_too() -> None:
    silent = threading.Event()

    def camera() -> Iterator[int]:
        yield 1
        silent.wait(PATIENCE_S)

    with HandOver(camera(), capacity=2) as frames, HandOver((2 * n for n in frames), capacity=2) as doubled:
        assert next(iter(doubled)) == 2
        frames.stop()  # the second waits for a frame that never comes
        assert list(doubled) == []
        silent.set()


def test_an_error_is_raised_in_the_consumer_after_what_came_before_it() -> None:
    def breaks() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("unplugged")

    with HandOver(breaks(), capacity=8) as line:
        iterator = iter(line)
        assert [next(iterator), next(iterator)] == [1, 2]
        with pytest.raises(OSError, match="unplugged"):
            next(iterator)
        assert line.ended


def test_taking_never_waits() -> None:
    go_on = threading.Event()

    def slow() -> Iterator[int]:
        go_on.wait(PATIENCE_S)
        yield 1

    with HandOver(slow(), capacity=2) as line:
        assert line.take() == []
        assert not line.ended
        go_on.set()
        assert list(line) == [1]


def test_one_consumer_waits_for_many_lines() -> None:
    ready = threading.Condition()
    taken: list[int] = []
    with HandOver(range(100), 3, ready) as low, HandOver(range(100, 200), 3, ready) as high:
        while not (low.ended and high.ended):
            with ready:
                ready.wait_for(lambda: low.waiting or high.waiting or (low.ended and high.ended))
            taken += low.take() + high.take()
    assert sorted(taken) == list(range(200))


def deliver(
    frames: Sequence[Frame | Gap | Status], capacity: int, staleness_s: float = LONG_S
) -> tuple[list[Frame | Gap | Status], int]:
    """What a consumer gets that looks only once the producer has ended."""
    ended = threading.Event()

    def produce() -> Iterator[Frame | Gap | Status]:
        yield from frames
        ended.set()

    with LiveHandOver(produce(), capacity, staleness_s) as line:
        assert ended.wait(PATIENCE_S)
        return list(line), line.dropped


def test_live_frames_that_are_taken_in_time_all_arrive() -> None:
    frames = [frame_at(number / 30, number) for number in range(5)]
    assert deliver(frames, capacity=5) == (frames, 0)


def test_a_full_line_is_dropped_and_leaves_a_gap() -> None:
    frames = [frame_at(float(number), number) for number in range(5)]
    items, dropped = deliver(frames, capacity=4)
    assert items == [Gap("cam0", 0.0, 4.0, "frames_dropped", frames=4), frames[4]]
    assert dropped == 4


def test_a_line_whose_head_is_stale_is_dropped_but_for_the_newest() -> None:
    stale = [frame_at(float(number), number, waited_s=LONG_S + 1) for number in range(3)]
    newest = frame_at(3.0, 3)
    items, dropped = deliver([*stale, newest], capacity=8)
    assert items == [Gap("cam0", 0.0, 3.0, "frames_dropped", frames=3), newest]
    assert dropped == 3


def test_what_a_source_tells_besides_frames_is_never_dropped() -> None:
    frames = [frame_at(float(number), number) for number in range(6)]
    stalled, jump = Status("cam0", "stalled", 1.0), Gap("cam0", 3.0, 4.0, "clock_jump", frames=0)
    items, dropped = deliver([frames[0], stalled, *frames[1:4], jump, *frames[4:]], capacity=4)
    hole = Gap("cam0", 0.0, 4.0, "frames_dropped", frames=4)
    assert items == [stalled, jump, hole, frames[4], frames[5]]
    assert dropped == 4


def test_frames_dropped_at_the_end_are_told_too() -> None:
    stale = [frame_at(float(number), number, waited_s=LONG_S + 1) for number in range(3)]
    assert deliver(stale, capacity=8) == ([Gap("cam0", 0.0, 2.0, "frames_dropped", frames=3)], 3)


def test_a_gap_begins_at_the_last_frame_that_was_delivered() -> None:
    first, *rest = [frame_at(float(number), number) for number in range(6)]
    taken, go_on = threading.Event(), threading.Event()

    def produce() -> Iterator[Frame]:
        yield first
        taken.wait(PATIENCE_S)
        yield from rest
        go_on.set()

    with LiveHandOver(produce(), capacity=4, staleness_s=LONG_S) as line:
        iterator = iter(line)
        assert next(iterator) is first
        taken.set()
        assert go_on.wait(PATIENCE_S)
        assert list(iterator) == [Gap("cam0", 0.0, 5.0, "frames_dropped", frames=4), rest[4]]


def test_the_error_of_a_live_source_follows_its_last_gap() -> None:
    def breaks() -> Iterator[Frame]:
        yield frame_at(0.0, waited_s=LONG_S + 1)
        raise OSError("unplugged")

    with LiveHandOver(breaks(), capacity=4, staleness_s=LONG_S) as line:
        iterator = iter(line)
        assert next(iterator) == Gap("cam0", 0.0, 0.0, "frames_dropped", frames=1)
        with pytest.raises(OSError, match="unplugged"):
            next(iterator)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(2, 10))
def test_every_frame_is_delivered_or_told(stale: list[bool], capacity: int) -> None:
    frames = [frame_at(number / 30, number, waited_s=LONG_S + 1 if late else 0.0) for number, late in enumerate(stale)]
    items, dropped = deliver(frames, capacity)
    delivered = [item for item in items if isinstance(item, Frame)]
    gaps = [item for item in items if isinstance(item, Gap)]
    assert len(delivered) + dropped == len(frames)
    assert sum(gap.frames or 0 for gap in gaps) == dropped
    assert list(with_gaps(items)) == items
