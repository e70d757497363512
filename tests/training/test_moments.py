import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.buffer import ClipBuffer
from livespot.datasets.cache import STATE, Cache
from livespot.errors import SettingsError
from livespot.evaluation.labels import Span, Video
from livespot.normalise import local_contrast
from livespot.records import CROP_PX, ClipSpec, Gap
from livespot.training.moments import Look, Material, Moments, labels_of, max_gap_s
from livespot.training.settings import DatasetTrainSettings, load_train_settings
from tests.training.made_up_cache import FPS, FRAMES, cache, videos, written

PLAIN = Look(contrast=1.0, gamma=1.0, gain=1.0, rotation_deg=0.0, mirrored=False)
TWO_SUBJECTS = ("s1", "s2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(cache(tmp_path_factory.mktemp("moments") / "cache", videos(TWO_SUBJECTS)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> DatasetTrainSettings:
    return load_train_settings(written(tmp_path_factory.mktemp("moments") / "tiny.yaml"), DatasetTrainSettings)


def crop() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(60, 200, (CROP_PX, CROP_PX)).astype(np.uint8)


def test_references_are_those_that_the_live_buffer_finds(data: Cache) -> None:
    prepared, spec = data["s1_1"], ClipSpec((0.199, 0.599))
    moments, buffer, cut = Moments(prepared, max_gap_s(data)), ClipBuffer(spec), set()
    for face in prepared.faces():
        if isinstance(face, Gap):
            buffer.reset()
            continue
        for clip in buffer.push(face, local_contrast(face.crop)):
            cut.add(clip.index)
            found = [moments.reference(clip.index, k_s) for k_s in spec.references_s]
            patches = [local_contrast(prepared.crops[frame]) for frame in found if frame is not None]
            assert np.array_equal(clip.inputs["clips"][:, 0], np.stack(patches))
    assert cut == set(moments.judgeable(0.599).tolist())
    assert 0 < len(cut) < prepared.seen.sum()


def test_no_reference_lies_where_no_face_was_seen_or_before_the_video(data: Cache) -> None:
    moments = Moments(data["s1_1"], max_gap_s(data))
    assert moments.reference(FRAMES - 5, 13 / FPS) is None
    assert moments.reference(FRAMES - 5, 3 / FPS) == FRAMES - 8
    assert moments.reference(10, 11 / FPS) is None


def test_a_face_is_watched_anew_after_it_was_lost(data: Cache) -> None:
    moments = Moments(data["s1_1"], max_gap_s(data))
    assert moments.watched_s(FRAMES - 21) == pytest.approx((FRAMES - 21) / FPS)
    assert moments.watched_s(FRAMES - 15) == 0
    assert moments.judgeable(1.0).max() == FRAMES - 21


def test_a_face_is_watched_anew_after_a_hole_that_its_aligner_did_not_bridge(tmp_path: Path) -> None:
    folder = cache(tmp_path / "cache", videos(TWO_SUBJECTS))
    state = json.loads((folder / STATE).read_text())
    state["key"]["align.max_gap_s"] = 0.1
    (folder / STATE).write_text(json.dumps(state))
    strict = Cache(folder)
    rows = strict["s1_1"].rows.copy()
    rows["face"] = 0
    same_number = replace(strict["s1_1"], rows=rows)
    assert Moments(same_number, max_gap_s(strict)).watched_s(FRAMES - 15) == 0
    assert Moments(same_number, 0.3).watched_s(FRAMES - 15) == pytest.approx((FRAMES - 15) / FPS)


def test_a_label_holds_from_onset_to_offset_and_both_classes_may_hold_at_once() -> None:
    labels = labels_of(Video("v", truths=(Span(2, 4, "micro"), Span(3, 6, "macro"))), 8)
    assert np.flatnonzero(labels[:, 0]).tolist() == [2, 3, 4]
    assert np.flatnonzero(labels[:, 1]).tolist() == [3, 4, 5, 6]


def test_a_plain_look_shows_what_is_shown_live() -> None:
    assert np.array_equal(PLAIN.patches([crop()])[0], local_contrast(crop()))


def test_all_frames_of_a_sample_look_alike(settings: DatasetTrainSettings) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        first, second = Look.draw(rng, settings.augmentation).patches([crop(), crop()])
        assert np.array_equal(first, second)


def test_a_mirrored_look_is_that_of_a_mirror() -> None:
    (plain,), (mirrored,) = PLAIN.patches([crop()]), Look(1.0, 1.0, 1.0, 0.0, True).patches([crop()])
    assert np.array_equal(mirrored, plain[:, ::-1])


def test_light_within_the_ranges_changes_levels_but_not_what_is_seen() -> None:
    dark = Look(contrast=0.6, gamma=1.4, gain=0.8, rotation_deg=0.0, mirrored=False)
    plain, darker = PLAIN.patches([crop()])[0], dark.patches([crop()])[0]
    assert not np.array_equal(plain, darker)
    assert np.corrcoef(plain.ravel(), darker.ravel())[0, 1] > 0.95


def test_a_batch_depends_on_seed_and_step_alone(data: Cache, settings: DatasetTrainSettings) -> None:
    names = [video.name for video in data.videos]
    (first, labels), (again, same) = (Material(data, names, settings).batch(7) for _ in range(2))
    assert first.shape == (4, 2, 2, CROP_PX, CROP_PX) and first.dtype == np.float32 and labels.shape == (4, 2)
    assert np.array_equal(first, again) and np.array_equal(labels, same)
    assert not np.array_equal(first, Material(data, names, settings).batch(8)[0])


def test_classes_are_drawn_in_the_shares_of_the_settings(data: Cache, settings: DatasetTrainSettings) -> None:
    material = Material(data, [video.name for video in data.videos], settings)
    labels = np.concatenate([material.batch(step)[1] for step in range(100)])
    micro, macro = labels.mean(axis=0)
    assert micro == pytest.approx(0.2, abs=0.06) and macro == pytest.approx(0.3, abs=0.07)


def test_distances_are_drawn_from_the_whole_of_both_ranges(
    data: Cache, settings: DatasetTrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []
    find = Moments.reference

    def noted(self: Moments, frame: int, distance_s: float) -> int | None:
        drawn.append(distance_s)
        return find(self, frame, distance_s)

    monkeypatch.setattr(Moments, "reference", noted)
    material = Material(data, [video.name for video in data.videos], settings)
    for step in range(50):
        material.batch(step)
    for place, (least_s, most_s) in enumerate(settings.distances.ranges_s):
        of_stream = np.array(drawn[place::2])
        assert least_s <= of_stream.min() < least_s + 0.02 and most_s >= of_stream.max() > most_s - 0.1


def test_a_class_that_nobody_shows_leaves_its_share_to_the_others(
    settings: DatasetTrainSettings, tmp_path: Path
) -> None:
    only_macro = [Video("v_1", "v", FPS, FRAMES, (Span(100, 140, "macro"),))]
    material = Material(Cache(cache(tmp_path / "cache", only_macro)), ["v_1"], settings)
    labels = np.concatenate([material.batch(step)[1] for step in range(50)])
    assert labels[:, 0].sum() == 0 and labels[:, 1].mean() == pytest.approx(3 / 8, abs=0.1)


def test_videos_that_are_too_short_are_refused(settings: DatasetTrainSettings, tmp_path: Path) -> None:
    short = [Video("v_1", "v", FPS, 30, (Span(2, 5, "micro"),))]
    data = Cache(cache(tmp_path / "cache", short))
    with pytest.raises(SettingsError, match="no video shows a face for long enough"):
        Material(data, ["v_1"], settings)
