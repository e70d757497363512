"""What is drawn is read back from the pictures; windows open on a virtual display."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.errors import LivespotError
from livespot.overlay import COLOURS, HISTORY_S, LINGER_S, PANEL_PX, WHITE, Overlay, VideoWriter, Window
from livespot.records import Event, Face, Frame, Scores

THRESHOLDS = (0.45, 0.5)
TO_CROP = np.array([[1.0, 0.0, -200.0], [0.0, 1.0, -100.0]])
"""The crop is the square from (200, 100) to (311, 211) of the frame."""

OPEN = Event(
    id="cam-0-0",
    phase="open",
    type="micro",
    source="cam",
    face=0,
    onset_s=9.5,
    onset_frame=285,
    apex_s=9.6,
    apex_frame=288,
    offset_s=None,
    offset_frame=None,
    confidence=0.84,
    decided_s=9.8,
    arrival_s=0.0,
)
CLOSE = replace(OPEN, phase="close", offset_s=9.9, offset_frame=297, decided_s=10.0)


def frame(t_s: float = 10.0, size: tuple[int, int] = (640, 480)) -> Frame:
    return Frame(np.full((size[1], size[0], 3), 100, np.uint8), "cam", round(t_s * 30), t_s, 0.0)


def face(number: int = 0, t_s: float = 10.0) -> Face:
    landmarks = np.full((468, 2), 255.0, np.float32)
    return Face(np.full((112, 112), 50, np.uint8), landmarks, TO_CROP, number, "cam", round(t_s * 30), t_s, 0.0)


def scores(t_s: float, micro: float = 0.1, macro: float = 0.1) -> Scores:
    return Scores(micro, macro, 0, "cam", round(t_s * 30), t_s, 0.0)


def count(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int(like(picture, colour).sum())


def like(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where the picture has the colour, or nearly: smoothed lines never quite reach theirs."""
    return np.asarray(np.abs(picture.astype(int) - colour).max(axis=2) < 40)


def test_the_frame_itself_is_left_alone() -> None:
    seen = frame()
    before = seen.image.copy()
    Overlay(THRESHOLDS).draw(seen, [face()], "30 frames/s")
    assert np.array_equal(seen.image, before)


def test_the_box_is_the_square_of_the_crop() -> None:
    picture = Overlay(THRESHOLDS).draw(frame(), [face()])
    for x, y in ((200, 100), (311, 100), (311, 211), (200, 211)):
        assert tuple(picture[y, x]) == WHITE
    assert tuple(picture[155, 200]) != WHITE


def test_small_and_large_pictures_are_scaled_and_the_box_with_them() -> None:
    large = Overlay(THRESHOLDS).draw(frame(size=(2560, 1440)), [face()])
    assert large.shape == (720 + PANEL_PX, 1280, 3)
    assert tuple(large[50, 100]) == WHITE
    small = Overlay(THRESHOLDS).draw(frame(size=(320, 240)), [])
    assert small.shape == (480 + PANEL_PX, 640, 3)


def test_an_open_event_colours_the_box_and_is_said_in_words() -> None:
    overlay = Overlay(THRESHOLDS)
    plain = overlay.draw(frame(), [face()])
    overlay.push(OPEN)
    told = overlay.draw(frame(), [face()])
    assert tuple(told[100, 200]) == COLOURS["micro"]
    assert count(told[:100], COLOURS["micro"]) > count(plain[:100], COLOURS["micro"]) + 1000


def test_the_words_of_an_event_name_its_strongest_region() -> None:
    def words_px(*regions: str) -> int:
        overlay = Overlay(THRESHOLDS)
        overlay.push(replace(OPEN, regions=regions))
        return int(like(overlay.draw(frame(), [face()])[80:90], COLOURS["micro"]).any(axis=0).sum())

    assert words_px("brow_left") > words_px() + 50
    assert words_px("brow_left", "cheek_left") == words_px("brow_left")


def test_a_closed_event_lingers_until_it_can_be_read() -> None:
    overlay = Overlay(THRESHOLDS)
    overlay.push(OPEN)
    overlay.push(CLOSE)
    soon, later = CLOSE.decided_s + 0.5 * LINGER_S, CLOSE.decided_s + 1.1 * LINGER_S
    assert tuple(overlay.draw(frame(soon), [face(t_s=soon)])[100, 200]) == COLOURS["micro"]
    assert tuple(overlay.draw(frame(later), [face(t_s=later)])[100, 200]) == WHITE


def test_an_event_of_another_face_leaves_this_one_alone() -> None:
    overlay = Overlay(THRESHOLDS)
    overlay.push(replace(OPEN, face=7))
    assert tuple(overlay.draw(frame(), [face()])[100, 200]) == WHITE


def test_higher_scores_are_drawn_higher() -> None:
    def topmost(macro: float) -> int:
        overlay = Overlay((0.0, 0.0))
        for t_s in np.linspace(4.0, 10.0, 100):
            overlay.push(scores(t_s, macro=macro))
        right_of_the_words = overlay.draw(frame(), [face()])[480:, 300:]
        return int(like(right_of_the_words, COLOURS["macro"]).any(axis=1).argmax())

    assert topmost(0.9) < topmost(0.5) < topmost(0.1)


def test_no_curve_is_drawn_across_a_pause() -> None:
    def drawn(times_s: list[float]) -> int:
        overlay = Overlay((0.0, 0.0))
        for t_s in times_s:
            overlay.push(scores(t_s, macro=0.8))
        return count(overlay.draw(frame(), [face()])[480:, 300:], COLOURS["macro"])

    steady = np.linspace(4.0, 9.9, 60).tolist()
    assert drawn([t_s for t_s in steady if not 6.0 < t_s < 9.0]) < 0.7 * drawn(steady)


def test_an_event_shades_the_scores_while_it_lasts() -> None:
    overlay = Overlay(THRESHOLDS)
    before = overlay.draw(frame(), [face()])
    overlay.push(replace(OPEN, onset_s=8.0))
    after = overlay.draw(frame(), [face()])
    shaded = (before[480:] != after[480:]).any(axis=(0, 2))
    chart_px = 640 - 136 - 8
    assert shaded.sum() == pytest.approx(2.0 / HISTORY_S * chart_px, abs=3)
    assert shaded[-9]


def test_what_is_long_past_is_forgotten() -> None:
    overlay, fresh = Overlay(THRESHOLDS), Overlay(THRESHOLDS)
    overlay.push(scores(1.0, 0.9, 0.9))
    overlay.push(replace(CLOSE, onset_s=1.0, apex_s=1.1, offset_s=1.4, decided_s=1.5))
    assert np.array_equal(overlay.draw(frame(20.0), [face(t_s=20.0)]), fresh.draw(frame(20.0), [face(t_s=20.0)]))


@pytest.mark.parametrize("present", [0, 1, 3, 5])
def test_the_size_does_not_depend_on_how_many_faces_there_are(present: int) -> None:
    picture = Overlay(THRESHOLDS, max_faces=3).draw(
        frame(size=(1280, 720)), [face(number) for number in range(present)]
    )
    assert picture.shape == (720 + PANEL_PX, 1280, 3)


def test_more_faces_than_fit_beside_each_other_take_more_rows() -> None:
    picture = Overlay(THRESHOLDS, max_faces=4).draw(frame(size=(1280, 720)), [face(number) for number in range(4)])
    assert picture.shape == (720 + 2 * PANEL_PX, 1280, 3)
    assert picture[720 + PANEL_PX + PANEL_PX // 2, 60].tolist() == [50, 50, 50]


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1].astype(np.uint8))
    capture.release()
    return pictures


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_holds_every_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 25.0) as video:
        for level in range(0, 200, 20):
            video.write(np.full((120, 160, 3), level, np.uint8))
    pictures = frames_of(path)
    assert [picture.shape for picture in pictures] == [(120, 160, 3)] * 10
    assert [round(picture.mean() / 20) for picture in pictures] == list(range(10))


def test_a_picture_of_another_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 25.0) as video:
        video.write(np.zeros((120, 160, 3), np.uint8))
        video.write(np.full((240, 320, 3), 200, np.uint8))
    first, second = frames_of(path)
    assert first.shape == second.shape
    assert second.mean() > 150


def test_a_video_without_pictures_leaves_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 25.0):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"), [("out.gif", r"\.mp4 or \.avi"), ("nowhere/out.mp4", "cannot be written: No such file")]
)
def test_a_video_that_cannot_be_written_is_said_in_words(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(LivespotError, match=words), VideoWriter(tmp_path / name, 25.0):
        pass


def test_a_window_without_a_display_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(LivespotError, match=r"no display.*--overlay"), Window("livespot"):
        pass


def test_a_window_shows_pictures_and_closes(display: str) -> None:
    code = (
        "import numpy as np; from livespot.overlay import Window\n"
        "with Window('livespot') as window:\n"
        "    assert all(window.show(np.full((90, 120, 3), level, np.uint8)) for level in range(5))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"DISPLAY": display},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
