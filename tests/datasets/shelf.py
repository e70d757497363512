"""Small videos of every kind a table may name, and caches of them."""

from collections.abc import Iterable
from pathlib import Path

import cv2

from livespot.config import AlignSettings
from livespot.datasets.preparing import Preparation
from livespot.evaluation.labels import Span, Video, write_labels
from tests.films import BLANK, Picture, write_video

TRUTH = Span(9, 18, "macro", apex=14)


def write_frames(folder: Path, pictures: Iterable[Picture], unreadable: int) -> Path:
    """A folder of frames, one of which is no picture."""
    folder.mkdir()
    for index, picture in enumerate(pictures, 1):
        cv2.imwrite(str(folder / f"img{index}.png"), picture)
    (folder / f"img{unreadable}.png").write_text("no picture", encoding="utf-8")
    return folder


def write_lost(path: Path, pictures: list[Picture]) -> Path:
    """A face that is away for half a second, from frame 24 on."""
    return write_video(path, [*pictures[:24], *[BLANK] * 15, *pictures[24:40]])


def table(path: Path, videos: dict[str, Path | None], fps: float = 30.0, truths: tuple[Span, ...] = (TRUTH,)) -> Path:
    write_labels(path, (Video(name, "s1", fps, None, truths, place) for name, place in videos.items()))
    return path


def prepared(labels: Path, cache: Path, settings: AlignSettings | None = None, jobs: int = 1) -> Preparation:
    preparation = Preparation(labels, cache, settings or AlignSettings(), jobs)
    assert sum(preparation) == preparation.frames
    return preparation


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def times_ns(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
