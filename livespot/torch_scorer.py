"""PyTorch as an engine: the reference that others are compared with, and the GPU's where TensorRT is not installed.

An ONNX file's weights are folded into one another and cannot be loaded back: those of the checkpoint beside it are
taken, NAME.pt beside NAME.onnx, and its scores are compared with the ONNX file's before anything is scored.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

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

    def __init__(
        self, settings: InferSettings, device: str = "cuda", checkpoint: Path | None = None, graphs: bool = True
    ) -> None:
        """`checkpoint` is where the weights are; left out, beside the ONNX file. Without `graphs` every layer is
        launched for itself on the GPU, too: what graphs are measured against.
        """
        self._settings, self._device, self._checkpoint, self._graphs = settings, device, checkpoint, graphs
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
        eager = ", eager" if self._device == "cuda" and not self._graphs else ""
        return f"{self.metadata.name} on PyTorch {torch.__version__}, {self._device}{eager}"

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

    def again(self, clips: int) -> None:
        """Run the network once more on what so many clips left on the device: what is measured without the copies."""
        for _, batch in parts(clips, BATCHES[self._device]):
            self._runs[batch].again()
        if self._device == "cuda":
            torch.cuda.synchronize()

    def moved_bytes(self, clips: int) -> int:
        """Read and written for so many clips, if every operation takes its input from memory and puts it back."""
        return sum(self._runs[batch].moved_bytes() for _, batch in parts(clips, BATCHES[self._device]))

    def _placed(self, net: nn.Module) -> dict[int, "_Run"]:
        net = net.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return {batch: _Run(net, self.clip, batch, self._device, self._graphs) for batch in BATCHES[self._device]}

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

    def __init__(self, net: nn.Module, clip: ClipSpec, batch: int, device: str, graphs: bool) -> None:
        self._net, self._device = net, device
        self._inputs = {name: torch.zeros(batch, *shape, device=device) for name, shape in clip.shapes.items()}
        self._graph: torch.cuda.CUDAGraph | None = None
        if device == "cuda" and graphs:
            self._graph, self._scores = self._recorded()

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Scores of at most `batch` clips. What the rest of the batch holds is not looked at."""
        clips = len(next(iter(inputs.values())))
        for name, array in inputs.items():
            self._inputs[name][:clips].copy_(torch.from_numpy(np.ascontiguousarray(array)))
        if self._graph is None:
            return self._forward()[:clips].cpu().numpy()
        self._graph.replay()
        return self._scores[:clips].cpu().numpy()

    def again(self) -> None:
        """The same without the copies; on a GPU it is only queued."""
        if self._graph is None:
            self._forward()
        else:
            self._graph.replay()

    def moved_bytes(self) -> int:
        """What all operations read and write in one run."""
        with _Counting() as counting:
            self._forward()
        return int(counting.moved_bytes)

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


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums what passes through the operations within it; views move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moved_bytes = 0

    def __torch_dispatch__(
        self, operation: Any, _: Any, inputs: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        outputs = operation(*inputs, **(options or {}))
        if not operation.is_view:
            leaves, _ = tree_flatten((inputs, options, outputs))
            self.moved_bytes += sum(one.nbytes for one in leaves if isinstance(one, Tensor))
        return outputs


def device_bytes_s(size: int = 2**30) -> float:
    """Bytes a second that the GPU's memory gives and takes together, measured by copies within it."""
    source = torch.empty(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    torch.cuda.synchronize()
    began_s = time.perf_counter()
    for _ in range(10):
        target.copy_(source)
    torch.cuda.synchronize()
    return 10 * 2 * size / (time.perf_counter() - began_s)


def _network(checkpoint: Path) -> nn.Module:
    try:
        return network(Checkpoint.load(checkpoint))
    except (LivespotError, KeyError, TypeError, ValueError) as error:  # settings are those of another livespot
        raise EngineError(f"{checkpoint} cannot be used ({error}): copy the right checkpoint there") from error
