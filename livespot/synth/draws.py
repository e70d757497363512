"""What several generators draw alike."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

One = TypeVar("One")


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """As often between 1 and 2 as between 2 and 4."""
    return float(np.exp(rng.uniform(*np.log(bounds))))


def pick(rng: np.random.Generator, choices: Sequence[One]) -> One:
    """One of the choices, each as likely."""
    return choices[int(rng.integers(len(choices)))]
