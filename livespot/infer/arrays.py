"""What goes into an engine and what comes out: checked alike, whatever runs it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from livespot.errors import EngineError
from livespot.records import ClipSpec

EXAMPLE_SIZE = {"clips": 1.0, "motion": 0.01}
"""Standard deviation of each input: what is larger by far drives every score to 0 or 1, where all are alike."""


def count(inputs: Mapping[str, NDArray[np.float32]], clip: ClipSpec) -> int:
    """How many clips the inputs are of. Raises ValueError where they are not what the network asks for."""
    if inputs.keys() != clip.shapes.keys():
        raise ValueError(f"inputs are {' and '.join(inputs) or 'none'}; expected {' and '.join(clip.shapes)}")
    for name, shape in clip.shapes.items():
        array = inputs[name]
        if array.shape[1:] != shape or array.dtype != np.float32 or not len(array):
            came = f"{name} came as {array.dtype} {array.shape}"
            raise ValueError(f"{came}; expected float32 (N, {sides(shape)}), N from 1")
    counts = {name: len(array) for name, array in inputs.items()}
    if len(set(counts.values())) > 1:
        told = " and ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"inputs are of {told}; expected as many of each")
    return next(iter(counts.values()))


def check_scores(scores: NDArray[np.float32], clips: int, name: str) -> None:
    """Raises EngineError where the scores of so many clips are no probabilities. `name` says whose they are."""
    if scores.shape != (clips, 2):
        raise EngineError(f"{name} returned scores {scores.shape} for {clips} clips; expected ({clips}, 2)")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise EngineError(
            f"{name} returned scores from {scores.min()} to {scores.max()}; expected probabilities in [0, 1]: "
            "train it again, or export it with its sigmoid"
        )


def blank(clip: ClipSpec, clips: int) -> dict[str, NDArray[np.float32]]:
    """Inputs of so many clips of nothing."""
    return {name: np.zeros((clips, *shape), np.float32) for name, shape in clip.shapes.items()}


def examples(clip: ClipSpec, clips: int) -> dict[str, NDArray[np.float32]]:
    """Inputs of so many clips of noise, the same at every call: by these, two engines are compared."""
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(0, EXAMPLE_SIZE[name], (clips, *shape)).astype(np.float32)
        for name, shape in clip.shapes.items()
    }


def sides(shape: Sequence[int | str | None]) -> str:
    """A shape in words: "any, 2, 2, 112, 112"; a free side is "any"."""
    return ", ".join(str(side) if isinstance(side, int) else "any" for side in shape)
