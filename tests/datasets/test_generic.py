"""A table beside videos and folders of frames, as SMIC-E-long, 4DME and own recordings come."""

from pathlib import Path

import pytest

from livespot.datasets.adapters import scan
from livespot.datasets.scanning import Scan
from livespot.errors import LivespotError
from livespot.evaluation.labels import Span, Video
from tests.datasets.trees import write_excel, write_frames
from tests.evaluation.tables import LABELS, write
from tests.films import BLANK, write_video


def recordings(root: Path, *rows: str, header: str = LABELS) -> Path:
    """Two folders of frames, one below its subject's, and a video of 25 frames a second."""
    write_frames(root / "a", 60, "frame{:03d}.jpg")
    write_frames(root / "s2/b", 40, "Frame_{:09d}.jpg")
    write_video(root / "c.avi", [BLANK] * 30, fps=25.0)
    write(root / "labels.csv", header, *rows)
    return root


def refusal(root: Path, base: str | None = None) -> list[str]:
    with pytest.raises(LivespotError) as raised:
        scan("generic", root, base=base)
    return [line.strip() for line in str(raised.value).splitlines()]


def spans(found: Scan) -> dict[str, tuple[Span, ...]]:
    return {video.name: video.truths for video in found.videos}


def test_videos_and_folders_are_found_by_name_by_subject_or_by_path(tmp_path: Path) -> None:
    rows = ("a,s1,100,micro,3,,9,", "b,s2,60,macro,0,5,39,", "c,s3,,micro,2,3,9,", "other,s4,30,,,,,c.avi")
    found = scan("generic", recordings(tmp_path, *rows, header=f"{LABELS},path"))
    assert found.videos == (
        Video("a", "s1", 100, 60, (Span(3, 9, "micro"),), tmp_path / "a"),
        Video("b", "s2", 60, 40, (Span(0, 39, "macro"),), tmp_path / "s2/b"),
        Video("c", "s3", 25, 30, (Span(2, 9, "micro"),), tmp_path / "c.avi"),
        Video("other", "s4", 30, 30, (), tmp_path / "c.avi"),
    )
    assert found.notes == ("other: c.avi has 25 frames a second, not 30",)


def test_an_excel_table_serves_too(tmp_path: Path) -> None:
    recordings(tmp_path)
    table = [("About",), ("Subject", "Video", "fps", "Onset", "Offset"), ("s1", "a", 100, 3, 60)]
    found = scan("generic", tmp_path, labels=write_excel(tmp_path / "smic.xlsx", {"HS": table}), base="1")
    assert spans(found) == {"a": (Span(2, 59, "macro"),)}
    assert found.title == "smic"


@pytest.mark.parametrize(("base", "onset"), [(None, 12), ("0", 12), ("1", 11), ("names", 2)])
def test_the_table_may_count_frames_from_0_or_1_or_as_their_names_do(
    tmp_path: Path, base: str | None, onset: int
) -> None:
    recordings(tmp_path, "a,s1,100,micro,12,,20")
    for number in range(1, 10):
        (tmp_path / f"a/frame{number:03d}.jpg").unlink()
    found = scan("generic", tmp_path, base=base)
    assert spans(found)["a"][0].onset == onset


def test_frame_0_is_a_frame_where_the_table_counts_from_0_and_no_frame_elsewhere(tmp_path: Path) -> None:
    recordings(tmp_path, "a,s1,100,micro,0,0,0")
    found = scan("generic", tmp_path)
    assert spans(found)["a"] == (Span(0, 0, "micro"),)
    assert found.videos[0].truths[0].apex == 0
    assert "labels.csv, row 2: offset 0 and no apex to end it by" in refusal(tmp_path, "1")


def test_a_type_that_is_missing_comes_from_the_duration_at_the_videos_own_rate(tmp_path: Path) -> None:
    recordings(tmp_path, "c,s3,,,0,,12", "c,s3,,,10,,23")
    assert spans(scan("generic", tmp_path))["c"] == (Span(0, 12, "micro"), Span(10, 23, "macro"))


def test_a_frame_that_is_missing_moves_no_label_to_another_picture(tmp_path: Path) -> None:
    recordings(tmp_path, "a,s1,100,micro,12,,20")
    (tmp_path / "a/frame005.jpg").unlink()
    assert refusal(tmp_path)[1].startswith("a: frame 5 is missing in")


def test_a_video_that_is_missing_is_reported_with_what_is_lost_with_it(tmp_path: Path) -> None:
    found = scan("generic", recordings(tmp_path, "a,s1,100,micro,12,,20", "z,s1,100,micro,12,,20"))
    assert found.notes == ("z: nothing of it was found on disk; 1 expression is lost with it",)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,s1,100,micro,30,,20", "row 3: onset 30 is after offset 20"),
        ("a,s1,100,micro,-1,,20", "row 3: onset -1 is negative"),
        ("a,s1,100,micro,30,,60", "row 3: frames 30 to 60 are beyond the video, which has 0 to 59"),
        ("a,s1,100,nano,30,,40", "row 3: type nano is unknown"),
        ("a,s1,100,micro,3,,9", "row 3: says the same as labels.csv, row 2"),
        ("a,s1,100,micro,3,,", "row 3: offset is empty"),
        ("a,s2,100,micro,30,,40", "row 3: subject, fps or path of video a differ from those in a row before"),
        ("b,,100,micro,30,,40", "row 3: subject is empty"),
        (",s1,100,micro,30,,40", "row 3: video is empty"),
        ("b,s2,fast,micro,30,,35", "row 3: fps fast: expected frames a second, above 0"),
        ("b,s2,,micro,30,,35", "nothing says how fast"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, words: str) -> None:
    said = refusal(recordings(tmp_path, "a,s1,100,micro,3,,9", row))
    assert any(words in line for line in said[1:])


def test_a_table_of_another_layout_is_refused(tmp_path: Path) -> None:
    recordings(tmp_path, header="clip,begin,end")
    assert "has another layout: no sheet has a row with the columns" in refusal(tmp_path)[0]


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path)[0].startswith("generic: no label file is at or below")
