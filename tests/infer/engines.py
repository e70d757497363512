"""Small real ONNX files whose scores a test can choose."""

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

CLIP = (2, 2, 112, 112)
METADATA: dict[str, Any] = {
    "format": 1,
    "name": "brightness",
    "clip": {"references_s": [0.2, 0.8]},
    "calibration": {"cutoff_hz": 3.0, "micro_threshold": 0.4, "macro_threshold": 0.6},
    "trained": {"on": "nothing"},
}
MEANS = [helper.make_node("ReduceMean", ["clips", "picture"], ["scores"], keepdims=0)]
"""Score of a class: the mean of its stream, so that a test can choose the scores."""


def write_engine(
    path: Path,
    metadata: dict[str, Any] | None = METADATA,
    nodes: list[onnx.NodeProto] = MEANS,
    clips: tuple[str | int, ...] | None = ("n", *CLIP),
    scores: tuple[str | int, ...] = ("n", 2),
    names: tuple[str, str] = ("clips", "scores"),
    motion: tuple[str | int, ...] | None = None,
) -> str:
    inputs = {name: shape for name, shape in (("motion", motion), (names[0], clips)) if shape is not None}
    graph = helper.make_graph(
        [_renamed(node, dict(zip(("clips", "scores"), names, strict=True))) for node in nodes],
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, scores)],
        [
            helper.make_tensor("picture", TensorProto.INT64, [3], [2, 3, 4]),
            helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("two", TensorProto.INT64, [1], [2]),
            helper.make_tensor("clip_numbers", TensorProto.INT64, [3], [0, 1, 2]),
            helper.make_tensor("last_of_three", TensorProto.BOOL, [3], [False, False, True]),
            helper.make_tensor("first_of_one", TensorProto.BOOL, [1], [True]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if metadata is not None:
        helper.set_model_props(model, {"livespot": json.dumps(metadata)})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return str(path)


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    renamed = onnx.NodeProto()
    renamed.CopyFrom(node)
    renamed.input[:] = [names.get(name, name) for name in node.input]
    renamed.output[:] = [names.get(name, name) for name in node.output]
    return renamed


MOTION_METADATA: dict[str, Any] = METADATA | {
    "name": "motion",
    "calibration": {"cutoff_hz": 5.0, "micro_threshold": 0.25, "macro_threshold": 0.25},
}
MOTION = [
    helper.make_node("Constant", [], ["reference"], value_int=0),
    helper.make_node("Constant", [], ["current"], value_int=1),
    helper.make_node("Gather", ["clips", "reference"], ["references"], axis=2),
    helper.make_node("Gather", ["clips", "current"], ["currents"], axis=2),
    helper.make_node("Sub", ["currents", "references"], ["signed"]),
    helper.make_node("Abs", ["signed"], ["changes"]),
    helper.make_node("Constant", [], ["sides"], value_ints=[2, 3]),
    helper.make_node("ReduceMean", ["changes", "sides"], ["change"], keepdims=0),
    helper.make_node("Constant", [], ["noise"], value_float=0.1),
    helper.make_node("Sub", ["change", "noise"], ["beyond_noise"]),
    helper.make_node("Constant", [], ["gain"], value_float=5.0),
    helper.make_node("Mul", ["beyond_noise", "gain"], ["gained"]),
    helper.make_node("Constant", [], ["least"], value_float=0.0),
    helper.make_node("Constant", [], ["most"], value_float=1.0),
    helper.make_node("Clip", ["gained", "least", "most"], ["scores"]),
]
"""The same score as `tests.films.MotionScorer`."""


WINDOW = (85, 50)
"""Regional motion of one second."""
SKIN_METADATA: dict[str, Any] = MOTION_METADATA | {"name": "skin", "clip": {"references_s": [], "motion_s": 1.0}}


def looking_ahead(metadata: dict[str, Any], lookahead_s: float) -> dict[str, Any]:
    return metadata | {"clip": metadata["clip"] | {"lookahead_s": lookahead_s}}


def skin(lookahead_s: float = 0.0, scores: str = "scores") -> list[onnx.NodeProto]:
    """Both scores: how far the skin is away so long before the window's end, in % of the IOD, mean over regions."""
    return [
        helper.make_node("Constant", [], ["judged"], value_int=-1 - round(50 * lookahead_s)),
        helper.make_node("Gather", ["motion", "judged"], ["cell"], axis=2),
        helper.make_node("Constant", [], ["both_scores"], value_ints=[0, 0]),
        helper.make_node("Constant", [], ["displacements"], value_ints=list(range(52))),
        helper.make_node("Gather", ["cell", "displacements"], ["displaced"], axis=1),
        helper.make_node("Abs", ["displaced"], ["away"]),
        helper.make_node("Constant", [], ["channel"], value_ints=[1]),
        helper.make_node("ReduceMean", ["away", "channel"], ["away_iod"], keepdims=1),
        helper.make_node("Constant", [], ["percent"], value_float=100.0),
        helper.make_node("Mul", ["away_iod", "percent"], ["away_percent"]),
        helper.make_node("Constant", [], ["none"], value_float=0.0),
        helper.make_node("Constant", [], ["all"], value_float=1.0),
        helper.make_node("Clip", ["away_percent", "none", "all"], ["share"]),
        helper.make_node("Gather", ["share", "both_scores"], [scores], axis=1),
    ]


PAIRS_AND_SKIN_METADATA: dict[str, Any] = MOTION_METADATA | {
    "name": "pairs and skin",
    "clip": {"references_s": [0.2, 0.8], "motion_s": 1.0},
    "calibration": {"cutoff_hz": 5.0, "micro_threshold": 1.0, "macro_threshold": 0.25},
}


def pairs_and_skin(lookahead_s: float = 0.0) -> list[onnx.NodeProto]:
    """Micro as `MOTION` gives it, macro as `skin` does."""
    return [
        *(_renamed(node, {"scores": "of_pairs"}) for node in MOTION),
        *skin(lookahead_s, "of_skin"),
        helper.make_node("Constant", [], ["micro"], value_ints=[0]),
        helper.make_node("Constant", [], ["macro"], value_ints=[1]),
        helper.make_node("Gather", ["of_pairs", "micro"], ["first"], axis=1),
        helper.make_node("Gather", ["of_skin", "macro"], ["second"], axis=1),
        helper.make_node("Concat", ["first", "second"], ["scores"], axis=1),
    ]


def write_skin_engine(path: Path, lookahead_s: float = 0.0) -> str:
    return write_engine(
        path, looking_ahead(SKIN_METADATA, lookahead_s), skin(lookahead_s), clips=None, motion=("n", *WINDOW)
    )


def write_pairs_and_skin_engine(path: Path, lookahead_s: float = 0.0) -> str:
    metadata = looking_ahead(PAIRS_AND_SKIN_METADATA, lookahead_s)
    return write_engine(path, metadata, pairs_and_skin(lookahead_s), motion=("n", *WINDOW))
