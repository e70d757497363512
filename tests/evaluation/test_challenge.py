from pathlib import Path

import pytest

from livespot.errors import SettingsError
from livespot.evaluation.challenge import likely_database, write_log
from livespot.evaluation.matching import RULES
from livespot.evaluation.scores import Evaluation, evaluate
from tests.evaluation.tables import predictions, videos


def scored(fps: float = 200.0, rule: str = "official") -> Evaluation:
    labelled = videos({"006_2": [("macro", 10, 19)], "006_1": [("micro", 140, 219), ("macro", 300, 360)]}, fps)
    predicted = predictions(
        {"006_1": [("micro", 138, 221), ("micro", 139, 221), ("macro", 3, 9)], "006_3": [("macro", 5, 6)]}
    )
    return evaluate(labelled, predicted, rule)


def test_the_log_has_a_row_for_each_pair_or_single_by_predicted_onset(tmp_path: Path) -> None:
    write_log(tmp_path / "log.txt", scored())
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines() == [
        "1",
        "006_1 - - 3 9 FP",
        "006_1 - - 138 221 FP",
        "006_1 140 219 139 221 TP",
        "006_1 300 360 - - FN",
        "006_2 10 19 - - FN",
        "006_3 - - 5 6 FP",
    ]


def test_what_a_rule_does_not_count_has_no_row(tmp_path: Path) -> None:
    write_log(tmp_path / "log.txt", scored(rule="drop-duplicates"))
    assert "138 221" not in (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("fps", "database", "first"), [(200, None, "1"), (30, None, "2"), (60, "samm-lv", "1")])
def test_the_first_line_names_the_database(tmp_path: Path, fps: float, database: str | None, first: str) -> None:
    write_log(tmp_path / "log.txt", scored(fps), database)
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").startswith(f"{first}\n")


def test_of_two_databases_the_one_with_more_videos_is_named() -> None:
    mixed = evaluate(videos({"a": [], "b": []}, 30) | videos({"c": []}, 200), {})
    assert likely_database(mixed.videos) == "casme2"


def test_a_database_that_nobody_can_tell_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="frame rate is 60: give --database samm-lv or --database casme2"):
        write_log(tmp_path / "log.txt", scored(60))
    with pytest.raises(SettingsError, match="names no database samm: give samm-lv or casme2"):
        write_log(tmp_path / "log.txt", scored(), "samm")
    assert list(tmp_path.iterdir()) == []


def test_a_name_with_a_blank_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    found = evaluate(videos({"a": [("micro", 1, 9)], "my clip": [("micro", 1, 9)]}), {})
    with pytest.raises(SettingsError, match="video 'my clip' has one: rename it"):
        write_log(tmp_path / "log.txt", found)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rule", RULES)
def test_rows_add_up_to_the_score(tmp_path: Path, rule: str) -> None:
    path = tmp_path / "log.txt"
    found = scored(rule=rule)
    write_log(path, found)
    results = [line.split()[-1] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    total = found.total.overall
    assert [results.count(result) for result in ("TP", "FP", "FN")] == [total.tp, total.fp, total.fn]
