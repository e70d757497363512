"""TensorRT on an NVIDIA GPU, the same on versions 10.3 to 11: engines that `livespot build` made are run here.

TensorRT is imported where it is used: on most machines there is none.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from livespot.config import InferSettings
from livespot.errors import EngineError
from livespot.infer.arrays import blank, check_scores, count
from livespot.infer.cuda import CURES, Buffer, Stream, gpu
from livespot.infer.onnx import engine_path
from livespot.infer.parts import parts
from livespot.infer.plans import Machine, Plan, find
from livespot.records import Calibration, ClipSpec

if TYPE_CHECKING:
    import tensorrt as trt


class TensorRtScorer:
    """Scores clips on the GPU by the engine that `livespot build` made of an ONNX file for this machine; see `Scorer`.

    Entering raises EngineError where TensorRT, driver, GPU or engine is missing, where the engine is damaged or of
    another version or GPU, and where the GPU's memory does not suffice: all memory is taken there, none later.
    """

    def __init__(self, settings: InferSettings, plan: Plan | None = None) -> None:
        """`plan` is the engine to run; left out, it is looked up in the cache."""
        self._settings, self._given = settings, plan
        self._plan: Plan | None = None
        self._runs: dict[int, _Run] = {}
        self._cleanup = ExitStack()

    def __enter__(self) -> "TensorRtScorer":
        plan = self._given or find(engine_path(self._settings.model), here())
        with ExitStack() as opening:
            stream = opening.enter_context(Stream())
            opening.callback(self._forget)
            self._plan = plan
            batches, shapes = plan.order.batches, plan.metadata.clip.shapes
            inputs = {name: stream.buffer((batches[-1], *shape)) for name, shape in shapes.items()}
            scores = stream.buffer((batches[-1], 2))
            engine = _Engine(plan)
            try:
                for profile, batch in enumerate(batches):
                    self._runs[batch] = _Run(engine, profile, batch, stream, inputs, scores)
            except RuntimeError as error:  # some of TensorRT's functions raise where the others return False
                raise EngineError(f"{plan.path} cannot be opened ({error}): {plan.cure}") from None
            self.score(blank(self.clip, 2))
            self._cleanup = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    @property
    def clip(self) -> ClipSpec:
        """What one clip holds."""
        return self._opened.metadata.clip

    @property
    def calibration(self) -> Calibration:
        """How the scores become events."""
        return self._opened.metadata.calibration

    @property
    def name(self) -> str:
        """What runs, and where: "yap2022 on TensorRT 10.3.0, Orin, batches of 1, 8, 64"."""
        order, network = self._opened.order, self._opened.metadata.name
        batches = ", ".join(map(str, order.batches))
        return f"{network} on TensorRT {order.machine.tensorrt}, {order.machine.gpu}, batches of {batches}"

    @property
    def gathers(self) -> bool:
        """A batch pays."""
        return True

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Score N clips, from 1: each input that `clip` asks for as float32 (N, *its shape), by its name.

        Returns float32 (N, 2), a new array: probabilities of micro and of macro in [0, 1]; both may be high.
        Raises EngineError where the GPU fails or what the network returns is no probability.
        """
        clips = count(inputs, self.clip)
        scores = np.empty((clips, 2), np.float32)
        for part, batch in parts(clips, self._opened.order.batches):
            scores[part] = self._runs[batch].score({name: array[part] for name, array in inputs.items()})
        check_scores(scores, clips, self.name)
        return scores

    def again(self, clips: int) -> None:
        """Run the network once more on what so many clips left on the GPU: what is measured without the copies."""
        for _, batch in parts(clips, self._opened.order.batches):
            self._runs[batch].again()

    def _forget(self) -> None:
        self._runs.clear()
        self._plan = None

    @property
    def _opened(self) -> Plan:
        if self._plan is None:
            raise RuntimeError("TensorRtScorer is not open; use it in a with statement")
        return self._plan


def here() -> Machine:
    """What an engine has to fit. Raises EngineError where TensorRT, driver or GPU is missing."""
    found = version()
    card = gpu()
    return Machine(found, card.name, card.compute)


def version() -> str:
    """Of TensorRT. Raises EngineError where it is not installed, or its libraries are missing."""
    try:
        return str(import_module("tensorrt").__version__)
    except (ImportError, OSError) as error:  # OSError where one of its libraries does not load
        cure = "pip install 'livespot[tensorrt]', or on a Jetson the one of JetPack"
        raise EngineError(f"TensorRT is not installed ({error}): {cure}") from None


class Words:
    """What TensorRT says; the last of it explains why something failed."""

    def __init__(self, notes: bool = False) -> None:
        """`notes` are kept as well where asked for, not only warnings and errors."""
        import tensorrt as trt

        lines: list[str] = []
        least = trt.ILogger.Severity.INFO if notes else trt.ILogger.Severity.WARNING

        class Log(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
                if int(severity) <= int(least):
                    lines.append(f"{severity.name.lower()}: {msg}")

        self.log = Log()
        self.lines = lines

    @property
    def last(self) -> str:
        """The last line."""
        return self.lines[-1] if self.lines else "TensorRT gives no reason"


class _Engine:
    """A plan on the GPU. TensorRT's objects hold on to each other, so all of them are kept."""

    def __init__(self, plan: Plan) -> None:
        import tensorrt as trt

        content = plan.read()
        self.plan = plan
        self.words = Words()
        self._runtime = trt.Runtime(self.words.log)
        # A version-compatible engine brings the code that runs it; it comes from our own cache.
        self._runtime.engine_host_code_allowed = plan.order.version_compatible
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise EngineError(
                f"{plan.path} does not run here ({self.words.last}), build it on this machine: {plan.cure}"
            )

    def context(self) -> "trt.IExecutionContext":
        """What runs it, with memory of its own."""
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(
                f"{self.plan.path} cannot be opened ({self.words.last}): {CURES['cudaErrorMemoryAllocation']}"
            )
        return context


class _Run:
    """One batch size: an execution context of its profile, and the graph that repeats it.

    A graph holds on to its context's shapes and memory, so each size has a context of its own; all of them share one
    stream, one thread and the buffers.
    """

    def __init__(
        self, engine: _Engine, profile: int, batch: int, stream: Stream, inputs: Mapping[str, Buffer], scores: Buffer
    ) -> None:
        self._stream, self._inputs, self._scores = stream, inputs, scores
        self._engine, self._context = engine, engine.context()
        self._agreed(self._context.set_optimization_profile_async(profile, stream.handle), f"profile {profile}")
        for name, buffer in inputs.items():
            shape = (batch, *buffer.host.shape[1:])
            self._agreed(self._context.set_input_shape(name, shape), f"{name} {shape}")
            self._agreed(self._context.set_tensor_address(name, buffer.device), name)
        self._agreed(self._context.set_tensor_address("scores", scores.device), "scores")
        stream.wait()
        self._agreed(self._context.execute_async_v3(stream.handle), "to run")  # the first time it may allocate
        stream.wait()
        stream.begin_graph()
        queued = self._context.execute_async_v3(stream.handle)
        self._graph = stream.end_graph()
        self._agreed(queued, "to be recorded")

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Scores of at most `batch` clips, written anew next time. The rest of the batch is not looked at."""
        clips = len(next(iter(inputs.values())))
        for name, array in inputs.items():
            buffer = self._inputs[name]
            buffer.host[:clips] = array
            self._stream.upload(buffer, clips)
        self._stream.launch(self._graph)
        self._stream.download(self._scores, clips)
        self._stream.wait()
        return self._scores.host[:clips]

    def again(self) -> None:
        """The same without the copies; returns when it is done."""
        self._stream.launch(self._graph)
        self._stream.wait()

    def _agreed(self, done: bool, what: str) -> None:
        if not done:
            plan = self._engine.plan
            raise EngineError(f"{plan.path} refuses {what} ({self._engine.words.last}): {plan.cure}")
