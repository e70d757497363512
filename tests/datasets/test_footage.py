from pathlib import Path

import pytest

from livespot.capture.folder import ImageFolder
from livespot.datasets.footage import look
from livespot.errors import SourceError
from tests.datasets.trees import BLANK_JPEG, write_frames
from tests.films import BLANK, write_video


def folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).write_bytes(BLANK_JPEG)
    return path


def test_frames_of_a_folder_are_numbered_by_their_names(tmp_path: Path) -> None:
    seen = look(write_frames(tmp_path / "006_1", 12, "006_1_{:04d}.jpg"))
    assert (len(seen), seen.first, seen.last, seen.holes, seen.fps) == (12, 1, 12, "", None)


def test_numbers_come_in_the_order_in_which_the_frames_are_read(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", "img2.jpg", "img10.JPG", "img1.jpg", "Thumbs.db")
    with ImageFolder(path, "a") as source:
        assert len(list(source)) == len(look(path)) == 3
    assert look(path).numbers.tolist() == [1, 2, 10]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1, 2, 3), ""),
        ((0, 1), ""),
        ((1, 3), "frame 2 is missing"),
        ((1, 5, 6), "frames 2 to 4 are missing"),
        ((1, 3, 4, 8), "frame 2 is missing, and 3 more after it"),
    ],
)
def test_frames_missing_in_the_middle_are_named(tmp_path: Path, numbers: tuple[int, ...], words: str) -> None:
    assert look(folder(tmp_path / "a", *(f"{number}.jpg" for number in numbers))).holes == words


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "holds no frames"),
        (("1.jpg", "1.png"), "holds frame 1 twice"),
        (("img1.jpg", "pic2.jpg"), "holds frames of two kinds"),
        (("1.jpg", "cover.jpg"), "holds cover.jpg, whose name does not end in a frame's number"),
    ],
)
def test_frames_that_cannot_be_put_in_order_are_named(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        look(folder(tmp_path / "a", *names))


def test_frames_of_a_video_file_count_from_1_and_it_knows_its_rate(tmp_path: Path) -> None:
    seen = look(write_video(tmp_path / "a.avi", [BLANK] * 7, fps=25.0))
    assert (seen.numbers.tolist(), seen.fps) == ([1, 2, 3, 4, 5, 6, 7], 25.0)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_text("no video", encoding="utf-8")
    with pytest.raises(SourceError, match=r"a\.avi cannot be read as video"):
        look(tmp_path / "a.avi")
