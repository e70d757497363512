from pathlib import Path

import pytest

from livespot.datasets.adapters import scan
from livespot.errors import LivespotError
from livespot.evaluation.labels import Video, read_labels, write_labels
from tests.datasets.trees import megc, write_frames
from tests.films import BLANK, write_video


def test_clips_have_the_rate_of_the_set_that_their_folder_names(tmp_path: Path) -> None:
    found = scan("megc2023", megc(tmp_path, {"006_3": 30}, {"1": 20, "2": 10}))
    assert found.videos == (
        Video("006_3", "006_3", 200, 30, (), tmp_path / "SAMM_Test/006_3"),
        Video("1", "1", 30, 20, (), tmp_path / "CAS_Test/1"),
        Video("2", "2", 30, 10, (), tmp_path / "CAS_Test/2"),
    )
    write_labels(tmp_path / "clips.csv", found.videos)
    assert tuple(read_labels(tmp_path / "clips.csv").values()) == found.videos


def test_the_nearest_folder_says_which_set_a_clip_is_of(tmp_path: Path) -> None:
    found = scan("megc2023", megc(tmp_path / "SAMM and CAS", {"006_3": 3}, {"1": 2}))
    assert [video.fps for video in found.videos] == [200, 30]


def test_the_whole_set_differs_in_nothing(tmp_path: Path) -> None:
    samm, cas = {f"{number:03d}_1": 2 for number in range(5)}, {str(number): 2 for number in range(5)}
    found = scan("megc2022", megc(tmp_path, samm, cas))
    assert [(one.what, one.found, one.differs) for one in found.counts if one.known] == [
        ("videos", 10, False),
        ("videos at 200 frames a second", 5, False),
        ("videos at 30 frames a second", 5, False),
    ]


def test_clips_may_be_video_files_that_tell_their_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", [BLANK] * 5, fps=25.0)
    assert scan("megc2023", tmp_path).videos == (Video("clip", "clip", 25, 5, (), path),)


def test_a_clip_of_unknown_rate_and_two_of_one_name_are_named(tmp_path: Path) -> None:
    megc(tmp_path / "new", {"1": 2}, {"1": 2})
    write_frames(tmp_path / "new/more/3", 2, "{}.jpg")
    with pytest.raises(LivespotError) as raised:
        scan("megc2023", tmp_path / "new")
    assert "1: two clips are called so, " in str(raised.value)
    assert f"3: nothing says how fast {tmp_path / 'new/more/3'} was recorded" in str(raised.value)


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match="no folder of frames and no video is at or below"):
        scan("megc2022", tmp_path)
