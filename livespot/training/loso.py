"""Leave-one-subject-out training: every fold for itself, in any order and anywhere, and one table from all of them.

    OUT/run.json            what is trained on what: a fold of anything else is refused
        folds/NAME/         choosing/ and training/ with checkpoint, metrics and curves; result.json once it is done
        labels.csv          the videos of all folds that are done, as long as they were read, and
        predictions.csv     what was spotted in them: `livespot evaluate` makes the same table of both
        results.json        every figure, what each fold chose, and which folds are missing
        log.txt, report/    the challenge's log file and a page with timelines, once no fold is missing

Counts are summed over all subjects that were left out, and then become one F1: never a mean of folds.
"""

import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from livespot.datasets.cache import LABELS, Cache, Row, about_of, folder_of
from livespot.errors import LivespotError, SettingsError
from livespot.evaluation import challenge, report, scores, summary
from livespot.evaluation.labels import PREDICTION_COLUMNS, Span, Video, read_labels, write_labels
from livespot.evaluation.scores import Evaluation
from livespot.files import locked, replacing
from livespot.processes import begin_worker
from livespot.training.fold_loop import RESULT, Result, run_fold
from livespot.training.folds import Fold, digest, named_fold, split_folds
from livespot.training.runs import make_folder, time_left
from livespot.training.settings import DatasetTrainSettings, load_train_settings

NOTE, PREDICTIONS, FIGURES, LOG, REPORT = "run.json", "predictions.csv", "results.json", "log.txt", "report"


@dataclass(frozen=True)
class Plan:
    """What is to be trained, on what, and where."""

    config: Path
    data: Path
    out: Path
    settings: DatasetTrainSettings
    cache: Cache
    videos: Mapping[str, Video]
    """All that are labelled, those too that were left out when the faces were prepared."""
    folds: Sequence[Fold]
    origin: str
    """Tells labels and faces from others."""

    def folder(self, fold: Fold) -> Path:
        """Where a fold lies, whatever its subject is called."""
        return self.out / "folds" / quote(fold.name, safe=" ").replace(".", "%2E")

    def result(self, fold: Fold) -> Result | None:
        """None where the fold is not done."""
        path = self.folder(fold) / RESULT
        return Result.load(path) if path.exists() else None


@dataclass(frozen=True)
class Table:
    """What the folds that are done came to."""

    protocol: str
    """In words: figures of another are not to be compared with these."""
    evaluation: Evaluation
    results: Sequence[Result]
    missing: Sequence[str]
    """Folds that are not done."""
    left_out: Mapping[str, str]
    """Why a video could not be prepared, by its name: all that is labelled there counts as missed."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the score must know of it."""
        folds = len(self.results) + len(self.missing)
        missing = f"incomplete: {len(self.missing)} of {folds} folds are not done: {', '.join(self.missing)}"
        left_out = [
            f"all labels of {name} count as missed, it was left out: {why}" for name, why in self.left_out.items()
        ]
        return [missing, *left_out] if self.missing else left_out


def train(config: Path, data: Path, out: Path, fold: str | None = None, jobs: int = 1) -> Table:
    """Train the folds that are not done, or `fold` alone, `jobs` at a time; the table of all that are done.

    Where it was ended it goes on. Raises SettingsError where settings or data cannot be used, or are not those that
    `out` began with, and LivespotError that names the folds that failed, once all others are done.
    """
    plan = plan_of(config, data, out)
    wanted = [named_fold(plan.folds, fold)] if fold else plan.folds
    _claim(plan)
    undone = [one for one in wanted if plan.result(one) is None]
    progress = _Progress(len(undone))
    failed = _in_turn(plan, undone, progress) if jobs == 1 else _at_once(plan, undone, jobs, progress)
    with locked(out, waits=True):
        table = tabulate(plan)
    if failed or table is None:
        raise LivespotError(
            f"these folds were not trained: {', '.join(failed)}; what each said stands above. The others are kept: "
            "the same command goes on"
        )
    return table


def plan_of(config: Path, data: Path, out: Path) -> Plan:
    """Raises SettingsError where settings or data cannot be used, LivespotError for a video that is damaged."""
    settings = load_train_settings(config, DatasetTrainSettings)
    cache = Cache(data)
    abouts = {video.name: _about(video.name, data) for video in cache.videos}
    videos = {name: _as_read(video, abouts.get(name)) for name, video in read_labels(data / LABELS).items()}
    folds = split_folds(list(videos.values()), settings)
    return Plan(config, data, out, settings, cache, videos, folds, _origin(videos, cache, abouts))


def _as_read(video: Video, about: Row | None) -> Video:
    """As long as it was read or is labelled, whatever the table says: `livespot evaluate` refuses what lies beyond."""
    if about is None:
        return video
    return replace(video, length=max([about["frames"], *(span.offset + 1 for span in video.truths)]))


def _origin(videos: Mapping[str, Video], cache: Cache, abouts: Mapping[str, Row]) -> str:
    """Which labels, whose pictures, how they were aligned."""
    pictures = [sorted(cache.left_out), {name: about["origin"] for name, about in abouts.items()}]
    told = sha256(json.dumps(pictures, sort_keys=True).encode()).hexdigest()[:16]
    key = " ".join(f"{name}={value}" for name, value in sorted(cache.key.items()))
    return f"labels {digest(videos.values())}, pictures {told}, faces {key}"


def _about(name: str, data: Path) -> Row:
    """Raises LivespotError for a video that is damaged."""
    about = about_of(folder_of(data, name))
    if about is None:
        raise LivespotError(f"video {name} in {data} is damaged: run `livespot prepare` again")
    return about


def tabulate(plan: Plan) -> Table | None:
    """Score all folds that are done against their labels, and write it down; None where none is."""
    found = [(fold, plan.result(fold)) for fold in plan.folds]
    missing = [fold.name for fold, result in found if result is None]
    results = [result for _, result in found if result is not None]
    if not results:
        return None
    tested = sorted(name for fold, result in found if result is not None for name in fold.test)
    predictions = {name: spans for result in results for name, spans in result.predictions.items()}
    evaluation = scores.evaluate({name: plan.videos[name] for name in tested}, predictions)
    left_out = {name: why for name, why in sorted(plan.cache.left_out.items()) if name in tested}
    table = Table(protocol(plan.settings), evaluation, results, missing, left_out)
    _write(plan, table, predictions)
    return table


def _claim(plan: Plan) -> None:
    """Raises SettingsError where the folder holds anything else than folds of these settings and data."""
    make_folder(plan.out)
    told = {"settings": plan.settings.model_dump(mode="json"), "data": plan.origin}
    with locked(plan.out, waits=True):
        note = plan.out / NOTE
        if not note.exists():
            _check_empty(plan.out)
            with replacing(note) as part:
                part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        elif differing := _differing(note, told):
            raise SettingsError(f"{plan.out} began with other {differing}: give these, or another --out")


def _check_empty(out: Path) -> None:
    if any(not path.name.startswith(".") for path in out.iterdir()):
        raise SettingsError(f"--out {out} holds something else than folds: give a new folder")


def _differing(note: Path, told: dict[str, Any]) -> str:
    """Which of what is `told` stands otherwise in the note."""
    try:
        there = json.loads(note.read_text(encoding="utf-8"))
        settings = [name for name, value in told["settings"].items() if there["settings"].get(name) != value]
        data = ["labels or faces"] if there["data"] != told["data"] else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise SettingsError(f"{note} is not what `livespot train --loso` wrote: give another --out") from None
    return ", ".join(settings + data)


class _Progress:
    """Folds that are done, with the time that is left."""

    def __init__(self, folds: int) -> None:
        self._folds, self._done, self._begun_s = folds, 0, time.monotonic()

    def tell(self, result: Result) -> None:
        self._done += 1
        left_s = (time.monotonic() - self._begun_s) / self._done * (self._folds - self._done)
        chosen = f"epoch {result.epoch}, F1 {result.choosing_f1:.4f} where it was chosen"
        words = f"fold {result.fold} done: {chosen}  {self._done} of {self._folds} folds  {time_left(left_s)}"
        Console().print(words, highlight=False, markup=False, soft_wrap=True)


def _in_turn(plan: Plan, folds: Sequence[Fold], progress: _Progress) -> list[str]:
    """One after the other; the names of those that failed."""
    failed = []
    for fold in folds:
        if result := _tried(plan, fold):
            progress.tell(result)
        else:
            failed.append(fold.name)
    return failed


def _tried(plan: Plan, fold: Fold) -> Result | None:
    """None where it failed, which is told."""
    try:
        return _run(plan, fold)
    except LivespotError as error:
        _tell_failed(fold.name, error)
        return None


def _tell_failed(fold: str, error: LivespotError) -> None:
    Console(stderr=True).print(f"fold {fold}: {error}", highlight=False, markup=False, soft_wrap=True)


def _run(plan: Plan, fold: Fold) -> Result:
    folder = plan.folder(fold)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        return plan.result(fold) or run_fold(fold, plan.cache, folder, plan.settings, plan.origin)


def _at_once(plan: Plan, folds: Sequence[Fold], jobs: int, progress: _Progress) -> list[str]:
    """So many folds at a time, each in a process of its own; the names of those that failed."""
    # Fresh processes, not forks: OpenCV's and torch's threads do not survive one.
    context, waiting, failed = get_context("spawn"), list(folds), []
    running: dict[int, tuple[Any, Fold]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                fold = waiting.pop(0)
                process = context.Process(
                    target=_alone, args=(plan.config, plan.data, plan.out, fold.name), daemon=True
                )
                process.start()
                running[process.sentinel] = process, fold
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                process, fold = running.pop(sentinel)
                process.join()
                result = plan.result(fold)
                failed += [fold.name] if result is None else []
                if result:
                    progress.tell(result)
    finally:
        for process, _ in running.values():
            process.terminate()
            process.join()
    return failed


def _alone(config: Path, data: Path, out: Path, name: str) -> None:
    """A fold in its own process."""
    begin_worker()
    try:
        plan = plan_of(config, data, out)
        _claim(plan)  # both files are read anew, perhaps hours later
        _run(plan, named_fold(plan.folds, name))
    except LivespotError as error:
        _tell_failed(name, error)
        sys.exit(1)


def _write(plan: Plan, table: Table, predictions: Mapping[str, Sequence[Span]]) -> None:
    out, evaluation = plan.out, table.evaluation
    write_labels(out / LABELS, [one.video for one in evaluation.videos])
    _write_predictions(out / PREDICTIONS, predictions)
    with replacing(out / FIGURES) as part:
        part.write_text(json.dumps(figures(table), indent=1) + "\n", encoding="utf-8")
    if table.missing:
        return
    report.write(out / REPORT, evaluation)
    if plan.settings.database:
        challenge.write_log(out / LOG, evaluation, plan.settings.database)


def figures(table: Table) -> dict[str, Any]:
    """Everything that is known, for programs."""
    folds = [{name: value for name, value in vars(one).items() if name != "predictions"} for one in table.results]
    return {
        "protocol": table.protocol,
        "complete": not table.missing,
        "missing": list(table.missing),
        "left_out": dict(table.left_out),
        **summary.figures(table.evaluation),
        "folds": folds,
    }


def protocol(settings: DatasetTrainSettings) -> str:
    """What the figures of a table rest on."""
    split, folds, spotting = settings.split, settings.folds, settings.spotting
    left_out = f"leave-one-{split}-out" if folds is None else f"{folds} folds by {split}"
    thresholds = f"epoch and threshold ({spotting.threshold}) chosen in videos of the training {split}s only"
    durations = f"{spotting.min_s:g} to {spotting.max_s:g} s long, dips below {spotting.merge_s:g} s bridged"
    classes = f"each class by its own score, {durations} (durations are not of the paper)"
    return f"{left_out}; {thresholds}; scores {spotting.scores}; {classes}; official rule, IoU >= 0.5"


def _write_predictions(path: Path, predictions: Mapping[str, Sequence[Span]]) -> None:
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*PREDICTION_COLUMNS, "score"))
        for name, spans in sorted(predictions.items()):
            writer.writerows((name, one.type, one.onset, one.offset, one.score) for one in spans)
