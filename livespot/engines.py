"""The engines by the names that settings give them, and the choice among them."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from livespot.config import Engine, InferSettings
from livespot.errors import EngineError
from livespot.infer import OnnxScorer, Scorer
from livespot.infer.onnx import checkpoint_beside, engine_path
from livespot.infer.tensorrt import TensorRtScorer
from livespot.records import Calibration, ClipSpec

NVIDIA_FILES = tuple(map(Path, ("/proc/driver/nvidia/version", "/dev/nvidia0", "/etc/nv_tegra_release", "/dev/dxg")))
"""Where there is an NVIDIA GPU, so is one of these: of the driver, of a Jetson, of Linux within Windows."""


def _torch(settings: InferSettings) -> Scorer:
    checkpoint_beside(engine_path(settings.model))  # found out before torch, which takes seconds to load
    try:
        from livespot.torch_scorer import TorchScorer
    except (ImportError, OSError) as error:  # OSError where one of its libraries does not load
        raise EngineError(f"PyTorch is not installed ({error}): pip install 'livespot[train]'") from None
    return TorchScorer(settings)


ENGINES: dict[Engine, Callable[[InferSettings], Scorer]] = {
    "tensorrt": TensorRtScorer,
    "torch": _torch,
    "onnx-cuda": lambda settings: OnnxScorer(settings, "CUDA"),
    "onnx": OnnxScorer,
}
"""The fastest first."""


def nvidia() -> bool:
    """Whether there may be an NVIDIA GPU, found out without loading anything."""
    return shutil.which("nvidia-smi") is not None or any(path.exists() for path in NVIDIA_FILES)


class ChosenScorer:
    """The network on the engine of the settings; with "auto", on the fastest that opens here. See `Scorer`."""

    def __init__(self, settings: InferSettings) -> None:
        self._settings = settings
        self._scorer: Scorer | None = None
        self._cleanup = ExitStack()
        self.why: tuple[str, ...] = ()
        """With "auto": why each engine that would be faster was passed over."""

    def __enter__(self) -> "ChosenScorer":
        self.why = ()
        *faster, last = self._candidates()
        if not any(self._opens(engine) for engine in faster):
            self._open_it(last)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scorer = None
        self._cleanup.close()

    @property
    def clip(self) -> ClipSpec:
        """What one clip holds."""
        return self._opened.clip

    @property
    def calibration(self) -> Calibration:
        """How the scores become events."""
        return self._opened.calibration

    @property
    def name(self) -> str:
        """What runs, and where: "yap2022 on ONNX Runtime CPU, 1 thread"."""
        return self._opened.name

    @property
    def gathers(self) -> bool:
        """Whether a batch pays on the engine that was chosen."""
        return self._opened.gathers

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """As the engine that was chosen does."""
        return self._opened.score(inputs)

    def _candidates(self) -> tuple[Engine, ...]:
        if self._settings.engine != "auto":
            return (self._settings.engine,)
        if nvidia():
            return tuple(ENGINES)
        self.why = ("no engine for a GPU: there is no NVIDIA GPU",)
        return ("onnx",)

    def _opens(self, engine: Engine) -> bool:
        try:
            self._open_it(engine)
        except EngineError as error:
            self.why += (f"no {engine}: {error}",)
            return False
        return True

    def _open_it(self, engine: Engine) -> None:
        self._scorer = self._cleanup.enter_context(ENGINES[engine](self._settings))

    @property
    def _opened(self) -> Scorer:
        if self._scorer is None:
            raise RuntimeError("ChosenScorer is not open; use it in a with statement")
        return self._scorer
