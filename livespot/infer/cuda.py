"""The NVIDIA GPU: one stream, its memory and its graphs, through cuda-python. No torch.

Nothing of CUDA is loaded before it is asked for: on most machines there is none.
"""

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespot.errors import EngineError

CURES = {
    "cudaErrorInsufficientDriver": "the NVIDIA driver is missing, or older than cuda-python: install a newer driver",
    "cudaErrorNoDevice": "there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it",
    "cudaErrorMemoryAllocation": "the GPU has too little free memory: end what else runs there (nvidia-smi), or build "
    "for smaller batches: livespot build ONNX --batch 1,8",
}
"""What to do about the errors that users meet."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that is used: the first that CUDA_VISIBLE_DEVICES shows."""

    name: str
    compute: str
    """Compute capability, "8.7"."""


@dataclass(frozen=True, eq=False)
class Buffer:
    """The same numbers twice: where numpy sees them, and where the GPU does."""

    host: NDArray[np.float32]
    """Page-locked, so that copies need no stop in between; it is written anew by every `Stream.download`."""
    device: int
    """Address on the GPU."""


def gpu() -> Gpu:
    """Raises EngineError where library, driver or GPU is missing."""
    runtime = _runtime()
    if not _call(runtime.cudaGetDeviceCount):
        raise EngineError(f"no GPU: {CURES['cudaErrorNoDevice']}")
    found = _call(runtime.cudaGetDeviceProperties, 0)
    return Gpu(found.name.rstrip(b"\0").decode(errors="replace"), f"{found.major}.{found.minor}")


class Stream:
    """A queue of work for the GPU, beside all others, with memory and graphs that are freed on leaving.

    What it is told is only queued; `wait` returns when it is done. Whatever the GPU refuses raises EngineError.
    """

    def __init__(self) -> None:
        self._cleanup = ExitStack()
        self._runtime: Any = None
        self._stream: Any = None

    def __enter__(self) -> "Stream":
        self._runtime = cuda = _runtime()
        self._stream = _call(cuda.cudaStreamCreateWithFlags, cuda.cudaStreamNonBlocking)
        self._cleanup.callback(cuda.cudaStreamDestroy, self._stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runtime.cudaStreamSynchronize(self._stream)
        self._cleanup.close()

    @property
    def handle(self) -> int:
        """Its address, as TensorRT asks for it."""
        return int(self._stream)

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        """Room for float32 of a shape, all zero; it lasts as long as the stream is open."""
        cuda, size = self._runtime, 4 * int(np.prod(shape))
        host = _call(cuda.cudaMallocHost, size)
        self._cleanup.callback(cuda.cudaFreeHost, host)
        device = _call(cuda.cudaMalloc, size)
        self._cleanup.callback(cuda.cudaFree, device)
        room = np.ctypeslib.as_array((ctypes.c_float * (size // 4)).from_address(int(host))).reshape(shape)
        room[:] = 0
        made = Buffer(room, int(device))
        self.upload(made, len(room))
        return made

    def upload(self, buffer: Buffer, rows: int) -> None:
        """Copy the first `rows` to the GPU."""
        to_device = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(buffer.device, buffer.host.ctypes.data, buffer.host[:rows].nbytes, to_device)

    def download(self, buffer: Buffer, rows: int) -> None:
        """Copy the first `rows` from the GPU."""
        to_host = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(buffer.host.ctypes.data, buffer.device, buffer.host[:rows].nbytes, to_host)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        _call(self._runtime.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def begin_graph(self) -> None:
        """What is queued from now on is recorded, not done."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _call(self._runtime.cudaStreamBeginCapture, self._stream, mode)

    def end_graph(self) -> Any:
        """What was recorded, for `launch`."""
        graph = _call(self._runtime.cudaStreamEndCapture, self._stream)
        try:
            ready = _call(self._runtime.cudaGraphInstantiate, graph, 0)
        finally:
            self._runtime.cudaGraphDestroy(graph)
        self._cleanup.callback(self._runtime.cudaGraphExecDestroy, ready)
        return ready

    def launch(self, graph: Any) -> None:
        """Queue all that a graph holds at once."""
        _call(self._runtime.cudaGraphLaunch, graph, self._stream)

    def wait(self) -> None:
        """Until all that was queued is done."""
        _call(self._runtime.cudaStreamSynchronize, self._stream)


def _runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise EngineError(f"cuda-python is not installed ({error}): pip install 'livespot[tensorrt]'") from None
    return runtime


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the CUDA runtime returns beside its status. Raises EngineError for a bad one."""
    try:
        status, *results = function(*arguments)
    except RuntimeError as error:  # cuda-python 12 where there is no libcuda
        raise EngineError(f"{error}: {CURES['cudaErrorInsufficientDriver']}") from None
    if status != 0:
        cure = CURES.get(status.name, "start livespot again; if it stays, start the machine again")
        raise EngineError(f"{status.name} ({function.__name__}): {cure}")
    return results[0] if results else None
