"""A checkpoint becomes an engine: an ONNX file that says what it is fed and how its scores become events."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from livespot.errors import EngineError
from livespot.files import replacing
from livespot.half import halve
from livespot.infer.arrays import examples
from livespot.infer.metadata import KEY, EngineMetadata
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.loading import network, network_name
from livespot.records import Calibration, ClipSpec

PARITY, HALF_PARITY = 1e-5, 2e-2
"""Largest difference of any score between PyTorch and ONNX Runtime: rounding of float32 and of half precision."""

OPSET = 17

DATA = {
    "yap2022": "synthetic: expressions warped into still portraits",
    "light": "synthetic: expressions warped into still portraits",
    "joint": "synthetic: portraits that perform, warped portraits, and expressions pasted into recorded motion",
    "motion": "synthetic: portraits that perform, and expressions pasted into recorded motion",
}
"""What each network learnt from."""

PROVISIONAL = Calibration(cutoff_hz=5.0, micro_threshold=0.5, macro_threshold=0.5)
"""Until the network has been calibrated on validation data."""


def export(
    checkpoint: Path,
    onnx_path: Path,
    calibration: Calibration = PROVISIONAL,
    validation: dict[str, Any] | None = None,
    half: bool = False,
) -> float:
    """Write the network of `checkpoint` to `onnx_path`: the inputs that its `ClipSpec` names, output "scores" (N, 2).

    `validation` is stored with the weights, for people to read. With `half` convolutions are in half precision, see
    `livespot.half`. Returns the largest difference of a score between PyTorch and ONNX Runtime; raises EngineError, and
    writes nothing, where it exceeds `PARITY`, or `HALF_PARITY`.
    """
    kept = Checkpoint.load(checkpoint)
    net = network(kept)
    with replacing(onnx_path) as part:
        _write(net, net.clip, part)
        trained = _trained(kept, validation or {}) | {"precision": "float16 convolutions" if half else "float32"}
        _describe(part, EngineMetadata(network_name(kept), net.clip, calibration, trained), half)
        return _checked_parity(net, net.clip, part, HALF_PARITY if half else PARITY)


def _trained(kept: Checkpoint, validation: dict[str, Any]) -> dict[str, Any]:
    return {
        "commit": kept.commit,
        "seed": kept.seeds or kept.settings["seed"],
        "steps": kept.step,
        "data": _data(kept),
        "frames": kept.metrics,
        "events": validation,
    }


def _data(kept: Checkpoint) -> str:
    if "distances" not in kept.settings:
        return DATA[network_name(kept)]
    dataset, videos = kept.settings["database"] or "a labelled dataset", len(kept.split["training"])
    return f"{dataset}, {videos} videos of those subjects that were not left out"


def _write(net: nn.Module, clip: ClipSpec, path: Path) -> None:
    """`net` takes the inputs of `clip` in their order."""
    examples = tuple(torch.zeros(2, *shape) for shape in clip.shapes.values())
    names = list(clip.shapes)
    with warnings.catch_warnings():
        # The exporter by tracing is announced to go; it writes one plain graph, which ONNX Runtime fuses best.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, examples, str(path), input_names=names, output_names=["scores"], opset_version=OPSET,
            dynamic_axes={name: {0: "n"} for name in (*names, "scores")}, dynamo=False,
        )  # fmt: skip


def _describe(path: Path, metadata: EngineMetadata, half: bool = False) -> None:
    model = onnx.load(path)
    if half:
        halve(model)
    onnx.helper.set_model_props(model, {KEY: metadata.to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _checked_parity(net: nn.Module, clip: ClipSpec, path: Path, most: float = PARITY) -> float:
    inputs = examples(clip, 8)
    with torch.no_grad():
        wanted = net(*map(torch.from_numpy, inputs.values())).numpy()
    difference = float(np.abs(_run(path, inputs) - wanted).max())
    if not difference <= most:
        raise EngineError(f"{path}: scores differ from PyTorch's by {difference:.1e}; expected at most {most:.0e}")
    return difference


def _run(path: Path, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(["scores"], inputs)[0]
    return scores
