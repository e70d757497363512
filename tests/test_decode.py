from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import cos, pi
from weakref import ref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, group_delay, sos2tf, sosfilt, sosfilt_zi

from livespot.config import DecodeSettings
from livespot.decode import GRID_HZ, Decoder
from livespot.records import MAX_PAUSE_S, Calibration, Event, Gap, Scores

CALIBRATION = Calibration(cutoff_hz=5.0, micro_threshold=0.4, macro_threshold=0.5)
DEFAULTS = DecodeSettings()
Signal = Callable[[float], float]


def decoder(chosen: DecodeSettings = DEFAULTS) -> Decoder:
    return Decoder(chosen, CALIBRATION, source="cam", face=3)


def scores(t_s: float, index: int, micro: float, macro: float) -> Scores:
    return Scores(micro, macro, face=3, source="cam", index=index, t_s=t_s, arrival_s=1000.0 + t_s)


def gap(from_s: float, to_s: float) -> Gap:
    return Gap("cam", from_s, to_s, "face_lost", face=3)


def calm(_t_s: float) -> float:
    return 0.1


def bump(from_s: float, to_s: float, height: float = 0.9, rest: float = 0.1) -> Signal:
    """A raised cosine over [from_s, to_s]: half height a quarter in from either end."""

    def at(t_s: float) -> float:
        inside = from_s <= t_s <= to_s
        return rest + inside * (height - rest) * (1 - cos(2 * pi * (t_s - from_s) / (to_s - from_s))) / 2

    return at


def box(from_s: float, to_s: float, height: float = 0.9, rest: float = 0.1) -> Signal:
    return lambda t_s: height if from_s <= t_s < to_s else rest


def highest(*signals: Signal) -> Signal:
    return lambda t_s: max(signal(t_s) for signal in signals)


def of_class(name: str, signal: Signal) -> tuple[Signal, Signal]:
    return (signal, calm) if name == "micro" else (calm, signal)


def sampled(fps: float, to_s: float, micro: Signal, macro: Signal = calm, from_s: float = 0.0) -> list[Scores]:
    times = [from_s + i / fps for i in range(int((to_s - from_s) * fps))]
    return [scores(t_s, i, micro(t_s), macro(t_s)) for i, t_s in enumerate(times, start=round(from_s * fps))]


def events_of(stage: Decoder, items: Iterable[Scores | Gap]) -> list[Event]:
    return [event for item in items for event in stage.push(item)] + stage.flush()


def closed(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.phase == "close"]


def span(event: Event) -> tuple[float, float]:
    assert event.offset_s is not None
    return event.onset_s, event.offset_s


def test_calm_scores_give_nothing() -> None:
    assert events_of(decoder(), sampled(30, 10, calm)) == []


@pytest.mark.parametrize("fps", [25, 29.97, 30, 60, 200])
def test_times_are_those_of_the_score_itself_with_the_delay_of_the_filter_taken_off(fps: float) -> None:
    (event,) = closed(events_of(decoder(), sampled(fps, 6, calm, bump(2.0, 4.0))))
    level = (0.6 * CALIBRATION.macro_threshold - 0.1) / 0.8
    rise_s = np.arccos(1 - 2 * level) / np.pi
    assert event.onset_s == pytest.approx(2 + rise_s, abs=0.01 + 0.5 / fps)
    assert event.apex_s == pytest.approx(3.0, abs=0.01 + 0.5 / fps)
    assert event.offset_s == pytest.approx(4 - rise_s, abs=0.01 + 0.5 / fps)
    assert event.confidence == pytest.approx(0.9, abs=0.02)
    assert (event.onset_frame, event.apex_frame) == (round(event.onset_s * fps), round(event.apex_s * fps))
    assert event.offset_frame == round(span(event)[1] * fps)


@pytest.mark.parametrize("class_that_rose", ["micro", "macro"])
@pytest.mark.parametrize(("to_s", "expected"), [(2.35, "micro"), (3.5, "macro")])
def test_the_type_is_the_duration_and_not_the_class_that_rose(class_that_rose: str, to_s: float, expected: str) -> None:
    (event,) = closed(events_of(decoder(), sampled(100, 6, *of_class(class_that_rose, box(2.0, to_s)))))
    assert event.type == expected


def test_half_a_second_of_frames_is_still_micro() -> None:
    chosen = DecodeSettings(cutoff_hz=60, micro_threshold=0.5, hysteresis=1)
    first = next(i for i in range(50, 200) if (i + 15) / 30 - i / 30 > 0.5)
    for frames, expected in ((15, "micro"), (16, "macro")):
        values = [0.0] * first + [0.5] + [1.0] * (frames - 1) + [0.5] + [0.0] * 30
        (event,) = closed(events_of(decoder(chosen), [scores(i / 30, i, x, 0) for i, x in enumerate(values)]))
        assert (event.onset_frame, event.offset_frame, event.type) == (first, first + frames, expected)


def test_phases_are_open_update_close_of_one_id() -> None:
    events = events_of(decoder(), sampled(30, 6, calm, bump(2.0, 4.0)))
    assert [event.phase for event in events] == ["open", "update", "close"]
    assert {event.id for event in events} == {"cam-3-0"}
    assert {(event.source, event.face) for event in events} == {("cam", 3)}
    assert [event.offset_s is None for event in events] == [True, True, False]


def test_open_is_micro_until_it_has_lasted_longer() -> None:
    events = events_of(decoder(), sampled(30, 6, calm, bump(2.0, 4.0)))
    assert [event.type for event in events] == ["micro", "macro", "macro"]


def test_phases_are_told_as_soon_as_they_are_certain() -> None:
    chosen = DecodeSettings(min_s=0.1, merge_s=0.12)
    stage = decoder(chosen)
    opened, _, close = events_of(stage, sampled(100, 6, box(2.0, 2.4)))
    assert opened.latency_s == pytest.approx(0.1 + stage.latency_s, abs=0.02)
    assert close.latency_s == pytest.approx(0.12 + stage.latency_s, abs=0.02)
    assert opened.decided_s == pytest.approx(2.0 + 0.1 + stage.latency_s, abs=0.05)
    assert opened.arrival_s == 1000.0 + opened.decided_s


def test_the_apex_is_told_again_only_after_a_higher_one() -> None:
    lower_then_higher = highest(bump(2, 3, 0.7), bump(2.6, 3.6, 0.95))
    higher_then_lower = highest(bump(2, 3, 0.95), bump(2.6, 3.6, 0.7))
    for signal, apexes_s in ((lower_then_higher, [2.5, 3.1]), (higher_then_lower, [2.5])):
        events = events_of(decoder(), sampled(60, 6, signal))
        told = [event.apex_s for event in events if event.phase == "update"]
        assert told == pytest.approx(apexes_s, abs=0.05)
        assert len(closed(events)) == 1 and closed(events)[0].apex_s == told[-1]


def test_a_rise_shorter_than_the_minimum_is_no_event() -> None:
    chosen = DecodeSettings(min_s=0.3, cutoff_hz=20)
    assert events_of(decoder(chosen), sampled(100, 5, box(2.0, 2.25))) == []
    assert len(closed(events_of(decoder(chosen), sampled(100, 5, box(2.0, 2.35))))) == 1


def test_a_short_dip_does_not_end_an_event_and_a_long_one_does() -> None:
    chosen = DecodeSettings(merge_s=0.12, cutoff_hz=20)
    short = highest(box(2.0, 2.5), box(2.58, 3.0))
    long = highest(box(2.0, 2.5), box(2.7, 3.0))
    (merged,) = closed(events_of(decoder(chosen), sampled(100, 6, short)))
    assert span(merged) == pytest.approx((2.0, 3.0), abs=0.02)
    first, second = closed(events_of(decoder(chosen), sampled(100, 6, long)))
    assert span(first) == pytest.approx((2.0, 2.5), abs=0.02)
    assert span(second) == pytest.approx((2.7, 3.0), abs=0.02)
    assert [first.id, second.id] == ["cam-3-0", "cam-3-1"]


def test_classes_that_overlap_are_one_event() -> None:
    (event,) = closed(events_of(decoder(), sampled(60, 6, box(2.0, 3.0, 0.6), bump(1.9, 3.5))))
    assert span(event) == pytest.approx((2.0, 3.23), abs=0.05)
    assert (event.apex_s, event.confidence) == pytest.approx((2.7, 0.9), abs=0.05)


def test_a_class_between_its_thresholds_does_not_keep_an_event_open() -> None:
    hovering = box(1.0, 5.0, height=0.8 * CALIBRATION.macro_threshold)
    (event,) = closed(events_of(decoder(), sampled(60, 6, box(2.0, 2.4), hovering)))
    assert span(event) == pytest.approx((2.0, 2.4), abs=0.05)


def test_an_onset_is_not_traced_back_through_a_score_that_hovers() -> None:
    signal = highest(box(0.5, 9.0, 0.3), box(5.0, 5.3))
    (event,) = closed(events_of(decoder(), sampled(60, 7, signal)))
    assert event.onset_s == pytest.approx(4.5, abs=0.05)


def test_the_longest_event_is_cut_off_and_opens_again_only_after_a_fall() -> None:
    chosen = DecodeSettings(max_s=2.0)
    events = events_of(decoder(chosen), sampled(30, 9, highest(box(1.0, 6.0), box(7.0, 7.5))))
    first, second = closed(events)
    assert first.truncated and not second.truncated
    assert span(first) == pytest.approx((1.0, 3.0), abs=0.05)
    assert first.decided_s == pytest.approx(3.0, abs=0.15)
    assert span(second) == pytest.approx((7.0, 7.5), abs=0.05)


def test_after_a_cut_off_the_other_class_has_to_fall_as_well() -> None:
    chosen = DecodeSettings(max_s=2.0)
    hovering_then_high = highest(box(1.0, 6.0, height=0.8 * CALIBRATION.macro_threshold), box(4.0, 5.0))
    (event,) = closed(events_of(decoder(chosen), sampled(30, 9, box(1.0, 3.5), hovering_then_high)))
    assert span(event) == pytest.approx((1.0, 3.0), abs=0.05)


def test_the_end_of_one_class_does_not_make_the_other_wait() -> None:
    hovering_then_high = highest(box(1.0, 5.0, height=0.8 * CALIBRATION.macro_threshold), box(3.0, 4.0))
    first, second = closed(events_of(decoder(), sampled(60, 6, box(2.0, 2.4), hovering_then_high)))
    assert span(first) == pytest.approx((2.0, 2.4), abs=0.05)
    assert span(second) == pytest.approx((2.5, 5.0), abs=0.1)


def test_a_gap_closes_what_is_open_at_the_last_score() -> None:
    shown = sampled(30, 3, box(2.0, 4.0))
    events = events_of(decoder(), [*shown, gap(shown[-1].t_s, 3.5), *sampled(30, 6, calm, from_s=3.5)])
    assert [event.phase for event in events] == ["open", "close"]
    assert events[1].truncated
    assert (events[1].offset_s, events[1].offset_frame) == (shown[-1].t_s, shown[-1].index)
    assert events[1].decided_s == shown[-1].t_s


def test_a_gap_in_a_dip_closes_where_the_score_fell() -> None:
    chosen = DecodeSettings(merge_s=0.5, cutoff_hz=20)
    shown = sampled(100, 3.3, box(2.0, 3.0))
    close = closed(events_of(decoder(chosen), [*shown, gap(3.3, 4.0)]))
    assert span(close[0]) == pytest.approx((2.0, 3.0), abs=0.02) and not close[0].truncated


def test_a_gap_before_an_event_is_certain_drops_it() -> None:
    chosen = DecodeSettings(min_s=0.5, cutoff_hz=20)
    assert events_of(decoder(chosen), sampled(30, 2.3, box(2.0, 4.0))) == []


def test_an_onset_is_not_traced_back_into_the_event_before() -> None:
    hovering_then_high = highest(box(1.0, 5.0, height=0.8 * CALIBRATION.macro_threshold), box(2.7, 3.0))
    first, second = closed(events_of(decoder(), sampled(60, 6, box(2.0, 2.4), hovering_then_high)))
    assert second.onset_s == span(first)[1] == pytest.approx(2.4, abs=0.05)


def test_what_a_stream_starts_with_has_lasted_since_its_first_frame_and_not_longer() -> None:
    chosen = DecodeSettings(min_s=0.1, cutoff_hz=5)
    assert events_of(decoder(chosen), sampled(100, 13, box(10.0, 10.07), from_s=10.0)) == []
    assert len(closed(events_of(decoder(chosen), sampled(100, 13, box(10.0, 10.13), from_s=10.0)))) == 1


def test_an_event_of_no_whole_frame_is_not_told() -> None:
    chosen = DecodeSettings(min_s=0.01, cutoff_hz=40, micro_threshold=0.9, hysteresis=1)
    assert events_of(decoder(chosen), sampled(4, 2, box(1.75, 2.0, 1.0))) == []


def test_at_few_frames_a_second_the_offset_still_comes_after_the_apex() -> None:
    chosen = DecodeSettings(min_s=0.05, cutoff_hz=40, micro_threshold=0.9, hysteresis=1)
    (event,) = closed(events_of(decoder(chosen), sampled(4, 4, box(1.75, 2.0, 1.0))))
    assert (event.onset_frame, event.apex_frame, event.offset_frame) == (7, 7, 8)


def test_after_a_gap_the_filter_starts_anew() -> None:
    stage = decoder()
    events_of(stage, sampled(30, 2, box(1.0, 2.0)))
    stage.push(scores(5.0, 150, 0.25, 0.0625))
    assert stage.smoothed == pytest.approx((0.25, 0.0625), abs=1e-12)


def test_a_long_pause_is_a_gap() -> None:
    shown = [*sampled(30, 3, box(2.0, 9.0)), *sampled(30, 6, box(2.0, 4.4), from_s=3.0 + MAX_PAUSE_S)]
    first, second = closed(events_of(decoder(), shown))
    assert first.truncated and first.offset_frame == 89
    assert second.onset_frame == round((3.0 + MAX_PAUSE_S) * 30) and not second.truncated


def test_a_pause_that_is_only_just_short_enough_is_none_whatever_float_arithmetic_makes_of_it() -> None:
    after_s = 31 / 30
    assert after_s - 16 / 30 > MAX_PAUSE_S
    shown = [*sampled(30, 17 / 30, box(0.3, 2.0)), *sampled(30, 3, box(0.3, 2.0), from_s=after_s)]
    (event,) = closed(events_of(decoder(), shown))
    assert not event.truncated


def test_the_start_of_a_stream_is_no_rise() -> None:
    stage = decoder()
    for item in sampled(30, 3, lambda _: 0.39, lambda _: 0.49):
        assert stage.push(item) == []
        assert stage.smoothed == pytest.approx((0.39, 0.49), abs=1e-9)


def test_a_stream_that_starts_within_an_expression_opens_at_its_first_frame() -> None:
    (event,) = closed(events_of(decoder(), sampled(30, 3, box(0.0, 1.0))))
    assert (event.onset_s, event.onset_frame) == (0.0, 0)
    assert event.offset_s == pytest.approx(1.0, abs=0.05)


def test_settings_go_before_calibration() -> None:
    stage = decoder()
    assert stage.thresholds == (0.4, 0.5)
    chosen = decoder(DecodeSettings(micro_threshold=0.8, macro_threshold=0.1, cutoff_hz=2.0))
    assert chosen.thresholds == (0.8, 0.1)
    assert chosen.latency_s > 2 * stage.latency_s


def test_ids_are_not_used_again_after_a_reset() -> None:
    stage = decoder()
    shown = sampled(30, 3, box(1.0, 2.0))
    first = closed(events_of(stage, shown))
    stage.reset()
    assert [event.id for event in first + closed(events_of(stage, shown))] == ["cam-3-0", "cam-3-1"]


def test_a_reset_tells_nothing_of_what_was_open() -> None:
    stage = decoder()
    opened = [event for item in sampled(30, 2, box(1.0, 2.0)) for event in stage.push(item)]
    stage.reset()
    assert [event.phase for event in opened] == ["open"] and stage.flush() == []


def test_scores_that_do_not_advance_are_the_callers_mistake() -> None:
    stage = decoder()
    stage.push(scores(1.0, 30, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"scores at 1\.0 s came after those at 1\.0 s"):
        stage.push(scores(1.0, 31, 0.0, 0.0))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0.5, 60), st.integers(0, 10**7))
def test_smoothing_is_scipys_butterworth_on_the_grid(values: list[float], cutoff_hz: float, first: int) -> None:
    stage = decoder(DecodeSettings(cutoff_hz=cutoff_hz, micro_threshold=1, macro_threshold=1))
    smoothed = []
    for i, value in enumerate(values, start=first):
        stage.push(scores(i / GRID_HZ, i, value, 1 - value))
        smoothed.append(stage.smoothed)
    sos = butter(2, cutoff_hz, fs=GRID_HZ, output="sos")
    both = np.array([values, [1 - value for value in values]])
    expected, _ = sosfilt(sos, both, zi=sosfilt_zi(sos)[:, None] * both[None, :, :1])
    np.testing.assert_allclose(np.transpose(smoothed), expected, atol=1e-9)


def test_the_declared_delay_is_that_of_the_filter_for_slow_scores() -> None:
    sos = butter(2, CALIBRATION.cutoff_hz, fs=GRID_HZ, output="sos")
    _, samples = group_delay(sos2tf(sos), w=[1e-3])
    assert decoder().latency_s == pytest.approx(samples[0] / GRID_HZ, rel=1e-3)


def test_old_scores_are_forgotten() -> None:
    stage = decoder()
    shown = sampled(30, 10, box(2.0, 4.0))
    first = ref(shown[0])
    while shown:
        stage.push(shown.pop(0))
    assert first() is None


def test_an_event_after_an_hour_is_where_it_was_shown() -> None:
    (event,) = closed(events_of(decoder(), sampled(25, 3603, box(3600.0, 3600.4))))
    assert span(event) == pytest.approx((3600.0, 3600.4), abs=0.05)
    assert event.onset_frame == round(event.onset_s * 25)


@st.composite
def shows(draw: st.DrawFn) -> Signal:
    """Expressions far enough apart and high enough that no rule is a matter of one frame."""
    signals: list[Signal] = [calm]
    t_s = 0.0
    for _ in range(draw(st.integers(1, 4))):
        from_s = t_s + draw(st.floats(0.8, 2.0))
        t_s = from_s + draw(st.one_of(st.floats(0.45, 0.7), st.floats(1.2, 3.5)))
        signals.append(bump(from_s, t_s, draw(st.floats(0.75, 1.0))))
    return highest(*signals)


@settings(max_examples=30, deadline=None)
@given(shows(), st.sampled_from(["micro", "macro"]))
def test_the_frame_rate_does_not_change_events(show: Signal, class_that_rises: str) -> None:
    signals = of_class(class_that_rises, show)
    by_rate = {fps: closed(events_of(decoder(), sampled(fps, 18, *signals))) for fps in (25, 30, 60, 200)}
    for fps, events in by_rate.items():
        assert len(events) == len(by_rate[200]) > 0
        for event, reference in zip(events, by_rate[200], strict=True):
            assert np.abs(np.subtract(span(event), span(reference))).max() <= 1 / fps
            assert abs(event.apex_s - reference.apex_s) <= 1 / fps
            assert event.confidence == pytest.approx(reference.confidence, abs=0.03)


SETTINGS = st.builds(
    DecodeSettings,
    cutoff_hz=st.floats(0.5, 40),
    micro_threshold=st.floats(0.05, 0.95),
    macro_threshold=st.floats(0.05, 0.95),
    hysteresis=st.floats(0.1, 1),
    min_s=st.floats(0.01, 0.3),
    micro_max_s=st.floats(0.3, 0.6),
    max_s=st.floats(0.6, 3),
    merge_s=st.floats(0, 0.6),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Scores | Gap]:
    """Stretches of constant scores, at any frame rate, with lost frames, pauses and gaps between."""
    items: list[Scores | Gap] = []
    t_s, index = draw(st.floats(0, 1e5)), 0
    for _ in range(draw(st.integers(1, 12))):
        interval_s = draw(st.sampled_from([1 / 5, 1 / 12, 1 / 25, 1 / 29.97, 1 / 30, 1 / 60, 1 / 200, 1 / 500]))
        micro, macro = draw(st.sampled_from([0.0, 0.3, 0.6, 1.0])), draw(st.floats(0, 1))
        for _ in range(draw(st.integers(1, 60))):
            items.append(scores(t_s, index, micro, macro))
            t_s, index = t_s + interval_s, index + 1
        lost = draw(st.sampled_from([0, 0, 1, 3, 30]))
        if lost and draw(st.booleans()):
            items.append(gap(t_s, t_s + lost * interval_s))
        t_s, index = t_s + lost * interval_s, index + lost
    return items


@settings(max_examples=200, deadline=None)
@given(SETTINGS, streams())
def test_whatever_comes_events_are_sound(chosen: DecodeSettings, items: list[Scores | Gap]) -> None:
    pushed = {item.index: item.t_s for item in items if isinstance(item, Scores)}
    intervals_s = np.diff(list(pushed.values())) if len(pushed) > 1 else np.array([0.0])
    frame_s = float(intervals_s[intervals_s <= MAX_PAUSE_S].max(initial=0.0))
    events = events_of(decoder(chosen), items)
    assert_frames_were_pushed(events, pushed)
    assert_phases_are_in_order(events)
    assert_events_do_not_overlap(closed(events))
    for event in closed(events):
        onset_s, offset_s = span(event)
        # told at frames: either end may lie up to one interval from where the score crossed
        assert chosen.min_s - frame_s - 1e-6 <= offset_s - onset_s <= chosen.max_s + 2 * frame_s + 1e-6
        assert event.truncated or frame_s > 1 / 25 or event.apex_s < offset_s
        assert event.type == ("micro" if offset_s - onset_s <= chosen.micro_max_s + 1e-6 else "macro")


def assert_frames_were_pushed(events: Sequence[Event], pushed: dict[int, float]) -> None:
    for event in events:
        assert pushed[event.onset_frame] == event.onset_s
        assert pushed[event.apex_frame] == event.apex_s
        assert event.onset_s <= event.apex_s <= event.decided_s
        assert 0 <= event.confidence <= 1
        if event.offset_frame is not None:
            assert pushed[event.offset_frame] == event.offset_s
            assert event.onset_frame <= event.apex_frame <= event.offset_frame
            assert event.onset_frame < event.offset_frame


def assert_phases_are_in_order(events: Sequence[Event]) -> None:
    ids = list(dict.fromkeys(event.id for event in events))
    assert ids == [f"cam-3-{n}" for n in range(len(ids))]
    told = [[event for event in events if event.id == one] for one in ids]
    assert [event for phases in told for event in phases] == list(events)
    for phases in told:
        assert [event.phase for event in phases] == ["open", *["update"] * (len(phases) - 2), "close"]
        assert len({event.onset_frame for event in phases}) == 1
        assert all(a.confidence <= b.confidence for a, b in pairwise(phases))


def assert_events_do_not_overlap(events: Sequence[Event]) -> None:
    for event, following in pairwise(events):
        assert span(event)[1] <= following.onset_s
