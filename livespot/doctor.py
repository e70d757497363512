"""What of livespot works on this machine, with the reason and the cure for what does not.

Every check imports what it checks itself: a library that does not load is a finding, not the end of the examination.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from livespot.config import InferSettings, PublishSettings
from livespot.engines import NVIDIA_FILES, nvidia
from livespot.errors import LivespotError, SourceError

State = Literal["ok", "warning", "failed"]
"""failed: livespot does not run; warning: something that it can do without does not work."""

PYTHONS = ((3, 10), (3, 13))
MEDIAPIPES = ((0, 10, 14), (0, 10, 30))
"""From the first of two versions up to, and without, the second."""

CV2_PROVIDERS = (
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
    "opencv-python",
    "opencv-python-headless",
)
"""Packages that each bring their own `cv2`; the one installed last overwrites parts of the others."""

ONNX_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""The same with each other."""

REINSTALL = "install it again: pip install --force-reinstall livespot"


@dataclass(frozen=True)
class Finding:
    """One thing that was examined, in words for the user."""

    what: str
    state: State
    found: str
    cure: str = ""
    """What to do; empty where all is well."""


def examine() -> list[Finding]:
    """Everything, what a run needs first. Opens each camera for one picture, and the event port for a moment."""
    needed = [_carefully(what, check, "failed", REINSTALL) for what, check in _NEEDED.items()]
    optional = [_carefully(what, check, "warning", "livespot runs without it") for what, check in _OPTIONAL.items()]
    return needed + optional


def exit_code(findings: list[Finding]) -> int:
    """0 where everything that a run needs is well, 1 otherwise."""
    return int(any(finding.state == "failed" for finding in findings))


def _carefully(what: str, check: Callable[[str], Finding], state: State, cure: str) -> Finding:
    try:
        return check(what)
    except LivespotError as error:
        return Finding(what, state, str(error), cure)
    except Exception as error:  # whatever a broken installation raises is a finding
        return Finding(what, state, f"{type(error).__name__}: {error}", cure)


def _python(what: str) -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        return Finding(what, "ok", found)
    return Finding(what, "failed", found, "livespot needs Python 3.10, 3.11 or 3.12; make a new environment with one")


def _opencv(what: str) -> Finding:
    import cv2

    providers = _installed(CV2_PROVIDERS)
    found = f"{cv2.__version__} from {', '.join(providers) or 'the system'}"
    if len(providers) < 2:
        return Finding(what, "ok", found)
    cure = (
        f"they overwrite each other: pip uninstall -y {' '.join(providers)}, then pip install "
        "--force-reinstall --no-deps opencv-contrib-python==4.11.0.86"
    )
    return Finding(what, "warning", found, cure)


def _video(what: str) -> Finding:
    import cv2

    backends = sorted({cv2.videoio_registry.getBackendName(one) for one in cv2.videoio_registry.getBackends()})
    built = {name: _built_with(cv2.getBuildInformation(), name) for name in ("FFMPEG", "GStreamer", "v4l/v4l2")}
    found = ", ".join(f"{name} {'yes' if has else 'no'}" for name, has in built.items())
    found = f"{found} (back ends {', '.join(backends)})"
    if built["FFMPEG"]:
        return Finding(what, "ok", found)
    cure = "without FFmpeg no file and no stream can be read: pip install opencv-contrib-python, or add FFmpeg to yours"
    return Finding(what, "failed", found, cure)


def _cameras(what: str) -> Finding:
    from livespot.capture.trouble import found_cameras

    devices = found_cameras()
    if not devices:
        cure = "plug one in, or hand it into the container (--device /dev/video0); files, streams and demo:// need none"
        return Finding(what, "warning", "none", cure)
    works, told = zip(*map(_camera, devices), strict=True)
    if any(works):
        return Finding(what, "ok", "; ".join(told))
    return Finding(what, "warning", "; ".join(told), "see the reason beside each camera")


def _camera(device: str) -> tuple[bool, str]:
    """Whether it gives a picture, and what it gives or why not."""
    from livespot.capture.opencv import Webcam

    index = int(Path(device).name.removeprefix("video"))
    try:
        with Webcam(index, f"cam{index}") as camera:
            height, width = next(iter(camera)).image.shape[:2]
    except SourceError as error:
        return False, str(error)
    return True, f"{device} gives {width}x{height}"


def _mediapipe(what: str) -> Finding:
    from livespot.landmarks import FaceMesh

    version = metadata.version("mediapipe")
    if not MEDIAPIPES[0] <= _numbers(version) < MEDIAPIPES[1]:
        return Finding(what, "failed", version, "its face mesh is needed: pip install 'mediapipe>=0.10.14,<0.10.30'")
    with FaceMesh(static=True) as mesh:
        faces = len(mesh.find(np.zeros((480, 640, 3), np.uint8)))
    if faces:
        return Finding(what, "failed", f"{version} finds {faces} faces in a black picture", REINSTALL)
    return Finding(what, "ok", f"{version}, models load, no face in a black picture")


def _onnxruntime(what: str) -> Finding:
    import onnxruntime

    found = f"{onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}"
    providers = _installed(ONNX_RUNTIMES)
    if len(providers) < 2:
        return Finding(what, "ok", found)
    cure = (
        f"they overwrite each other: pip uninstall -y {' '.join(providers)}, then pip install "
        "'onnxruntime-gpu[cuda,cudnn]' for NVIDIA GPUs, or onnxruntime"
    )
    return Finding(what, "warning", f"{found} from {', '.join(providers)}", cure)


def _engine(what: str) -> Finding:
    from livespot.engines import ChosenScorer

    with ChosenScorer(InferSettings()) as scorer:
        blank = {name: np.zeros((1, *shape), np.float32) for name, shape in scorer.clip.shapes.items()}
        micro, macro = scorer.score(blank)[0]
        found = f"{scorer.name}; micro {micro:.3f}, macro {macro:.3f} for a blank clip"
        return Finding(what, "ok", "; ".join((found, *scorer.why)))


def _gpu(what: str) -> Finding:
    smi = shutil.which("nvidia-smi")
    if smi is not None:
        asked = [smi, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
        if answer.returncode == 0:
            return Finding(what, "ok", "; ".join(answer.stdout.strip().splitlines()))
        told = " ".join((answer.stdout + answer.stderr).split())
        return Finding(what, "warning", f"nvidia-smi fails: {told}", "install the driver again, then restart")
    if there := [str(path) for path in NVIDIA_FILES if path.exists()]:
        return Finding(what, "ok", f"present ({', '.join(there)}), without nvidia-smi")
    return Finding(what, "ok", "none; the engine for the CPU needs none")


def _tensorrt(what: str) -> Finding:
    from livespot.infer.onnx import engine_path
    from livespot.infer.plans import find
    from livespot.infer.tensorrt import here, version

    if find_spec("tensorrt") is None and not nvidia():
        return Finding(what, "ok", "not installed; it runs on NVIDIA GPUs only")
    if find_spec("tensorrt") is None:
        cure = "a slower engine is used: pip install 'livespot[tensorrt]', or JetPack's own on a Jetson"
        return Finding(what, "warning", "not installed, though there is an NVIDIA GPU", cure)
    found, model = version(), InferSettings().model
    try:
        return Finding(what, "ok", f"{found}; {find(engine_path(model), here()).path}")
    except LivespotError as error:
        return Finding(what, "warning", f"{found}; {error}", f"a slower engine is used until `livespot build {model}`")


def _port(what: str) -> Finding:
    import zmq

    endpoint = PublishSettings().endpoint
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            port = endpoint.rpartition(":")[2]
            cure = (
                f"all is well if that is livespot itself; otherwise see who it is with ss -ltnp 'sport = :{port}', "
                "or give another: --endpoint tcp://127.0.0.1:5557"
            )
            return Finding(what, "warning", f"{endpoint}: {error.strerror}", cure)
    return Finding(what, "ok", f"{endpoint} is free; ZeroMQ {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}")


def _display(what: str) -> Finding:
    import cv2

    toolkit = cv2.currentUIFramework()
    if not toolkit:
        cure = "this OpenCV has no windows, so --show does not work (--overlay does): pip install opencv-contrib-python"
        return Finding(what, "warning", "OpenCV without windows", cure)
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        cure = "--show needs a screen: log in at one, or ssh -X; --overlay writes the same into a video"
        return Finding(what, "warning", f"{toolkit} windows, but neither DISPLAY nor WAYLAND_DISPLAY is set", cure)
    return Finding(what, "ok", f"{toolkit} windows on {os.environ.get('DISPLAY') or 'the local screen'}")


def _torch(what: str) -> Finding:
    if find_spec("torch") is None:
        return Finding(what, "ok", "not installed; only training needs it: pip install 'livespot[train]'")
    return Finding(what, "ok", f"{metadata.version('torch')}, for training only")


def _installed(packages: tuple[str, ...]) -> list[str]:
    names = {str(one.metadata["Name"]).lower().replace("_", "-") for one in metadata.distributions()}
    return [package for package in packages if package in names]


def _built_with(information: str, name: str) -> bool:
    """Whether a line such as "    FFMPEG:     YES" is in OpenCV's build information."""
    lines = (line.strip() for line in information.splitlines())
    return any(line.startswith(f"{name}:") and "YES" in line for line in lines)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


_NEEDED: dict[str, Callable[[str], Finding]] = {
    "Python": _python,
    "OpenCV": _opencv,
    "video": _video,
    "MediaPipe": _mediapipe,
    "ONNX Runtime": _onnxruntime,
    "default engine": _engine,
    "event port": _port,
}
_OPTIONAL: dict[str, Callable[[str], Finding]] = {
    "cameras": _cameras,
    "NVIDIA GPU": _gpu,
    "TensorRT": _tensorrt,
    "window": _display,
    "torch": _torch,
}
