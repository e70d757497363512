"""Expressions are pasted as they would have been measured, labelled where they show, and drawn by seed and step."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from livespot.capture.virtual import ASTRONAUT, Expression
from livespot.config import load as read
from livespot.motion.search import COUNT, GRID_HZ, HEAD, MOVED, NOISE
from livespot.records import MOTION_CHANNELS
from livespot.synth import performance
from livespot.synth.performance import Performance
from livespot.synth.script import NAMES, Expressions, Movement, Peaks, Recipe
from livespot.training import pasting
from livespot.training.pasting import Base, Example, Material, displacement_iod, mirrored, pasted
from livespot.training.recordings import Kind, Recording, Response, response
from livespot.training.settings import PastingSettings

SHIPPED = Path(__file__).parents[2] / "configs" / "train" / "default.yaml"
SETTINGS = PastingSettings.model_validate(read(SHIPPED)["pasting"])
EXACT = SETTINGS.model_copy(update={"gain": 1.0, "gain_spread": 0.0, "taken_for_head": 0.0})


def answer(seed: int = 0) -> Response:
    """A face whose regions answer to each unit in some way."""
    rng = np.random.default_rng(seed)
    regions, fields = (rng.normal(0, 0.3, (len(NAMES), count, 2)).astype(np.float32) for count in (COUNT, 40))
    return Response(regions, fields)


def base(kind: Kind, cells: int, seed: int = 0, labels: Sequence[tuple[int, int, int]] = ()) -> Base:
    """A restless face; labels are (class, first, beyond)."""
    rng = np.random.default_rng(seed)
    paths = rng.normal(0, 0.01, (cells, MOTION_CHANNELS)).astype(np.float32)
    paths[:, NOISE] = np.abs(paths[:, NOISE])
    shown = np.zeros((cells, 2), np.float32)
    for which, first, beyond in labels:
        shown[first:beyond, which] = 1
    return Base(paths, shown, kind)


def still(cells: int, weight: float = 1.0) -> Example:
    """Nothing moves, nothing shows."""
    channels = np.zeros((cells, MOTION_CHANNELS), np.float32)
    return Example(channels, np.zeros((cells, 2), np.float32), np.full(cells, weight, np.float32))


MATERIAL = Material(
    {
        "expressive": [base("expressive", 900, 0, [(0, 300, 320), (1, 600, 700)])],
        "neutral": [base("neutral", 500, 1)],
        "clip": [base("clip", 110, 2)],
    },
    [answer(0), answer(1)],
)


def drawn(step: int, seed: int = 0, settings: PastingSettings = SETTINGS, of: Material = MATERIAL) -> Example:
    return pasting.batch(step, 4, 800, of, settings, seed)


def one_of(settings: PastingSettings = SETTINGS, **shares: float | tuple[float, float]) -> PastingSettings:
    """The settings with these alone."""
    others = dict.fromkeys(("expressive", "neutral", "clip", "mixed", "mirrored", "noisy", "silenced"), 0.0)
    return settings.model_copy(update={"livelier": (1.0, 1.0), "told_noise": (1.0, 1.0)} | others | shares)


def test_at_the_apex_the_regions_have_moved_as_the_face_answers_and_outside_not_at_all() -> None:
    face = answer()
    peaks = Peaks(face.fields_iod.astype(np.float64))
    for expression, movements in Expressions(peaks, 60.0, Recipe()).drawn(np.random.default_rng(3)):
        at_s = np.array([expression.onset_s - 1e-6, expression.apex_s, expression.offset_s])
        before, apex, after = displacement_iod(movements, at_s, face)
        intensities = np.zeros(len(NAMES))
        for movement in movements:
            for name, intensity in movement.intensities.items():
                intensities[NAMES.index(name)] += intensity
        np.testing.assert_allclose(apex, np.tensordot(intensities, face.regions_iod, 1), atol=1e-7)
        fastest_iod = np.linalg.norm(np.tensordot(intensities, face.fields_iod, 1), axis=-1).max()
        assert fastest_iod == pytest.approx(expression.amplitude_iod, rel=1e-5)
        assert not before.any() and not after.any()


def test_labels_are_where_the_displacement_is() -> None:
    found = pasted(np.random.default_rng(0), still(3000), answer(), EXACT)
    moves = np.abs(found.paths[:, MOVED]).max(axis=1) > 1e-5
    shows = found.labels.any(axis=1)
    assert shows.sum() > 100 and shows[moves].all()
    assert moves[shows].mean() > 0.9  # the first and the last cells have hardly begun
    assert not found.paths[:, MOVED.stop :].any()


def test_what_is_pasted_is_measured_with_a_loss() -> None:
    exact, lossy = (pasted(np.random.default_rng(0), still(3000), answer(), how) for how in (EXACT, SETTINGS))
    gain = np.abs(lossy.paths).sum() / np.abs(exact.paths).sum()
    assert 0.8 < gain < 0.97


def test_nothing_is_pasted_over_an_expression_that_shows() -> None:
    into = Example(*(array.copy() for array in still(3000)))
    into.labels[::200, 1] = 1
    free = pasted(np.random.default_rng(1), still(3000), answer(), EXACT)
    found = pasted(np.random.default_rng(1), into, answer(), EXACT)
    assert not found.paths[::200].any()
    assert 0 < found.labels.sum() - into.labels.sum() < free.labels.sum()


def test_footage_without_labels_is_trusted_around_what_is_pasted() -> None:
    found = pasted(np.random.default_rng(0), still(3000, 0.5), answer(), SETTINGS)
    assert set(np.unique(found.weights)) == {0.5, 1.0}
    assert (found.weights[found.labels.any(axis=1)] == 1).all()


def test_a_step_is_drawn_from_seed_and_number_alone() -> None:
    for first, again in zip(drawn(7), drawn(7), strict=True):
        np.testing.assert_array_equal(first, again)
    assert not np.array_equal(drawn(7).paths, drawn(8).paths)
    assert not np.array_equal(drawn(7).paths, drawn(7, seed=1).paths)


def test_a_step_has_paths_as_the_network_reads_them() -> None:
    step = drawn(0)
    assert step.paths.shape == (4, MOTION_CHANNELS, 800) and step.paths.dtype == np.float32
    assert step.paths.flags.c_contiguous and np.isfinite(step.paths).all()
    assert step.labels.shape == (4, 800, 2) and step.labels.dtype == np.float32
    assert step.weights.shape == (4, 800) and step.weights.dtype == np.float32


def test_a_portrait_keeps_its_own_labels_and_is_at_rest_before_and_after() -> None:
    settings = one_of(expressive=1.0, into_expressive=0.0)
    of = Material({"expressive": [base("expressive", 400, 0, [(0, 1, 20), (1, 300, 400)])]}, [answer()])
    for step in range(5):
        for paths, labels in zip(*drawn(step, settings=settings, of=of)[:2], strict=True):
            resting = (np.diff(paths, axis=1) == 0).all(axis=0)
            assert not labels[1:][resting].any()
            assert labels.sum(axis=0).tolist() == [19, 100]


def test_a_short_clip_is_played_forth_and_back() -> None:
    ramp = base("clip", 100)
    ramp.paths[:, HEAD.start] = np.arange(100)
    step = drawn(0, settings=one_of(clip=1.0), of=Material({"clip": [ramp]}, [answer()]))
    change = np.diff(step.paths[:, HEAD.start], axis=1)
    assert set(np.unique(change)) == {-1.0, 0.0, 1.0}
    assert (change == 0).sum(axis=1).max() <= 8


def test_kinds_that_were_not_recorded_have_no_share() -> None:
    of = Material({"neutral": MATERIAL.bases["neutral"]}, [answer()])
    assert drawn(0, of=of).labels.any()


def test_errors_may_be_told_otherwise_than_they_are_and_nothing_else_changes() -> None:
    of = Material({"neutral": [base("neutral", 2000)]}, [answer()])
    settings = one_of(neutral=1.0, pauses=(1000.0, 1000.0))
    plain = drawn(0, settings=settings, of=of).paths
    told = drawn(0, settings=settings.model_copy(update={"told_noise": (0.5, 0.5)}), of=of).paths
    np.testing.assert_allclose(told[:, NOISE], 0.5 * plain[:, NOISE])
    others = np.delete(np.arange(plain.shape[1]), np.arange(plain.shape[1])[NOISE])
    np.testing.assert_array_equal(told[:, others], plain[:, others])


def test_noise_grows_as_the_errors_that_are_told() -> None:
    of = Material({"neutral": [base("neutral", 2000)]}, [answer()])
    settings = one_of(neutral=1.0, pauses=(1000.0, 1000.0))
    quiet = drawn(0, settings=settings, of=of)
    noisy = drawn(0, settings=settings.model_copy(update={"noisy": 1.0, "noise": (2.0, 2.0)}), of=of)
    told = quiet.paths[0, NOISE]
    assert np.linalg.norm(noisy.paths[0, NOISE]) == pytest.approx(5**0.5 * np.linalg.norm(told), rel=0.2)
    assert noisy.paths[0, MOVED].std() > 1.3 * quiet.paths[0, MOVED].std()


def test_a_mirror_in_a_mirror_shows_the_face() -> None:
    paths = base("neutral", 50).paths
    assert not np.array_equal(mirrored(paths), paths)
    np.testing.assert_array_equal(mirrored(mirrored(paths)), paths)


def test_a_mirrored_face_moves_as_the_portrait_in_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "LEAN_RAD", 0.0)
    monkeypatch.setattr(performance, "WIDTH", 0.0)
    picture = cv2.imread(str(ASTRONAUT))
    cv2.imwrite(str(tmp_path / "mirrored.png"), picture[:, ::-1])
    faces = []
    for path in (ASTRONAUT, tmp_path / "mirrored.png"):
        with Performance(path, "face", 0, seconds=1.0) as shown:
            faces.append(response(shown))
    half_s = np.array([0.5])
    for left, right in (("AU12_left", "AU12_right"), ("AU1_right", "AU1_left"), ("AU17", "AU17")):
        smile, other = (
            displacement_iod([Movement({name: 0.1}, 0.0, 0.5, 0.5, 1.0)], half_s, face).reshape(1, -1)
            for name, face in zip((left, right), faces, strict=True)
        )
        paths, wanted = (np.zeros((1, MOTION_CHANNELS), np.float32) for _ in range(2))
        paths[:, MOVED], wanted[:, MOVED] = smile, other
        np.testing.assert_allclose(mirrored(paths), wanted, atol=0.15 * np.abs(wanted).max())


def test_a_mirror_turns_what_leads_aside_and_leaves_the_rest() -> None:
    paths = np.zeros((1, MOTION_CHANNELS), np.float32)
    paths[:, HEAD] = 1
    np.testing.assert_array_equal(mirrored(paths)[0, HEAD], [-1, 1, 1, -1, -1, 1])


def test_truth_of_a_recording_is_labelled_by_the_middle_of_each_cell() -> None:
    truth = (Expression("micro", 5.2, 5.3, 5.5, 0.0, "1", 0.02), Expression("macro", 1.0, 2.0, 5.1, 0.0, "12", 0.05))
    cells = np.full((100, MOTION_CHANNELS), -1e-9, np.float32)
    made = pasting.base(Recording(cells, 5.0, truth), "expressive")
    assert np.flatnonzero(made.labels[:, 0]).tolist() == list(range(10, 25))
    assert np.flatnonzero(made.labels[:, 1]).tolist() == list(range(5))
    assert not made.paths[:, NOISE].any()
    assert len(made.paths) / GRID_HZ == 2.0


def test_what_is_not_labelled_may_be_livelier_and_its_head_with_it() -> None:
    plain, lively = (
        pasting.example(
            np.random.default_rng(5), MATERIAL, 400, one_of(neutral=1.0, into_expressive=0.0, livelier=both)
        )
        for both in ((1.0, 1.0), (2.0, 2.0))
    )
    unpasted = ~plain.labels.any(axis=1)
    for some in (MOVED, HEAD):
        moved, twice = (one.paths[:, some] - one.paths[:1, some] for one in (plain, lively))
        np.testing.assert_allclose(twice[unpasted], 2 * moved[unpasted], atol=1e-5)
    assert np.array_equal(plain.labels, lively.labels)
    labelled = pasting.example(np.random.default_rng(5), MATERIAL, 400, one_of(expressive=1.0, livelier=(2.0, 2.0)))
    same = pasting.example(np.random.default_rng(5), MATERIAL, 400, one_of(expressive=1.0))
    assert np.array_equal(labelled.paths, same.paths)


def test_some_regions_are_silent() -> None:
    counts = set()
    for seed in range(30):
        paths = pasting.example(np.random.default_rng(seed), MATERIAL, 400, one_of(clip=1.0, silenced=1.0)).paths
        moved = np.ptp(paths[:, MOVED].reshape(-1, COUNT, 2), axis=0).max(axis=1)
        counts.add(int((moved == 0).sum()))
    assert counts == {1, 2, 3, 4}
