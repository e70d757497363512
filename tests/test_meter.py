"""What a run counts, from steps and times that a test makes."""

from dataclasses import replace

import pytest

from livespot.meter import LATENCY_FRAMES, RATE_FRAMES, RATE_S, Durations, Meter
from livespot.metrics import BUCKETS_S, HOUR_S, STAGES, LastHour, SourceMetrics
from livespot.pipeline import Load, Step, Told
from livespot.records import Frame
from tests.films import BLANK, FPS
from tests.publish.examples import CLOSE, LOST_FACE, LOST_FRAMES, OPEN, RUNNING

LOAD = Load(frames=3, faces=1, dropped=6, reader_pid=None)


def step(index: int = 0, arrival_s: float = 0.0, source: str = "cam1", told: tuple[Told, ...] = ()) -> Step:
    return Step(source, Frame(BLANK, source, index, index / FPS, arrival_s), told=told, passed_s=(arrival_s,) * 6)


def read(meter: Meter, now_s: float) -> SourceMetrics:
    return meter.sources["cam1"].read(LOAD, None, now_s)


def test_a_meter_counts_frames_closed_events_and_gaps() -> None:
    meter = Meter()
    meter.count(step(told=(RUNNING, OPEN)), 0.0)
    meter.count(step(1, told=(CLOSE, LOST_FRAMES)), 0.1)
    meter.count(Step("cam1", told=(LOST_FRAMES,)), 0.2)
    assert (meter.frames, meter.events, meter.gaps) == (2, 1, 2)


def test_a_meter_tells_the_speed_of_the_last_frames_of_all_sources() -> None:
    meter = Meter()
    assert meter.fps == 0.0
    meter.count(step(), 0.0)
    assert meter.fps == 0.0
    for number in range(2 * RATE_FRAMES):
        meter.count(step(number, source=f"cam{number % 2}"), 100.0 + number / 60)
    assert meter.fps == pytest.approx(60)


def test_a_meter_tells_the_latency_that_a_share_of_the_last_frames_kept_below() -> None:
    meter = Meter()
    assert meter.latency_ms() == 0.0
    for number in range(LATENCY_FRAMES):
        meter.count(step(number, arrival_s=10.0), 10.0 + 9.0)
    for number in range(LATENCY_FRAMES):
        meter.count(step(number, arrival_s=10.0), 10.0 + number / 1000)
    assert meter.latency_ms() == pytest.approx(500)
    assert meter.latency_ms(0.99) == pytest.approx(990)
    assert meter.latency_ms(1.0) == pytest.approx(999)


def test_each_source_is_counted_for_itself() -> None:
    meter = Meter()
    for number in range(6):
        meter.count(step(number, source=f"cam{number % 3 // 2 + 1}", told=(LOST_FRAMES,)), 1.0)
    assert {name: one.frames for name, one in meter.sources.items()} == {"cam1": 4, "cam2": 2}
    assert [sum(one.gaps.values()) for one in meter.sources.values()] == [4, 2]


def test_gaps_are_counted_by_reason_with_their_length_and_events_by_type_when_they_close() -> None:
    meter = Meter()
    meter.count(step(told=(LOST_FRAMES, LOST_FACE, OPEN, CLOSE)), 1.0)
    meter.count(step(1, told=(LOST_FRAMES, replace(CLOSE, type="macro"), replace(CLOSE, type="macro"))), 1.0)
    one = read(meter, 1.0)
    assert one.gaps == {
        "frames_lost": 0,
        "frames_dropped": 2,
        "face_lost": 1,
        "reconnect": 0,
        "clock_jump": 0,
        "not_scored": 0,
    }
    assert one.gap_s["frames_dropped"] == pytest.approx(0.4)
    assert one.gap_s["face_lost"] == pytest.approx(1.5)
    assert one.events == {"micro": 1, "macro": 2}


def test_what_waits_and_was_dropped_is_as_of_the_reading() -> None:
    meter = Meter()
    meter.count(step(), 1.0)
    assert (read(meter, 1.0).dropped_frames, read(meter, 1.0).queues) == (6, {"frames": 3, "faces": 1})


def test_the_stages_of_a_frame_add_up_to_its_latency() -> None:
    meter = Meter()
    passed_s = (10.001, 10.011, 10.012, 10.015, 10.035, 10.036)
    meter.count(replace(step(arrival_s=10.0), passed_s=passed_s), 10.1)
    one = read(meter, 10.2)
    took_ms = {stage: round(1000 * took.sum_s) for stage, took in one.stages.items()}
    assert took_ms == {"wait": 1, "align": 10, "queue": 1, "method": 3, "score": 20, "decode": 1, "publish": 64}
    assert tuple(took_ms) == STAGES
    assert one.latency.p50_s == pytest.approx(0.1)
    assert sum(took.sum_s for took in one.stages.values()) == pytest.approx(one.latency.sum_s)


def test_a_state_lasts_from_its_first_telling_on() -> None:
    meter = Meter()
    meter.count(Step("cam1", told=(RUNNING,)), 5.0)
    meter.count(Step("cam1", told=(replace(RUNNING, detail="still"),)), 7.0)
    assert (read(meter, 8.0).state_s, read(meter, 8.0).detail) == (3.0, "still")
    meter.count(Step("cam1", told=(replace(RUNNING, state="stalled"),)), 9.0)
    assert (read(meter, 9.5).state, read(meter, 9.5).state_s) == ("stalled", 0.5)


def test_a_source_that_is_not_running_has_no_face_in_view() -> None:
    meter = Meter()
    meter.count(step(told=(RUNNING,)), 1.0)
    meter.sources["cam1"].faces = 2
    meter.count(Step("cam1", told=(replace(RUNNING, detail="still"),)), 1.1)
    assert meter.faces == {"cam1": 2}
    meter.count(Step("cam1", told=(replace(RUNNING, state="waiting"),)), 1.2)
    assert meter.faces == {"cam1": 0}


def test_reconnects_and_stalls_are_told_in_all_and_of_the_last_hour() -> None:
    meter = Meter()
    for number in range(1, 5):
        meter.count(Step("cam1", told=(replace(RUNNING, reconnects=number, stalls=2 * number),)), 1000.0 * number)
    one = read(meter, 1000.0 + HOUR_S)
    assert (one.reconnects, one.stalls, one.reconnects_per_hour, one.stalls_per_hour) == (4, 8, 3, 6)
    assert read(meter, 4001.0 + HOUR_S).stalls_per_hour == 0


def test_frames_per_second_of_a_source_fall_when_it_falls_silent() -> None:
    meter = Meter()
    for number in range(600):
        meter.count(step(number), number / 30)
    assert read(meter, 599 / 30).fps == pytest.approx(30)
    assert read(meter, 599 / 30 + RATE_S / 2).fps == pytest.approx(15, rel=0.02)
    assert read(meter, 599 / 30 + RATE_S).fps == 0.0


def test_durations_are_counted_in_the_bucket_that_they_just_fit() -> None:
    durations = Durations()
    for took_s in (0.0, 0.001, 0.0011, 2.5, 99.0):
        durations.push(took_s)
    spread = durations.spread()
    assert (spread.counts[0], spread.counts[1], spread.counts[-2], spread.counts[-1]) == (2, 1, 1, 1)
    assert (len(spread.counts), spread.cumulative[-1]) == (len(BUCKETS_S) + 1, 5)
    assert spread.sum_s == pytest.approx(101.5021)


def test_nothing_is_told_to_have_taken_no_time() -> None:
    assert (Durations().spread().p99_s, Durations().spread().cumulative[-1]) == (0.0, 0)


def test_what_happened_an_hour_ago_counts_no_more() -> None:
    lately = LastHour()
    for now_s in (0.0, 1.0, 2.0):
        lately.push(now_s)
    assert (lately.count(HOUR_S - 1), lately.count(HOUR_S), lately.count(HOUR_S + 5)) == (3, 2, 0)
