"""On a real NVIDIA GPU with a real TensorRT. LIVESPOT_REQUIRE_GPU=1 turns the skip into a failure."""

import os
from pathlib import Path

import numpy as np
import pytest

from livespot.config import InferSettings
from livespot.errors import EngineError
from livespot.infer import OnnxScorer
from livespot.infer.arrays import examples
from livespot.infer.building import PARITY, build
from livespot.infer.tensorrt import TensorRtScorer, here


@pytest.fixture(autouse=True)
def _gpu() -> None:
    try:
        here()
    except EngineError as error:
        if os.environ.get("LIVESPOT_REQUIRE_GPU") == "1":
            raise
        pytest.skip(str(error))


def test_the_default_network_scores_on_the_gpu_as_on_the_cpu(cache: Path) -> None:
    settings = InferSettings()
    built = build(settings.model, (1, 8, 64))
    assert built.plan.path.parent == cache and build(settings.model, (1, 8, 64)).why == ""
    with TensorRtScorer(settings) as scorer, OnnxScorer(settings) as reference:
        for clips in (1, 2, 8, 9, 64, 150):
            inputs = examples(scorer.clip, clips)
            assert np.abs(scorer.score(inputs) - reference.score(inputs)).max() <= PARITY
