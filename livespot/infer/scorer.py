"""What the pipeline asks of an engine."""

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from livespot.records import Calibration, ClipSpec


class Scorer(Protocol):
    """A network and what runs it. A context manager: entering loads it, constructing does not.

    It knows arrays only: not faces, not time, not events. One thread at a time.
    """

    @property
    def clip(self) -> ClipSpec:
        """What one clip holds."""

    @property
    def calibration(self) -> Calibration:
        """How the scores become events."""

    @property
    def name(self) -> str:
        """What runs, and where: "yap2022 on ONNX Runtime CPU, 1 thread"."""

    @property
    def gathers(self) -> bool:
        """Whether many clips at once cost less than one after the other, so that it pays to wait for them: on a GPU."""

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Score N clips, from 1: each input that `clip` asks for as float32 (N, *its shape), by its name.

        Returns float32 (N, 2), a new array: probabilities of micro and of macro in [0, 1]; both may be high.
        Raises EngineError where what the network returns is no probability.
        """

    def __enter__(self) -> "Scorer": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
