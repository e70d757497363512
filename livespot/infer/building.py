"""An ONNX file becomes a TensorRT engine for this machine, in the cache, with its log, speed and parity beside it.

The same code for TensorRT 10.3 to 11: types are those of the ONNX file, so there are no flags of precision.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespot.config import InferSettings
from livespot.errors import EngineError
from livespot.files import replacing
from livespot.infer.arrays import examples
from livespot.infer.onnx import OnnxScorer, engine_path
from livespot.infer.plans import Order, Plan, changes, digest, folder, plan
from livespot.infer.scorer import Scorer
from livespot.infer.tensorrt import TensorRtScorer, Words, here

if TYPE_CHECKING:
    import tensorrt as trt

BATCHES = (1, 8, 64)
"""One camera, a few, many."""

PARITY = 2e-2
"""Largest difference of any score from ONNX Runtime's: either may compute in half precision, or TF32 in its place."""

ROUNDS = 50
"""Timed runs of each batch."""


@dataclass(frozen=True)
class Built:
    """What `build` did."""

    plan: Plan
    why: str
    """Why it was built; empty where it was there already."""


def build(
    model: str,
    batches: Sequence[int] = BATCHES,
    version_compatible: bool = False,
    hardware_compatible: bool = False,
) -> Built:
    """Build the engine of `model`, a name or path as `engine_path` takes it, unless the cache holds the very same.

    Takes a minute or more. Raises EngineError where something is missing, where TensorRT cannot build it, where its
    scores are others than ONNX Runtime's; nothing is kept then.
    """
    path = engine_path(model)
    with OnnxScorer(InferSettings(model=str(path))) as reference:
        order = Order(digest(path), here(), tuple(batches), version_compatible, hardware_compatible)
        wanted = plan(order, reference.metadata, path)
        why = _reason(wanted)
        if why:
            _build(path, wanted, reference)
    return Built(wanted, why)


def _reason(wanted: Plan) -> str:
    try:
        wanted.read()
    except EngineError as error:
        if wanted.path.exists():
            return str(error)
        return changes(wanted) or "there was none of this file, with these batches and options"
    return ""


def _build(path: Path, wanted: Plan, reference: Scorer) -> None:
    folder(make=True)  # nothing is built for minutes that cannot be kept
    words, start_s = Words(notes=True), time.perf_counter()
    content = _serialized(path, wanted, words)
    build_s = time.perf_counter() - start_s
    with TensorRtScorer(InferSettings(), replace(wanted, content=content)) as scorer:
        parity = _parity(scorer, reference, wanted.order.batches)
        if not parity["largest_difference"] <= PARITY:
            raise EngineError(
                f"{path}: scores of TensorRT differ from ONNX Runtime's by {parity['largest_difference']:.1e}; "
                f"expected at most {PARITY:.0e}: export it again, without --half if it was given"
            )
        median_ms = {str(batch): _median_ms(scorer, batch) for batch in wanted.order.batches}
    report = {"build_s": round(build_s, 1), "median_ms": median_ms, "parity": parity, "log": words.lines}
    wanted.write(content, report)


def _serialized(path: Path, wanted: Plan, words: Words) -> bytes:
    import tensorrt as trt

    order = wanted.order
    builder = trt.Builder(words.log)
    network = builder.create_network(_network_flags())
    parser = trt.OnnxParser(network, words.log)
    if not parser.parse(path.read_bytes()):
        problems = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise EngineError(f"TensorRT {order.machine.tensorrt} cannot read {path}: {problems}")
    config = builder.create_builder_config()
    _compatible(config, order)
    for batch in order.batches:
        profile = builder.create_optimization_profile()
        for name, shape in wanted.metadata.clip.shapes.items():
            profile.set_shape(name, (batch, *shape), (batch, *shape), (batch, *shape))
        config.add_optimization_profile(profile)
    with _timings(config, order):
        built = builder.build_serialized_network(network, config)
    if built is None:
        raise EngineError(f"TensorRT {order.machine.tensorrt} cannot build {path}: {words.last}")
    return bytes(built)


def _network_flags() -> int:
    """Types are those of the ONNX file, where this TensorRT has to be told so."""
    import tensorrt as trt

    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if typed is None else 1 << int(typed)


def _compatible(config: "trt.IBuilderConfig", order: Order) -> None:
    import tensorrt as trt

    if order.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if order.hardware_compatible:
        level = getattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY", None)
        if level is None:
            raise EngineError(
                f"TensorRT {order.machine.tensorrt} has no engines for all GPUs of a compute capability: "
                "leave --hardware-compatible out"
            )
        config.hardware_compatibility_level = level


@contextmanager
def _timings(config: "trt.IBuilderConfig", order: Order) -> Iterator[None]:
    """What earlier builds on this machine measured is used, and what this one measures is kept."""
    kept = folder(make=True) / f"timings-{order.machine.digest[:16]}.cache"
    known = kept.read_bytes() if kept.exists() else b""
    if not config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    yield
    with replacing(kept) as part:
        part.write_bytes(bytes(config.get_timing_cache().serialize()))


def _parity(scorer: Scorer, reference: Scorer, batches: Sequence[int]) -> dict[str, Any]:
    """On noise: each batch, one that is split, and each batch again, since one might spoil another's memory."""
    differences = []
    for clips in (*batches, batches[-1] + 1, *batches):
        inputs = examples(scorer.clip, clips)
        differences.append(np.abs(scorer.score(inputs) - reference.score(inputs)).ravel())
    found = np.concatenate(differences)
    return {"largest_difference": float(found.max()), "mean_difference": float(found.mean()), "clips": len(found) // 2}


def _median_ms(scorer: Scorer, clips: int) -> float:
    """Of one call, from arrays to arrays."""
    inputs, times_s = examples(scorer.clip, clips), []
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        scorer.score(inputs)
        times_s.append(time.perf_counter() - start_s)
    return round(1000 * statistics.median(times_s), 3)
