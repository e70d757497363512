"""Rows that are odd or wrong, one at a time; frames as the datasets count, from 1."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livespot.datasets.conventions import Conventions
from livespot.datasets.expressions import Findings, Labelled, place, read, settle
from livespot.datasets.footage import Footage
from livespot.datasets.sheets import Record
from livespot.errors import LivespotError, SettingsError
from livespot.evaluation.labels import Span
from livespot.records import ExpressionType

FPS = 30.0
LABEL = Labelled("row 5", "a", 10, 14, 20, "micro")


def findings(**chosen: str) -> Findings:
    return Findings("Made up", Conventions(**chosen))


def row(**cells: str) -> Record:
    return Record("row 5", {"onset": "10", "apex": "14", "offset": "20", "type": "micro"} | cells)


def footage(*numbers: int) -> Footage:
    return Footage(Path("a"), np.array(numbers))


FROM_1 = footage(*range(1, 101))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Micro - 1/2", "micro"),
        ("micro-expression", "micro"),
        ("MACRO", "macro"),
        ("Macro-expression", "macro"),
        ("mae", "macro"),
        ("ME", "micro"),
        ("", None),
    ],
)
def test_types_are_known_however_they_are_written(text: str, kind: ExpressionType | None) -> None:
    label = read(row(type=text), "a", findings())
    assert label == replace(LABEL, type=kind)


@pytest.mark.parametrize("text", ["", "0", "-1", "/", "NaN"])
def test_an_apex_that_nobody_found_is_none(text: str) -> None:
    assert read(row(apex=text), "a", findings()) == replace(LABEL, apex=None)


def test_an_apex_of_0_is_a_frame_where_the_table_counts_from_0() -> None:
    assert read(row(onset="0", apex="0"), "a", findings(), zeros=False) == replace(LABEL, onset=0, apex=0)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"onset": "-3"}, "onset -3 is negative"),
        ({"onset": ""}, "onset is empty: expected a frame, a whole number"),
        ({"offset": "20.5"}, "offset 20.5: expected a frame, a whole number"),
        ({"offset": "2000-01-01 00:00:00"}, "offset 2000-01-01 00:00:00: expected a frame, a whole number"),
        ({"offset": "9999999999"}, "offset 9999999999 is beyond any video"),
        ({"apex": "x"}, "apex x: expected a frame, a whole number"),
        ({"type": "smile"}, "type smile is unknown: expected micro or macro"),
        ({"type": "microscope"}, "type microscope is unknown: expected micro or macro"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named_with_its_row(cells: dict[str, str], words: str) -> None:
    met = findings()
    assert read(row(**cells), "a", met) is None
    assert met.faults == [f"row 5: {words}"]


@pytest.mark.parametrize(("chosen", "offset"), [("apex", 14), ("apex+20", 34), ("mirrored", 18)])
def test_an_offset_of_0_is_made_up_by_convention(chosen: str, offset: int) -> None:
    met = findings(offset_zero=chosen)
    settled = settle(replace(LABEL, offset=0), FPS, met)
    assert settled == replace(LABEL, offset=offset, offset_known=False)
    assert met.met["offset_zero"] == met.met["offset_zero micro"] == 1


def test_an_offset_of_0_may_be_dropped_and_needs_an_apex_otherwise() -> None:
    met = findings(offset_zero="drop")
    assert settle(replace(LABEL, offset=0), FPS, met) is None
    assert (met.faults, met.met["offset_zero"]) == ([], 1)
    met = findings()
    assert settle(replace(LABEL, offset=0, apex=None), FPS, met) is None
    assert met.faults == ["row 5: offset 0 and no apex to end it by"]


def test_an_offset_that_was_made_up_ends_with_the_video() -> None:
    met = findings(offset_zero="apex+20")
    settled = settle(replace(LABEL, offset=0), FPS, met)
    assert settled is not None
    assert place(settled, footage(*range(1, 31)), 0, met) == Span(9, 29, "micro")
    assert met.faults == met.notes == []


def test_an_onset_of_0_begins_with_the_video_or_is_dropped() -> None:
    label = replace(LABEL, onset=0)
    kept = settle(label, FPS, findings())
    assert kept == label
    assert place(kept, FROM_1, 0, findings()) == Span(0, 19, "micro")
    assert settle(label, FPS, findings(onset_zero="drop")) is None


def test_frame_0_is_a_frame_where_the_table_counts_from_0() -> None:
    label = replace(LABEL, onset=0, apex=None, offset=0)
    met = findings(onset_zero="drop", offset_zero="drop")
    assert settle(label, FPS, met, zeros=False) == label


def test_a_missing_apex_may_get_the_middle() -> None:
    label = replace(LABEL, apex=None)
    assert settle(label, FPS, findings()) == label
    assert settle(label, FPS, findings(missing_apex="middle")) == replace(LABEL, apex=15)


def test_an_apex_outside_its_expression_is_told_and_unknown_in_the_table() -> None:
    met = findings()
    assert settle(replace(LABEL, apex=21), FPS, met) == replace(LABEL, apex=None)
    assert met.notes == ["row 5: apex 21 is outside its expression, 10 to 20: unknown in the table"]


def test_onset_after_offset_is_named() -> None:
    met = findings()
    assert settle(replace(LABEL, onset=30), FPS, met) is None
    assert met.faults == ["row 5: onset 30 is after offset 20"]


@pytest.mark.parametrize(("offset", "kind"), [(25, "micro"), (26, "macro")])
def test_a_label_without_type_is_typed_by_its_duration_the_boundary_included(offset: int, kind: str) -> None:
    settled = settle(replace(LABEL, offset=offset, type=None), FPS, findings())
    assert settled is not None
    assert settled.type == kind


def test_a_given_type_is_never_overwritten() -> None:
    settled = settle(replace(LABEL, offset=90), FPS, findings())
    assert settled is not None
    assert settled.type == "micro"


@pytest.mark.parametrize(
    ("numbers", "span"),
    [
        (range(1, 101), (9, 13, 19)),
        (range(101), (10, 14, 20)),
        (range(4, 101), (6, 10, 16)),
        ((*range(1, 6), *range(8, 101)), (7, 11, 17)),
        ((*range(1, 12), *range(18, 101)), (9, 11, 13)),
        ((*range(1, 8), *range(12, 15), *range(40, 50)), (7, 9, 9)),
    ],
)
def test_frames_find_their_picture_whatever_the_first_is_called_and_whatever_is_missing(
    numbers: range | tuple[int, ...], span: tuple[int, int, int]
) -> None:
    onset, apex, offset = span
    placed = place(LABEL, footage(*numbers), 0, findings())
    assert placed is not None
    assert (placed.onset, placed.apex, placed.offset) == (onset, apex, offset)


def test_an_expression_whose_frames_are_all_missing_is_named() -> None:
    met = findings()
    assert place(LABEL, footage(1, 2, 50), 0, met) is None
    assert met.faults == ["row 5: frames 10 to 20 are all missing in a"]


@pytest.mark.parametrize(("numbers", "span"), [(range(1, 16), (9, 14)), (range(15, 100), (0, 5))])
def test_frames_beyond_the_video_are_an_error_or_cut_or_dropped(numbers: range, span: tuple[int, int]) -> None:
    first, last = numbers[0], numbers[-1]
    words = f"row 5: frames 10 to 20 are beyond the video, which has {first} to {last}"
    met = findings()
    assert place(LABEL, footage(*numbers), 0, met) is None
    assert met.faults == [f"{words} (--beyond chooses what to do)"]
    met = findings(beyond="cut")
    placed = place(LABEL, footage(*numbers), 0, met)
    assert placed is not None
    assert (placed.frames, met.faults, met.notes) == (span, [], [f"{words}: cut"])
    met = findings(beyond="drop")
    assert place(LABEL, footage(*numbers), 0, met) is None
    assert (met.faults, met.notes) == ([], [f"{words}: left out"])


def test_an_expression_wholly_beyond_the_video_cannot_be_cut() -> None:
    met = findings(beyond="cut")
    assert place(LABEL, footage(*range(1, 9)), 0, met) is None
    assert met.faults == ["row 5: frames 10 to 20 are beyond the video, which has 1 to 8"]


def test_all_faults_are_named_at_once_or_left_out_and_told() -> None:
    met = findings()
    met.faults += ["row 5: wrong", "row 6: wrong too"]
    with pytest.raises(LivespotError) as raised:
        met.refuse()
    assert str(raised.value).splitlines() == [
        "Made up has 2 problems; nothing was written:",
        "  row 5: wrong",
        "  row 6: wrong too",
        "  --faulty drop leaves out what cannot be used, and says so",
    ]
    met = findings(faulty="drop")
    met.faults.append("row 5: wrong")
    met.refuse()
    assert met.notes == ["row 5: wrong: left out"]


def test_what_a_convention_refuses_is_left_out_too_where_all_that_is_faulty_is() -> None:
    met = findings(faulty="drop")
    assert not met.decide("holes", "a: frame 7 is missing")
    met.refuse()
    assert met.notes == ["a: frame 7 is missing (--holes chooses what to do): left out"]


def test_a_convention_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"--offset-zero zero: expected apex or apex\+20 or mirrored or drop"):
        Conventions(offset_zero="zero")
