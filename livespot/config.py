"""Settings: one model, read from YAML and from the command line's flags, refused before anything opens.

An error names the file, the key, the value that came and what is allowed.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from livespot.errors import SettingsError
from livespot.records import MAX_FPS

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Names of sources become segments of ZeroMQ topics: no dots, no spaces."""

SECRET = re.compile(r"pass|pwd|secret|token|key|user|login|auth", re.IGNORECASE)
"""Unknown keys that sound like this keep their value out of messages."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
"""Above 0: a score never falls below a threshold of 0, so that no event would end."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PictureSettings(_Model):
    """What the pictures of a source should be."""

    fps: Annotated[float, Field(gt=0, le=MAX_FPS)] | None = None
    """Frames per second of a folder of images, 30 when left out, or wanted of a webcam; every other source has a clock
    of its own."""
    size: str | None = Field(default=None, pattern=r"^[1-9]\d{1,4}x[1-9]\d{1,4}$")
    """Wanted of a webcam, 1280x720. It gives the nearest that it has, and what it gives is told."""
    pixel_format: str | None = Field(default=None, pattern=r"^[A-Z0-9]{4}$")
    """Wanted of a webcam: MJPG, YUYV. Many give their full size and rate only as MJPG."""
    rotate: Literal[0, 90, 180, 270] = 0
    """Clockwise, beyond what the file itself says."""
    mirror: bool = False
    """Left and right are exchanged, after turning."""


class SourceSettings(PictureSettings):
    """A camera, a stream, a file, a folder of images or the virtual camera."""

    uri: str = Field(min_length=1, repr=False)
    """Webcam index, rtsp:// or http:// address, gstreamer: pipeline, file, folder, or demo://. Not in `repr`: it may
    hold a password, which in an address may also be written as ${NAME}, an environment variable, or ${file:PATH}."""
    name: str | None = Field(default=None, pattern=f"^{NAME.pattern}$")
    """Name in topics and tables; derived from the uri when left out."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"uri": str(value)} if isinstance(value, (str, int)) else value


class CaptureSettings(_Model):
    """How sources are opened and what happens when the rest is slower than they are."""

    open_timeout_s: Positive = 5.0
    """A network stream that has not opened by then is given up for now. Files have no limit."""
    read_timeout_s: Positive = 3.0
    """A live source that is silent for so long is closed and opened again."""
    stall_s: Positive = 2.0
    """A live source that is silent for so long, and for two frames, is told as stalled; its faces begin anew."""
    retry_s: Positive = 0.5
    """Pause before a live source that failed is opened again; at each failure in a row it doubles."""
    retry_max_s: Positive = 30.0
    """The longest pause. Each pause is cut by chance, to half of it at most: many cameras do not come back at once."""
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    """rtsps:// always takes tcp."""
    backend: Literal["opencv", "pyav"] = "opencv"
    """What reads network streams. pyav tells a wrong password from a wrong path; it always reads what is encrypted and
    to be verified, as OpenCV's FFmpeg believes every certificate."""
    tls_verify: bool = True
    """A camera behind rtsps:// or https:// proves who it is. False believes whoever answers."""
    tls_ca_file: Annotated[Path, AfterValidator(Path.absolute)] | None = None
    """Certificates that vouch for cameras, PEM, or a camera's own; left out, those that this system trusts."""
    realtime: bool = False
    """Recordings play at their own speed, as if they were cameras: live, with frames dropped where the rest is too
    slow. `spot` goes as fast as it can all the same."""
    live_queue_frames: int = Field(default=64, ge=2, le=4096)
    """A live source never waits: when this many frames wait, all of them are dropped and counted."""
    staleness_s: Positive = 0.5
    """When the first live frame in line waited longer, all that wait but the newest are dropped and counted."""


class AlignSettings(_Model):
    """Face tracking and the transform from frame to crop."""

    max_faces: int = Field(default=1, ge=1, le=16)
    mesh_interval_s: Positive = 0.5
    """Time between two looks at the landmarks; tracked skin carries the transform in between."""
    key_age_s: Positive = 1.0
    """Age at which the key frame that skin is tracked from is renewed."""
    drift_time_s: Positive = 10.0
    """Time constant with which the landmarks pull the tracked transform back."""
    max_gap_s: Annotated[float, Field(gt=0, le=0.3, allow_inf_nan=False)] = 0.3
    """A face missed for less is bridged, for longer it is lost. No more than 0.3 s: with the frames around it, a
    longer gap would be a pause in which the decoder ends every event (`decode.MAX_PAUSE_S`)."""


Engine = Literal["auto", "tensorrt", "torch", "onnx-cuda", "onnx"]
"""What runs a network. auto: the first of the others that opens on this machine."""


class InferSettings(_Model):
    """The network and how it runs."""

    model: str = "default"
    """Name of an engine that comes with livespot, or path of an ONNX file."""
    engine: Engine = "auto"
    """tensorrt runs what `livespot build` made on this machine, torch the checkpoint beside the ONNX file; onnx-cuda
    needs an ONNX Runtime with CUDA; onnx runs everywhere."""
    threads: int = Field(default=1, ge=1, le=64)
    """Of ONNX Runtime. Threads of one inference. One leaves the other cores to capture and alignment."""
    gather_ms: Annotated[float, Field(ge=0, le=50)] = 2.0
    """On a GPU, the clips of one camera wait so long for those of the others, to be scored in one batch; with one
    camera, or once all have come, nothing waits. On the CPU a batch costs as much as its clips: there nothing waits."""
    processes: Annotated[int, Field(ge=1, le=64)] | None = None
    """Cameras are shared out among so many processes, each with an engine of its own: Python uses little more than one
    core in each, and 0.4 GB of memory. Left out, one for every three cameras, and no more than there are cores; one
    where a GPU scores the clips of all. With a window (`--show`) there is always one."""


Method = Literal["motion", "network", "both", "zhang2020", "mdmo"]
"""How expressions are spotted: from the motion of the skin, without training; by the network; or by the network, with
motion to lower scores that a turning head or a blink explains, and to refine the bounds of its events. Or, in
recordings, as the challenge's baseline or its third place of 2023 did."""

NETWORK_METHODS = ("network", "both")
WHOLE_VIDEO_METHODS = ("zhang2020", "mdmo")
"""These see a recording to its end before they tell anything."""


LIVE_LOOKAHEAD_S = 0.6
"""Look-ahead of motion where none is set and the end is not awaited."""


class MotionSettings(_Model):
    """Spotting from the motion of the skin, without training."""

    lookahead_s: Annotated[float, Field(ge=0.3)] | None = None
    """An expression is told so long after its offset, a long one 0.6 times its length: in that time a stronger reading
    may take its place. Left out, it is 0.6 s live; a recording is weighed as a whole, as with .inf."""
    micro_threshold: Positive = 2.8
    macro_threshold: Positive = 2.8
    """Strength, in standard deviations of what moves without an expression, from which an expression is told."""
    micro_iod: Positive = 0.004
    macro_iod: Positive = 0.012
    """Smaller movements are not told, in inter-ocular distances."""


class DecodeSettings(_Model):
    """From scores to events. Thresholds left out are those calibrated with the network. The durations hold for every
    method, the rest for networks only."""

    cutoff_hz: Annotated[float, Field(gt=0, lt=100)] | None = None
    """Cut-off of the causal second-order Butterworth low-pass; it runs at 200 Hz, whatever the frame rate."""
    micro_threshold: Share | None = None
    macro_threshold: Share | None = None
    hysteresis: Share = 0.6
    """An event ends below this share of its threshold."""
    min_s: Positive = 0.1
    """Shorter rises are not events."""
    micro_max_s: Positive = 0.5
    """Longer expressions are macro."""
    max_s: Positive = 4.0
    """Longer rises are cut off here and marked truncated."""
    merge_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.12
    """A shorter dip does not end an event."""

    @model_validator(mode="after")
    def _durations_in_order(self) -> "DecodeSettings":
        if not self.min_s <= self.micro_max_s <= self.max_s:
            raise PydanticCustomError(
                "order",
                "expected min_s <= micro_max_s <= max_s, but they are {min_s}, {micro_max_s} and {max_s} s",
                {"min_s": self.min_s, "micro_max_s": self.micro_max_s, "max_s": self.max_s},
            )
        return self


class PublishSettings(_Model):
    """The event stream."""

    endpoint: str = Field(default="tcp://127.0.0.1:5556", pattern=r"^(tcp|ipc)://.+")
    requests: str | None = Field(default=None, pattern=r"^(tcp|ipc)://.+")
    """Where snapshots and replays are asked for; the next port where left out."""
    scores: bool = False
    """Publish the scores of every frame as well."""
    heartbeat_s: Positive = 1.0
    keep: int = Field(default=10_000, ge=0, le=1_000_000)
    """Messages of each topic that can be replayed."""
    encoding: Literal["json", "msgpack"] = "json"
    key: Path | None = None
    """Secret file of `livespot keygen`: all is encrypted, and only allowed clients are let in."""
    allowed_keys: Path | None = None
    """Directory with the public key files of allowed clients; read again while livespot runs."""
    insecure: bool = False
    """Let other machines connect without a key."""


class MetricsSettings(_Model):
    """What a run measures of itself, over HTTP as Prometheus reads it. `livespot status` needs none of it."""

    endpoint: str | None = Field(default=None, pattern=r"^.+:\d{1,5}$")
    """address:port; none where left out. Port 0 takes a free one."""
    insecure: bool = False
    """Let other machines read them: whose cameras run, and how many expressions were seen."""


class RecordSettings(_Model):
    """Recording what is published to disk."""

    folder: Path | None = None
    """Where each start makes a file of its own; nothing is recorded where left out."""
    scores: bool = False
    """With `folder`: record the scores of every frame as well; they are then published, too."""


class Settings(_Model):
    """Everything `livespot run` and `livespot spot` can be told."""

    sources: tuple[SourceSettings, ...] = ()
    capture: CaptureSettings = CaptureSettings()
    align: AlignSettings = AlignSettings()
    infer: InferSettings = InferSettings()
    method: Method = "both"
    motion: MotionSettings = MotionSettings()
    decode: DecodeSettings = DecodeSettings()
    publish: PublishSettings = PublishSettings()
    metrics: MetricsSettings = MetricsSettings()
    record: RecordSettings = RecordSettings()


def load(path: Path) -> dict[str, Any]:
    """The keys of a YAML file, not yet checked. Raises SettingsError with file and line."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"no settings file {path}: give the path of a YAML file, configs/live.yaml for one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:  # its own text would quote the line, which may hold a camera's password
        line = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise SettingsError(f"{path} is not YAML{line}: {error.problem}; compare it with configs/live.yaml") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds a {type(content).__name__}; expected keys such as sources:, decode:")
    return content


def check(values: dict[str, Any], origin: str) -> Settings:
    """Validated settings. `origin` is the file or flag that a message names. Raises SettingsError."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem, origin) for problem in error.errors())) from None


def override(values: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """`values` with dotted `flags` such as {"publish.endpoint": ...} laid over them; None leaves a key alone.

    Raises SettingsError for a flag that reaches into a list.
    """
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    for dotted, value in flags.items():
        if value is None:
            continue
        section, _, key = dotted.partition(".")
        if not key:
            merged[section] = value
        elif isinstance(merged.setdefault(section, {}), dict):
            merged[section][key] = value
        elif isinstance(merged[section], list):
            raise SettingsError(f"{dotted} cannot be given alone, {section} is a list: give it in a settings file")
    return merged


def _explain(problem: Any, origin: str) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "(top level)"
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed(problem["loc"][:-1]))
        return f"{origin}: {where}, given as {_shown(problem)}, is no setting; allowed here: {allowed}"
    if problem["type"] == "missing":
        return f"{origin}: {where} is missing"
    if problem["type"] in ("model_type", "tuple_type"):  # the type alone: an address may hold a password
        expected = "a list" if problem["type"] == "tuple_type" else f"keys of {', '.join(_allowed(problem['loc']))}"
        return f"{origin}: {where} holds a {type(problem['input']).__name__}; expected {expected}"
    return f"{origin}: {where} is {_shown(problem)}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _shown(problem: Any) -> str:
    """The value that came; only its type where it may hold a secret."""
    value = problem["input"]
    harmless = isinstance(value, (bool, int, float)) or (isinstance(value, str) and "://" not in value)
    secret = problem["type"] == "extra_forbidden" and SECRET.search(str(problem["loc"][-1]))
    return repr(value) if harmless and not secret else f"a {type(value).__name__}"


def _allowed(parents: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in parents:
        if part == "sources":
            model = SourceSettings
        elif isinstance(part, str):
            annotation = model.model_fields[part].annotation
            assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
            model = annotation
    return sorted(model.model_fields)
