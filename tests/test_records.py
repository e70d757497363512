from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from livespot.records import Clip, ClipSpec, Event, Face, Frame, Gap, Scores

FRAME = Frame(np.zeros((480, 640, 3), np.uint8), "cam", 7, t_s=0.28, arrival_s=100.0)
FACE = Face(
    crop=np.zeros((112, 112), np.uint8),
    landmarks=np.zeros((468, 2), np.float32),
    transform=np.eye(2, 3),
    face=1,
    source="cam",
    index=7,
    t_s=0.28,
    arrival_s=100.0,
)
PAIRS, WINDOW = np.zeros((2, 2, 112, 112), np.float32), np.zeros((85, 100), np.float32)
CLIP = Clip({"clips": PAIRS, "motion": WINDOW}, 1, "cam", 7, 0.28, 100.0)
OPEN = Event(
    id="cam-1-0",
    phase="open",
    type="micro",
    source="cam",
    face=1,
    onset_s=1.0,
    onset_frame=25,
    apex_s=1.08,
    apex_frame=27,
    offset_s=None,
    offset_frame=None,
    confidence=0.7,
    decided_s=1.2,
    arrival_s=101.2,
)
CLOSE = replace(OPEN, phase="close", offset_s=1.4, offset_frame=35, decided_s=1.6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: replace(FRAME, image=np.zeros((480, 640), np.uint8)),
            r"Frame.image is uint8\(480, 640\); expected uint8\(any, any, 3\)",
        ),
        (
            lambda: replace(FRAME, image=np.zeros((480, 640, 3), np.float32)),
            r"Frame.image is float32\(480, 640, 3\); expected uint8",
        ),
        (lambda: replace(FACE, crop=np.zeros((64, 64), np.uint8)), r"Face.crop .* expected uint8\(112, 112\)"),
        (
            lambda: replace(FACE, landmarks=np.zeros((478, 2), np.float32)),
            r"Face.landmarks .* expected float32\(468, 2\)",
        ),
        (lambda: replace(FACE, transform=np.eye(3)), r"Face.transform .* expected float64\(2, 3\)"),
        (
            lambda: replace(CLIP, inputs={"clips": np.zeros((2, 3, 112, 112), np.float32)}),
            r"Clip.inputs\[clips\] .* expected float32\(any, 2, 112, 112\)",
        ),
        (
            lambda: replace(CLIP, inputs={"clips": PAIRS, "motion": np.zeros((78, 100), np.float32)}),
            r"Clip.inputs\[motion\] .* expected float32\(85, any\)",
        ),
        (lambda: replace(CLIP, inputs={"flow": WINDOW}), "Clip.inputs are flow; expected clips, motion or both"),
        (lambda: replace(CLIP, inputs={}), "Clip.inputs are none; expected clips, motion or both"),
        (lambda: ClipSpec(()), "neither references_s nor motion_s; expected at least one"),
        (lambda: ClipSpec((0.2, 0.0)), r"references_s is \(0.2, 0.0\); expected distances above 0 s"),
        (lambda: ClipSpec((0.2, float("nan"))), "expected distances above 0 s"),
        (lambda: ClipSpec(motion_s=-1.0), "motion_s is -1.0; expected 0, or at least 0.02 s"),
        (lambda: ClipSpec(motion_s=0.01), "motion_s is 0.01; expected 0, or at least 0.02 s"),
        (lambda: ClipSpec(lookahead_s=-0.1), "lookahead_s is -0.1; expected 0 s or more"),
        (lambda: ClipSpec(lookahead_s=float("inf")), "lookahead_s is inf; expected 0 s or more"),
        (lambda: Scores(1.1, 0.0, 1, "cam", 7, 0.28, 100.0), "micro 1.1, macro 0.0; expected probabilities"),
        (lambda: Scores(0.0, float("nan"), 1, "cam", 7, 0.28, 100.0), "macro nan; expected probabilities"),
        (lambda: Gap("cam", 2.0, 1.0, "face_lost"), "from 2.0 s to 1.0 s; expected from <= to"),
        (lambda: replace(OPEN, phase="close"), "cam-1-0 in phase close has offset None s; only a close has one"),
        (lambda: replace(CLOSE, phase="update"), "in phase update has offset 1.4 s; only a close has one"),
        (lambda: replace(CLOSE, offset_frame=None), "only a close has one"),
        (lambda: replace(CLOSE, apex_s=1.5), "onset 1.0, apex 1.5, offset 1.4 s are not in order"),
        (lambda: replace(CLOSE, apex_s=0.9), "onset 1.0, apex 0.9, offset 1.4 s are not in order"),
        (lambda: replace(OPEN, regions=["chin"]), r"cam-1-0 has regions \['chin'\]; expected a tuple of names"),  # type: ignore[arg-type]
        (lambda: replace(OPEN, regions="chin"), "regions 'chin'; expected a tuple of names"),  # type: ignore[arg-type]
        (lambda: replace(OPEN, regions=(3,)), r"regions \(3,\); expected a tuple of names"),  # type: ignore[arg-type]
    ],
)
def test_a_record_that_is_wrong_cannot_be_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("record", [FRAME, FACE, CLIP])
def test_repr_shows_shapes_and_no_pixels(record: object) -> None:
    assert "(" in repr(record) and "[" not in repr(record)
    assert "source='cam', index=7, t_s=0.28" in repr(record)


def test_repr_of_a_frame_reads_as_it_was_made() -> None:
    assert repr(FRAME) == ("Frame(image=uint8(480, 640, 3), source='cam', index=7, t_s=0.28, arrival_s=100.0, epoch=0)")


@pytest.mark.parametrize("record", [FRAME, FACE, CLIP, OPEN])
def test_records_do_not_change(record: Frame | Face | Clip | Event) -> None:
    with pytest.raises(FrozenInstanceError):
        record.source = "other"  # type: ignore[misc]


def test_a_clip_has_a_stream_for_each_distance() -> None:
    assert ClipSpec().references_s == (0.2, 0.8)
    assert ClipSpec((0.1, 0.2, 0.4)).shape == (3, 2, 112, 112)


def test_what_a_network_may_be_fed_is_told_by_name() -> None:
    assert ClipSpec().shapes == {"clips": (2, 2, 112, 112)}
    assert ClipSpec((), motion_s=2.0).shapes == {"motion": (85, 100)}
    assert ClipSpec((0.4,), motion_s=0.5).shapes == {"clips": (1, 2, 112, 112), "motion": (85, 25)}


def test_scores_tell_when_they_were_decided() -> None:
    scores = Scores(0.5, 0.5, 1, "cam", 7, 1.25, 100.0)
    assert scores.decided_s == 1.25
    assert replace(scores, lookahead_s=0.5).decided_s == 1.75


def test_latency_is_from_what_a_phase_tells_to_the_frame_that_decided_it() -> None:
    assert OPEN.latency_s == pytest.approx(0.2)
    assert replace(OPEN, phase="update").latency_s == pytest.approx(0.12)
    assert CLOSE.latency_s == pytest.approx(0.2)


def test_the_last_frame_is_the_one_before_the_offset() -> None:
    assert CLOSE.last_frame == 34
    assert OPEN.last_frame is None


def test_a_truncated_event_that_peaks_at_its_end_has_its_apex_for_last_frame() -> None:
    assert replace(CLOSE, apex_s=1.4, apex_frame=35, truncated=True).last_frame == 35


def test_a_gap_may_be_a_moment() -> None:
    assert Gap("cam", 1.0, 1.0, "frames_dropped", frames=3).to_s == 1.0
