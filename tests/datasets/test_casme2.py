"""The made-up CAS(ME)2, whole and with one thing wrong at a time."""

import shutil
from pathlib import Path

import pytest

from livespot.datasets.adapters import scan
from livespot.datasets.conventions import Conventions
from livespot.datasets.scanning import Scan
from livespot.errors import LivespotError
from livespot.evaluation.labels import Span, Video, read_labels, write_labels
from tests.datasets.trees import CASME2_LABELS, CASME2_ROWS, Row, casme2, write_excel, write_frames
from tests.films import BLANK, write_video

DISGUST_15, FUNNY_15, DISGUST_16 = "15_0101disgustingteeth", "15_0502funnyerrors", "16_0101disgustingteeth"
PLACE = f"{CASME2_LABELS}, sheet CASMEcode_final, row"


def scanned(root: Path, **chosen: str) -> Scan:
    return scan("casme2", root, Conventions(**chosen))


def refusal(root: Path) -> list[str]:
    with pytest.raises(LivespotError) as raised:
        scanned(root)
    return [line.strip() for line in str(raised.value).splitlines()]


def count(found: Scan, what: str) -> tuple[float | None, ...]:
    (one,) = [one for one in found.counts if one.what == what]
    return one.found, one.known, one.table


def zeros(found: Scan) -> tuple[Span, ...]:
    """Of the video in which one offset is 0: from 30, apex 45."""
    return tuple(span for span in found.videos[0].truths if span.type == "macro")


def test_labels_and_folders_become_videos_with_frames_from_0(tmp_path: Path) -> None:
    found = scanned(casme2(tmp_path))
    assert found.videos == (
        Video(
            DISGUST_15,
            "s15",
            30,
            100,
            (Span(9, 19, "micro"), Span(29, 44, "macro")),
            tmp_path / "rawpic/s15" / DISGUST_15,
        ),
        Video(FUNNY_15, "s15", 30, 80, (Span(4, 39, "macro"),), tmp_path / "rawpic/s15" / FUNNY_15),
        Video(DISGUST_16, "s16", 30, 90, (Span(11, 59, "macro"),), tmp_path / "rawpic/s16" / DISGUST_16),
    )
    assert [[span.apex for span in video.truths] for video in found.videos] == [[13, 44], [19], [None]]
    assert found.notes == ()


def test_the_table_of_labels_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = scanned(casme2(tmp_path))
    write_labels(tmp_path / "labels.csv", found.videos)
    assert tuple(read_labels(tmp_path / "labels.csv").values()) == found.videos


def test_what_was_found_stands_beside_what_is_known(tmp_path: Path) -> None:
    found = scanned(casme2(tmp_path))
    assert count(found, "subjects") == (2, 22, 2)
    assert count(found, "videos") == (3, 98, 3)
    assert count(found, "videos with expressions") == (3, 97, 3)
    assert count(found, "micro-expressions") == (1, 57, 1)
    assert count(found, "macro-expressions") == (3, 300, 3)
    assert count(found, "macro, offset 0") == (1, 44, None)


@pytest.mark.parametrize(("chosen", "last"), [("apex", 44), ("apex+20", 64), ("mirrored", 59)])
def test_an_offset_of_0_follows_the_convention_and_the_report_names_it(tmp_path: Path, chosen: str, last: int) -> None:
    found = scanned(casme2(tmp_path), offset_zero=chosen)
    assert zeros(found) == (Span(29, last, "macro"),)
    (line,) = [line for line in found.conventions if "offset 0" in line]
    assert line.endswith(f"(--offset-zero {chosen}): 1")


def test_an_offset_of_0_may_be_left_out(tmp_path: Path) -> None:
    found = scanned(casme2(tmp_path), offset_zero="drop")
    assert zeros(found) == ()
    assert count(found, "macro-expressions") == (3, 300, 2)


def test_44_rows_with_offset_0_are_as_many_as_are_known(tmp_path: Path) -> None:
    labelled = [Row("15_disgust1_1", 30 + k, 45 + k, 0, "macro-expression") for k in range(44)]
    (one,) = [one for one in scanned(casme2(tmp_path, labelled=labelled)).counts if one.what == "macro, offset 0"]
    assert (one.found, one.differs) == (44, False)


@pytest.mark.parametrize("kind", ["cropped", "elsewhere"])
def test_cropped_pictures_serve_where_there_are_no_others(tmp_path: Path, kind: str) -> None:
    found = scanned(casme2(tmp_path, kind=kind))
    assert f"pictures: {tmp_path / kind}" in found.conventions
    assert len(found.videos) == 3


def test_raw_pictures_come_before_cropped_ones(tmp_path: Path) -> None:
    casme2(tmp_path, kind="cropped")
    casme2(tmp_path, kind="rawpic")
    assert f"pictures: {tmp_path / 'rawpic'}" in scanned(tmp_path).conventions


def test_raw_videos_serve_too_and_frames_of_theirs_count_from_1(tmp_path: Path) -> None:
    casme2(tmp_path, {}, CASME2_ROWS[:1])
    folder = tmp_path / "rawvideo/s15"
    folder.mkdir(parents=True)
    path = write_video(folder / f"{DISGUST_15}.avi", [BLANK] * 25, fps=25.0)
    found = scanned(tmp_path)
    assert found.videos == (Video(DISGUST_15, "s15", 30, 25, (Span(9, 19, "micro"),), path),)
    assert found.notes == (f"{DISGUST_15}: {path.name} has 25 frames a second, not 30",)


def test_a_folder_that_is_missing_is_reported_with_what_is_lost_with_it(tmp_path: Path) -> None:
    casme2(tmp_path)
    shutil.rmtree(tmp_path / "rawpic/s15" / DISGUST_15)
    found = scanned(tmp_path)
    assert found.notes == ("15_0101: nothing of it was found on disk; 2 expressions are lost with it",)
    assert [video.name for video in found.videos] == [FUNNY_15, DISGUST_16]


def test_a_folder_that_is_called_otherwise_is_reported(tmp_path: Path) -> None:
    casme2(tmp_path)
    other = write_frames(tmp_path / "rawpic/s15/teeth", 3, "img{}.jpg")
    assert scanned(tmp_path).notes == (f"{other}: not called like a video, 15_0101...; left out",)


def test_two_folders_with_one_code_are_named(tmp_path: Path) -> None:
    casme2(tmp_path)
    other = write_frames(tmp_path / "rawpic/s15/15_0101disgustingteeth copy", 3, "img{}.jpg")
    assert f"{other}: its code is that of {DISGUST_15}, to which the labels go" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Row("15_fear9_1", 1, 2, 3, "micro-expression"), "video fear9_1 has no code in the third sheet"),
        (Row("15_disgust1_9", 9, 2, 3, "micro-expression"), "onset 9 is after offset 3"),
        (Row("15_disgust1_9", 1, 2, 300, "macro-expression"), "frames 1 to 300 are beyond the video"),
        (Row("15_disgust1_9", 1, 2, 30, "expression"), "type expression is unknown"),
        (Row("15_disgust1_9", 1, "", 0, "macro-expression"), "offset 0 and no apex to end it by"),
        (CASME2_ROWS[0], f"says the same as {PLACE} 1"),
    ],
)
def test_a_bad_row_is_named_with_file_sheet_and_row(tmp_path: Path, bad: Row, words: str) -> None:
    said = refusal(casme2(tmp_path, labelled=[CASME2_ROWS[0], CASME2_ROWS[2], bad]))
    assert said[0] == "CAS(ME)2 has 1 problem; nothing was written:"
    assert said[1].startswith(f"{PLACE} 3: {words}")


def test_a_subject_that_the_second_sheet_does_not_know_is_named(tmp_path: Path) -> None:
    casme2(tmp_path)
    final = [(7, "disgust1_1", 10, 14, 20, "4", "negative", "micro-expression", "disgust")]
    naming, codes = [(15, "s15", 1)], [("0101", "disgust1")]
    write_excel(tmp_path / CASME2_LABELS, {"CASMEcode_final": final, "naming rule1": naming, "naming rule2": codes})
    assert f"{PLACE} 1: subject 7 has no folder in the second sheet" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("sheets", "words"),
    [
        ({"One": [(1, 2, 3)]}, "expected three sheets, it has 1"),
        ({"One": [(1,)], "Two": [(1, 2, 3)], "Three": [("0101", "disgust1")]}, "should number the folders s15, s16"),
        ({"One": [(1,)], "Two": [(15, "s15", 1)], "Three": [("code", "shown")]}, "should give codes such as 0101"),
    ],
)
def test_an_excel_file_of_another_layout_is_refused(
    tmp_path: Path, sheets: dict[str, list[tuple[object, ...]]], words: str
) -> None:
    casme2(tmp_path)
    write_excel(tmp_path / CASME2_LABELS, sheets)
    said = refusal(tmp_path)[0]
    assert said.startswith(f"{tmp_path / CASME2_LABELS} has another layout: ")
    assert words in said
