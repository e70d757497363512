from pathlib import Path

import pytest

from livespot.datasets.submission import silent_clips, write_submission
from livespot.errors import LivespotError, SettingsError
from livespot.evaluation.labels import Span, Video

PREDICTED = {"006_3": (Span(140, 218, "micro"), Span(300, 900, "macro")), "12": (Span(0, 5, "micro"),)}


@pytest.mark.parametrize(
    ("year", "header"), [(2022, "vid,pred_onset,pred_offset,type"), (2023, "vid,onset,offset,type")]
)
def test_frames_count_from_1_and_types_are_the_challenges(tmp_path: Path, year: int, header: str) -> None:
    assert write_submission(tmp_path / "out.csv", year, PREDICTED) == 3
    written = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert written == [header, "006_3,141,219,me", "006_3,301,901,mae", "12,1,6,me"]


def test_frames_may_stay_as_they_are(tmp_path: Path) -> None:
    write_submission(tmp_path / "out.csv", 2023, {"12": (Span(0, 5, "micro"),)}, first_frame=0)
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1] == "12,0,5,me"


def test_another_year_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no submission of 2021: expected 2022 or 2023"):
        write_submission(tmp_path / "out.csv", 2021, PREDICTED)
    assert list(tmp_path.iterdir()) == []


def test_clips_without_predictions_are_named_and_predictions_without_a_clip_refused() -> None:
    clips = {name: Video(name) for name in ("006_3", "12", "13")}
    assert silent_clips(clips, PREDICTED) == ["13"]
    with pytest.raises(LivespotError, match="predicted for no clip: 12; the clips are 006_3"):
        silent_clips({"006_3": Video("006_3")}, PREDICTED)
