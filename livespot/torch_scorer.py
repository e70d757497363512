"""PyTorch as an engine: the reference that others are compared with, and the GPU's where TensorRT is not installed.

An ONNX file's weights are folded into one another and cannot be loaded back: those of the checkpoint beside it are
taken, NAME.pt beside NAME.onnx, and its scores are compared with the ONNX file's before anything is scored.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from livespot.config import InferSettings
from livespot.errors import EngineError, LivespotError
from livespot.infer import OnnxScorer
from livespot.infer.arrays import check_scores, count, examples
from livespot.infer.building import PARITY
from livespot.infer.metadata import Described
from livespot.infer.onnx import checkpoint_beside, engine_path
from livespot.infer.parts import parts
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.loading import network
from livespot.records import ClipSpec

BATCHES = {"cuda": (1, 8, 64, 256), "cpu": (1, 8)}
"""By device. Each has a graph of its own on the GPU; what it is filled up with costs time on the CPU."""


class TorchScorer(Described):
    """Scores clips by PyTorch: on the GPU in half precision and by CUDA graphs, on the CPU as it was trained.

    See `Scorer`. Entering raises EngineError where the GPU or the checkpoint is missing, or is of another network.
    """

    def __init__(self, settings: InferSettings, device: str = "cuda", checkpoint: Path | None = None) -> None:
        """`checkpoint` is where the weights are; left out, beside the ONNX file."""
        self._settings, self._device, self._checkpoint = settings, device, checkpoint
        self._runs: dict[int, _Run] = {}

    def __enter__(self) -> "TorchScorer":
        if self._device == "cuda" and not torch.cuda.is_available():
            raise EngineError(f"this PyTorch, {torch.__version__}, sees no GPU: install one with CUDA, or a driver")
        path = engine_path(self._settings.model)
        checkpoint = self._checkpoint or checkpoint_beside(path)
        net = _network(checkpoint)
        with OnnxScorer(InferSettings(model=str(path))) as reference:
            self._metadata = reference.metadata
            try:
                self._runs = self._placed(net)
            except torch.OutOfMemoryError as error:
                raise EngineError(f"the GPU has too little free memory: {error}") from None
            except RuntimeError as error:  # the base of all that PyTorch raises
                raise EngineError(f"PyTorch {torch.__version__} cannot run {checkpoint} here: {error}") from None
            self._check_parity(checkpoint, path, reference)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metadata, self._runs = None, {}

    @property
    def name(self) -> str:
        """What runs, and where: "yap2022 on PyTorch 2.13.0, cuda"."""
        return f"{self.metadata.name} on PyTorch {torch.__version__}, {self._device}"

    @property
    def gathers(self) -> bool:
        """Whether a batch pays: on the GPU."""
        return self._device == "cuda"

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Score N clips, from 1: each input that `clip` asks for as float32 (N, *its shape), by its name.

        Returns float32 (N, 2), a new array: probabilities of micro and of macro in [0, 1]; both may be high.
        Raises EngineError where PyTorch fails or what the network returns is no probability.
        """
        clips = count(inputs, self.clip)
        scores = np.empty((clips, 2), np.float32)
        try:
            for part, batch in parts(clips, BATCHES[self._device]):
                scores[part] = self._runs[batch].score({name: array[part] for name, array in inputs.items()})
        except RuntimeError as error:  # the base of all that PyTorch raises
            raise EngineError(f"{self.name} cannot score {clips} clips: {error}") from None
        check_scores(scores, clips, self.name)
        return scores

    def _placed(self, net: nn.Module) -> dict[int, "_Run"]:
        net = net.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return {batch: _Run(net, self.clip, batch, self._device) for batch in BATCHES[self._device]}

    def _check_parity(self, checkpoint: Path, path: Path, reference: OnnxScorer) -> None:
        inputs = examples(self.clip, BATCHES[self._device][1] + 1)
        difference = float(np.abs(self.score(inputs) - reference.score(inputs)).max())
        if not difference <= PARITY:
            raise EngineError(
                f"scores of {checkpoint} differ from those of {path.name} by {difference:.1e}; expected "
                f"at most {PARITY:.0e}: it is of another training, copy the right checkpoint there"
            )


class _Run:
    """One batch size: on the GPU a graph that reads and writes the same memory each time."""

    def __init__(self, net: nn.Module, clip: ClipSpec, batch: int, device: str) -> None:
        self._net, self._device = net, device
        self._inputs = {name: torch.zeros(batch, *shape, device=device) for name, shape in clip.shapes.items()}
        self._graph: torch.cuda.CUDAGraph | None = None
        if device == "cuda":
            self._graph, self._scores = self._recorded()

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Scores of at most `batch` clips. What the rest of the batch holds is not looked at."""
        clips = len(next(iter(inputs.values())))
        for name, array in inputs.items():
            self._inputs[name][:clips].copy_(torch.from_numpy(np.ascontiguousarray(array)))
        if self._graph is None:
            return self._forward()[:clips].numpy()
        self._graph.replay()
        return self._scores[:clips].cpu().numpy()

    def _forward(self) -> Tensor:
        half = torch.autocast("cuda", torch.float16, enabled=self._device == "cuda", cache_enabled=False)
        with torch.inference_mode(), half:
            scores: Tensor = self._net(*self._inputs.values())
        return scores.float()

    def _recorded(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """The first runs choose kernels and take memory, which a graph may not: they are done beside it."""
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(beside):
            for _ in range(3):
                self._forward()
        beside.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            scores = self._forward()
        return graph, scores


def _network(checkpoint: Path) -> nn.Module:
    try:
        return network(Checkpoint.load(checkpoint))
    except (LivespotError, KeyError, TypeError, ValueError) as error:  # settings are those of another livespot
        raise EngineError(f"{checkpoint} cannot be used ({error}): copy the right checkpoint there") from error
