from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livespot.errors import SourceError
from livespot.landmarks import RIGID, RIGID_SHAPE_IOD
from livespot.records import CROP_PX, LANDMARKS
from livespot.synth.pairs import Batch, Movement, Portrait, Recipe, Timeline, batches, face_cells, load_portraits

STILL = Recipe(
    kinds=(1.0, 0.0, 0.0, 0.0), blink=0.0, talk=0.0, drift=0.0, turn=0.0, sway=0.0, jitter_px=(1e-6, 2e-6),
    jitter_deg=0.0, jitter_zoom=0.0, flicker=0.0, noise_levels=(0.5, 0.6),
)  # fmt: skip
"""A calm face before a perfect camera on a perfect tripod."""


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    """Blobs for a face: enough texture everywhere to tell where skin went."""
    rng = np.random.default_rng(0)
    blobs = cv2.GaussianBlur(rng.normal(size=(275, 225)), (0, 0), 2.5)
    landmarks = rng.uniform((75, 105), (150, 200), (LANDMARKS, 2)).astype(np.float32)
    landmarks[list(RIGID)] = RIGID_SHAPE_IOD * 75 + (112, 120)
    return Portrait((128 + 60 * blobs / blobs.std()).clip(0, 255).astype(np.uint8), landmarks)


def drawn(portrait: Portrait, recipe: Recipe, count: int, seed: int = 0) -> Batch:
    return next(batches([portrait], count, seed, recipe=recipe))


def test_a_batch_holds_clips_labels_and_true_displacement(portrait: Portrait) -> None:
    batch = drawn(portrait, Recipe(), 5)
    assert batch.clips.shape == (5, 2, 2, CROP_PX, CROP_PX) and batch.clips.dtype == np.float32
    assert batch.labels.shape == (5, 2) and set(np.unique(batch.labels)) <= {0.0, 1.0}
    assert batch.truth_px.shape == (5, 2, 2, 14, 14) and batch.visible_iod.shape == (5,)


def test_neither_faces_nor_batches_print_their_pixels(portrait: Portrait) -> None:
    assert repr(portrait) == "Portrait(image=uint8(275, 225), landmarks=float32(468, 2))"
    assert repr(drawn(portrait, STILL, 1)).startswith("Batch(clips=float32(1, 2, 2, 112, 112), labels=float32(1, 2)")


def test_both_streams_of_a_clip_end_with_the_same_current_frame(portrait: Portrait) -> None:
    clips = drawn(portrait, Recipe(), 3).clips
    assert (clips[:, 0, 1] == clips[:, 1, 1]).all()


def test_batches_depend_on_seed_and_number_alone(portrait: Portrait) -> None:
    _, second = islice(batches([portrait], 2, seed=4), 2)
    resumed = next(batches([portrait], 2, seed=4, start=1))
    assert (second.clips == resumed.clips).all() and (second.labels == resumed.labels).all()
    assert (next(batches([portrait], 2, seed=5, start=1)).clips != resumed.clips).any()


def test_a_still_face_moves_nowhere(portrait: Portrait) -> None:
    batch = drawn(portrait, STILL, 4)
    assert np.abs(batch.truth_px).max() < 1e-3
    assert not batch.labels.any() and not batch.visible_iod.any()


def test_the_picture_moves_by_the_true_displacement(portrait: Portrait) -> None:
    moving = replace(STILL, kinds=(0.0, 0.0, 1.0, 0.0), running=1.0, macro_s=(0.9, 1.0), macro_iod=(0.03, 0.04))
    batch = drawn(portrait, replace(moving, blur_px=(0.0, 0.0)), 6, seed=1)
    seen_px = np.stack([flow_px(*clip) for clip in batch.clips[:, 1]])[..., 3:11, 3:11]
    truth_px = batch.truth_px[:, 1, :, 3:11, 3:11]
    errors, motions = np.linalg.norm(seen_px - truth_px, axis=1), np.linalg.norm(truth_px, axis=1)
    assert errors.mean() < 0.4 * motions.mean()


def test_neutral_and_moving_frames_are_equally_sharp_and_noisy(portrait: Portrait) -> None:
    """Were one kind of frame sharper, a network would learn sharpness, not motion."""
    recipe = replace(Recipe(), kinds=(0.0, 0.5, 0.5, 0.0), micro_iod=(0.01, 0.02), macro_iod=(0.02, 0.03))
    batch = drawn(portrait, recipe, 200)
    sharpness = np.array([[cv2.Laplacian(patch, cv2.CV_32F).std() for patch in clip] for clip in batch.clips[:, 0]])
    change = sharpness[:, 1] / sharpness[:, 0] - 1
    assert abs(change.mean()) < 3 * change.std() / np.sqrt(len(change)) + 0.002


def test_a_label_says_whether_the_current_frame_lies_in_the_event() -> None:
    assert Movement({}, -0.2, -0.1, 0.1).runs
    assert not Movement({}, -0.3, -0.2, 0.0).runs
    assert not Movement({}, 0.01, 0.1, 0.2).runs


def test_movements_that_overlap_add_up() -> None:
    timeline = Timeline([Movement({"AU4": 0.01}, -1, 0, 1)], [], [Movement({"AU4": 0.02, "AU9": 0.01}, -1, 0, 1)])
    assert timeline.intensities(0.0) == pytest.approx({"AU4": 0.03, "AU9": 0.01})


def test_the_middle_of_the_crop_is_face_and_its_lower_corners_are_not() -> None:
    cells = face_cells()
    assert cells[7, 7] == 1 and cells[0, 0] == 0 and cells.shape == (14, 14)


def test_a_folder_without_faces_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SourceError, match=rf"no face in the \*\.jpg pictures of {folder}; expected"):
            load_portraits(folder)


def as_picture(patch: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (cv2.GaussianBlur(patch, (0, 0), 1.0) * 40 + 128).clip(0, 255).astype(np.uint8)


def flow_px(reference: NDArray[np.float32], current: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dense optical flow (2, 14, 14) in px, mean of each cell."""
    none = np.zeros((CROP_PX, CROP_PX, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(as_picture(reference), as_picture(current), none, 0.5, 3, 15, 5, 7, 1.5, 0)
    return cv2.resize(flow, (14, 14), interpolation=cv2.INTER_AREA).transpose(2, 0, 1).astype(np.float32)
