import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper

from livespot.config import InferSettings
from livespot.errors import EngineError
from livespot.infer import EngineMetadata, OnnxScorer, Scorer
from livespot.records import Calibration, ClipSpec
from tests.films import MotionScorer
from tests.infer.engines import (
    CLIP,
    METADATA,
    MOTION,
    MOTION_METADATA,
    SKIN_METADATA,
    WINDOW,
    looking_ahead,
    skin,
    write_engine,
    write_pairs_and_skin_engine,
    write_skin_engine,
)


def without(*keys: str) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(METADATA))
    part = changed
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    return changed


def clips_of(*scores: tuple[float, float]) -> dict[str, NDArray[np.float32]]:
    clips = np.empty((len(scores), *CLIP), np.float32)
    clips[:] = np.array(scores, np.float32)[:, :, None, None, None]
    return {"clips": clips}


def open_error(path: str) -> str:
    with pytest.raises(EngineError) as caught, OnnxScorer(InferSettings(model=path)):
        pass
    return str(caught.value)


def test_columns_are_micro_and_macro_and_rows_are_clips(tmp_path: Path) -> None:
    wanted = [(0.25, 0.75), (0.5, 0.0), (1.0, 0.125)]
    with OnnxScorer(InferSettings(model=write_engine(tmp_path / "e.onnx"))) as scorer:
        scores = scorer.score(clips_of(*wanted))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, wanted, atol=1e-5)


def test_scores_of_one_call_outlive_the_next(tmp_path: Path) -> None:
    with OnnxScorer(InferSettings(model=write_engine(tmp_path / "e.onnx"))) as scorer:
        first = scorer.score(clips_of((0.25, 0.25)))
        scorer.score(clips_of((0.75, 0.75)))
    np.testing.assert_allclose(first, [(0.25, 0.25)], atol=1e-5)


def test_the_file_says_what_it_is_fed_and_how_its_scores_become_events(tmp_path: Path) -> None:
    opened: Scorer = OnnxScorer(InferSettings(model=write_engine(tmp_path / "e.onnx")))
    with opened as scorer:
        assert scorer.clip == ClipSpec((0.2, 0.8))
        assert scorer.calibration == Calibration(3.0, 0.4, 0.6)
        assert scorer.name == "brightness on ONNX Runtime CPU, 1 thread"


def test_a_network_may_take_more_streams_than_two(tmp_path: Path) -> None:
    metadata = METADATA | {"clip": {"references_s": [0.1, 0.2, 0.8]}}
    nodes = [
        helper.make_node("ReduceMean", ["clips", "picture"], ["means"], keepdims=0),
        helper.make_node("Slice", ["means", "zero", "two", "one"], ["scores"]),
    ]
    path = write_engine(tmp_path / "e.onnx", metadata, nodes, clips=("n", 3, *CLIP[1:]))
    with OnnxScorer(InferSettings(model=path)) as scorer:
        assert scorer.score({"clips": np.zeros((4, 3, 2, 112, 112), np.float32)}).shape == (4, 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_scores(tmp_path: Path, threads: int) -> None:
    with OnnxScorer(InferSettings(model=write_engine(tmp_path / "e.onnx"), threads=threads)) as scorer:
        assert f"{threads} thread" in scorer.name
        np.testing.assert_allclose(scorer.score(clips_of((0.25, 0.5))), [(0.25, 0.5)], atol=1e-5)


def test_a_call_of_another_shape_is_the_callers_mistake(tmp_path: Path) -> None:
    with OnnxScorer(InferSettings(model=write_engine(tmp_path / "e.onnx"))) as scorer:
        for clips in (np.zeros(CLIP, np.float32), np.zeros((0, *CLIP), np.float32), np.zeros((1, *CLIP))):
            with pytest.raises(ValueError, match=r"expected float32 \(N, 2, 2, 112, 112\), N from 1"):
                scorer.score({"clips": clips})  # type: ignore[dict-item]


def test_constructing_is_not_opening_and_leaving_closes(tmp_path: Path) -> None:
    scorer = OnnxScorer(InferSettings(model=write_engine(tmp_path / "e.onnx")))
    with pytest.raises(RuntimeError, match="not open"):
        scorer.score(clips_of((0.5, 0.5)))
    with scorer:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        scorer.score(clips_of((0.5, 0.5)))


def test_a_name_is_looked_up_among_the_engines_that_come_with_livespot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livespot.assets._PACKAGE", tmp_path / "livespot")
    write_engine(tmp_path / "engines" / "brightness.onnx")
    with OnnxScorer(InferSettings(model="brightness")) as scorer:
        assert scorer.name.startswith("brightness on")
    assert open_error("brihgtness") == (
        "no engine named brihgtness: give the path of an .onnx file, or one that comes with livespot: brightness"
    )


def test_a_file_in_the_current_folder_needs_no_folder_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_engine(tmp_path / "e.onnx")
    monkeypatch.chdir(tmp_path)
    with OnnxScorer(InferSettings(model="e.onnx")) as scorer:
        assert scorer.name.startswith("brightness on")


def test_a_missing_file_names_the_file_and_what_comes_with_livespot(tmp_path: Path) -> None:
    message = open_error(str(tmp_path / "gone.onnx"))
    assert str(tmp_path / "gone.onnx") in message and "comes with livespot: " in message


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(range(256)) * 10])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    assert f"{path} is not an ONNX file that ONNX Runtime" in open_error(str(path))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = Path(write_engine(tmp_path / "e.onnx"))
    path.write_bytes(path.read_bytes()[:-40])
    assert f"{path} is not an ONNX file that ONNX Runtime" in open_error(str(path))


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    assert "without livespot metadata" in open_error(write_engine(tmp_path / "e.onnx", metadata=None))


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        (METADATA | {"format": 2}, "format: "),
        (METADATA | {"name": ""}, "name: "),
        (
            METADATA | {"clip": {"references_s": []}},
            "clip: Value error, ClipSpec has neither references_s nor motion_s",
        ),
        (looking_ahead(METADATA, -0.4), "clip.lookahead_s: "),
        (METADATA | {"clip": {"references_s": [], "motion_s": -1.0}}, "clip.motion_s: "),
        (METADATA | {"clip": {"references_s": [], "motion_s": 0.001}}, "clip: Value error, ClipSpec.motion_s is 0.001"),
        (METADATA | {"clip": {"references_s": [0.2, 0.0]}}, "clip.references_s.1: "),
        (without("clip", "references_s"), "clip.references_s: "),
        (without("calibration", "cutoff_hz"), "calibration.cutoff_hz: "),
        (METADATA | {"calibration": METADATA["calibration"] | {"micro_threshold": 1.5}}, "calibration.micro_threshold"),
        ([], "all of it: "),
    ],
)
def test_metadata_of_another_format_is_refused(tmp_path: Path, metadata: dict[str, Any], where: str) -> None:
    message = open_error(write_engine(tmp_path / "e.onnx", metadata))
    assert f"cannot read: {where}" in message and "export the network again" in message


@pytest.mark.parametrize(
    ("changes", "came"),
    [
        ({"clips": ("n", 3, 2, 112, 112)}, "takes clips float32 (any, 3, 2, 112, 112)"),
        ({"clips": (1, 2, 2, 112, 112)}, "takes clips float32 (1, 2, 2, 112, 112)"),
        ({"scores": ("n", 3)}, "gives scores float32 (any, any)"),
        ({"names": ("images", "scores")}, "takes images float32 (any, 2, 2, 112, 112)"),
        ({"names": ("clips", "logits")}, "gives logits float32 (any, 2)"),
    ],
)
def test_another_input_or_output_is_refused(tmp_path: Path, changes: dict[str, Any], came: str) -> None:
    message = open_error(write_engine(tmp_path / "e.onnx", **changes))
    assert came in message
    assert "expected clips float32 (any, 2, 2, 112, 112)" in message or "expected scores float32 (any, 2)" in message


@pytest.mark.parametrize(
    ("metadata", "changes", "takes", "expected"),
    [
        (
            SKIN_METADATA,
            {"nodes": skin(), "clips": None, "motion": ("n", 85, 100)},
            "takes motion float32 (any, 85, 100)",
            "expected motion float32 (any, 85, 50)",
        ),
        (
            METADATA,
            {"nodes": skin(), "clips": None, "motion": ("n", *WINDOW)},
            "takes motion float32 (any, 85, 50)",
            "expected clips float32 (any, 2, 2, 112, 112)",
        ),
        (
            SKIN_METADATA,
            {},
            "takes clips float32 (any, 2, 2, 112, 112)",
            "expected motion float32 (any, 85, 50)",
        ),
        (
            METADATA | {"clip": {"references_s": [0.2, 0.8], "motion_s": 1.0}},
            {},
            "takes clips float32 (any, 2, 2, 112, 112)",
            "expected clips float32 (any, 2, 2, 112, 112) and motion float32 (any, 85, 50)",
        ),
        (
            METADATA,
            {"motion": ("n", *WINDOW)},
            "takes clips float32 (any, 2, 2, 112, 112) and motion float32 (any, 85, 50)",
            "expected clips float32 (any, 2, 2, 112, 112): ",
        ),
    ],
    ids=["another window", "motion for frames", "frames for motion", "no motion", "motion not asked for"],
)
def test_inputs_that_are_not_those_of_the_metadata_are_refused(
    tmp_path: Path, metadata: dict[str, Any], changes: dict[str, Any], takes: str, expected: str
) -> None:
    message = open_error(write_engine(tmp_path / "e.onnx", metadata, **changes))
    assert f"e.onnx {takes}; {expected}" in message and "export the network again" in message


def test_a_network_may_take_motion_alone(tmp_path: Path) -> None:
    motion = np.zeros((3, *WINDOW), np.float32)
    motion[1, :52, -21], motion[2, 52:] = 0.005, 1.0
    with OnnxScorer(InferSettings(model=write_skin_engine(tmp_path / "e.onnx", 0.4))) as scorer:
        assert scorer.clip == ClipSpec((), motion_s=1.0, lookahead_s=0.4)
        np.testing.assert_allclose(scorer.score({"motion": motion}), [(0, 0), (0.5, 0.5), (0, 0)], atol=1e-5)


def test_a_network_may_take_frames_and_motion_and_they_are_told_apart_by_name(tmp_path: Path) -> None:
    clips, motion = np.zeros((1, *CLIP), np.float32), np.zeros((1, *WINDOW), np.float32)
    clips[:, :, 1], motion[:, :52, -1] = 0.2, 0.007
    with OnnxScorer(InferSettings(model=write_pairs_and_skin_engine(tmp_path / "e.onnx"))) as scorer:
        for inputs in ({"clips": clips, "motion": motion}, {"motion": motion, "clips": clips}):
            np.testing.assert_allclose(scorer.score(inputs), [(0.5, 0.7)], atol=1e-5)


def test_a_call_without_an_input_or_with_unequal_numbers_is_the_callers_mistake(tmp_path: Path) -> None:
    clips, motion = np.zeros((2, *CLIP), np.float32), np.zeros((2, *WINDOW), np.float32)
    with OnnxScorer(InferSettings(model=write_pairs_and_skin_engine(tmp_path / "e.onnx"))) as scorer:
        with pytest.raises(ValueError, match="inputs are motion; expected clips and motion"):
            scorer.score({"motion": motion})
        with pytest.raises(ValueError, match="inputs are none; expected clips and motion"):
            scorer.score({})
        with pytest.raises(ValueError, match="inputs are of 1 clips and 2 motion; expected as many of each"):
            scorer.score({"clips": clips[:1], "motion": motion})
        with pytest.raises(ValueError, match=r"motion came as float32 \(2, 85, 49\); expected float32 \(N, 85, 50\)"):
            scorer.score({"clips": clips, "motion": motion[..., 1:]})


def test_a_network_that_cannot_score_two_clips_is_refused_on_opening(tmp_path: Path) -> None:
    third_of_two = [
        helper.make_node("ReduceMean", ["clips", "picture"], ["means"], keepdims=0),
        helper.make_node("Compress", ["clip_numbers", "last_of_three"], ["third"]),
        helper.make_node("Gather", ["means", "third"], ["scores"], axis=0),
    ]
    assert "cannot score 2 clips" in open_error(write_engine(tmp_path / "e.onnx", nodes=third_of_two))


def test_a_network_that_loses_clips_is_refused_on_opening(tmp_path: Path) -> None:
    first_only = [
        helper.make_node("ReduceMean", ["clips", "picture"], ["means"], keepdims=0),
        helper.make_node("Compress", ["means", "first_of_one"], ["scores"], axis=0),
    ]
    assert "returned scores (1, 2) for 2 clips" in open_error(write_engine(tmp_path / "e.onnx", nodes=first_only))


def test_a_network_without_its_sigmoid_is_refused_when_it_shows(tmp_path: Path) -> None:
    with OnnxScorer(InferSettings(model=write_engine(tmp_path / "e.onnx"))) as scorer:
        for scores in ((0.5, 1.5), (-0.5, 0.5), (float("nan"), 0.5)):
            with pytest.raises(EngineError, match=r"expected probabilities in \[0, 1\]"):
                scorer.score(clips_of(scores))


def test_nan_from_blank_clips_is_refused_on_opening(tmp_path: Path) -> None:
    divided = [
        helper.make_node("ReduceMean", ["clips", "picture"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "means"], ["scores"]),
    ]
    assert "returned scores from nan to nan" in open_error(write_engine(tmp_path / "e.onnx", nodes=divided))


def test_metadata_survives_writing_and_reading() -> None:
    for clip in (ClipSpec((0.1, 0.5, 1.0)), ClipSpec((), 2.0, 0.4), ClipSpec((0.4,), 0.5)):
        metadata = EngineMetadata("net", clip, Calibration(2.5, 0.3, 0.7), {"f1": 0.5, "on": ["a"]})
        assert EngineMetadata.from_json(metadata.to_json(), "net.onnx") == metadata


def test_metadata_from_before_there_was_motion_ask_for_frames_alone() -> None:
    assert EngineMetadata.from_json(json.dumps(METADATA), "net.onnx").clip == ClipSpec((0.2, 0.8), 0.0, 0.0)


@pytest.mark.parametrize("cutoff_hz", [0.0, float("nan"), float("inf")])
def test_metadata_that_could_not_be_read_is_not_written(cutoff_hz: float) -> None:
    with pytest.raises(ValueError, match="cutoff_hz"):
        EngineMetadata("net", ClipSpec(), Calibration(cutoff_hz, 0.3, 0.7), {}).to_json()


def test_the_engine_that_other_tests_spot_with_scores_like_its_reference(tmp_path: Path) -> None:
    clips = np.random.default_rng(0).normal(0, 0.15, (3, *CLIP)).astype(np.float32)
    with OnnxScorer(InferSettings(model=write_engine(tmp_path / "e.onnx", MOTION_METADATA, MOTION))) as scorer:
        scores = scorer.score({"clips": clips})
        assert scorer.calibration == MotionScorer.calibration
    assert scores.min() > 0.1
    np.testing.assert_allclose(scores, MotionScorer().score({"clips": clips}), atol=1e-5)


def test_a_cuda_that_does_not_load_is_an_error_and_not_a_slow_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = onnxruntime.InferenceSession, []

    def on_the_cpu(path: str, options: Any, providers: list[Any]) -> Any:
        asked.extend(providers)
        return real(path, options, providers=["CPUExecutionProvider"])  # as ONNX Runtime does on its own

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", on_the_cpu)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    settings = InferSettings(model=write_engine(tmp_path / "e.onnx"))
    with pytest.raises(EngineError, match="cannot load CUDA or cuDNN"), OnnxScorer(settings, "CUDA"):
        pass
    assert asked == [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})]
