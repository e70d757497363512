from dataclasses import replace
from typing import Any

import pytest

from livespot.errors import SettingsError
from livespot.evaluation.labels import Span, Video
from livespot.training.folds import digest, named_fold, split_folds
from livespot.training.settings import DatasetTrainSettings, load_train_settings
from tests.training.made_up_cache import CONFIGS, videos

SUBJECTS = tuple(f"{number:02}" for number in range(12))


def settings(**changes: Any) -> DatasetTrainSettings:
    return load_train_settings(CONFIGS / "samm-lv.yaml", DatasetTrainSettings).model_copy(update=changes)


def subjects_of(names: tuple[str, ...]) -> set[str]:
    return {name.partition("_")[0] for name in names}


def test_each_subject_is_left_out_once_with_all_its_videos() -> None:
    folds = split_folds(videos(SUBJECTS, each=3), settings())
    assert [fold.name for fold in folds] == list(SUBJECTS)
    assert all(fold.test == tuple(f"{fold.name}_{number}" for number in (1, 2, 3)) for fold in folds)


def test_nobody_who_is_left_out_trains_or_chooses_and_nobody_does_both() -> None:
    for fold in split_folds(videos(SUBJECTS, each=2), settings()):
        parts = [subjects_of(part) for part in (fold.training, fold.choosing, fold.test)]
        assert sum(map(len, parts)) == len(set().union(*parts)) == len(SUBJECTS)
        assert all(parts)
        assert fold.seen == tuple(sorted(fold.training + fold.choosing))


def test_who_chooses_shows_micro_expressions_where_only_some_do() -> None:
    some = [
        video if place % 3 == 0 else replace(video, truths=video.truths[1:])
        for place, video in enumerate(videos(SUBJECTS))
    ]
    by_name = {video.name: video for video in some}
    for fold in split_folds(some, settings(inner_folds=4)):
        shown = [span.type for name in fold.choosing for span in by_name[name].truths]
        assert "micro" in shown and len(fold.choosing) == 3


def test_five_parts_by_video_leave_out_each_video_once_whoever_is_in_it() -> None:
    folds = split_folds(videos(SUBJECTS, each=2), settings(split="video", folds=5))
    assert [fold.name for fold in folds] == ["1", "2", "3", "4", "5"]
    left_out = [name for fold in folds for name in fold.test]
    assert len(left_out) == len(set(left_out)) == 24
    assert {len(fold.test) for fold in folds} == {4, 5}


def test_the_order_of_videos_changes_nothing() -> None:
    of = videos(SUBJECTS, each=2)
    for chosen in (settings(), settings(split="video", folds=5)):
        assert split_folds(of, chosen) == split_folds(of[::-1], chosen)
    assert digest(of) == digest(of[::-1])


def test_other_labels_are_told_from_these() -> None:
    first, *others = videos()
    moved = replace(first, truths=(Span(61, 70, "micro"), *first.truths[1:]))
    assert digest([moved, *others]) != digest([first, *others])


@pytest.mark.parametrize(("count", "left"), [(1, 0), (2, 1)])
def test_a_dataset_of_too_few_subjects_is_refused(count: int, left: int) -> None:
    with pytest.raises(SettingsError, match=f"of {count} subjects in the dataset {left} are left without 00"):
        split_folds(videos(SUBJECTS[:count], each=4), settings())


def test_more_folds_than_videos_are_refused() -> None:
    with pytest.raises(SettingsError, match="folds is 5, and the dataset has 3 videos"):
        split_folds(videos(), settings(split="video", folds=5))


def test_a_dataset_without_labels_is_refused() -> None:
    with pytest.raises(SettingsError, match="none of the 3 prepared videos has a label"):
        split_folds([replace(video, truths=()) for video in videos()], settings())


def test_a_video_of_nobody_is_named() -> None:
    with pytest.raises(SettingsError, match="video stray has no subject or no frame rate"):
        split_folds([*videos(), Video("stray")], settings())


def test_an_unknown_fold_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="there is no fold s9: give --fold one of s1, s2, s3"):
        named_fold(split_folds(videos(), settings()), "s9")


def test_the_shipped_settings_are_the_papers_and_seconds_inside() -> None:
    samm, casme = (
        load_train_settings(CONFIGS / name, DatasetTrainSettings) for name in ("samm-lv.yaml", "casme2.yaml")
    )
    assert samm.distances.ranges_s == ((0.125, 0.375), (1.0, 2.0))
    assert samm.distances.clip.references_s == pytest.approx((0.185, 1.085))
    micro_s, macro_s = casme.distances.ranges_s
    assert micro_s == pytest.approx((0.1, 0.3)) and macro_s == pytest.approx((16 / 30, 50 / 30))
    assert casme.distances.clip.references_s == pytest.approx((0.2, 19 / 30))
    assert (samm.class_weights, samm.positive_weight) == ((0.9, 0.1), 3.0)
    assert (casme.class_weights, casme.positive_weight) == ((1.0, 1.0), 1.0)
