"""The made-up SAMM-LV, whole and with one thing wrong at a time."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from livespot.datasets.adapters import scan
from livespot.datasets.conventions import Conventions
from livespot.datasets.scanning import Scan
from livespot.errors import LivespotError
from livespot.evaluation.labels import Span, Video, read_labels, write_labels
from tests.datasets.trees import SAMM_HEADER, SAMM_LABELS, SAMM_ROWS, Row, rows, samm_lv, write_excel
from tests.films import BLANK

GOOD = Row("006_1", 11, 15, 31, "Micro - 1/2")
PLACE = f"{SAMM_LABELS}, sheet FACS_Movement_Only, row"


def scanned(root: Path, **chosen: str) -> Scan:
    return scan("samm-lv", root, Conventions(**chosen))


def refusal(root: Path, **chosen: str) -> list[str]:
    with pytest.raises(LivespotError) as raised:
        scanned(root, **chosen)
    return [line.strip() for line in str(raised.value).splitlines()]


def count(found: Scan, what: str) -> tuple[float | None, ...]:
    (one,) = [one for one in found.counts if one.what == what]
    return one.found, one.known, one.table


def test_labels_and_folders_become_videos_with_frames_from_0(tmp_path: Path) -> None:
    found = scanned(samm_lv(tmp_path))
    place = tmp_path / "SAMM_longvideos"
    assert found.videos == (
        Video("006_1", "006", 200, 60, (Span(0, 49, "macro"), Span(10, 30, "micro")), place / "006_1"),
        Video("006_2", "006", 200, 60, (Span(4, 39, "macro"),), place / "006_2"),
        Video("007_3", "007", 200, 200, (Span(2, 189, "macro"),), place / "007_3"),
        Video("012_1", "012", 200, 20, (), place / "012_1"),
    )
    assert [[span.apex for span in video.truths] for video in found.videos] == [[29, 14], [None], [49], []]
    assert found.notes == ()


def test_the_table_of_labels_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = scanned(samm_lv(tmp_path))
    write_labels(tmp_path / "labels.csv", found.videos)
    assert tuple(read_labels(tmp_path / "labels.csv").values()) == found.videos


def test_what_was_found_stands_beside_what_is_known(tmp_path: Path) -> None:
    found = scanned(samm_lv(tmp_path))
    assert count(found, "subjects") == (3, 32, 3)
    assert count(found, "videos") == (4, 147, 4)
    assert count(found, "videos with expressions") == (3, None, 3)
    assert count(found, "micro-expressions") == (1, 159, 1)
    assert count(found, "macro-expressions") == (3, 343, 3)
    assert count(found, "macro, onset 0") == (1, 10, None)
    assert count(found, "frames a second") == (None, 200, 200)
    assert {one.what for one in found.counts if one.differs} >= {"subjects", "videos", "macro, onset 0"}


def test_a_set_of_the_known_size_differs_in_nothing_but_its_folders(tmp_path: Path) -> None:
    micro = [Row("006_1", k + 1, "", k + 5, "Micro - 1/2") for k in range(159)]
    macro = [Row("006_1", k + 10, "", k + 160, "Macro") for k in range(333)]
    zeros = [Row("006_1", 0, "", k + 150, "Macro") for k in range(10)]
    found = scanned(samm_lv(tmp_path, {"006_1": 500}, [*micro, *macro, *zeros]))
    assert [one.what for one in found.counts if one.differs] == ["subjects", "videos"]


def test_conventions_are_named_with_how_often_they_came_up(tmp_path: Path) -> None:
    samm_lv(tmp_path)
    assert scanned(tmp_path).conventions == (
        f"labels: {tmp_path / SAMM_LABELS}",
        "frames of the labels are the numbers in the names of the pictures, from 1 on in a video file; "
        "in the table they count from 0, onset and offset inclusive",
        "an expression with offset 0 ends at its apex, as the organisers of the challenge have it "
        "(--offset-zero apex): 0",
        "an expression with onset 0 begins with the video (--onset-zero keep): 1",
        "an expression without apex has none in the table (--missing-apex unknown): 1",
    )
    dropped = scanned(tmp_path, onset_zero="drop")
    assert "an expression with onset 0 is left out (--onset-zero drop): 1" in dropped.conventions
    assert count(dropped, "macro-expressions") == (3, 343, 2)


def test_pictures_that_a_test_has_made_lie_where_the_table_says(tmp_path: Path) -> None:
    truth = Span(1, 3, "micro", apex=2)
    found = scanned(samm_lv(tmp_path, {"006_1": [BLANK] * 5}, rows({"006_1": [truth]})))
    (video,) = found.videos
    assert (video.truths, video.length) == ((truth,), 5)


def test_other_releases_are_named_and_may_be_chosen(tmp_path: Path) -> None:
    samm_lv(tmp_path)
    table = [SAMM_HEADER, (6, "006_1_1", 1, 11, 15, 31, None, "Macro", "", "")]
    other = write_excel(tmp_path / "SAMM_LongVideos_V3_Release.xlsx", {"V3": table})
    (tmp_path / f"~${SAMM_LABELS}").write_text("Excel has it open", encoding="utf-8")
    assert scanned(tmp_path).conventions[0].endswith(f"; also there: {other.name} (--labels chooses)")
    chosen = scan("samm-lv", tmp_path, labels=other)
    assert chosen.conventions[0] == f"labels: {other}"
    assert count(chosen, "macro-expressions") == (1, 343, 1)


def test_a_folder_that_is_missing_is_reported_with_what_is_lost_with_it(tmp_path: Path) -> None:
    samm_lv(tmp_path)
    shutil.rmtree(tmp_path / "SAMM_longvideos/006_1")
    found = scanned(tmp_path)
    assert found.notes == ("006_1: nothing of it was found on disk; 2 expressions are lost with it",)
    assert [video.name for video in found.videos] == ["006_2", "007_3", "012_1"]
    assert count(found, "micro-expressions") == (1, 159, 0)
    assert count(found, "videos") == (3, 147, 3)


def test_losses_are_summed_up_where_several_folders_are_missing(tmp_path: Path) -> None:
    samm_lv(tmp_path)
    for name in ("012_1", "006_1"):
        shutil.rmtree(tmp_path / "SAMM_longvideos" / name)
    (tmp_path / "SAMM_longvideos/007_3").rename(tmp_path / "elsewhere")
    assert scanned(tmp_path).notes == (
        "2 videos are not in the table; 3 expressions are lost with them",
        "006_1: nothing of it was found on disk; 2 expressions are lost with it",
        "007_3: nothing of it was found on disk; 1 expression is lost with it",
    )


def test_a_folder_without_frames_is_reported(tmp_path: Path) -> None:
    samm_lv(tmp_path, {"006_1": 60, "006_2": 0}, [GOOD, Row("006_2", 1, 2, 3, "Macro")])
    place = tmp_path / "SAMM_longvideos/006_2"
    assert scanned(tmp_path).notes == (
        f"006_2: {place} holds no frames: expected pictures such as 0001.jpg",
        "006_2: not in the table; 1 expression is lost with it",
    )


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: Path) -> Any:
        if Path(path).name == "006_2":
            raise PermissionError(13, "Permission denied")
        return real(path)

    real = os.scandir
    samm_lv(tmp_path)
    monkeypatch.setattr(os, "scandir", scandir)
    found = scanned(tmp_path)
    assert found.notes[0] == f"006_2: {tmp_path / 'SAMM_longvideos/006_2'} cannot be read: Permission denied"
    assert found.notes[1] == "006_2: not in the table; 1 expression is lost with it"


def test_a_folder_that_is_called_otherwise_is_reported(tmp_path: Path) -> None:
    samm_lv(tmp_path)
    (tmp_path / "SAMM_longvideos/006_1 (copy)").mkdir()
    assert scanned(tmp_path).notes == (
        f"{tmp_path / 'SAMM_longvideos/006_1 (copy)'}: not called like a video, 006_1; left out",
    )


def test_a_frame_missing_in_the_middle_is_an_error_until_somebody_decides(tmp_path: Path) -> None:
    samm_lv(tmp_path)
    place = tmp_path / "SAMM_longvideos/006_1"
    (place / "006_1_0012.jpg").unlink()
    assert refusal(tmp_path) == [
        "SAMM Long Videos has 1 problem; nothing was written:",
        f"006_1: frame 12 is missing in {place} (--holes chooses what to do)",
        "--faulty drop leaves out what cannot be used, and says so",
    ]
    closed = scanned(tmp_path, holes="close")
    assert closed.videos[0].length == 59
    assert closed.videos[0].truths == (Span(0, 48, "macro"), Span(10, 29, "micro"))
    assert closed.notes == (f"006_1: frame 12 is missing in {place}: closed",)
    dropped = scanned(tmp_path, holes="drop")
    assert dropped.notes[1] == "006_1: not in the table; 2 expressions are lost with it"


def test_frames_before_the_first_number_of_a_folder_are_told(tmp_path: Path) -> None:
    samm_lv(tmp_path, {"006_1": 60}, [GOOD])
    (tmp_path / "SAMM_longvideos/006_1/006_1_0001.jpg").unlink()
    found = scanned(tmp_path)
    assert found.notes == ("folders that begin with another frame than 1: 006_1 with 2",)
    assert found.videos[0].truths == (Span(9, 29, "micro"),)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Row("006_1", 40, 35, 31, "Macro"), "onset 40 is after offset 31"),
        (Row("006_1", -4, 35, 31, "Macro"), "onset -4 is negative"),
        (Row("006_1", 4, 35, 61, "Macro"), "frames 4 to 61 are beyond the video, which has 1 to 60 (--beyond"),
        (Row("006_1", 4, 35, 51, "Smile"), "type Smile is unknown: expected micro or macro"),
        (Row("006_1", 4, 35, "?", "Macro"), "offset ?: expected a frame, a whole number"),
        (Row("006_1", 4, 35, "", "Macro"), "offset is empty: expected a frame, a whole number"),
        (GOOD, f"says the same as {PLACE} 11"),
        (Row("006", 4, 35, 51, "Macro"), "Filename 006_1: expected one such as 006_1_2"),
    ],
)
def test_a_bad_row_is_named_with_file_sheet_and_row(tmp_path: Path, bad: Row, words: str) -> None:
    samm_lv(tmp_path, {"006_1": 60}, [GOOD, Row("006_1", 1, 2, 3, "Macro"), bad])
    said = refusal(tmp_path)
    assert said[0] == "SAMM Long Videos has 1 problem; nothing was written:"
    assert said[1].startswith(f"{PLACE} 13: {words}")


def test_a_bad_row_may_be_left_out_and_is_told(tmp_path: Path) -> None:
    samm_lv(tmp_path, {"006_1": 60}, [GOOD, Row("006_1", 40, 35, 31, "Macro")])
    found = scanned(tmp_path, faulty="drop")
    assert found.notes == (f"{PLACE} 12: onset 40 is after offset 31: left out",)
    assert found.videos[0].truths == (Span(10, 30, "micro"),)


def test_all_bad_rows_are_named_at_once(tmp_path: Path) -> None:
    samm_lv(tmp_path, {"006_1": 60}, [Row("006_1", 40, 35, 31, "Macro"), Row("006_1", 1, 2, 3, "Smile"), GOOD, GOOD])
    said = refusal(tmp_path)
    assert said[0] == "SAMM Long Videos has 3 problems; nothing was written:"
    assert [line.partition(":")[0].rpartition(" ")[2] for line in said[1:4]] == ["12", "11", "14"]


def test_a_subject_that_its_file_name_contradicts_is_named(tmp_path: Path) -> None:
    samm_lv(tmp_path, {"006_1": 60}, ())
    table = [SAMM_HEADER, (7, "006_1_1", 1, 11, 15, 31, None, "Macro", "", "")]
    write_excel(tmp_path / SAMM_LABELS, {"FACS_Movement_Only": table})
    assert f"{PLACE} 2: Subject 7 has a Filename 006_1_1" in refusal(tmp_path)


@pytest.mark.parametrize("preamble", [2, 9, 20])
def test_the_header_is_found_however_long_the_preamble_is(tmp_path: Path, preamble: int) -> None:
    assert len(scanned(samm_lv(tmp_path, preamble=preamble)).videos) == 4


def test_an_excel_file_without_rows_is_refused(tmp_path: Path) -> None:
    assert refusal(samm_lv(tmp_path, {"006_1": 60}, ()))[0] == f"{tmp_path / SAMM_LABELS} has no rows below its header"


def test_an_excel_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    samm_lv(tmp_path, {"006_1": 60}, SAMM_ROWS)
    write_excel(tmp_path / SAMM_LABELS, {"Sheet1": [("Subject", "Clip", "Begin", "End")]})
    assert refusal(tmp_path)[0].startswith(f"{tmp_path / SAMM_LABELS} has another layout: no sheet has a row with")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "SAMM Long Videos: no label file is at or below"),
        (("SAMM_longvideos",), "SAMM Long Videos: no label file is at or below"),
        ((SAMM_LABELS,), "no folder called like 006_1 is at or below"),
    ],
)
def test_a_root_that_lacks_something_is_named(tmp_path: Path, given: Sequence[str], words: str) -> None:
    samm_lv(tmp_path / "all")
    (tmp_path / "root").mkdir()
    for name in given:
        (tmp_path / "all" / name).rename(tmp_path / "root" / name)
    assert refusal(tmp_path / "root")[0].startswith(words)


def test_labels_of_another_set_leave_no_video(tmp_path: Path) -> None:
    samm_lv(tmp_path, {"006_1": 0}, [GOOD])
    assert refusal(tmp_path)[0] == "SAMM Long Videos: not one video can be used"
