import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from livespot.datasets.cache import STATE, Cache, folder_of
from livespot.evaluation.labels import Span, Video
from livespot.evaluation.matching import Counts
from livespot.nets.yap2022 import Yap2022
from livespot.records import EXPRESSION_TYPES, ExpressionType, Gap, Scores
from livespot.training.judging import NEVER, Watched, choose, counts, roc_threshold, spotted, watch
from livespot.training.moments import labels_of
from livespot.training.settings import DatasetTrainSettings, load_train_settings
from tests.training.made_up_cache import FPS, FRAMES, cache, videos, written

MACRO = Span(60, 100, "macro")


class Difference(Yap2022):
    """Says of each stream how much newest and reference frame differ."""

    def forward(self, clips: Tensor) -> Tensor:
        return (clips[:, :, 1] - clips[:, :, 0]).abs().mean((2, 3)).clamp(0, 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(cache(tmp_path_factory.mktemp("judging") / "cache", videos(("s1", "s2"))))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> DatasetTrainSettings:
    return load_train_settings(written(tmp_path_factory.mktemp("judging") / "tiny.yaml"), DatasetTrainSettings)


def spotting(settings: DatasetTrainSettings, **changes: object) -> DatasetTrainSettings:
    return settings.model_copy(update={"spotting": settings.spotting.model_copy(update=changes)})


def seen(height: float = 0.8, floor: float = 0.1, truths: Sequence[Span] = (MACRO,)) -> Watched:
    """A video in which the score of a class is high while one of `truths` shows it, and never else."""
    video = Video("v", "s", FPS, 200, tuple(sorted(truths)))
    labels = labels_of(video, 200)
    values = np.where(labels, height, floor)
    said = tuple(
        Scores(micro, macro, 0, "v", frame, frame / FPS, 0.0) for frame, (micro, macro) in enumerate(values.tolist())
    )
    return Watched(video, said, values.astype(np.float32), labels)


@pytest.mark.parametrize(
    ("scores", "shown", "threshold"),
    [
        ((0.9, 0.8, 0.3, 0.2), (1, 1, 0, 0), 0.8),
        ((0.2, 0.8, 0.3, 0.9), (0, 1, 0, 1), 0.8),
        ((0.9, 0.8, 0.7, 0.2), (1, 0, 1, 0), 0.9),
        ((0.5, 0.5, 0.5, 0.2), (1, 1, 0, 0), 0.5),
        ((0.9, 0.8), (0, 0), NEVER),
        ((0.9, -0.1), (1, 1), NEVER),
        ((-0.1, -0.2), (1, 0), 1e-3),
    ],
)
def test_the_threshold_of_the_roc_curve_is_where_it_is_highest_above_chance(
    scores: tuple[float, ...], shown: tuple[int, ...], threshold: float
) -> None:
    assert roc_threshold(np.array(scores, np.float32), np.array(shown, np.bool_)) == pytest.approx(threshold)


def test_what_rises_above_the_threshold_is_spotted_where_it_is(settings: DatasetTrainSettings) -> None:
    (found,) = spotted(seen(), (0.5, 0.5), settings.spotting)
    assert found.type == "macro"
    assert abs(found.onset - MACRO.onset) <= 2 and abs(found.offset - MACRO.offset) <= 2
    assert spotted(seen(), (0.9, 0.9), settings.spotting) == ()


def test_a_micro_expression_within_a_macro_expression_is_spotted_besides_it(settings: DatasetTrainSettings) -> None:
    watched = seen(truths=(Span(100, 159, "macro"), Span(120, 130, "micro")))
    assert counts([watched], (0.5, 0.5), settings.spotting) == Counts(tp=2)


@pytest.mark.parametrize("kind", EXPRESSION_TYPES)
def test_the_class_whose_score_is_high_decides_however_long_it_is(
    kind: ExpressionType, settings: DatasetTrainSettings
) -> None:
    for frames in (6, 20, 100):
        (found,) = spotted(seen(truths=[Span(60, 60 + frames, kind)]), (0.5, 0.5), settings.spotting)
        assert found.type == kind and found.offset - found.onset == pytest.approx(frames, abs=2)


def test_the_roc_threshold_is_one_for_all_videos(settings: DatasetTrainSettings) -> None:
    faint, clear = seen(0.6, 0.1), seen(0.9, 0.4)
    choice = choose([faint, clear], settings.spotting)
    assert choice.levels == pytest.approx((NEVER, 0.6))  # no micro-expression is shown
    assert choice.auc == pytest.approx(0.75)  # of macro-expressions 1, of the others as by chance
    assert counts([clear], choice.levels, settings.spotting) == Counts(tp=1)


@pytest.mark.parametrize("threshold", ["roc", "moilanen"])
def test_a_class_that_those_who_choose_do_not_show_is_never_spotted(
    threshold: str, settings: DatasetTrainSettings
) -> None:
    of = settings.spotting.model_copy(update={"threshold": threshold})
    rising = seen(1.0, 0.0)
    nothing = replace(rising, labels=np.zeros_like(rising.labels))
    assert spotted(rising, choose([nothing], of).levels, of) == ()


def test_moilanens_threshold_is_each_videos_own(settings: DatasetTrainSettings) -> None:
    of = settings.spotting.model_copy(update={"threshold": "moilanen"})
    faint, clear = seen(0.5, 0.1), seen(0.9, 0.6)
    choice = choose([faint, clear], of)
    assert choice.f1 == 1.0
    assert counts([faint, clear], choice.levels, of) == Counts(tp=2)


def test_moilanens_threshold_lies_between_mean_and_maximum(settings: DatasetTrainSettings) -> None:
    of = settings.spotting.model_copy(update={"threshold": "moilanen"})
    watched = seen(0.8, 0.1)
    mean = float(watched.smoothed[:, 1].mean())
    assert 0.1 < mean < 0.8
    for share in (0.0, 0.5):
        own = mean + share * (0.8 - mean)
        assert spotted(watched, (NEVER, share), of) == spotted(watched, (NEVER, own), settings.spotting) != ()


def test_every_frame_with_both_references_is_judged_and_labelled_by_when_it_was(
    data: Cache, settings: DatasetTrainSettings
) -> None:
    watched = watch(Difference(settings.net), data, "s1_1", spotting(settings, scores="raw"))
    judged = [one.index for one in watched.said if isinstance(one, Scores)]
    assert judged == list(range(19, FRAMES - 20))
    assert sum(isinstance(one, Gap) for one in watched.said) == 1
    assert watched.smoothed.shape == watched.labels.shape == (len(judged), 2)
    assert choose([watched], settings.spotting).auc > 0.7


def test_lost_frames_end_what_was_watched_where_they_are_more_than_the_aligner_bridged(
    settings: DatasetTrainSettings, tmp_path: Path
) -> None:
    folder = cache(tmp_path / "cache", videos(("s1",)))
    about, state = folder_of(folder, "s1_1") / "about.json", folder / STATE
    lost = {"from_s": 2.0, "to_s": 2.2, "reason": "frames_lost", "face": None}
    about.write_text(json.dumps(json.loads(about.read_text()) | {"gaps": [(60, lost)]}))
    key = json.loads(state.read_text())
    for longest_s, gaps in ((0.3, 0), (0.1, 1)):
        key["key"]["align.max_gap_s"] = longest_s
        state.write_text(json.dumps(key))
        said = watch(Difference(settings.net), Cache(folder), "s1_1", settings).said
        assert sum(isinstance(one, Gap) for one in said) == gaps


def test_only_as_many_moments_a_second_are_judged_as_the_settings_say(
    data: Cache, settings: DatasetTrainSettings
) -> None:
    watched = watch(Difference(settings.net), data, "s1_1", spotting(settings, judged_per_s=10.0))
    judged = [one.index for one in watched.said if isinstance(one, Scores)]
    assert judged == list(range(21, FRAMES - 20, 3))


def test_normalised_scores_of_a_video_run_from_0_to_1(data: Cache, settings: DatasetTrainSettings) -> None:
    net = Difference(settings.net)
    raw, normalised = (
        np.array([(one.micro, one.macro) for one in watch(net, data, "s1_1", of).said if isinstance(one, Scores)])
        for of in (spotting(settings, scores="raw"), settings)
    )
    assert normalised.min(axis=0).tolist() == [0, 0] and normalised.max(axis=0).tolist() == [1, 1]
    assert np.corrcoef(raw[:, 1], normalised[:, 1])[0, 1] == pytest.approx(1)


def test_a_network_trains_on_after_it_judged(data: Cache, settings: DatasetTrainSettings) -> None:
    net = Difference(settings.net)
    net.train()
    watch(net, data, "s1_1", settings)
    assert net.training


def test_a_video_that_is_too_short_to_be_judged_says_nothing(settings: DatasetTrainSettings, tmp_path: Path) -> None:
    short = Video("v_1", "v", FPS, 40, (Span(2, 15, "micro"),))
    watched = watch(Difference(settings.net), Cache(cache(tmp_path / "cache", [short])), "v_1", settings)
    choice = choose([watched, seen()], settings.spotting)
    assert spotted(watched, choice.levels, settings.spotting) == ()
    assert counts([watched], choice.levels, settings.spotting) == Counts(fn=1)
