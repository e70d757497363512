"""Half precision inside the graph: what is in it, what is not, and how far scores move."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from livespot import export as exporting
from livespot.assets import asset
from livespot.config import InferSettings
from livespot.errors import EngineError
from livespot.half import halve
from livespot.infer import OnnxScorer
from livespot.infer.arrays import examples
from livespot.nets.light import Light
from livespot.nets.motion import MotionNet, MotionNetSettings
from livespot.nets.yap2022 import PairNetwork, Yap2022
from tests.infer.engines import write_engine

NETWORKS: dict[str, Callable[[], PairNetwork | MotionNet]] = {"yap2022": Yap2022, "light": Light, "motion": MotionNet}


def halved(name: str, folder: Path) -> onnx.ModelProto:
    torch.manual_seed(0)
    net = MotionNet(MotionNetSettings(levels=4, dilations=(4, 8))) if name == "motion" else NETWORKS[name]()
    exporting._write(net.eval(), net.clip, folder / "net.onnx")
    model = onnx.load(folder / "net.onnx")
    halve(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Of every tensor, as ONNX's own inference of shapes tells them."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    named = {one.name: one.type.tensor_type.elem_type for one in (*graph.value_info, *graph.input, *graph.output)}
    return named | {one.name: one.data_type for one in graph.initializer}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_convolutions_are_halved_and_what_decides_is_not(name: str, tmp_path: Path) -> None:
    model = halved(name, tmp_path)
    kinds = types(model)
    nodes = {op: [node for node in model.graph.node if node.op_type == op] for op in ("Conv", "Gemm", "Sigmoid")}
    weighted = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    halves = [node for node in nodes["Conv"] if kinds[node.output[0]] == TensorProto.FLOAT16]
    assert len(halves) == len(nodes["Conv"]) - (weighted[-1].op_type == "Conv")
    assert all(kinds[one] == TensorProto.FLOAT16 for node in halves for one in node.input)
    for node in (*nodes["Gemm"], *nodes["Sigmoid"], weighted[-1]):
        assert kinds[node.output[0]] == TensorProto.FLOAT
    for node in model.graph.node:
        if node.op_type in ("BatchNormalization", "ReduceMean", "Log", "Sqrt"):
            assert kinds[node.output[0]] == TensorProto.FLOAT


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_inputs_and_outputs_stay_as_they_were(name: str, tmp_path: Path) -> None:
    graph = halved(name, tmp_path).graph
    assert {one.type.tensor_type.elem_type for one in (*graph.input, *graph.output)} == {TensorProto.FLOAT}
    assert [one.name for one in graph.output] == ["scores"]


def test_weights_are_stored_once_and_in_half_the_bytes(tmp_path: Path) -> None:
    model = halved("light", tmp_path)
    weights = {one.name: one for one in model.graph.initializer}
    assert set(weights) <= {name for node in model.graph.node for name in node.input}
    kernels = [weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    assert len(kernels) == 8 and {one.data_type for one in kernels} == {TensorProto.FLOAT16}


def test_the_trained_network_scores_nearly_the_same(tmp_path: Path) -> None:
    trained, path = asset("engines", "yap2022.onnx"), tmp_path / "half.onnx"
    model = onnx.load(trained)
    halve(model)
    onnx.save(model, path)
    with OnnxScorer(InferSettings(model=str(trained))) as whole, OnnxScorer(InferSettings(model=str(path))) as half:
        inputs = examples(whole.clip, 16)
        wanted = whole.score(inputs)
        difference = np.abs(half.score(inputs) - wanted).max()
    assert wanted.std() > 0.02
    assert 0 < difference <= exporting.HALF_PARITY / 4


def test_a_network_without_convolutions_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_engine(tmp_path / "means.onnx"))
    with pytest.raises(EngineError, match=r"no convolution .* leave --half out"):
        halve(model)


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Yap2022().eval()
    exporting._write(net, net.clip, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    [kernel] = [node.input[1] for node in model.graph.node if node.op_type == "Conv"][:1]
    [weight] = [one for one in model.graph.initializer if one.name == kernel]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1e8), kernel))
    with pytest.raises(EngineError, match="too large for half precision"):
        halve(model)
