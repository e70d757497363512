"""Leave-one-subject-out training on faces that nobody aligned, by a network far too small: how, not how well."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from livespot.cli import app
from livespot.config import InferSettings
from livespot.datasets.cache import Cache, folder_of
from livespot.errors import LivespotError, SettingsError
from livespot.evaluation import scores, summary
from livespot.evaluation.labels import Span, read_labels, read_predictions, write_labels
from livespot.export import export
from livespot.files import locked
from livespot.infer.onnx import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.training import fold_loop, loso
from livespot.training.calibrate import calibrate
from livespot.training.fold_loop import run_fold
from livespot.training.folds import named_fold
from livespot.training.loso import Table, plan_of
from livespot.training.losses import weighted_loss
from livespot.training.settings import DatasetTrainSettings, load_train_settings
from tests.training.made_up_cache import CONFIGS, FRAMES, SUBJECTS, cache, videos, written

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With data/ and tiny.yaml."""
    made = tmp_path_factory.mktemp("loso")
    cache(made / "data", videos())
    written(made / "tiny.yaml")
    return made


@pytest.fixture(scope="module")
def whole(folder: Path) -> Table:
    """Of a run from beginning to end, in whole/."""
    return loso.train(folder / "tiny.yaml", folder / "data", folder / "whole")


def weights(out: Path, fold: str) -> torch.Tensor:
    kept = Checkpoint.load(out / "folds" / fold / "training" / "checkpoint.pt")
    return torch.cat([value.flatten().float() for value in kept.weights.values()])


def told(out: Path) -> dict[str, Any]:
    """results.json, but for the commit of the code: it may move on while tests run."""
    figures: dict[str, Any] = json.loads((out / "results.json").read_text())
    for fold in figures["folds"]:
        del fold["commit"]
    return figures


def results(out: Path) -> list[fold_loop.Result]:
    """Of all folds, but for the commit."""
    return [replace(fold_loop.Result.load(path), commit="") for path in sorted(out.glob("folds/*/result.json"))]


def command(folder: Path, out: Path, *more: str) -> list[str]:
    given = [folder / "tiny.yaml", "--loso", "--data", folder / "data", "--out", out]
    return [sys.executable, "-m", "livespot", "train", *map(str, given), *more]


def started(command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_once_there(command: Sequence[str], file: Path) -> None:
    """The command, killed with -9 as soon as it has written a file."""
    with started(command) as process:
        until_s = time.monotonic() + PATIENCE_S
        while not file.exists() and process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert file.exists()
    assert process.returncode == -signal.SIGKILL


def said(command: Sequence[str]) -> tuple[int, str, str]:
    with started(command) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def asked(*words: str | Path) -> Result:
    """The command within this process."""
    return CliRunner().invoke(app, ["train", *map(str, words)])


def test_every_subject_is_scored_once_by_summed_counts(whole: Table, folder: Path) -> None:
    assert [one.video.name for one in whole.evaluation.videos] == [f"{subject}_1" for subject in SUBJECTS]
    total = whole.evaluation.total
    assert total.micro.tp + total.micro.fn == total.macro.tp + total.macro.fn == len(SUBJECTS)
    assert whole.missing == [] and whole.left_out == {}
    assert {result.fold for result in whole.results} == set(SUBJECTS)
    figures = told(folder / "whole")
    assert figures["complete"] and figures["rule"] == "official"
    assert figures["protocol"].startswith("leave-one-subject-out; epoch and threshold (roc) chosen in")
    assert "0.1 to 4 s long, dips below 0.12 s bridged (durations are not of the paper)" in figures["protocol"]


def test_the_network_of_a_fold_becomes_an_engine_with_the_distances_of_its_dataset(
    whole: Table, folder: Path, tmp_path: Path
) -> None:
    assert not whole.missing
    checkpoint = folder / "whole" / "folds" / "s1" / "training" / "checkpoint.pt"
    export(checkpoint, tmp_path / "fold.onnx")
    with OnnxScorer(InferSettings(model=str(tmp_path / "fold.onnx"))) as scorer:
        assert scorer.clip == load_train_settings(folder / "tiny.yaml", DatasetTrainSettings).distances.clip
    with pytest.raises(LivespotError, match="leave --faces out"):
        calibrate(checkpoint, folder, tmp_path / "other.onnx")


def test_evaluate_makes_the_same_table_of_what_is_left_behind(whole: Table, folder: Path) -> None:
    out = folder / "whole"
    labels = read_labels(out / "labels.csv")
    again = summary.figures(scores.evaluate(labels, read_predictions([out / "predictions.csv"], labels)))
    assert again == summary.figures(whole.evaluation)
    assert json.loads(json.dumps(again)).items() <= told(out).items()


def test_evaluate_takes_what_is_left_behind_of_videos_that_are_longer_or_shorter_than_the_table_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, beyond = Span(FRAMES - 9, FRAMES - 1, "macro"), Span(FRAMES + 1, FRAMES + 9, "macro")
    first, *others = videos()
    longer = replace(first, length=FRAMES + 40, truths=(*first.truths, beyond))
    data, out = cache(tmp_path / "data", videos()), tmp_path / "run"
    write_labels(data / "labels.csv", [longer, *(replace(video, length=FRAMES - 40) for video in others)])
    monkeypatch.setattr(fold_loop, "spotted", lambda *_: (last,))
    table = loso.train(written(tmp_path / "tiny.yaml", epochs=1, steps_per_epoch=1), data, out)

    labels = read_labels(out / "labels.csv")
    assert [video.length for video in labels.values()] == [FRAMES + 10, FRAMES, FRAMES]
    again = scores.evaluate(labels, read_predictions([out / "predictions.csv"], labels))
    assert summary.figures(again) == summary.figures(table.evaluation)


def test_the_challenges_log_and_a_page_are_written(whole: Table, folder: Path) -> None:
    log = (folder / "whole" / "log.txt").read_text().splitlines()
    predicted = sum(len(one.predictions) for one in whole.evaluation.videos)
    assert log[0] == "2"
    assert len(log) == 1 + predicted + whole.evaluation.total.overall.fn
    assert "s2_1" in (folder / "whole" / "report" / "index.html").read_text()


def test_a_fold_leaves_checkpoints_metrics_and_curves(whole: Table, folder: Path) -> None:
    fold = folder / "whole" / "folds" / "s1"
    lines = [json.loads(line) for line in (fold / "choosing" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6] and {"f1", "auc", "micro", "macro"} < set(lines[0])
    assert list((fold / "choosing" / "curves").iterdir())
    kept = Checkpoint.load(fold / "training" / "checkpoint.pt")
    assert kept.split["training"] == ["s2_1", "s3_1"] and kept.split["left_out"] == ["s1_1"]
    assert kept.step == 3 * whole.results[0].epoch


def test_a_run_killed_with_9_goes_on_in_processes_past_a_fold_that_fails_and_ends_in_the_same_bits(
    whole: Table, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, given = tmp_path / "run", (folder / "tiny.yaml", folder / "data", tmp_path / "run")
    killed_once_there(command(folder, out), out / "folds/s2/choosing/checkpoint.pt")
    assert (out / "folds" / "s1" / "result.json").exists() and not (out / "folds" / "s2" / "result.json").exists()

    (out / "folds" / "s3").mkdir(exist_ok=True)
    with locked(out / "folds" / "s3"), pytest.raises(LivespotError, match="were not trained: s3;"):
        loso.train(*given, jobs=2)
    assert told(out)["missing"] == ["s3"]
    told_by_processes = capfd.readouterr()
    assert "fold s2 done: epoch" in told_by_processes.out
    assert "fold s3: another process is at work in" in told_by_processes.err

    assert loso.train(*given).evaluation.total == whole.evaluation.total
    assert told(out) == told(folder / "whole") and results(out) == results(folder / "whole")
    for name in ("predictions.csv", "labels.csv", "log.txt"):
        assert (out / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert all(torch.equal(weights(out, fold), weights(folder / "whole", fold)) for fold in SUBJECTS)


@pytest.mark.usefixtures("whole")
def test_a_run_killed_at_any_step_ends_in_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, steps = weighted_loss, 0

    def dying(*given: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps % 3 == 2:
            raise KeyboardInterrupt
        return learn(*given)

    monkeypatch.setattr(fold_loop, "weighted_loss", dying)
    deaths = 0
    while True:
        try:
            loso.train(folder / "tiny.yaml", folder / "data", tmp_path / "run", "s2")
            break
        except KeyboardInterrupt:
            deaths += 1
    assert deaths >= 4
    assert torch.equal(weights(tmp_path / "run", "s2"), weights(folder / "whole", "s2"))
    assert results(tmp_path / "run") == [results(folder / "whole")[1]]


@pytest.mark.usefixtures("whole")
def test_one_fold_alone_says_which_are_missing_and_the_rest_goes_on_from_it(folder: Path, tmp_path: Path) -> None:
    given = (folder / "tiny.yaml", "--loso", "--data", folder / "data", "--out", tmp_path / "run")
    done = asked(*given, "--fold", "s2")
    assert done.exit_code == 0
    figures = told(tmp_path / "run")
    assert not figures["complete"] and figures["missing"] == ["s1", "s3"]
    assert [one["video"] for one in figures["videos"]] == ["s2_1"]
    assert not (tmp_path / "run" / "log.txt").exists() and not (tmp_path / "run" / "report").exists()
    assert "incomplete: 2 of 3 folds are not done: s1, s3" in done.output

    written_ns = (tmp_path / "run" / "folds" / "s2" / "result.json").stat().st_mtime_ns
    done = asked(*given)
    assert done.exit_code == 0 and "incomplete" not in done.output
    assert (tmp_path / "run" / "folds" / "s2" / "result.json").stat().st_mtime_ns == written_ns
    assert told(tmp_path / "run") == told(folder / "whole")


def test_what_is_labelled_of_the_subject_that_is_left_out_changes_nothing_but_its_score(
    whole: Table, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "data", tmp_path / "data")
    write_labels(
        tmp_path / "data" / "labels.csv",
        [replace(video, truths=(Span(9, 99, "macro"),)) if video.subject == "s3" else video for video in videos()],
    )
    plan = plan_of(folder / "tiny.yaml", folder / "data", tmp_path)
    fold = named_fold(plan.folds, "s3")
    result = run_fold(fold, Cache(tmp_path / "data"), tmp_path / "s3", plan.settings, "another")
    assert replace(result, commit="") == replace(whole.results[2], commit="")


def test_five_fold_by_video_is_the_same_with_another_split(tmp_path: Path) -> None:
    cache(tmp_path / "data", videos(("a", "b"), each=3))
    config = written(tmp_path / "tiny.yaml", split="video", folds=3, epochs=1, steps_per_epoch=1)
    table = loso.train(config, tmp_path / "data", tmp_path / "run")
    assert [result.fold for result in table.results] == ["1", "2", "3"]
    assert len(table.evaluation.videos) == 6 and not table.missing
    assert told(tmp_path / "run")["protocol"].startswith("3 folds by video;")


def test_moilanens_threshold_is_named_in_the_figures(folder: Path, tmp_path: Path) -> None:
    config = written(tmp_path / "tiny.yaml", epochs=1, steps_per_epoch=1)
    config.write_text(config.read_text().replace("threshold: roc", "threshold: moilanen"))
    table = loso.train(config, folder / "data", tmp_path / "run", "s1")
    assert "threshold (moilanen) chosen" in told(tmp_path / "run")["protocol"]
    assert all(0 < share < 1 for share in table.results[0].levels)


def test_a_fold_that_cannot_be_trained_is_named_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache(tmp_path / "data", videos(), left_out=["s2_1"])
    config = written(tmp_path / "tiny.yaml", epochs=1, steps_per_epoch=1)
    with pytest.raises(LivespotError, match="these folds were not trained: s1, s3;"):
        loso.train(config, tmp_path / "data", tmp_path / "run")
    why = "fold s1: none of the videos to learn from could be prepared: s2_1: its file is not there"
    assert why in capsys.readouterr().err
    figures = told(tmp_path / "run")
    assert figures["missing"] == ["s1", "s3"] and figures["left_out"] == {"s2_1": "its file is not there"}


def test_what_is_labelled_in_a_video_that_was_left_out_is_missed_and_told_with_the_reason(tmp_path: Path) -> None:
    cache(tmp_path / "data", videos(each=2), left_out=["s1_2"])
    config = written(tmp_path / "tiny.yaml", epochs=1, steps_per_epoch=1)
    table = loso.train(config, tmp_path / "data", tmp_path / "run", "s1")
    assert table.left_out == {"s1_2": "its file is not there"}
    assert [one.tally.overall.fn for one in table.evaluation.videos if one.video.name == "s1_2"] == [2]
    assert "all labels of s1_2 count as missed, it was left out: its file is not there" in table.notes


@pytest.mark.usefixtures("whole")
def test_a_folder_that_began_with_other_settings_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "whole").rglob("*") if path.is_file()}
    with pytest.raises(SettingsError, match="whole began with other learning_rate: give these, or another --out"):
        loso.train(written(tmp_path / "other.yaml", learning_rate=0.1), folder / "data", folder / "whole")
    cache(tmp_path / "data", videos(each=2))
    with pytest.raises(SettingsError, match="whole began with other labels or faces"):
        loso.train(folder / "tiny.yaml", tmp_path / "data", folder / "whole")
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path for path in before if before[path] != after[path]} <= {folder / "whole" / ".lock"}


@pytest.mark.usefixtures("whole")
def test_folds_of_other_pictures_or_of_videos_that_were_left_out_then_are_not_mixed(
    folder: Path, tmp_path: Path
) -> None:
    fewer, others = cache(tmp_path / "fewer", videos(), ["s2_1"]), cache(tmp_path / "others", videos())
    about = folder_of(others, "s1_1") / "about.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"origin": {"sha256": "another"}}))
    for data in (fewer, others):
        with pytest.raises(SettingsError, match="whole began with other labels or faces"):
            loso.train(folder / "tiny.yaml", data, folder / "whole")


def test_a_damaged_video_is_named_before_anything_is_trained(folder: Path, tmp_path: Path) -> None:
    data = cache(tmp_path / "data", videos())
    (folder_of(data, "s2_1") / "about.json").unlink()
    with pytest.raises(LivespotError, match=r"video s2_1 in .* is damaged: run `livespot prepare` again"):
        loso.train(folder / "tiny.yaml", data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"learning_rate": 0.1}, "began with other learning_rate"), ({"epochs": 0}, "epochs: Input should be")],
)
def test_settings_that_change_while_folds_wait_for_a_process_fail_those_folds(
    changes: dict[str, Any],
    why: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config, claim = written(tmp_path / "tiny.yaml"), loso._claim

    def claimed_then_edited(plan: loso.Plan) -> None:
        claim(plan)
        written(config, **changes)

    monkeypatch.setattr(loso, "_claim", claimed_then_edited)
    with pytest.raises(LivespotError, match="these folds were not trained: s1;"):
        loso.train(config, folder / "data", tmp_path / "run", "s1", jobs=2)
    told_by_process = capfd.readouterr().err
    assert "fold s1: " in told_by_process and why in told_by_process
    assert not (tmp_path / "run" / "folds" / "s1" / "result.json").exists()


def test_a_folder_with_something_else_is_left_as_it_is(folder: Path) -> None:
    labels = (folder / "data" / "labels.csv").read_bytes()
    with pytest.raises(SettingsError, match="data holds something else than folds: give a new folder"):
        loso.train(folder / "tiny.yaml", folder / "data", folder / "data")
    assert (folder / "data" / "labels.csv").read_bytes() == labels


def test_data_without_labels_is_refused_before_a_folder_is_made(folder: Path, tmp_path: Path) -> None:
    cache(tmp_path / "data", [replace(video, truths=()) for video in videos()])
    with pytest.raises(SettingsError, match="none of the 3 prepared videos has a label"):
        loso.train(folder / "tiny.yaml", tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_processes_do_not_work_at_one_fold(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(SettingsError, match="another process is at work in"), locked(tmp_path):
        pass


def test_settings_that_make_no_sense_are_named(folder: Path, tmp_path: Path) -> None:
    config = written(tmp_path / "greedy.yaml", sampling={"per_step": 4, "micro": 0.7, "macro": 0.5})
    with pytest.raises(SettingsError, match=r"sampling: Value error, micro and macro are 0\.7 and 0\.5"):
        loso.train(config, folder / "data", tmp_path / "run")
    config = written(tmp_path / "short.yaml")
    config.write_text(config.read_text().replace("max_s: 4.0", "max_s: 0.2"))
    with pytest.raises(SettingsError, match="expected min_s <= micro_max_s <= max_s"):
        loso.train(config, folder / "data", tmp_path / "run")
    config = written(tmp_path / "seldom.yaml")
    config.write_text(config.read_text().replace("judged_per_s: 50", "judged_per_s: 2"))
    with pytest.raises(SettingsError, match=r"judged_per_s is 2; expected more than 2: after a pause of 0\.5 s"):
        loso.train(config, folder / "data", tmp_path / "run")
    with pytest.raises(SettingsError, match=r"odd\.yaml: net\.wide"):
        loso.train(written(tmp_path / "odd.yaml", net={"wide": 3}), folder / "data", tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("yap2022.yaml", "--loso", "--data", "data"), "trains on portraits, not on a dataset"),
        (("default.yaml", "--loso", "--data", "data"), "trains on portraits, not on a dataset"),
        (("samm-lv.yaml", "--faces", "faces"), "trains on a labelled dataset: give --loso and --data"),
        (("samm-lv.yaml", "--loso"), "give --data, what `livespot prepare` made of it"),
        (("samm-lv.yaml", "--loso", "--data", "data", "--faces", "faces"), "leave --faces and --clips out"),
        (("samm-lv.yaml", "--loso", "--data", "nowhere"), "nowhere holds no cache"),
        (("yap2022.yaml", "--faces", "faces", "--fold", "s1"), "--data, --fold and --jobs go with --loso"),
        (("yap2022.yaml",), "trains on portraits: give --faces"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: Sequence[str], why: str, tmp_path: Path) -> None:
    done = asked(CONFIGS / words[0], *words[1:], "--out", tmp_path / "run")
    assert isinstance(done.exception, SettingsError) and why in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_an_unknown_fold_is_refused_with_exit_code_2(folder: Path, tmp_path: Path) -> None:
    code, _, err = said(command(folder, tmp_path / "run", "--fold", "s9"))
    assert code == 2
    assert "there is no fold s9: give --fold one of s1, s2, s3" in err
    assert not (tmp_path / "run").exists()
