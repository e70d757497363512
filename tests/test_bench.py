"""The measurement itself is measured: on pictures whose motion is known."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from livespot import bench
from livespot.action_units import EXPRESSIONS
from livespot.bench import alignment, figures, motion
from livespot.config import InferSettings, Settings
from livespot.errors import SourceError
from livespot.landmarks import CROP_EYES_PX, CROP_IOD_PX, apply
from tests.films import BLANK, Picture
from tests.portraits import SIZE_PX, astronaut

KEYS = {"facemesh_fps", "pipeline_fps", "stages_ms", "latency_ms", "alignment", "rss_mb", "machine"} | {
    "received_ms", "publish_us",
    "flows_ms", "displacement_error_percent",
}  # fmt: skip
STAGES = {"capture", "align", "motion", "spot", "normalise", "buffer", "infer", "decode", "publish"}


def test_residual_motion_of_crops_shifted_by_a_known_amount_is_that_amount() -> None:
    still = astronaut().shown(astronaut().at())
    to_crop = np.array([[1.0, 0, -100], [0, 1.0, -40]])
    crops = [bench.plain_crop(still, to_crop + np.array([[0, 0, 0.3 * index], [0, 0, 0]])) for index in range(6)]
    measured = bench.residual_px([crops[0], None, *crops])
    assert measured["median"] == pytest.approx(0.3, abs=0.03)
    assert measured["p90"] == pytest.approx(0.3, abs=0.05)


def test_wandering_is_the_standard_deviation_of_where_a_point_comes_to_lie() -> None:
    points = np.array([CROP_EYES_PX, (CROP_IOD_PX, CROP_IOD_PX)], np.float32)
    shifts = (-2.0, 2.0, -2.0, 2.0)
    transforms = [np.array([[1.0, 0, shift], [0, 1.0, shift]]) for shift in shifts]
    assert bench.wander_px([*transforms, None], [np.eye(2, 3)] * 5, points) == pytest.approx(2.0)


def test_a_face_that_is_never_held_has_no_figures() -> None:
    crop = np.zeros((112, 112), np.uint8)
    with pytest.raises(SourceError, match="give a clip in which it stays"):
        bench.residual_px([crop, None, crop])
    with pytest.raises(SourceError, match="give a clip in which it is larger"):
        bench.wander_px([None], [np.eye(2, 3)], np.zeros((1, 2), np.float32))


def test_the_known_path_moves_the_picture_as_it_says() -> None:
    y, x = np.mgrid[:240, :320]
    blob = 255 * np.exp(-((x - 160) ** 2 + (y - 100) ** 2) / (2 * 8**2))
    still = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    for image, moved in islice(bench.known_path(still), 0, None, 60):
        light = np.maximum(image[..., 0].astype(float) - 40, 0)  # above the noise
        middle = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
        assert middle == pytest.approx(apply(moved, np.array([[160.0, 100.0]]))[0], abs=0.1)


def test_errors_are_lengths_in_bins_of_how_far_skin_has_come() -> None:
    come_iod = np.array([0.0, 0.006, 0.01, 0.015, 0.03, 0.05, 0.05])
    true_iod = np.stack([0 * come_iod, come_iod], axis=-1)
    told_iod = true_iod.copy()
    told_iod[:-1] += (0.003, 0.004)
    assert motion.errors_percent(told_iod, true_iod) == {
        "0": 0.5, "0.4-0.8": 0.5, "0.8-1.2": 0.5, "1.2-2": 0.5, "2-4": 0.5,
        "4-10": pytest.approx(0.5 / 2**0.5, abs=0.001),
    }  # fmt: skip


def test_the_animated_skin_is_where_the_field_says() -> None:
    animation = motion.animation()
    smile = motion.Shown(animation.skin.scaled({"AU12_left": 1.0}, 0.08), animation.at())
    corner_px = animation.landmarks[61].astype(float)
    came_px = animation.came_px(smile, corner_px[None, None])[0, 0]
    calm, smiling = (
        cv2.cvtColor(animation.picture(shown), cv2.COLOR_BGR2GRAY) for shown in (replace(smile, intensities={}), smile)
    )
    before = apply(smile.motion, corner_px[None]).astype(np.float32)
    after, _, _ = cv2.calcOpticalFlowPyrLK(calm, smiling, before, before.copy(), winSize=(9, 9), maxLevel=1)
    assert np.linalg.norm(came_px) > 0.06 * animation.skin.iod_px
    assert after[0] == pytest.approx(apply(smile.motion, (corner_px + came_px)[None])[0], abs=0.3)


def test_a_step_is_followed_in_its_frame() -> None:
    still = astronaut().shown(astronaut().at())
    points = apply(astronaut().at(), astronaut().landmarks)[:10].astype(np.float32)
    assert bench.step_followed(still, points, Settings()) > 0.98


def _video(path: Path, pictures: list[Picture], fps: float = 30.0) -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def test_a_short_run_has_every_figure(tmp_path: Path, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, small in (
        (figures, "PIPELINE_FRAMES", 60), (figures, "LIVE_S", 2.0), (alignment, "PATH_S", 1.0),
        (motion, "NOISES_LEVELS", (2.0,)), (motion, "PARTS", 1), (motion, "TVL1_CROPS", 3),
        (motion, "EXPRESSIONS", {name: EXPRESSIONS[name] for name in ("12", "2 left")}),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, small)
    pictures = [astronaut().shown(astronaut().at((index % 5, 0))) for index in range(60)]
    said: list[str] = []
    clip = _video(tmp_path / "clip.avi", pictures)
    measured = json.loads(
        json.dumps(
            bench.measure(clip, Settings(infer=InferSettings(model=str(engine))), 60, said.append), allow_nan=False
        )
    )
    assert measured.keys() >= KEYS
    assert set(measured["stages_ms"]) == set(measured["stages_mean_ms"]) == STAGES
    assert set(measured["flows_ms"]) == {"dis", "farneback", "tvl1"}
    assert measured["flows_ms"]["tvl1"] > 10 * measured["stages_ms"]["motion"] > 0
    for errors in measured["displacement_error_percent"].values():
        assert errors["2"].keys() == {"0", "0.4-0.8", "0.8-1.2", "1.2-2", "2-4", "4-10"}
    for latency in ("latency_ms", "received_ms", "publish_us"):
        assert {"p50", "p95", "p99"} <= measured[latency].keys()
    assert measured["received_ms"]["received"] > 0
    assert {"start", "end"} <= measured["rss_mb"].keys()
    assert measured["alignment"].keys() >= {
        "residual_plain_px", "residual_px", "known_path_plain_px", "known_path_px", "step_followed",
    }  # fmt: skip
    assert (measured["clip"]["width"], measured["clip"]["height"]) == SIZE_PX
    assert "the whole pipeline" in said
    assert bench.to_rich(measured).row_count >= len(STAGES)
    assert bench.errors_to_rich(measured).row_count == 2


@pytest.mark.parametrize(("pictures", "fps"), [(30, 30.0), (60, 120.0)], ids=["few pictures", "half a second"])
def test_a_clip_too_short_to_be_scored_is_refused(tmp_path: Path, engine: Path, pictures: int, fps: float) -> None:
    clip = _video(tmp_path / "short.avi", [astronaut().shown(astronaut().at())] * pictures, fps)
    with pytest.raises(SourceError, match=rf"short.avi has {pictures} pictures at {fps:g} a second; .* 40, and 1.2 s"):
        bench.measure(clip, Settings(infer=InferSettings(model=str(engine))), 20, lambda _: None)


def test_a_clip_without_a_face_is_refused_at_once(tmp_path: Path, engine: Path) -> None:
    clip = _video(tmp_path / "blank.avi", [BLANK] * 50)
    said: list[str] = []
    with pytest.raises(SourceError, match=r"no face is found in .*blank\.avi"):
        bench.measure(clip, Settings(infer=InferSettings(model=str(engine))), 500, said.append)
    assert said == []
