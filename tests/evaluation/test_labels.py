from dataclasses import replace
from pathlib import Path

import pytest

from livespot import tables
from livespot.errors import LivespotError
from livespot.evaluation.labels import Span, Video, read_labels, read_predictions, write_labels
from tests.evaluation.tables import LABELS, PREDICTIONS, write
from tests.publish.examples import CLOSE

TWO_FILES = pytest.mark.parametrize("suffix", [".csv", ".jsonl"])


def refusal(path: Path, header: str, *rows: str) -> str:
    """What is said of a table of labels or predictions."""
    write(path, header, *rows)
    with pytest.raises(LivespotError) as raised:
        read_labels(path) if header.startswith(LABELS) else read_predictions([path], {"a": Video("a", "s1", 30.0, 100)})
    return str(raised.value)


def test_labels_are_read_by_video_and_sorted_by_time(tmp_path: Path) -> None:
    rows = ("b,s2,200,macro,50,60,90", "a,s1,30,micro,7,,9", "b,s2,200,micro,3,4,5")
    found = read_labels(write(tmp_path / "labels.csv", LABELS, *rows))
    assert list(found) == ["a", "b"]
    assert found["a"] == Video("a", "s1", 30.0, None, (Span(7, 9, "micro"),))
    assert found["b"] == Video("b", "s2", 200.0, None, (Span(3, 5, "micro"), Span(50, 90, "macro")))


def test_the_order_of_rows_is_no_matter(tmp_path: Path) -> None:
    rows = ["b,s2,200,macro,50,60,90", "a,s1,30,micro,7,,9", "b,s2,200,micro,3,4,5", "b,s2,200,macro,3,4,5"]
    one, other = write(tmp_path / "a.csv", LABELS, *rows), write(tmp_path / "b.csv", LABELS, *rows[::-1])
    assert list(read_labels(one).items()) == list(read_labels(other).items())
    rows = ["b,micro,3,5", "a,macro,7,9", "b,macro,3,5", "b,micro,1,2"]
    one, other = write(tmp_path / "c.csv", PREDICTIONS, *rows), write(tmp_path / "d.csv", PREDICTIONS, *rows[::-1])
    assert list(read_predictions([one], {}).items()) == list(read_predictions([other], {}).items())


def test_a_video_may_be_said_to_have_no_expressions(tmp_path: Path) -> None:
    found = read_labels(write(tmp_path / "labels.csv", LABELS, "calm,s1,30,,,,"))
    assert found == {"calm": Video("calm", "s1", 30.0)}


def test_columns_stand_in_any_order_and_others_are_ignored_but_for_length_and_place_of_the_video(
    tmp_path: Path,
) -> None:
    header = "\ufeffpath,offset,apex,onset,type,fps,frames,subject,video"
    found = read_labels(write(tmp_path / "labels.csv", header, "x/y, 9 ,8.0,7.0,micro,29.97,300,s1,a", ""))
    assert found == {"a": Video("a", "s1", 29.97, 300, (Span(7, 9, "micro"),), tmp_path / "x/y")}


def test_what_is_written_is_read_again_also_where_the_folder_was_moved(tmp_path: Path) -> None:
    spans = Span(3, 5, "micro", apex=4), Span(50, 90, "macro")
    inside, outside = tmp_path / "set", tmp_path / "far/b.mp4"
    inside.mkdir()
    videos = [
        Video("a", "s1", 30000 / 1001, 300, spans, inside / "frames/a"),
        Video("b", "s2", 200.0, None, (), outside),
    ]
    write_labels(inside / "labels.csv", videos)
    moved = inside.rename(tmp_path / "elsewhere")
    a, b = read_labels(moved / "labels.csv").values()
    assert (a.truths, [span.apex for span in a.truths]) == (spans, [4, None])
    assert (a.fps, a.length, a.path) == (29.97002997, 300, moved / "frames/a")
    assert (b.truths, b.path) == ((), outside)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,s1,30,micro,30,,20", "row 3: onset 30 is after offset 20"),
        ("a,s1,30,micro,-3,,20", "row 3: onset -3 is negative: frames count from 0"),
        ("a,s1,30,Micro,3,,20", "row 3: type Micro: expected micro or macro"),
        ("a,s1,30,,3,,20", "row 3: type is empty: expected micro or macro"),
        ("a,s1,30,micro,3.5,,20", "row 3: onset 3.5: expected a frame, a whole number"),
        ("a,s1,30,micro,3,x,20", "row 3: apex x: expected a frame, a whole number"),
        ("a,s1,30,micro,3,,", "row 3: offset is empty: expected a frame, a whole number"),
        ("a,s1,30,micro,3,,9999999999", "row 3: offset 9999999999 is beyond any video"),
        ("a,s1,nan,micro,3,,20", "row 3: fps nan: expected frames a second, above 0"),
        ("a,s1,,micro,3,,20", "row 3: fps is empty: expected frames a second, above 0"),
        ("a,,30,micro,3,,20", "row 3: subject is empty"),
        (",s1,30,micro,3,,20", "row 3: video is empty"),
        ("a,s1,30,micro,3,20", "row 3: 6 cells; the header has 7"),
        ("a,s1,30,macro,1.0,5,9", "row 3: says the same as row 2 of labels.csv"),
        ("a,s2,30,micro,3,,20", "row 3: subject of video a is s2, and s1 in a row before"),
        ("a,s1,200,micro,3,,20", "row 3: fps of video a is 200.0, and 30.0 in a row before"),
    ],
)
def test_a_bad_row_of_labels_is_named(tmp_path: Path, row: str, words: str) -> None:
    said = refusal(tmp_path / "labels.csv", LABELS, "a,s1,30,macro,1,,9", row)
    assert said == f"{tmp_path / 'labels.csv'} has 1 problem; nothing was taken from it:\n  {words}"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,micro,30,20", "row 3: onset 30 is after offset 20"),
        ("a,micro,3,-2", "row 3: offset -2 is negative: frames count from 0"),
        ("a,me,3,20", "row 3: type me: expected micro or macro"),
        ("a,micro,three,20", "row 3: onset three: expected a frame, a whole number"),
        ("a,macro,1,9", "row 3: says the same as row 2 of predictions.csv"),
        ("a,micro,90,100", "row 3: offset 100 is beyond the video: its last frame is 99"),
        (",micro,3,20", "row 3: video is empty"),
    ],
)
def test_a_bad_row_of_predictions_is_named(tmp_path: Path, row: str, words: str) -> None:
    said = refusal(tmp_path / "predictions.csv", PREDICTIONS, "a,macro,1,9", row)
    assert said == f"{tmp_path / 'predictions.csv'} has 1 problem; nothing was taken from it:\n  {words}"


def test_a_score_that_is_no_number_is_named(tmp_path: Path) -> None:
    said = refusal(tmp_path / "predictions.csv", f"{PREDICTIONS},score", "a,macro,1,9,", "a,micro,1,9,high")
    assert "row 3: score high: expected a number" in said


def test_an_event_that_never_closed_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text("video,type,onset,offset,phase\na,micro,3,20,close\na,micro,30,,update\n", encoding="utf-8")
    with pytest.raises(LivespotError, match=r"row 3: offset is empty: this event never closed.*leave the row out"):
        read_predictions([path], {})


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    rows = ("a,s1,30,nano,9,,3", "a,s1,0,micro,-1,,3")
    said = refusal(tmp_path / "labels.csv", LABELS, *rows)
    assert said.splitlines() == [
        f"{tmp_path / 'labels.csv'} has 4 problems; nothing was taken from it:",
        "  row 2: type nano: expected micro or macro",
        "  row 2: onset 9 is after offset 3",
        "  row 3: fps 0: expected frames a second, above 0",
        "  row 3: onset -1 is negative: frames count from 0",
    ]


def test_a_table_of_another_kind_does_not_fill_the_screen(tmp_path: Path) -> None:
    said = refusal(tmp_path / "predictions.csv", PREDICTIONS, *(f"v{number},smile,1,2" for number in range(300)))
    assert "has 300 problems" in said
    assert said.endswith("and 100 more")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    said = refusal(tmp_path / "predictions.csv", "vid,pred_onset,offset,type", "a,3,9,micro")
    assert "row 1: no column video, onset; expected video,type,onset,offset" in said
    assert "the columns are vid, pred_onset, offset, type" in said


def test_a_column_that_stands_twice_is_named(tmp_path: Path) -> None:
    assert "row 1: column onset stands twice" in refusal(tmp_path / "predictions.csv", f"{PREDICTIONS},onset", "")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(LivespotError, match=r"labels\.csv cannot be read: No such file"):
        read_labels(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(LivespotError, match=r"labels\.csv is not text in UTF-8"):
        read_labels(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_bytes(b"")
    with pytest.raises(LivespotError, match=r"row 1: no column video, .* the columns are none"):
        read_labels(tmp_path / "labels.csv")


@TWO_FILES
def test_what_spotting_writes_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"events{suffix}"
    tables.write(path, [CLOSE, replace(CLOSE, face=CLOSE.face + 1)])
    [row, _] = tables.rows([CLOSE, CLOSE])
    [(name, found)] = read_predictions([path], {}).items()
    assert name == row["video"]
    assert found == (Span(row["onset"], row["offset"], row["type"]),) * 2
    assert found[0].score == row["score"]


@TWO_FILES
def test_spotting_nothing_is_no_error(tmp_path: Path, suffix: str) -> None:
    tables.write(tmp_path / f"events{suffix}", [])
    assert read_predictions([tmp_path / f"events{suffix}"], {}) == {}


def test_bad_lines_of_json_are_named(tmp_path: Path) -> None:
    lines = ("{", '["a"]', '{"video": "a", "type": "micro", "onset": 1.5, "offset": null}')
    path = write(tmp_path / "events.jsonl", *lines)
    with pytest.raises(LivespotError) as raised:
        read_predictions([path], {})
    assert str(raised.value).splitlines()[1:] == [
        "  row 1: is not JSON: Expecting property name enclosed in double quotes",
        "  row 2: has no video, type, onset, offset",
        "  row 3: onset 1.5: expected a frame, a whole number",
        "  row 3: offset is empty: expected a frame, a whole number",
    ]


def test_predictions_of_several_files_are_one_set_and_a_row_of_two_is_named(tmp_path: Path) -> None:
    first = write(tmp_path / "first.csv", PREDICTIONS, "a,micro,1,9")
    second = write(tmp_path / "second.csv", PREDICTIONS, "b,micro,1,9", "a,macro,1,9")
    found = read_predictions([first, second], {})
    assert found == {"a": (Span(1, 9, "macro"), Span(1, 9, "micro")), "b": (Span(1, 9, "micro"),)}
    with pytest.raises(LivespotError, match=r"row 2: says the same as row 2 of first\.csv"):
        read_predictions([first, first], {})
