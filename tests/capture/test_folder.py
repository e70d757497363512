"""Folders of images: order, time, depth, and images that are none."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from livespot.capture.folder import ImageFolder
from livespot.capture.timeline import with_gaps
from livespot.errors import SourceError
from livespot.records import Frame, Gap
from tests.capture.media import number_of, picture


def frames_of(folder: ImageFolder) -> list[Frame]:
    with folder as source:
        return list(source)


def test_images_come_in_natural_order_at_the_given_rate(tmp_path: Path) -> None:
    for number in (10, 2, 1, 11):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), picture(number))
    frames = frames_of(ImageFolder(tmp_path, "takes", fps=200.0))
    assert [number_of(frame.image) for frame in frames] == [1, 2, 10, 11]
    assert [frame.t_s for frame in frames] == pytest.approx([0, 0.005, 0.01, 0.015])
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


def test_the_number_of_images_is_known_when_open(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), picture(number))
    (tmp_path / "notes.txt").write_text("not a picture")
    with ImageFolder(tmp_path, "takes") as source:
        assert source.frame_count == 3
        assert not source.live
        assert len(list(source)) == 3
    assert source.note == ""


@pytest.mark.parametrize(
    "image",
    [
        np.full((4, 5), 100, np.uint8),
        np.full((4, 5, 4), 100, np.uint8),
        np.full((4, 5), 100 * 256, np.uint16),
        np.full((4, 5, 3), 100 * 256, np.uint16),
    ],
    ids=["grey", "with alpha", "16-bit grey", "16-bit"],
)
@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_every_depth_becomes_bgr_of_8_bits(tmp_path: Path, image: np.ndarray, ending: str) -> None:  # type: ignore[type-arg]
    cv2.imwrite(str(tmp_path / f"a.{ending}"), image)
    [frame] = frames_of(ImageFolder(tmp_path, "takes"))
    assert frame.image.shape == (4, 5, 3)
    assert np.array_equal(np.unique(frame.image), [100])


def test_images_may_differ_in_size(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture(1, 160, 120))
    cv2.imwrite(str(tmp_path / "2.png"), picture(2, 80, 60))
    assert [frame.image.shape[:2] for frame in frames_of(ImageFolder(tmp_path, "takes"))] == [(120, 160), (60, 80)]


def test_an_image_that_cannot_be_read_is_skipped_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
    (tmp_path / "1.png").write_bytes(b"\x89PNG broken off")
    with ImageFolder(tmp_path, "takes", fps=4.0) as source:
        items = list(with_gaps(source))
    assert [item.index for item in items if isinstance(item, Frame)] == [0, 2, 3]
    assert items[1] == Gap("takes", 0.0, 0.5, "frames_lost", frames=1)
    assert source.note == "1 of 4 images cannot be read, the first is 1.png"
    assert capfd.readouterr() == ("", "")


def test_images_whose_names_are_no_text_are_read_and_told(tmp_path: Path) -> None:
    for name in (b"caf\xe9.png", b"th\xe9.png"):
        cv2.imwrite(str(tmp_path / "image.png"), picture(7))
        (tmp_path / "image.png").rename(tmp_path / os.fsdecode(name))
    (tmp_path / os.fsdecode(b"z\xe9.png")).touch()
    with ImageFolder(tmp_path, "takes") as source:
        assert [number_of(frame.image) for frame in source] == [7, 7]
    assert source.note == "1 of 3 images cannot be read, the first is z?.png"


def test_a_folder_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: No such file or directory"):
        frames_of(ImageFolder(tmp_path / "gone", "takes"))


def test_a_folder_of_nothing_readable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"1 of 1 images cannot be read, the first is 1\.png"):
        frames_of(ImageFolder(tmp_path, "takes"))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(SourceError, match=r"holds no images; expected files ending in \.bmp"):
        frames_of(ImageFolder(tmp_path, "takes"))
