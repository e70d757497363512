"""The timeline is read back as a picture: what is drawn leaves its colour."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.errors import LivespotError
from livespot.plot import COLOURS, Shown, Trace, timeline
from livespot.records import Event, ExpressionType, Gap

THRESHOLDS = (0.45, 0.5)
GAP_GREY = "#f0f0f0"


def trace(length_s: float = 30.0, face: int = 0, fps: float = 30.0) -> Trace:
    t_s = np.arange(0.0, length_s, 1 / fps)
    flat = np.full(len(t_s), 0.1)
    return Trace("clip", face, t_s, flat, flat, flat, flat, delay_s=0.07)


def close(kind: ExpressionType, onset_s: float, face: int = 0) -> Event:
    return Event(
        id=f"clip-{face}-0",
        phase="close",
        type=kind,
        source="clip",
        face=face,
        onset_s=onset_s,
        onset_frame=0,
        apex_s=onset_s + 0.2,
        apex_frame=6,
        offset_s=onset_s + 0.4,
        offset_frame=12,
        confidence=0.8,
        decided_s=onset_s + 0.5,
        arrival_s=0.0,
    )


def drawn(tmp_path: Path, *args: Any, **options: Any) -> NDArray[np.uint8]:
    path = tmp_path / "timeline.png"
    timeline(path, *args, **options)
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture.astype(np.uint8)


def pixels(picture: NDArray[np.uint8], colour: str) -> int:
    blue_green_red = [int(colour[place : place + 2], 16) for place in (5, 3, 1)]
    return int((np.abs(picture.astype(int) - blue_green_red).max(axis=2) <= 2).sum())


@pytest.mark.parametrize("kind", ["micro", "macro"])
def test_an_event_is_drawn_in_the_colour_of_its_class(tmp_path: Path, kind: ExpressionType) -> None:
    without = drawn(tmp_path, [trace()], [], THRESHOLDS)
    with_event = drawn(tmp_path, [trace()], [close(kind, 10.0)], THRESHOLDS)
    (other,) = set(COLOURS) - {kind}
    assert pixels(with_event, COLOURS[kind]) > pixels(without, COLOURS[kind]) + 100
    assert pixels(with_event, COLOURS[other]) <= pixels(without, COLOURS[other])


def test_an_event_of_another_face_is_not_drawn_on_this_one(tmp_path: Path) -> None:
    without = drawn(tmp_path, [trace()], [close("micro", 10.0, face=1)], THRESHOLDS)
    assert pixels(without, COLOURS["micro"]) < pixels(
        drawn(tmp_path, [trace()], [close("micro", 10.0)], THRESHOLDS), COLOURS["micro"]
    )


def test_what_was_shown_has_a_lane_of_its_own(tmp_path: Path) -> None:
    empty = drawn(tmp_path, [trace()], [], THRESHOLDS, truth=[])
    shown = drawn(tmp_path, [trace()], [], THRESHOLDS, truth=[Shown("macro", 5.0, 6.0, 7.5)])
    assert pixels(shown, COLOURS["macro"]) > pixels(empty, COLOURS["macro"]) + 500


def test_a_gap_is_drawn_on_the_faces_that_it_concerns(tmp_path: Path) -> None:
    traces = [trace(face=0), trace(face=1)]
    of_both = drawn(tmp_path, traces, [], THRESHOLDS, gaps=[Gap("clip", 5.0, 8.0, "frames_lost")])
    of_one = drawn(tmp_path, traces, [], THRESHOLDS, gaps=[Gap("clip", 5.0, 8.0, "face_lost", face=1)])
    of_none = drawn(tmp_path, traces, [], THRESHOLDS, gaps=[Gap("other", 5.0, 8.0, "frames_lost")])
    counts = [pixels(picture, GAP_GREY) for picture in (of_both, of_one, of_none)]
    assert counts[0] > 1.8 * counts[1]
    assert counts[1] > 10 * counts[2]


def test_no_curve_is_drawn_across_a_pause(tmp_path: Path) -> None:
    whole = trace()
    kept = (whole.t_s < 5) | (whole.t_s > 25)
    t_s, flat = whole.t_s[kept], whole.micro[kept]
    broken = Trace("clip", 0, t_s, flat, flat, flat, flat)
    with_pause = drawn(tmp_path, [broken], [], THRESHOLDS)
    assert pixels(with_pause, COLOURS["macro"]) < 0.7 * pixels(
        drawn(tmp_path, [whole], [], THRESHOLDS), COLOURS["macro"]
    )


def test_a_long_recording_runs_over_several_strips(tmp_path: Path) -> None:
    one_minute = drawn(tmp_path, [trace(60.0)], [], THRESHOLDS)
    ten_minutes = drawn(tmp_path, [trace(600.0)], [], THRESHOLDS)
    assert ten_minutes.shape[0] > 2.5 * one_minute.shape[0]
    assert ten_minutes.shape[1] == one_minute.shape[1]


def test_the_shortest_event_of_a_long_recording_is_seen(tmp_path: Path) -> None:
    without = drawn(tmp_path, [trace(600.0)], [], THRESHOLDS)
    with_event = drawn(tmp_path, [trace(600.0)], [close("micro", 300.0)], THRESHOLDS)
    assert pixels(with_event, COLOURS["micro"]) > pixels(without, COLOURS["micro"]) + 40


@pytest.mark.parametrize("traces", [[], [trace(0.0)], [trace(0.01)]], ids=["no face", "no score", "one score"])
def test_little_or_nothing_still_makes_a_picture(tmp_path: Path, traces: list[Trace]) -> None:
    assert drawn(tmp_path, traces, [], THRESHOLDS, title="nothing.mp4").shape[0] > 100


def test_a_path_that_cannot_be_written_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match="cannot be written"):
        timeline(tmp_path / "nowhere" / "timeline.png", [trace()], [], THRESHOLDS)


def test_an_unknown_format_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match=r"timeline has no known format.*\.png, \.svg, \.pdf"):
        timeline(tmp_path / "timeline", [trace()], [], THRESHOLDS)


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_other_formats_go_by_the_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"timeline{suffix}"
    timeline(path, [trace()], [], THRESHOLDS)
    assert path.stat().st_size > 1000


def test_drawing_leaves_the_global_state_of_matplotlib_alone(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import livespot.plot as plot\n"
        "assert 'matplotlib' not in sys.modules, 'importing is not quick'\n"
        f"plot.timeline(Path({str(tmp_path / 'a.png')!r}), [], [], (0.5, 0.5))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    folder = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
