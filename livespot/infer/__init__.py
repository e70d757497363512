"""Engines: float32 inputs in, float32 scores out. Not faces, not time, not events."""

from livespot.infer.metadata import EngineMetadata
from livespot.infer.onnx import OnnxScorer
from livespot.infer.scorer import Scorer

__all__ = ["EngineMetadata", "OnnxScorer", "Scorer"]
