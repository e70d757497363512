"""ONNX Runtime: on the CPU, the engine that runs everywhere; on an NVIDIA GPU, where its build has CUDA."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from livespot.assets import asset
from livespot.config import InferSettings
from livespot.errors import EngineError
from livespot.infer.arrays import blank, check_scores, count, sides
from livespot.infer.metadata import KEY, Described, EngineMetadata
from livespot.records import ClipSpec

Provider = Literal["CPU", "CUDA"]

_PROVIDERS: dict[Provider, tuple[str, dict[str, str]]] = {
    "CPU": ("CPUExecutionProvider", {}),
    # Clips come in batches of any size: trying every algorithm at each new one would stop the stream.
    "CUDA": ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}),
}

_ERRORS_ONLY = 3
"""Log level of ONNX Runtime: its warnings are about its own optimiser."""


class OnnxScorer(Described):
    """Scores clips on the CPU, or on the GPU by CUDA; see `Scorer`.

    Few threads, and none that spins while it waits, so that capture and alignment keep their cores.
    Entering raises EngineError where the file is missing, damaged, or not made for livespot, or where there is no CUDA;
    it scores two blank clips, so that a network that cannot run fails before a camera is opened.
    """

    def __init__(self, settings: InferSettings, provider: Provider = "CPU") -> None:
        self._settings, self._provider = settings, provider
        self._session: Any = None

    def __enter__(self) -> "OnnxScorer":
        path = engine_path(self._settings.model)
        session = _load(path, self._settings.threads, self._provider)
        metadata = _metadata(session, path)
        _check_tensors(session, metadata.clip, path)
        self._session, self._metadata = session, metadata
        self.score(blank(metadata.clip, 2))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = self._metadata = None

    @property
    def name(self) -> str:
        """What runs, and where: "yap2022 on ONNX Runtime CPU, 1 thread"."""
        threads = self._settings.threads
        on_cpu = f", {threads} thread{'s' if threads > 1 else ''}" if self._provider == "CPU" else ""
        return f"{self.metadata.name} on ONNX Runtime {self._provider}{on_cpu}"

    @property
    def gathers(self) -> bool:
        """Whether a batch pays: on the CPU 14 clips take as long at once as one after the other."""
        return self._provider == "CUDA"

    def score(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Score N clips, from 1: each input that `clip` asks for as float32 (N, *its shape), by its name.

        Returns float32 (N, 2), a new array: probabilities of micro and of macro in [0, 1]; both may be high.
        Raises EngineError where what the network returns is no probability.
        """
        clips = count(inputs, self.clip)
        try:
            scores: NDArray[np.float32] = self._session.run(["scores"], dict(inputs))[0]
        except Exception as error:  # ONNX Runtime's exceptions have no other base
            raise EngineError(f"{self.name} cannot score {clips} clips: {error}") from None
        check_scores(scores, clips, self.name)
        return scores


def engine_path(model: str) -> Path:
    """File of an engine: `model` is a path that ends in .onnx, or the name of one that comes with livespot.

    Raises EngineError where there is no such file.
    """
    is_path = model.endswith(".onnx")
    path = Path(model).expanduser() if is_path else asset("engines", f"{model}.onnx")
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in asset("engines", "").glob("*.onnx"))) or "none"
        what = f"file {path}" if is_path else f"engine named {model}"
        raise EngineError(f"no {what}: give the path of an .onnx file, or one that comes with livespot: {shipped}")
    return path


def checkpoint_beside(path: Path) -> Path:
    """NAME.pt beside NAME.onnx, whose weights PyTorch runs. Raises EngineError where there is none."""
    checkpoint = path.with_suffix(".pt")
    if not checkpoint.is_file():
        raise EngineError(f"no checkpoint {checkpoint}: PyTorch takes the weights from it, copy it there")
    return checkpoint


def _load(path: Path, threads: int, provider: Provider) -> Any:
    if provider == "CUDA":
        _prepare_cuda()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[_PROVIDERS[provider]])
    except Exception as error:  # ONNX Runtime's exceptions have no other base
        raise EngineError(
            f"{path} is not an ONNX file that ONNX Runtime {onnxruntime.__version__} can run: {error}; "
            "fetch or export it again"
        ) from None
    if _PROVIDERS[provider][0] not in session.get_providers():  # it takes the CPU then, and says so in a log only
        raise EngineError(
            "ONNX Runtime cannot load CUDA or cuDNN, of the versions that it was built for: "
            "pip install 'onnxruntime-gpu[cuda,cudnn]', or install them"
        )
    return session


def _prepare_cuda() -> None:
    if _PROVIDERS["CUDA"][0] not in onnxruntime.get_available_providers():
        raise EngineError(
            "this ONNX Runtime has no CUDA: pip uninstall -y onnxruntime, then "
            "pip install 'onnxruntime-gpu[cuda,cudnn]'; the two overwrite each other"
        )
    if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on it finds CUDA and cuDNN where pip puts them
        onnxruntime.preload_dlls()


def _metadata(session: Any, path: Path) -> EngineMetadata:
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise EngineError(
            f"{path} is an ONNX file without livespot metadata: expected one that `livespot export` wrote"
        )
    return EngineMetadata.from_json(text, str(path))


def _check_tensors(session: Any, clip: ClipSpec, path: Path) -> None:
    inputs = " and ".join(f"{name} float32 (any, {sides(shape)})" for name, shape in clip.shapes.items())
    scores = "scores float32 (any, 2)"
    for verb, tensors, expected in (("takes", session.get_inputs(), inputs), ("gives", session.get_outputs(), scores)):
        came = _described(tensors)
        if came != expected:
            raise EngineError(f"{path} {verb} {came}; expected {expected}: export the network again")


def _described(tensors: Any) -> str:
    """Inputs or outputs of a session, by name: "clips float32 (any, 2, 2, 112, 112)"; a free side is "any"."""
    return " and ".join(
        f"{tensor.name} {_DTYPES.get(tensor.type, tensor.type)} ({sides(tensor.shape)})"
        for tensor in sorted(tensors, key=lambda one: str(one.name))
    )


_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
