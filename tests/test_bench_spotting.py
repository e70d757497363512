"""The trial of all methods: its rules on made-up videos, and a short run of the whole."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import livespot
from livespot.bench import spotting
from livespot.bench.calm import ForthAndBack, calm_frames, stretches
from livespot.bench.spotting import CALM, CLIPS, PORTRAITS, Sight, Span, Tally, Trial, Watch
from livespot.capture.opencv import VideoFile
from livespot.capture.virtual import ASTRONAUT, Expression
from livespot.cli import app
from livespot.config import InferSettings, Settings
from livespot.errors import SettingsError, SourceError
from livespot.evaluation.matching import Counts
from livespot.infer import OnnxScorer
from livespot.motion.regions import EXPRESSIVE
from livespot.records import ExpressionType
from livespot.synth.injected import Injected
from tests.films import FPS
from tests.films import MotionScorer as Scorer
from tests.portraits import astronaut

TIMES_S = np.arange(90) / FPS


def span(first: int, last: int, kind: ExpressionType = "micro", amplitude_iod: float = 0.01) -> Span:
    return Span(kind, (first, last), first / FPS, (last + 1) / FPS, amplitude_iod)


def meshes(moved_iod: NDArray[np.float64], regions: tuple[str, ...]) -> list[NDArray[np.float32] | None]:
    """The astronaut's mesh, some of its regions moved down by so much in each frame; its head turned in the plane."""
    landmarks = astronaut().landmarks
    iod_px = float(np.linalg.norm(landmarks[33] - landmarks[263]))
    points = [point for name in regions for point in EXPRESSIVE[name].landmarks]
    found: list[NDArray[np.float32] | None] = []
    for index, share in enumerate(moved_iod):
        mesh = landmarks.copy()
        mesh[points, 1] += share * iod_px
        turn = cv2.getRotationMatrix2D((100.0, 100.0), 0.3 * index, 1 + 0.002 * index)
        found.append((mesh @ turn[:, :2].T + turn[:, 2]).astype(np.float32))
    return found


BROW = ("brow_inner_left", "brow_middle_left", "brow_outer_left")
RAISED_FOR_A_WHILE = np.where((TIMES_S >= 1.2) & (TIMES_S < 1.8), 0.04, 0.0)


def test_a_face_is_calm_but_for_half_a_second_around_what_its_shape_does() -> None:
    calm = calm_frames(meshes(RAISED_FOR_A_WHILE, BROW), TIMES_S.tolist(), 0.03)
    changes = [frame for frame in range(90) if not calm[frame]]
    assert min(changes) == pytest.approx(0.7 * FPS, abs=3)
    assert max(changes) == pytest.approx(2.3 * FPS, abs=3)


@pytest.mark.parametrize("regions", [(), BROW[:2], ("upper_lid_left", "upper_lid_right", "lower_lid_left")])
def test_a_turned_head_an_error_of_the_mesh_and_a_blink_are_calm(regions: tuple[str, ...]) -> None:
    assert calm_frames(meshes(RAISED_FOR_A_WHILE, regions), TIMES_S.tolist(), 0.03).all()


def test_what_varies_by_less_than_is_allowed_is_calm() -> None:
    by_two_percent = meshes(RAISED_FOR_A_WHILE / 2, BROW)
    assert calm_frames(by_two_percent, TIMES_S.tolist(), 0.03).all()
    assert not calm_frames(by_two_percent, TIMES_S.tolist(), 0.01).all()


def test_a_face_that_is_not_seen_is_not_calm() -> None:
    found = meshes(np.zeros(90), ())
    found[45] = None
    calm = calm_frames(found, TIMES_S.tolist(), 0.03)
    assert not calm[31:60].any()
    assert calm[:28].all() and calm[63:].all()
    assert not calm_frames([None] * 10, TIMES_S[:10].tolist(), 0.03).any()


def test_stretches_are_what_is_calm_for_long_enough() -> None:
    calm = np.zeros(90, np.bool_)
    calm[:22] = calm[30:51] = calm[60:90] = True
    assert stretches(calm, TIMES_S.tolist()) == [range(22), range(60, 90)]
    assert stretches(~calm, TIMES_S.tolist()) == []
    assert stretches(np.ones(90, np.bool_), TIMES_S.tolist()) == [range(90)]
    assert stretches(np.ones(90, np.bool_), (10 * TIMES_S).tolist()) == [range(30)]


def test_a_stretch_is_played_forth_and_back_without_a_halt(video: Path) -> None:
    with VideoFile(video, "film") as source:
        frames = list(source)[10:15]
    with ForthAndBack(frames, FPS, 0.5) as again:
        played = list(again)
    order = [next(place for place, frame in enumerate(frames) if frame.image is one.image) for one in played]
    assert order == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2][: len(order)]
    assert [one.index for one in played] == list(range(again.frame_count or 0)) == list(range(round(0.5 * FPS)))
    assert [one.t_s for one in played] == pytest.approx(TIMES_S[: len(played)])


def test_frames_of_an_expression_are_those_that_show_it() -> None:
    one = Expression("micro", 1.01, 1.1, 1.3, 0.0, "12", 0.01)
    (found,) = spotting.shown([one], TIMES_S.tolist())
    assert found.frames == (31, 38)
    assert (found.onset_s, found.offset_s, found.amplitude_iod) == (1.01, 1.3, 0.01)


def test_a_hit_has_the_errors_of_its_best_hit_and_a_miss_has_none() -> None:
    truth = [span(30, 39), span(60, 69), span(10, 40, "macro", 0.05)]
    found = [span(28, 39), span(31, 39), span(60, 69, "macro")]
    one = spotting.tally(truth, found)
    assert one.micro == Counts(1, 1, 1)
    assert one.macro == Counts(0, 1, 1)
    hit, *missed = one.sights
    assert hit.onset_error_s == pytest.approx(1 / FPS)
    assert hit.offset_error_s == pytest.approx(0.0)
    assert missed == [Sight("micro", 0.01, None, None), Sight("macro", 0.05, None, None)]


def test_tallies_add_and_scores_are_of_the_sums() -> None:
    first = spotting.tally([span(30, 39)], [span(30, 39)])
    second = spotting.tally([span(30, 39)], [span(60, 69), span(10, 50, "macro")])
    calm = spotting.alarms([span(10, 19), span(10, 50, "macro"), span(60, 89, "macro")], 30.0)
    figures = (first + second + calm + spotting.alarms([], 30.0)).figures()
    assert figures["counts"]["micro"] == {"tp": 1, "fp": 1, "fn": 1}
    assert figures["counts"]["overall"] == {"tp": 1, "fp": 2, "fn": 1}
    assert figures["f1"] == {"micro": 0.5, "macro": 0.0, "overall": 0.4}
    assert figures["false_alarms_per_minute"] == {"micro": 1.0, "macro": 2.0}
    assert figures["onset_error_ms"] == figures["offset_error_ms"] == 0.0


def test_recall_is_told_by_amplitude_from_the_lower_edge_on() -> None:
    shown = [span(30, 39, "micro", amplitude_iod) for amplitude_iod in (0.008, 0.0119, 0.012, 0.03)]
    figures = spotting.tally(shown[1:], [span(30, 39)]).figures()["hit_of_shown"]
    assert figures["micro"] == {"0.8-1.2": (1, 1), "1.2-1.6": (1, 1), "1.6-2": (0, 0), "2+": (1, 1)}
    figures = spotting.tally([*shown[:1], span(0, 60, "macro", 0.09)], []).figures()["hit_of_shown"]
    assert figures["micro"]["0.8-1.2"] == (0, 1)
    assert figures["macro"] == {"3-5": (0, 0), "5-7": (0, 0), "7+": (0, 1)}


def test_what_was_never_shown_has_no_figures() -> None:
    figures = Tally().figures()
    assert figures["false_alarms_per_minute"] == {"micro": None, "macro": None}
    assert figures["onset_error_ms"] is figures["offset_error_ms"] is None


def test_portraits_are_first_those_on_which_nothing_was_set() -> None:
    portraits = [Path(f"{index:03}.jpg") for index in range(240)]
    first = [int(path.stem) for path in spotting.chosen(portraits, 18)]
    assert set(first) == set(range(201, 240, 2)) - {203, 213}
    assert first != sorted(first)
    assert set(spotting.chosen(portraits, 240)) == set(portraits)


def test_every_method_is_one_that_settings_know() -> None:
    for changes in spotting.METHODS.values():
        Settings.model_validate(spotting.with_method(Settings(), changes).model_dump())


def test_a_video_that_all_watch_is_spotted_as_by_itself(video: Path, engine: str) -> None:
    settings = Settings(infer=InferSettings(model=engine))
    methods = {name: spotting.with_method(settings, spotting.METHODS[name]) for name in ("motion, offline", "both")}
    with OnnxScorer(settings.infer) as scorer:
        watch = Watch(Injected(VideoFile(video, "film"), 0, calm=True), methods, scorer)
        assert sum(1 for _ in watch) == len(watch.times_s) == 120
    assert watch.watched_s == pytest.approx(119 / FPS, abs=0.1)
    for name, method in methods.items():
        alone = list(livespot.spot(video, method))
        assert alone
        assert watch.events[name] == spotting.told(alone)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spotting, "SECONDS", {30.0: 4.0})
    monkeypatch.setattr(spotting, "CALM_S", 8.0)
    monkeypatch.setattr(spotting, "METHODS", {name: spotting.METHODS[name] for name in ("motion, live", "network")})


@pytest.mark.usefixtures("small")
def test_a_short_run_has_every_figure(tmp_path: Path, video: Path) -> None:
    (tmp_path / "astronaut.jpg").symlink_to(ASTRONAUT)
    (tmp_path / "macro.avi").symlink_to(video)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    trial = Trial(tmp_path, tmp_path, 1, Settings(), Scorer())
    assert trial.frames == 4 * 120
    assert sum(1 for _ in trial) == trial.frames > 4 * 120
    figures = json.loads(json.dumps(trial.figures(), allow_nan=False))
    assert set(figures["groups"]) == {PORTRAITS[30.0], CLIPS, *CALM}
    for group in figures["groups"].values():
        assert set(group["methods"]) == {"motion, live", "network"}
        for one in group["methods"].values():
            assert all(0 <= f1 <= 1 for f1 in one["f1"].values())
            for kind, shown in group["expressions"].items():
                assert one["counts"][kind]["tp"] + one["counts"][kind]["fn"] == shown
                assert sum(of for _, of in one["hit_of_shown"][kind].values()) == shown
    portraits, clips, *calm = figures["groups"].values()
    assert portraits["expressions"] == {"micro": 1, "macro": 1}
    assert portraits["methods"]["motion, live"]["f1"]["overall"] > 0.5
    assert portraits["minutes_without"] == clips["minutes_without"] == pytest.approx(119 / FPS / 60, abs=0.01)
    calm_stretches = (trial.frames - 4 * 120) / (2 * 240)
    calm_s = 60 * sum(one["minutes_without"] for one in calm)
    assert calm_s == pytest.approx(calm_stretches * 239 / FPS, abs=1.2)
    assert all(one["expressions"]["micro"] > 0 for one in calm)
    assert len(figures["notes"]) == 1 and "broken.mp4" in figures["notes"][0]
    assert spotting.to_rich(figures).row_count == 4 * 3


@pytest.mark.usefixtures("small")
def test_a_folder_in_which_no_clip_shows_a_face_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"no face is found in any of them:\n.*broken\.mp4"):
        list(Trial(None, tmp_path, 1, Settings(), Scorer()))


def test_folders_that_hold_nothing_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no portrait is in .*: expected files that end in \.jpg"):
        Trial(tmp_path, None, 1, Settings(), Scorer())
    with pytest.raises(SourceError, match=r"no video is in .*: expected files that end in \.mp4"):
        Trial(None, tmp_path, 1, Settings(), Scorer())
    with pytest.raises(SourceError, match=r"nowhere is no folder: give one with at least one video"):
        Trial(None, tmp_path / "nowhere", 1, Settings(), Scorer())


def test_bench_without_a_command_is_still_what_it_was_and_names_its_commands() -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["bench", "--help"])
    assert done.exit_code == 0
    assert "livespot bench --clip interview.mp4 --json out.json" in done.output
    assert all(option in done.output for option in ("--clip", "--json", "--frames", "--model", "spotting"))


def test_bench_spotting_has_help_with_an_example() -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["bench", "spotting", "--help"])
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    assert "livespot bench spotting --faces" in done.output.partition("Examples:")[2]


def test_bench_spotting_with_nothing_to_spot_in_says_what_to_give() -> None:
    done = CliRunner().invoke(app, ["bench", "spotting"])
    assert isinstance(done.exception, SettingsError)
    assert "give --faces, a folder of portraits, or --clips" in str(done.exception)
