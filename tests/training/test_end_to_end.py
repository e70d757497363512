"""From a dataset as it is unpacked to the challenge's score: scan, prepare, train, evaluate, each as its command."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from livespot.capture.virtual import VirtualCamera
from livespot.cli import app
from livespot.evaluation.labels import Span
from tests import films
from tests.datasets import trees
from tests.films import Picture
from tests.training.made_up_cache import written

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0

FPS, SECONDS, FILM_S = 200, 3.2, 4.0
SUBJECTS = {"006_1": films.MACRO_SEED, "007_3": films.MICRO_SEED, "012_2": films.MACRO_SEED}


def at_200_fps(pictures: Sequence[Picture]) -> list[Picture]:
    """A film of another rate, each picture as often as it takes."""
    return [pictures[int(frame * films.FPS / FPS)] for frame in range(int(SECONDS * FPS))]


def truths(seed: int) -> list[Span]:
    """What a film shows, in frames at 200 a second."""
    truth = VirtualCamera(seed=seed, seconds=FILM_S).truth
    return [
        Span(math.ceil(one.onset_s * FPS), math.ceil(one.offset_s * FPS) - 1, one.type, apex=round(one.apex_s * FPS))
        for one in truth
        if one.offset_s < SECONDS
    ]


@pytest.fixture(scope="module")
def samm_lv(pictures: list[Picture], micro_pictures: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAMM-LV of three subjects, one of them the mirror image of another."""
    mirrored = [picture[:, ::-1] for picture in pictures]
    shown = dict(zip(SUBJECTS, map(at_200_fps, (pictures, micro_pictures, mirrored)), strict=True))
    labelled = trees.rows({video: truths(seed) for video, seed in SUBJECTS.items()})
    return trees.samm_lv(tmp_path_factory.mktemp("samm-lv"), shown, labelled)


def done(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def killed(words: Sequence[str | Path], file: Path) -> None:
    """A command in its own process, killed with -9 as soon as it has written a file."""
    command = [sys.executable, "-m", "livespot", *map(str, words)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL) as process:
        until_s = time.monotonic() + PATIENCE_S
        while not file.exists() and process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and file.exists()


def figures(out: Path) -> dict[str, Any]:
    """results.json, but for the commit of the code: it may move on while tests run."""
    values: dict[str, Any] = json.loads((out / "results.json").read_text())
    for fold in values["folds"]:
        del fold["commit"]
    return values


def test_a_dataset_is_scanned_prepared_trained_on_killed_resumed_and_scored(samm_lv: Path, tmp_path: Path) -> None:
    labels, cache, config = tmp_path / "labels.csv", tmp_path / "cache", written(tmp_path / "tiny.yaml", "samm-lv.yaml")
    done("datasets", "scan", "samm-lv", samm_lv, "--out", labels)
    done("prepare", labels, cache)

    train = ("train", config, "--loso", "--data", cache, "--out")
    killed((*train, tmp_path / "run"), tmp_path / "run/folds/007/choosing/checkpoint.pt")
    assert not (tmp_path / "run" / "results.json").exists()
    done(*train, tmp_path / "run")
    done(*train, tmp_path / "whole")
    assert figures(tmp_path / "run") == figures(tmp_path / "whole")
    for name in ("predictions.csv", "log.txt", "report/index.html"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    scored = done(
        *("evaluate", "--labels", tmp_path / "run" / "labels.csv"),
        *("--predictions", tmp_path / "run" / "predictions.csv", "--json"),
        *("--log", tmp_path / "log.txt", "--report", tmp_path / "page"),
    )
    found = figures(tmp_path / "run")
    assert found["complete"] and set(found["subjects"]) == {"006", "007", "012"}
    assert found["overall"]["labels"] == sum(len(truths(seed)) for seed in SUBJECTS.values())
    assert json.loads(scored).items() <= found.items()
    assert (tmp_path / "log.txt").read_text() == (tmp_path / "run" / "log.txt").read_text()
    assert (tmp_path / "log.txt").read_text().startswith("1\n")
    assert "012_2" in (tmp_path / "page" / "index.html").read_text()
