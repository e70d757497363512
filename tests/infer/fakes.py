"""Stand-ins for the CUDA runtime and TensorRT, written by hand: what runs on them has not run on a GPU.

They are strict where the real ones are silent: work is done only when somebody waits for it, memory that was not taken
cannot be copied, and what was taken is counted. A fake engine holds the ONNX file it was built of, and ONNX Runtime
scores it.
"""

# ruff: noqa: N802, N815  names are CUDA's

import ctypes
import json
import sys
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest


class Error(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorLaunchFailure = 719
    cudaErrorStreamCaptureInvalidated = 901


class MemcpyKind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class CaptureMode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


class Card:
    """What cudaGetDeviceProperties tells."""

    def __init__(self, name: str, compute: str) -> None:
        self.name = name.encode()
        self.major, self.minor = map(int, compute.split("."))


Result = tuple[Any, ...]


class FakeCuda:
    """`cuda.bindings.runtime` with one made-up GPU, one stream, and failures on order."""

    cudaMemcpyKind = MemcpyKind
    cudaStreamCaptureMode = CaptureMode
    cudaStreamNonBlocking = 1

    def __init__(self, gpu: str = "Orin", compute: str = "8.7") -> None:
        self.gpu, self.compute = gpu, compute
        self.devices = 1
        self.host: dict[int, Any] = {}
        self.device: dict[int, Any] = {}
        self.alive: set[object] = set()
        """Streams and graphs that were made and not destroyed."""
        self.calls: list[str] = []
        self.fail: dict[str, Error] = {}
        """By function: what its next call returns."""
        self.fail_after = -1
        """Allocations until the memory is full; -1 for never."""
        self._queue: list[Callable[[], None]] = []
        self._recorded: list[Callable[[], None]] | None = None

    def enqueue(self, work: Callable[[], None]) -> None:
        (self._queue if self._recorded is None else self._recorded).append(work)

    def cudaGetDeviceCount(self) -> Result:
        return self._done("cudaGetDeviceCount", self.devices)

    def cudaGetDeviceProperties(self, device: int) -> Result:
        assert device == 0
        return self._done("cudaGetDeviceProperties", Card(self.gpu, self.compute))

    def cudaStreamCreateWithFlags(self, flags: int) -> Result:
        assert flags == self.cudaStreamNonBlocking
        self.alive.add(7)
        return self._done("cudaStreamCreateWithFlags", 7)

    def cudaStreamDestroy(self, stream: int) -> Result:
        self.alive.remove(stream)
        return self._done("cudaStreamDestroy")

    def cudaMallocHost(self, size: int) -> Result:
        return self._taken("cudaMallocHost", self.host, size)

    def cudaMalloc(self, size: int) -> Result:
        return self._taken("cudaMalloc", self.device, size)

    def cudaFreeHost(self, address: int) -> Result:
        del self.host[address]
        return self._done("cudaFreeHost")

    def cudaFree(self, address: int) -> Result:
        del self.device[address]
        return self._done("cudaFree")

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: MemcpyKind, stream: int) -> Result:
        assert stream in self.alive
        places = (self.device, self.host) if kind == MemcpyKind.cudaMemcpyHostToDevice else (self.host, self.device)
        for address, place in zip((target, source), places, strict=True):
            assert len(place[address]) >= size, "beyond the memory that was taken"
        self.enqueue(lambda: void(ctypes.memmove(target, source, size)))
        return self._done("cudaMemcpyAsync")

    def cudaStreamBeginCapture(self, stream: int, mode: CaptureMode) -> Result:
        assert stream in self.alive and mode == CaptureMode.cudaStreamCaptureModeThreadLocal and not self._queue
        self._recorded = []
        return self._done("cudaStreamBeginCapture")

    def cudaStreamEndCapture(self, stream: int) -> Result:
        assert stream in self.alive and self._recorded is not None
        graph, self._recorded = tuple(self._recorded), None
        self.alive.add(graph)
        return self._done("cudaStreamEndCapture", graph)

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> Result:
        assert graph in self.alive and flags == 0
        ready = ("ready", graph)
        self.alive.add(ready)
        return self._done("cudaGraphInstantiate", ready)

    def cudaGraphDestroy(self, graph: Any) -> Result:
        self.alive.remove(graph)
        return self._done("cudaGraphDestroy")

    def cudaGraphExecDestroy(self, ready: Any) -> Result:
        self.alive.remove(ready)
        return self._done("cudaGraphExecDestroy")

    def cudaGraphLaunch(self, ready: Any, stream: int) -> Result:
        assert ready in self.alive and stream in self.alive
        for work in ready[1]:
            self.enqueue(work)
        return self._done("cudaGraphLaunch")

    def cudaStreamSynchronize(self, stream: int) -> Result:
        assert stream in self.alive
        queue, self._queue = self._queue, []
        for work in queue:
            work()
        return self._done("cudaStreamSynchronize")

    def _taken(self, what: str, place: dict[int, Any], size: int) -> Result:
        if self.fail_after == 0:
            return Error.cudaErrorMemoryAllocation, None
        self.fail_after -= 1
        memory = (ctypes.c_byte * size)(*[-1] * min(size, 64))  # nobody clears memory
        place[ctypes.addressof(memory)] = memory
        return self._done(what, ctypes.addressof(memory))

    def _done(self, what: str, *results: Any) -> Result:
        self.calls.append(what)
        return (self.fail.pop(what, Error.cudaSuccess), *results)


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class Logger:
    Severity = Severity

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class NetworkFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(IntEnum):
    FP16 = 0
    VERSION_COMPATIBLE = 16


class HardwareLevel(IntEnum):
    NONE = 0
    AMPERE_PLUS = 1


ENUMS_OF_10_3: dict[str, Any] = {
    "ILogger": Logger,
    "NetworkDefinitionCreationFlag": NetworkFlag,
    "BuilderFlag": BuilderFlag,
    "HardwareCompatibilityLevel": HardwareLevel,
}
"""Written by hand: those of 10.3, as far as livespot uses them."""


class FakeTensorRt:
    """`tensorrt` on a `FakeCuda`. What it was asked for is kept; failures on order."""

    def __init__(self, cuda: FakeCuda, version: str = "10.3.0", enums: dict[str, Any] = ENUMS_OF_10_3) -> None:
        self.cuda, self.version, self.enums = cuda, version, enums
        self.builds = 0
        self.network_flags = -1
        self.builder_flags: list[Any] = []
        self.hardware_level: Any = None
        self.known_timings: bytes | None = None
        self.builds_fail = self.contexts_fail = self.profiles_raise = False
        self.gain = 1.0
        """Every score is multiplied by it: 1 for what the network says."""
        self.alive = 0
        """Contexts that were made and not let go."""

    def module(self) -> ModuleType:
        module = ModuleType("tensorrt")
        vars(module).update(
            self.enums,
            __version__=self.version,
            Builder=lambda log: Builder(self, log),
            OnnxParser=Parser,
            Runtime=lambda log: Runtime(self, log),
        )
        return module

    def say(self, log: Any, severity: str, text: str) -> None:
        log.log(getattr(self.enums["ILogger"].Severity, severity), text)


class Network:
    def __init__(self) -> None:
        self.onnx = b""


class Parser:
    def __init__(self, network: Network, log: Any) -> None:
        self._network, self._problem, self._log = network, "", log

    def parse(self, model: bytes, path: str | None = None) -> bool:
        del path
        try:
            session(model)
        except Exception as error:
            self._problem = f"In node 0 (parseGraph): {error}"
        self._network.onnx = model
        return not self._problem

    @property
    def num_errors(self) -> int:
        return int(bool(self._problem))

    def get_error(self, index: int) -> str:
        assert index == 0
        return self._problem


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> memoryview:
        return memoryview(self.content)


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def set_shape(self, name: str, least: tuple[int, ...], best: tuple[int, ...], most: tuple[int, ...]) -> None:
        assert least == best == most, "a graph needs fixed shapes"
        self.shapes[name] = best


class Config:
    def __init__(self, world: FakeTensorRt) -> None:
        self._world = world
        self.profiles: list[Profile] = []
        self._cache = TimingCache(b"")

    def set_flag(self, flag: Any) -> None:
        self._world.builder_flags.append(flag)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "hardware_compatibility_level":
            self._world.hardware_level = value
        super().__setattr__(name, value)

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.content.startswith(b"damaged"):
            return False
        self._world.known_timings = cache.content
        self._cache = TimingCache(cache.content + b"+")
        return True

    def get_timing_cache(self) -> TimingCache:
        return self._cache


class Builder:
    def __init__(self, world: FakeTensorRt, log: Any) -> None:
        self._world, self._log = world, log

    def create_network(self, flags: int = 0) -> Network:
        self._world.network_flags = flags
        return Network()

    def create_builder_config(self) -> Config:
        return Config(self._world)

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> memoryview | None:
        world = self._world
        world.builds += 1
        world.say(self._log, "VERBOSE", "every tactic there is")
        world.say(self._log, "INFO", "fused into 9 kernels")
        if world.builds_fail:
            world.say(self._log, "ERROR", "no tactic for node Conv_3")
            return None
        profiles = [profile.shapes for profile in config.profiles]
        head = {"version": world.version, "gpu": world.cuda.gpu, "profiles": profiles}
        return memoryview(json.dumps(head).encode() + b"\n" + network.onnx)


class Runtime:
    def __init__(self, world: FakeTensorRt, log: Any) -> None:
        self._world, self._log = world, log
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, content: bytes) -> "Engine | None":
        head, _, onnx = content.partition(b"\n")
        made = json.loads(head)
        if made["version"] != self._world.version and not self.engine_host_code_allowed:
            self._world.say(self._log, "ERROR", "Version tag does not match")
            return None
        return Engine(self._world, self._log, made["profiles"], onnx)


class Engine:
    def __init__(self, world: FakeTensorRt, log: Any, profiles: list[dict[str, list[int]]], onnx: bytes) -> None:
        self.world, self.log, self.profiles, self.session = world, log, profiles, session(onnx)

    def create_execution_context(self) -> "Context | None":
        if self.world.contexts_fail:
            self.world.say(self.log, "ERROR", "OutOfMemory: requested 12 MiB")
            return None
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._cuda = engine, engine.world.cuda
        self._profile: dict[str, list[int]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        engine.world.alive += 1

    def __del__(self) -> None:
        self._engine.world.alive -= 1

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle in self._cuda.alive
        if self._engine.world.profiles_raise:
            raise RuntimeError("Error in set optimization profile async.")
        self._profile = self._engine.profiles[profile_index]
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return self._profile.get(name) == list(shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory in self._cuda.device

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle in self._cuda.alive
        session, shapes, addresses = self._engine.session, dict(self._shapes), dict(self._addresses)
        gain = self._engine.world.gain
        self._cuda.enqueue(lambda: compute(session, shapes, addresses, gain))
        return True


def compute(session: Any, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int], gain: float) -> None:
    inputs = {name: floats(addresses[name], shape) for name, shape in shapes.items()}
    scores = session.run(["scores"], inputs)[0]
    floats(addresses["scores"], scores.shape)[:] = gain * scores


def floats(address: int, shape: tuple[int, ...]) -> Any:
    return np.ctypeslib.as_array((ctypes.c_float * int(np.prod(shape))).from_address(address)).reshape(shape)


def session(onnx: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def void(_: object) -> None: ...


def install(monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda | None, tensorrt: ModuleType | None) -> None:
    """Put them where livespot imports them from; None is a library that is not installed."""
    bindings = ModuleType("cuda.bindings")
    if cuda is not None:
        vars(bindings)["runtime"] = cuda
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings if cuda is not None else None)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
