import json
from io import StringIO

from rich.console import Console

from livespot.evaluation.scores import Evaluation, evaluate
from livespot.evaluation.summary import figures, frames_in_words, notes, to_rich
from tests.evaluation.tables import predictions, videos

LABELLED = videos({"s1_a": [("micro", 0, 9), ("macro", 40, 79)], "s2_a": [("macro", 0, 39)]}, length=100)
PREDICTED = predictions({"s1_a": [("micro", 1, 9), ("micro", 60, 69)], "s2_a": [("macro", 2, 41), ("macro", 3, 41)]})


def test_figures_hold_what_programs_need() -> None:
    found = json.loads(json.dumps(figures(evaluate(LABELLED, PREDICTED)), allow_nan=False))
    assert found["rule"] == "official"
    wanted = {"tp": 1, "fp": 1, "fn": 0, "labels": 1, "predictions": 2, "precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    assert wanted.items() <= found["micro"].items()
    assert {"tp": 1, "fp": 1, "fn": 1, "f1": 0.5}.items() <= found["macro"].items()
    assert {"tp": 2, "fp": 2, "fn": 1, "f1": 4 / 7}.items() <= found["overall"].items()
    low, high = found["overall"]["f1_interval"]
    assert low <= 4 / 7 <= high
    assert found["overall"]["errors"]["onset_frames"] == {"mean": 1.5, "mean_absolute": 1.5, "median_absolute": 1.5}
    assert found["frames"] == {"accuracy": 0.775, "edit": 75.0, "frames": 200, "length_known": True}
    assert [one["iou"] for one in found["f1_by_iou"]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert found["f1_by_iou"][4]["overall"] == found["overall"]["f1"]
    assert found["subjects"]["s2"]["macro"] == {"tp": 1, "fp": 1, "fn": 0}
    assert found["videos"][0] == {
        "video": "s1_a",
        "subject": "s1",
        "micro": {"tp": 1, "fp": 1, "fn": 0},
        "macro": {"tp": 0, "fp": 0, "fn": 1},
        "overall": {"tp": 1, "fp": 1, "fn": 1},
    }
    assert found["notes"] == []


def test_what_is_not_known_is_null() -> None:
    found = json.loads(json.dumps(figures(evaluate({}, {})), allow_nan=False))
    assert found["micro"]["f1_interval"] is None
    assert found["micro"]["errors"]["onset_ms"] == {"mean": None, "mean_absolute": None, "median_absolute": None}


def test_notes_tell_what_the_videos_leave_open() -> None:
    calm = videos({f"s1_{number}": [("micro", 0, 9)] for number in range(7)})
    found = notes(evaluate(calm, predictions({"typo": [("micro", 0, 9)]})))
    assert found == [
        "not in the labels: typo; all that was predicted there counts as false",
        "without predictions: s1_0, s1_1, s1_2, s1_3, s1_4 and 2 more; all that is labelled there counts as missed",
        "the labels have no column frames, or not for every video: frame accuracy takes a video to end with its"
        " last expression, labelled or predicted",
    ]


def shown(evaluation: Evaluation) -> list[list[str]]:
    """Words of each line on a terminal of 80 columns."""
    console = Console(width=80, file=StringIO())
    for table in to_rich(evaluation):
        console.print(table)
    assert isinstance(console.file, StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_the_score_fits_a_terminal_and_names_its_rule() -> None:
    lines = shown(evaluate(LABELLED, PREDICTED, "one-to-one"))
    assert lines[0][:2] == ["rule:", "one-to-one"]
    score, curve, errors = (line for line in lines if line[:1] == ["overall"])
    assert score[:9] == ["overall", "3", "4", "2", "2", "1", "0.5000", "0.6667", "0.5714"]
    assert curve == ["overall", *["0.571"] * 9]
    assert " ".join(errors) == "overall 2 +1.5 (+50 ms) 1.5 (50 ms) +1.0 (+33 ms) 1.0 (33 ms)"


def test_without_hits_there_are_no_errors_to_show() -> None:
    assert shown(evaluate(LABELLED, {}))[-1] == ["overall", "0", "-", "-", "-", "-"]


def test_the_frame_figures_are_told_as_those_of_fesnet() -> None:
    said = frames_in_words(evaluate(LABELLED, PREDICTED))
    assert said == "frame accuracy 0.7750, edit score 75.00, as FESNet reports them"
