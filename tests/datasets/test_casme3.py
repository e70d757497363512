"""The made-up CAS(ME)3, whole and with one thing wrong at a time."""

from pathlib import Path

import pytest

from livespot.datasets.adapters import scan
from livespot.datasets.conventions import Conventions
from livespot.datasets.scanning import Scan
from livespot.errors import LivespotError
from livespot.evaluation.labels import Span, Video
from tests.datasets.trees import CASME3_LABELS, CASME3_ROWS, Row, casme3, write_excel

PLACE = f"{CASME3_LABELS}, sheet Sheet1, row"


def scanned(root: Path, **chosen: str) -> Scan:
    return scan("casme3", root, Conventions(**chosen))


def refusal(root: Path) -> list[str]:
    with pytest.raises(LivespotError) as raised:
        scanned(root)
    return [line.strip() for line in str(raised.value).splitlines()]


def test_labels_of_an_xls_file_and_folders_become_videos_with_frames_from_0(tmp_path: Path) -> None:
    found = scanned(casme3(tmp_path))
    place = tmp_path / "part_A"
    assert found.videos == (
        Video("spNO.12_a", "spNO.12", 30, 50, (Span(19, 44, "macro"),), place / "spNO.12/a/color"),
        Video("spNO.1_a", "spNO.1", 30, 60, (Span(7, 19, "micro"),), place / "spNO.1/a/color"),
        Video("spNO.1_b", "spNO.1", 30, 40, (Span(4, 39, "macro"),), place / "spNO.1/b/color"),
    )
    assert [video.truths[0].apex for video in found.videos] == [29, 11, None]
    assert found.notes == ()


def test_what_was_found_stands_beside_what_is_known_also_where_that_is_rough(tmp_path: Path) -> None:
    counts = {one.what: one for one in scanned(casme3(tmp_path)).counts}
    assert (counts["subjects"].known, counts["micro-expressions"].known) == (100, 1109)
    assert (counts["videos"].known, counts["videos"].rough, counts["videos"].differs) == (1300, True, False)
    assert counts["macro-expressions"].differs


def test_two_files_without_types_serve_where_the_one_with_both_is_missing(tmp_path: Path) -> None:
    casme3(tmp_path)
    (tmp_path / "annotation" / CASME3_LABELS).unlink()
    header = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion")
    micro = [header, ("spNO.1", "a", 8, 12, 20, "4", 1, "fear")]
    macro = [("sub", "seq", *header[2:]), ("spNO.12", "a", 20, 30, 45, "4", 1, "fear")]
    annotation = tmp_path / "annotation"
    write_excel(annotation / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", {"label": micro})
    found = scanned(tmp_path)
    assert found.notes == ("no label file of macro-expressions was found, nor one of both types",)
    write_excel(annotation / "cas(me)3_part_A_MaE_label_JpgIndex_v2_emotion.xlsx", {"label": macro})
    found = scanned(tmp_path)
    assert [video.truths for video in found.videos] == [(Span(19, 44, "macro"),), (Span(7, 19, "micro"),), ()]
    assert found.notes == ()


def test_frames_that_the_recorder_lost_are_an_error_until_they_are_closed(tmp_path: Path) -> None:
    casme3(tmp_path)
    colour = tmp_path / "part_A/spNO.1/a/color"
    for number in (3, 4, 15):
        (colour / f"{number}.jpg").unlink()
    words = f"spNO.1_a: frames 3 to 4 are missing, and 1 more after it in {colour} (--holes chooses what to do)"
    assert words in refusal(tmp_path)
    (video,) = [video for video in scanned(tmp_path, holes="close").videos if video.name == "spNO.1_a"]
    assert (video.length, video.truths) == (57, (Span(5, 16, "micro"),))


def test_folders_without_colour_hold_the_pictures_themselves(tmp_path: Path) -> None:
    casme3(tmp_path, labelled=CASME3_ROWS[:1])
    video = tmp_path / "part_A/spNO.1/a"
    for picture in (video / "color").iterdir():
        picture.rename(video / picture.name)
    (video / "color").rmdir()
    assert scanned(tmp_path).videos[1].path == video


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Row("spNO.1/aa", 1, 2, 3, "Micro-expression"), "subject spNO.1, video aa: expected such as spNO.1 and a"),
        (Row("S1/a", 1, 2, 3, "Micro-expression"), "subject S1, video a: expected such as spNO.1 and a"),
        (Row("spNO.1/a", 9, 2, 3, "Micro-expression"), "onset 9 is after offset 3"),
        (Row("spNO.1/a", 9, 2, 61, "Macro-expression"), "frames 9 to 61 are beyond the video"),
        (Row("spNO.1/A", 8, 12, 20, "micro-expression"), f"says the same as {PLACE} 2"),
    ],
)
def test_a_bad_row_is_named_with_file_sheet_and_row(tmp_path: Path, bad: Row, words: str) -> None:
    said = refusal(casme3(tmp_path, labelled=[*CASME3_ROWS, bad]))
    assert said[0] == "CAS(ME)3 part A has 1 problem; nothing was written:"
    assert said[1].startswith(f"{PLACE} 5: {words}")


def test_a_label_without_type_is_typed_by_its_duration_and_the_report_says_so(tmp_path: Path) -> None:
    found = scanned(casme3(tmp_path, labelled=[Row("spNO.1/a", 8, 12, 23, ""), Row("spNO.1/b", 8, 12, 24, "")]))
    assert [span.type for video in found.videos for span in video.truths] == ["micro", "macro"]
    words = "an expression without type is micro up to 0.5 s from onset to offset, macro above: 2"
    assert words in found.conventions


def test_a_root_without_subjects_is_named(tmp_path: Path) -> None:
    casme3(tmp_path, {})
    assert refusal(tmp_path)[0].startswith("no folder called like spNO.1 is at or below")
