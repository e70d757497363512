"""Networks in PyTorch, one per file. The runtime never imports them."""

from collections.abc import Callable

from livespot.nets.light import Light
from livespot.nets.yap2022 import PairNetwork, Yap2022

PAIR_NETWORKS: dict[str, Callable[[], PairNetwork]] = {"yap2022": Yap2022, "light": Light}
"""Those on pairs of frames, which are trained alike, by the names of training settings."""
