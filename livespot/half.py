"""Convolutions of an ONNX graph in half precision; all else, inputs and outputs stay as they are.

Convolutions are nearly all of the work. What decides is little work and stays in float32: normalisation, means over
places, the dense layers and whatever comes last. Types are written into the graph, so that every engine computes alike:
TensorRT 11 knows no other way, and TensorRT 10 and ONNX Runtime follow it.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from livespot.errors import EngineError

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""The last of them in a graph judges: it stays in float32."""


def halve(model: onnx.ModelProto) -> None:
    """Put the convolutions of `model`, and the rectifiers right behind them, into half precision.

    Raises EngineError where there is none, or where a weight is too large for it.
    """
    graph = model.graph
    halved = _to_halve(graph)
    if not halved:
        raise EngineError("the network has no convolution that may run in half precision: leave --half out")
    cast = _Casts(graph)
    nodes = []
    for number, node in enumerate(graph.node):
        wanted = TensorProto.FLOAT16 if number in halved else TensorProto.FLOAT
        for place, name in enumerate(node.input):
            found, casts = cast.to(wanted, name)
            nodes.extend(casts)
            node.input[place] = found
        if number in halved:
            cast.halves.update(node.output)
        nodes.append(node)
    for output in graph.output:
        assert output.name not in cast.halves, "what comes last is float32"
    del graph.value_info[:], graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)


def _to_halve(graph: onnx.GraphProto) -> set[int]:
    """Numbers of the nodes: convolutions but the one that judges, and what only rectifies one of these."""
    weighted = [number for number, node in enumerate(graph.node) if node.op_type in WEIGHTED]
    halved = {number for number in weighted[:-1] if graph.node[number].op_type == "Conv"}
    outputs = {graph.node[number].output[0] for number in halved}
    rectifiers = (number for number, node in enumerate(graph.node) if node.op_type == "Relu")
    return halved | {number for number in rectifiers if graph.node[number].input[0] in outputs}


class _Casts:
    """Tensors by their name in float32 and in half precision; each is turned into the other once."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._weights = {one.name: one for one in graph.initializer}
        self._same = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
        self._made: set[str] = set()
        self.halves: set[str] = set()
        """Tensors that halved nodes give."""

    def to(self, wanted: int, name: str) -> tuple[str, list[onnx.NodeProto]]:
        """What to read instead of `name`, and the nodes that make it, where it is not there yet."""
        half = wanted == TensorProto.FLOAT16
        if not name or half == (name in self.halves):
            return name, []
        weight = self._weight(name)
        if half and weight is not None:
            return self._halved_weight(weight), []
        other = f"{name}_{'half' if half else 'float'}"
        if other in self._made:
            return other, []
        self._made.add(other)
        return other, [helper.make_node("Cast", [name], [other], to=wanted)]

    def _weight(self, name: str) -> TensorProto | None:
        while name in self._same:
            name = self._same[name]
        return self._weights.get(name)

    def _halved_weight(self, weight: TensorProto) -> str:
        name = f"{weight.name}_half"
        if name not in self._made:
            self._made.add(name)
            with np.errstate(over="ignore"):
                values = numpy_helper.to_array(weight).astype(np.float16)
            if not np.isfinite(values).all():
                raise EngineError(f"weights {weight.name} are too large for half precision: leave --half out")
            self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Nodes and weights that nothing reads any more."""
    read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    nodes = [node for node in graph.node if read.intersection(node.output)]
    weights = [one for one in graph.initializer if one.name in read]
    unchanged = len(nodes) == len(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    if not unchanged:
        _drop_unused(graph)
