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
    clips: tuple[str | int, ...] = ("n", *CLIP),
    scores: tuple[str | int, ...] = ("n", 2),
    names: tuple[str, str] = ("clips", "scores"),
) -> str:
    graph = helper.make_graph(
        [_renamed(node, dict(zip(("clips", "scores"), names, strict=True))) for node in nodes],
        "network",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, clips)],
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
    helper.make_node("Sub", ["change", "noise"], ["motion"]),
    helper.make_node("Constant", [], ["gain"], value_float=5.0),
    helper.make_node("Mul", ["motion", "gain"], ["gained"]),
    helper.make_node("Constant", [], ["least"], value_float=0.0),
    helper.make_node("Constant", [], ["most"], value_float=1.0),
    helper.make_node("Clip", ["gained", "least", "most"], ["scores"]),
]
"""The same score as `tests.films.MotionScorer`."""
