"""A camera that is watched from another thread, as the pipeline does it, and what it lost, against the truth."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from types import TracebackType

from livespot.capture.camera import Camera, Item
from livespot.capture.timeline import with_gaps
from livespot.records import Frame, Gap, State, Status
from tests.capture.rtsp import BLOCKS, shot_number

PATIENCE_S = 60.0
LEAVING_S = 10.0
LATE_S = 1.2
"""A connection begins with pictures up to a second old. On a machine so busy that they come one by one they pass for
new ones; on one that is not, a gap is right to within 0.05 s."""


class Watched:
    """Collects what a camera gives in a thread of its own. A context manager: leaving stops the camera."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.items: list[Item] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="watched")

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.camera.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    @property
    def frames(self) -> list[Frame]:
        return [item for item in list(self.items) if isinstance(item, Frame)]

    @property
    def told(self) -> list[Status]:
        return [item for item in list(self.items) if isinstance(item, Status)]

    @property
    def states(self) -> list[State]:
        return [status.state for status in self.told]

    def until(self, reached: Callable[["Watched"], bool]) -> None:
        """Wait for it; fails where it is not reached in a long time."""
        with self._news:
            assert self._news.wait_for(lambda: reached(self), PATIENCE_S), self.told

    def frames_more(self, count: int) -> None:
        """Wait for so many more frames."""
        wanted = len(self.frames) + count
        self.until(lambda seen: len(seen.frames) >= wanted)

    def reconnected(self, times: int = 1, frames: int = 10) -> None:
        """Wait until the camera has come back so often, and gives frames."""
        self.until(lambda seen: seen.told[-1:] != [] and seen.told[-1].reconnects >= times)
        self.until(lambda seen: seen.told[-1].state == "running")
        self.frames_more(frames)

    def _watch(self) -> None:
        with self.camera:
            for item in self.camera:
                with self._news:
                    self.items.append(item)
                    self._news.notify_all()


def settled(left: Callable[[], Collection[object]]) -> Collection[object]:
    """What is left behind once that is nothing, or a while has passed: what is killed on a busy machine takes time."""
    give_up_s = time.monotonic() + LEAVING_S
    while any(left()) and time.monotonic() < give_up_s:
        time.sleep(0.01)
    return left()


def shots(frames: Sequence[Frame], fps: int) -> list[int | None]:
    """Which picture each frame shows, counted from the start of the monotonic clock; None where it is spoilt."""
    found: list[int | None] = []
    for frame in frames:
        newest = int(frame.arrival_s * fps)
        age = (newest - shot_number(frame.image)) % (1 << BLOCKS)
        found.append(newest - age if age < 10 * fps else None)
    return found


def check_losses(items: Sequence[Item], fps: int, slack_s: float = LATE_S) -> list[Gap]:
    """The gaps, after a look at the truth: what was shot but did not arrive lies in a gap of its length."""
    line = list(with_gaps(items))
    frames = [item for item in line if isinstance(item, Frame)]
    gaps = [item for item in line if isinstance(item, Gap)]
    numbers = shots(frames, fps)
    assert sum(number is None for number in numbers) <= len(numbers) // 10
    before, first = frames[0], numbers[0]
    for after, second in zip(frames[1:], numbers[1:], strict=True):
        if second is None or first is None:
            before, first = after, second
        elif second == first:  # the same picture again is as good as none
            assert any(gap.from_s <= before.t_s and after.t_s <= gap.to_s for gap in gaps), gaps
        else:
            assert before.t_s < after.t_s
            assert before.index < after.index
            if second - first != 1:
                within = [gap for gap in gaps if before.t_s <= gap.from_s and gap.to_s <= after.t_s]
                assert (within[0].from_s, within[-1].to_s) == (before.t_s, after.t_s)
                assert abs((after.t_s - before.t_s) - (second - first) / fps) < slack_s, within
            before, first = after, second
    return gaps
