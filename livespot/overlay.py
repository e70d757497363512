"""What livespot sees, as a picture: faces, crops, rolling scores, expressions in words. As window or video."""

import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from livespot.errors import LivespotError
from livespot.landmarks import RIGID, apply, invert
from livespot.records import CROP_PX, MAX_PAUSE_S, Event, ExpressionType, Face, Frame, Scores

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

COLOURS: dict[ExpressionType, Colour] = {"micro": (0, 159, 230), "macro": (233, 180, 86)}
"""BGR; orange and sky blue of the Okabe-Ito set, for dark ground."""
WHITE, GROUND = (255, 255, 255), (28, 28, 28)

MIN_WIDTH_PX, MAX_WIDTH_PX = 640, 1280
"""Pictures are scaled to this width, so that text is readable on a thumbnail and fits the screen with 4K."""

PANEL_PX, PANEL_MIN_WIDTH_PX, PAD_PX = 128, 400, 8
HISTORY_S = 8.0

LINGER_S = 1.5
"""A micro-expression is over before it can be read: closed ones stay in words for so long."""

FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
QUIT_KEYS = (ord("q"), 27)


class Overlay:
    """Draws one source. It remembers the scores and events of the last seconds: push them, then draw the frame."""

    def __init__(self, thresholds: tuple[float, float], max_faces: int = 1) -> None:
        """`thresholds` of micro and macro. There is room for the scores of `max_faces` faces below the picture."""
        self._thresholds = dict(zip(COLOURS, thresholds, strict=True))
        self._max_faces = max_faces
        self._scores: defaultdict[int, deque[Scores]] = defaultdict(deque)
        self._events: dict[str, Event] = {}

    def push(self, item: Scores | Event) -> None:
        """Take what is to be drawn from the next frame on."""
        if isinstance(item, Event):
            self._events[item.id] = item
        else:
            self._scores[item.face].append(item)

    def draw(self, frame: Frame, faces: Sequence[Face], caption: str = "") -> Image:
        """The picture, uint8 (height, width, 3) BGR, of the same size for all frames of one size.

        `caption` is a line at the foot of the picture: frames a second, latency.
        """
        self._forget(frame.t_s - HISTORY_S)
        height, width = frame.image.shape[:2]
        scale = min(max(width, MIN_WIDTH_PX), MAX_WIDTH_PX) / width
        size = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
        smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        picture = cv2.resize(frame.image, size, interpolation=smooth).astype(np.uint8)
        for face in faces:
            self._draw_face(picture, face, scale)
        _draw_text(picture, caption, (PAD_PX, size[1] - PAD_PX), WHITE)
        panels = self._panels(size[0], sorted(faces, key=lambda face: face.face)[: self._max_faces], frame.t_s)
        return np.vstack([picture, panels])

    def _forget(self, before_s: float) -> None:
        for face, scores in list(self._scores.items()):
            while scores and scores[0].t_s < before_s:
                scores.popleft()
            if not scores:
                del self._scores[face]
        self._events = {
            key: event for key, event in self._events.items() if event.offset_s is None or event.offset_s >= before_s
        }

    def _events_of(self, face: int) -> Iterator[Event]:
        return (event for event in self._events.values() if event.face == face)

    def _draw_face(self, picture: Image, face: Face, scale: float) -> None:
        corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64) * (CROP_PX - 1)
        box = apply(invert(face.transform), corners) * scale
        told = [
            event
            for event in self._events_of(face.face)
            if event.offset_s is None or event.decided_s >= face.t_s - LINGER_S
        ]
        newest = max(told, key=lambda event: event.onset_s, default=None)
        _draw_corners(picture, box, COLOURS[newest.type] if newest else WHITE)
        for x, y in face.landmarks[list(RIGID)] * scale:
            cv2.circle(picture, (round(x), round(y)), 2, WHITE, cv2.FILLED, cv2.LINE_AA)
        if newest:
            at = (round(box[:, 0].min()), round(box[:, 1].min()) - PAD_PX)
            words = (f"{newest.type}-expression {newest.confidence:.2f}", *newest.regions[:1])
            _draw_tag(picture, " ".join(words), at, COLOURS[newest.type])

    def _panels(self, width: int, faces: Sequence[Face], now_s: float) -> Image:
        columns = min(max(width // PANEL_MIN_WIDTH_PX, 1), self._max_faces)
        rows = -(-self._max_faces // columns)
        panels = np.full((rows * PANEL_PX, width, 3), GROUND, np.uint8)
        panel_width = width // columns
        for place, face in enumerate(faces):
            row, column = divmod(place, columns)
            self._draw_panel(panels[row * PANEL_PX :, column * panel_width :][:PANEL_PX, :panel_width], face, now_s)
        return panels

    def _draw_panel(self, panel: Image, face: Face, now_s: float) -> None:
        side = PANEL_PX - 2 * PAD_PX
        panel[PAD_PX : PAD_PX + side, PAD_PX : PAD_PX + side] = cv2.cvtColor(
            cv2.resize(face.crop, (side, side)), cv2.COLOR_GRAY2BGR
        )
        chart = panel[PAD_PX:-PAD_PX, 2 * PAD_PX + side : -PAD_PX]
        self._draw_spans(chart, face.face, now_s)
        self._draw_curves(chart, face.face, now_s)

    def _draw_spans(self, chart: Image, face: int, now_s: float) -> None:
        for event in self._events_of(face):
            end_s = now_s if event.offset_s is None else event.offset_s
            start, end = _columns(chart, np.array([event.onset_s, end_s]), now_s)
            span = chart[:, max(start, 0) : end + 1]
            span[:] = 0.65 * span + 0.35 * np.array(COLOURS[event.type])

    def _draw_curves(self, chart: Image, face: int, now_s: float) -> None:
        scores = self._scores.get(face, ())
        t_s = np.array([score.t_s for score in scores])
        pauses = np.flatnonzero(np.diff(t_s) > MAX_PAUSE_S) + 1
        for line, (kind, colour) in enumerate(COLOURS.items()):
            _draw_dashes(chart, _row(chart, np.array(self._thresholds[kind])).item(), colour)
            values = np.array([getattr(score, kind) for score in scores])
            points = np.stack([_columns(chart, t_s, now_s), _row(chart, values)], axis=1)
            cv2.polylines(chart, np.split(points, pauses), False, colour, 1, cv2.LINE_AA)
            newest = f"{kind} {values[-1]:.2f}" if len(values) else kind
            _draw_text(chart, newest, (PAD_PX, 16 + 18 * line), colour)


class VideoWriter:
    """Writes pictures as a video. A context manager; the first picture sets the size, and none leaves no file."""

    def __init__(self, path: Path, fps: float) -> None:
        """`path` ends in .mp4 or .avi. Nothing is opened yet."""
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> "VideoWriter":
        """Raises LivespotError where the file cannot be written."""
        if self._path.suffix.lower() not in CODECS:
            raise LivespotError(f"{self._path} has no known format: end its name in {' or '.join(CODECS)}")
        try:
            self._path.open("wb").close()
        except OSError as error:
            raise LivespotError(
                f"{self._path} cannot be written: {error.strerror}: give a file in a folder that exists and is yours"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        else:
            self._path.unlink(missing_ok=True)

    def write(self, picture: Image) -> None:
        """Append one picture, uint8 (H, W, 3) BGR; one of another size than the first is scaled to it."""
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            self._writer = self._open()
        self._writer.write(picture if picture.shape[1::-1] == self._size else cv2.resize(picture, self._size))

    def _open(self) -> cv2.VideoWriter:
        codec = CODECS[self._path.suffix.lower()]
        writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*codec), self._fps, self._size)
        if not writer.isOpened():
            raise LivespotError(f"{self._path} cannot be written: this OpenCV cannot encode {codec}: try .avi or .mp4")
        return writer


class Window:
    """Shows pictures in a window. A context manager, for the main thread."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._sized = False

    def __enter__(self) -> "Window":
        """Raises LivespotError where there is no display."""
        _check_display()
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(cv2.error):  # it has been closed by hand
            cv2.destroyWindow(self._title)

    def show(self, picture: Image) -> bool:
        """Show a picture; False once the window was closed or q pressed."""
        if not self._sized:
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
            self._sized = True
        cv2.imshow(self._title, picture)
        key = cv2.waitKey(1) & 0xFF
        return key not in QUIT_KEYS and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1


def _check_display() -> None:
    """Qt ends the whole process where it finds no display: a process of its own finds out."""
    probe = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False)  # noqa: S603 our own code
    if done.returncode != 0:
        raise LivespotError(
            "a window cannot be opened: there is no display: "
            "log in to a desktop (over ssh: ssh -X), or have a video written: livespot spot FILE --overlay out.mp4"
        )


def _draw_corners(picture: Image, box: NDArray[np.float64], colour: Colour) -> None:
    """The four corners of a box, each side drawn for a fifth of its length."""
    for corner, before, after in zip(box, np.roll(box, 1, axis=0), np.roll(box, -1, axis=0), strict=True):
        legs = np.array([corner + (before - corner) / 5, corner, corner + (after - corner) / 5])
        cv2.polylines(picture, [legs.round().astype(np.int32)], False, colour, 2, cv2.LINE_AA)


def _draw_tag(picture: Image, text: str, bottom_left: tuple[int, int], colour: Colour) -> None:
    """Dark text on a coloured ground, kept inside the picture."""
    (width, height), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    x = min(max(bottom_left[0], 0), max(picture.shape[1] - width - 2 * PAD_PX, 0))
    y = max(bottom_left[1], height + 2 * PAD_PX)
    cv2.rectangle(picture, (x, y - height - PAD_PX), (x + width + PAD_PX, y), colour, cv2.FILLED)
    cv2.putText(picture, text, (x + PAD_PX // 2, y - PAD_PX // 2), FONT, FONT_SCALE, GROUND, 1, cv2.LINE_AA)


def _draw_text(picture: Image, text: str, bottom_left: tuple[int, int], colour: Colour) -> None:
    """With a dark outline, readable on any ground."""
    cv2.putText(picture, text, bottom_left, FONT, FONT_SCALE, GROUND, 3, cv2.LINE_AA)
    cv2.putText(picture, text, bottom_left, FONT, FONT_SCALE, colour, 1, cv2.LINE_AA)


def _draw_dashes(chart: Image, row: int, colour: Colour) -> None:
    for start in range(0, chart.shape[1], 8):
        cv2.line(chart, (start, row), (start + 3, row), colour, 1)


def _columns(chart: Image, t_s: NDArray[np.float64], now_s: float) -> NDArray[np.int32]:
    """Where times are in a chart that ends now."""
    return ((t_s - now_s + HISTORY_S) / HISTORY_S * (chart.shape[1] - 1)).round().astype(np.int32)


def _row(chart: Image, scores: NDArray[np.float64]) -> NDArray[np.int32]:
    """Where scores in [0, 1] are in a chart: 1 at the top."""
    return ((1 - scores) * (chart.shape[0] - 1)).round().astype(np.int32)
