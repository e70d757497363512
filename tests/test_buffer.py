from collections.abc import Sequence
from fractions import Fraction
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livespot.buffer import RECENT_INTERVALS, ROUNDING_S, ClipBuffer
from livespot.records import Clip, ClipSpec, Face

SPEC = ClipSpec((0.2, 0.8))


def face(t_s: float, index: int) -> Face:
    return Face(
        crop=np.zeros((112, 112), np.uint8),
        landmarks=np.zeros((468, 2), np.float32),
        transform=np.eye(2, 3),
        face=5,
        source="cam",
        index=index,
        t_s=t_s,
        arrival_s=1000.0 + t_s,
    )


def patch(index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A patch that says which frame it is of."""
    return np.full((112, 112), index, np.float32)


def clips_of(buffer: ClipBuffer, times_s: Sequence[float], first: int = 0) -> list[Clip]:
    numbered = enumerate(times_s, start=first)
    return [clip for index, t_s in numbered for clip in buffer.push(face(t_s, index), patch(index))]


def references_of(clip: Clip) -> list[int]:
    """Frame number of the reference in each stream; checks that the pictures are whole and the rest is current."""
    pairs = clip.inputs["clips"]
    assert (pairs == pairs[:, :, :1, :1]).all()
    assert (pairs[:, 1] == clip.index).all()
    return [int(number) for number in pairs[:, 0, 0, 0]]


def steady(fps: float | Fraction, to_s: float) -> list[float]:
    return [float(i / fps) for i in range(round(to_s * fps))]


@pytest.mark.parametrize(
    ("fps", "frames_back"),
    [(25, [5, 20]), (Fraction(30000, 1001), [6, 24]), (30, [6, 24]), (60, [12, 48]), (200, [40, 160])],
)
def test_references_lie_the_same_seconds_back_at_any_frame_rate(fps: float, frames_back: list[int]) -> None:
    clips = clips_of(ClipBuffer(SPEC), steady(fps, 2))
    assert [clip.index for clip in clips] == list(range(frames_back[1], round(2 * fps)))
    assert all(references_of(clip) == [clip.index - back for back in frames_back] for clip in clips)


@pytest.mark.parametrize("fps", [24, 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 60, 120, 144, 200, 240])
@pytest.mark.parametrize("spec", [SPEC, ClipSpec((1 / 6, 0.75)), ClipSpec((0.185, 1.085))])
def test_timestamps_in_milliseconds_cost_no_clip(fps: Fraction, spec: ClipSpec) -> None:
    times_s = [round(t_s, 3) for t_s in steady(fps, 4)]
    clips = clips_of(ClipBuffer(spec), times_s)
    first = next(i for i, t_s in enumerate(times_s) if t_s >= spec.references_s[-1])
    assert {clip.index for clip in clips} >= set(range(first, len(times_s)))


def test_a_clip_says_whose_it_is_and_when() -> None:
    clip = clips_of(ClipBuffer(SPEC), steady(25, 1))[-1]
    assert (clip.face, clip.source, clip.index, clip.t_s, clip.arrival_s) == (5, "cam", 24, 0.96, 1000.96)


def test_one_distance_gives_one_stream_and_three_give_three() -> None:
    for references_s in ((0.4,), (0.2, 0.4, 0.8)):
        clip = clips_of(ClipBuffer(ClipSpec(references_s)), steady(25, 1))[-1]
        assert references_of(clip) == [24 - round(25 * k) for k in references_s]


def test_frames_lost_around_a_reference_cost_the_clips_that_need_them() -> None:
    times_s = dict(enumerate(steady(25, 3)))
    lost = (30, 31, 32)
    buffer = ClipBuffer(SPEC)
    clips = [clip for i, t_s in times_s.items() if i not in lost for clip in buffer.push(face(t_s, i), patch(i))]
    assert all(references_of(clip) == [clip.index - 5, clip.index - 20] for clip in clips)
    without_clip = {i for i in range(20, 75) if i not in lost} - {clip.index for clip in clips}
    assert without_clip == {35, 36, 37, 50, 51, 52}


def test_a_camera_that_slows_down_keeps_its_clips() -> None:
    fast = steady(30, 2)
    slow = [fast[-1] + (i + 1) / 15 for i in range(60)]
    clips = clips_of(ClipBuffer(SPEC), fast + slow)
    assert {clip.index for clip in clips} >= set(range(24, 120))


def test_a_source_faster_than_allowed_gets_no_clips_rather_than_wrong_ones() -> None:
    times_s = steady(100, 3)
    assert clips_of(ClipBuffer(SPEC, max_fps=50), times_s) == []
    near_only = clips_of(ClipBuffer(ClipSpec((0.2,)), max_fps=101), times_s)
    assert [references_of(clip) for clip in near_only] == [[i - 20] for i in range(20, 300)]


def test_a_source_at_the_allowed_rate_gets_every_clip() -> None:
    assert len(clips_of(ClipBuffer(SPEC, max_fps=100), steady(100, 3))) == 220


def test_the_current_frame_is_never_its_own_reference() -> None:
    assert clips_of(ClipBuffer(ClipSpec((0.2,))), steady(2, 20)) == []


def test_after_a_reset_nothing_before_it_is_a_reference() -> None:
    buffer = ClipBuffer(SPEC)
    times_s = steady(25, 4)
    clips_of(buffer, times_s[:50])
    buffer.reset()
    clips = clips_of(buffer, times_s[50:], first=50)
    assert [clip.index for clip in clips] == list(range(70, 100))


def test_time_may_start_again_after_a_reset() -> None:
    buffer = ClipBuffer(SPEC)
    clips_of(buffer, steady(25, 2))
    buffer.reset()
    assert len(clips_of(buffer, steady(25, 2))) == 30


def test_the_frame_rate_may_be_another_after_a_reset() -> None:
    buffer = ClipBuffer(SPEC)
    clips_of(buffer, steady(200, 1))
    buffer.reset()
    assert [clip.index for clip in clips_of(buffer, steady(12, 2))] == list(range(10, 24))


def test_a_clip_keeps_its_pictures_when_the_ring_goes_on() -> None:
    buffer = ClipBuffer(SPEC, max_fps=25)
    first, *_ = clips_of(buffer, steady(25, 20))
    assert references_of(first) == [15, 0]


def test_a_patch_may_be_reused_by_its_owner() -> None:
    buffer, reused, clips = ClipBuffer(SPEC), patch(0), []
    for i, t_s in enumerate(steady(25, 2)):
        reused[:] = i
        clips += buffer.push(face(t_s, i), reused)
    assert [references_of(clip) for clip in clips] == [[i - 5, i - 20] for i in range(20, 50)]


def test_nothing_is_held_back() -> None:
    buffer = ClipBuffer(SPEC)
    clips_of(buffer, steady(25, 2))
    assert buffer.flush() == [] and buffer.latency_s == 0.0


# Which frame is judged, and what else may be in a clip.

WINDOW = np.zeros((85, 50), np.float32)
AHEAD = ClipSpec((), motion_s=1.0, lookahead_s=0.4)


def windows_of(buffer: ClipBuffer, times_s: Sequence[float], first: int = 0) -> list[Clip]:
    """As `clips_of`, of motion alone."""
    numbered = enumerate(times_s, start=first)
    return [clip for index, t_s in numbered for clip in buffer.push(face(t_s, index), motion=WINDOW)]


def test_without_a_lookahead_the_newest_frame_is_judged_from_the_first_on() -> None:
    times_s = steady(25, 2)
    clips = windows_of(ClipBuffer(ClipSpec((), motion_s=1.0)), times_s)
    assert [(clip.index, clip.t_s, clip.lookahead_s) for clip in clips] == [(i, t, 0.0) for i, t in enumerate(times_s)]


@pytest.mark.parametrize(("fps", "back"), [(25, 10), (Fraction(30000, 1001), 12), (30, 12), (60, 24), (200, 80)])
def test_the_judged_frame_lies_the_same_seconds_back_at_any_frame_rate(fps: float, back: int) -> None:
    times_s = steady(fps, 2)
    buffer = ClipBuffer(AHEAD)
    clips = windows_of(buffer, times_s)
    assert [clip.index for clip in clips] == list(range(len(times_s) - back)), "the first is of the first frame"
    assert [clip.t_s for clip in clips] == times_s[:-back]
    assert [clip.arrival_s for clip in clips] == [1000.0 + t_s for t_s in times_s[back:]], "the newest frame decides"
    assert all(clip.lookahead_s == pytest.approx(0.4, abs=0.5 / fps) for clip in clips)
    assert buffer.latency_s == 0.4


def test_a_lookahead_leaves_the_pairs_of_the_newest_frame_as_they_are() -> None:
    times_s = steady(25, 2)
    now = clips_of(ClipBuffer(SPEC), times_s)
    ahead = clips_of(ClipBuffer(ClipSpec((0.2, 0.8), lookahead_s=0.4)), times_s)
    assert [clip.index + 10 for clip in ahead] == [clip.index for clip in now]
    assert all((one.inputs["clips"] == other.inputs["clips"]).all() for one, other in zip(ahead, now, strict=True))


def test_a_clip_of_both_is_cut_once_both_are_there() -> None:
    buffer = ClipBuffer(ClipSpec((0.8,), motion_s=1.0))
    times_s = steady(25, 2)
    clips = [clip for i, t_s in enumerate(times_s) for clip in buffer.push(face(t_s, i), patch(i), WINDOW)]
    assert [clip.index for clip in clips] == list(range(20, 50))
    assert all(clip.inputs.keys() == {"clips", "motion"} for clip in clips)


def test_a_lookahead_shorter_than_half_a_frame_interval_judges_the_newest_frame() -> None:
    clips = windows_of(ClipBuffer(ClipSpec((), motion_s=1.0, lookahead_s=0.01)), steady(25, 1))
    assert [clip.index for clip in clips] == list(range(1, 25)), "the first frame tells no frame interval"


def test_no_frame_is_judged_twice_and_none_where_frames_are_missing() -> None:
    rng = np.random.default_rng(3)
    times_s = np.arange(200) / 30 + rng.uniform(-0.014, 0.014, 200)
    there = [i for i in range(200) if i not in range(90, 97)]
    buffer = ClipBuffer(AHEAD)
    clips = [clip for i in there for clip in buffer.push(face(float(times_s[i]), i), motion=WINDOW)]
    indices = [clip.index for clip in clips]
    assert indices == sorted(set(indices))
    assert len(clips) > 0.8 * (len(there) - 12)
    assert all(abs(clip.lookahead_s - 0.4) < 0.5 / 25 + ROUNDING_S for clip in clips)


def test_nothing_from_before_a_reset_or_a_long_pause_is_judged_after_it() -> None:
    spec = ClipSpec((), motion_s=1.0, lookahead_s=1.0)
    buffer = ClipBuffer(spec)
    before, after = steady(25, 2), [2.6 + t_s for t_s in steady(25, 2)]
    windows_of(buffer, before)
    assert [clip.index for clip in windows_of(buffer, after, first=50)] == list(range(50, 75))
    buffer.reset()
    assert [clip.index for clip in windows_of(buffer, before)] == list(range(25))


def test_a_face_without_what_the_network_asks_for_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="a face came with nothing; expected patch"):
        ClipBuffer(SPEC).push(face(0.0, 0))
    with pytest.raises(ValueError, match="a face came with patch; expected motion"):
        ClipBuffer(AHEAD).push(face(0.0, 0), patch(0))
    with pytest.raises(ValueError, match="a face came with motion; expected patch and motion"):
        ClipBuffer(ClipSpec((0.2,), motion_s=1.0)).push(face(0.0, 0), motion=WINDOW)


@pytest.mark.parametrize("t_s", [1.0, 0.9])
def test_a_face_that_does_not_advance_is_the_callers_mistake(t_s: float) -> None:
    buffer = ClipBuffer(SPEC)
    buffer.push(face(1.0, 0), patch(0))
    with pytest.raises(ValueError, match=rf"a face at {t_s} s came after one at 1\.0 s"):
        buffer.push(face(t_s, 1), patch(1))


@st.composite
def uneven_times(draw: st.DrawFn) -> list[float]:
    """A stream whose frame rate changes, with jitter and lost frames."""
    times_s = [draw(st.floats(0, 1e5))]
    for _ in range(draw(st.integers(1, 4))):
        interval_s = 1 / draw(st.sampled_from([10, 25, 29.97, 30, 60, 120]))
        for _ in range(draw(st.integers(1, 40))):
            skipped = draw(st.sampled_from([1, 1, 1, 1, 1, 2, 3, 10]))
            jitter = draw(st.sampled_from([0.0, 0.0, 0.1, -0.3, 0.45]))
            times_s.append(times_s[-1] + (skipped + jitter) * interval_s)
    return times_s


def expected_references(times_s: Sequence[float], spec: ClipSpec, capacity: int) -> dict[int, list[int]]:
    """By looking at every frame: frame number of the current to those of its references."""
    found = {}
    for now in range(1, len(times_s)):
        intervals_s = np.diff(times_s[: now + 1])[-RECENT_INTERVALS:]
        earlier = range(max(0, now + 1 - capacity), now)
        wanted_s = [times_s[now] - k for k in spec.references_s]
        off_s = [np.abs(np.array(times_s)[earlier] - t_s) for t_s in wanted_s]
        if max(map(np.min, off_s)) <= median(intervals_s) / 2 + ROUNDING_S:
            found[now] = [earlier[int(np.argmin(off))] for off in off_s]
    return found


@settings(max_examples=60, deadline=None)
@given(uneven_times(), st.sampled_from([20.0, 60.0, 240.0]), st.sampled_from([SPEC, ClipSpec((0.1,))]))
def test_clips_are_those_of_a_search_through_all_frames(times_s: list[float], max_fps: float, spec: ClipSpec) -> None:
    clips = clips_of(ClipBuffer(spec, max_fps), times_s)
    capacity = int(np.ceil(spec.references_s[-1] * max_fps)) + 2
    assert {clip.index: references_of(clip) for clip in clips} == expected_references(times_s, spec, capacity)
