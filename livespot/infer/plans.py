"""Built TensorRT engines, kept in the cache folder of the user: what each was built of, and which one fits here.

An engine is executable code. Only those of this folder are loaded, and only while nobody else may write to it or to
them; no setting names another. Beside NAME-KEY.engine lies NAME-KEY.json: what it was built of, its log, speed, parity.
"""

import hashlib
import json
import os
import shlex
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from livespot.errors import EngineError
from livespot.files import replacing
from livespot.infer.metadata import EngineMetadata


@dataclass(frozen=True)
class Machine:
    """What a built engine depends on."""

    tensorrt: str
    """Version, "10.3.0"."""
    gpu: str
    """Name, "Orin"."""
    compute: str
    """Compute capability of the GPU, "8.7"."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        return f"TensorRT {self.tensorrt} on {self.gpu}, compute capability {self.compute}"


@dataclass(frozen=True)
class Order:
    """Everything that a built engine is made of; two that agree in all of it are the same."""

    onnx: str
    """SHA-256 of the ONNX file."""
    machine: Machine
    batches: tuple[int, ...]
    """Each is a profile of its own. Rising; a call takes the smallest that holds it, larger ones are split."""
    version_compatible: bool = False
    """It may run on later versions of TensorRT, of the same major one."""
    hardware_compatible: bool = False
    """It may run on other GPUs of the same compute capability."""

    def __post_init__(self) -> None:
        if not self.batches or self.batches[0] < 1 or list(self.batches) != sorted(set(self.batches)):
            raise EngineError(f"batches are {self.batches}; expected rising numbers from 1, such as 1,8,64")

    @property
    def key(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def misfits(self, here: Machine) -> list[str]:
        """Why it cannot run here, in words; empty where it can."""
        there, misfits = self.machine, []
        if there.tensorrt != here.tensorrt and not (self.version_compatible and _later(there.tensorrt, here.tensorrt)):
            misfits.append(f"TensorRT was {there.tensorrt}, is {here.tensorrt}")
        if there.compute != here.compute or (there.gpu != here.gpu and not self.hardware_compatible):
            was, now = (f"{one.gpu} ({one.compute})" for one in (there, here))
            misfits.append(f"the GPU was {was}, is {now}")
        return misfits


@dataclass(frozen=True)
class Plan:
    """A built engine."""

    order: Order
    metadata: EngineMetadata
    """Of the network, from its ONNX file."""
    onnx_path: Path
    """Where that was when it was asked for."""
    path: Path
    content: bytes | None = None
    """The engine itself, where it is not in the cache yet."""

    @property
    def cure(self) -> str:
        """The command that builds it anew, to be pasted."""
        order = self.order
        options = ["--batch", ",".join(map(str, order.batches))]
        options += ["--version-compatible"] if order.version_compatible else []
        options += ["--hardware-compatible"] if order.hardware_compatible else []
        return command(self.onnx_path, *options)

    def read(self) -> bytes:
        """The engine. Raises EngineError where it is not what was written, or others may write to it."""
        if self.content is not None:
            return self.content
        try:
            content = _own(self.path)
        except OSError as error:
            raise EngineError(f"{self.path} cannot be read: {error.strerror}: {self.cure}") from None
        note = _Sidecar.read(self.path)
        if (note.key, note.engine) != (self.order.key, hashlib.sha256(content).hexdigest()):
            raise EngineError(f"{self.path} is damaged, it is not what was built: {self.cure}")
        return content

    def report(self) -> dict[str, Any]:
        """Log of the build, its time, speed and parity."""
        return _Sidecar.read(self.path).report

    def write(self, content: bytes, report: dict[str, Any]) -> None:
        """Put the engine into the cache: the whole of it or nothing, the note beside it last."""
        folder(make=True)
        _put(self.path, content)
        note = _Sidecar(
            order=asdict(self.order),
            key=self.order.key,
            engine=hashlib.sha256(content).hexdigest(),
            metadata=self.metadata.to_json(),
            report=report,
        )
        _put(self.path.with_suffix(".json"), (note.model_dump_json(indent=2) + "\n").encode())


class _Machine(BaseModel):
    tensorrt: str
    gpu: str
    compute: str


class _Order(BaseModel):
    onnx: str
    machine: _Machine
    batches: tuple[int, ...]
    version_compatible: bool
    hardware_compatible: bool


class _Sidecar(BaseModel):
    format: Literal[1] = 1
    order: _Order
    key: str
    engine: str
    """SHA-256 of the engine."""
    metadata: str
    report: dict[str, Any]

    @classmethod
    def read(cls, engine: Path) -> "_Sidecar":
        path = engine.with_suffix(".json")
        try:
            return cls.model_validate_json(_own(path))
        except (OSError, ValidationError) as error:
            raise EngineError(
                f"{path} is not what `livespot build` wrote ({type(error).__name__}): remove it"
            ) from None


def folder(make: bool = False) -> Path:
    """Where built engines are kept: livespot/engines in XDG_CACHE_HOME, or in ~/.cache where that is not set.

    Raises EngineError where others may write to it, and with `make` where nobody may.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    engines = Path(cache) / "livespot" / "engines"
    try:
        if make:
            engines.mkdir(mode=0o700, parents=True, exist_ok=True)
        if engines.exists():
            _check_owner(engines)
        if make:
            TemporaryFile(dir=engines).close()
    except OSError as error:
        raise EngineError(
            f"{engines} cannot be used: {error.strerror}: set XDG_CACHE_HOME to a folder that is yours"
        ) from None
    return engines


def plan(order: Order, metadata: EngineMetadata, onnx_path: Path) -> Plan:
    """The place of an engine in the cache, whether it has been built or not."""
    return Plan(order, metadata, onnx_path, folder() / f"{_safe(metadata.name)}-{order.key[:16]}.engine")


def find(onnx_path: Path, here: Machine) -> Plan:
    """The engine of an ONNX file that was built last of those that run here. Raises EngineError where there is none."""
    made = _of(digest(onnx_path), onnx_path)
    for one in made:
        if not one.order.misfits(here):
            return one
    why = f" ({'; '.join(made[0].order.misfits(here))})" if made else ""
    raise EngineError(f"no engine of {onnx_path} is built for {here}{why}: {command(onnx_path)}")


def changes(wanted: Plan) -> str:
    """Why the engine of this file that was built last does not run where `wanted` is for; or nothing."""
    made = _of(wanted.order.onnx, wanted.onnx_path)
    return "; ".join(made[0].order.misfits(wanted.order.machine)) if made else ""


def command(onnx_path: Path, *options: str) -> str:
    """What builds an engine, to be pasted."""
    return shlex.join(("livespot", "build", str(onnx_path), *options))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _of(onnx: str, onnx_path: Path) -> list[Plan]:
    """Engines of an ONNX file by its SHA-256, the one built last first. A note that cannot be read is passed over."""
    notes = sorted(folder().glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    made = (_noted(path.with_suffix(".engine"), onnx_path) for path in notes)
    return [one for one in made if one is not None and one.order.onnx == onnx]


def _noted(engine: Path, onnx_path: Path) -> Plan | None:
    try:
        note = _Sidecar.read(engine)
        metadata = EngineMetadata.from_json(note.metadata, str(engine))
        kept = note.order.model_dump()
        order = Order(**kept | {"machine": Machine(**kept["machine"])})
    except EngineError:
        return None
    return Plan(order, metadata, onnx_path, engine) if order.key == note.key else None


def _own(path: Path) -> bytes:
    """What is in a file, to which nobody else may write. Raises EngineError where somebody may."""
    _check_owner(path)
    return path.read_bytes()


def _put(path: Path, content: bytes) -> None:
    with replacing(path) as part:
        part.touch(mode=0o600)  # whatever others may do to new files
        part.write_bytes(content)


def _check_owner(path: Path) -> None:
    found = path.stat()
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise EngineError(
            f"others may write to {path}, and engines are code that runs: chown it to yourself, chmod go-w"
        )


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-" else "-" for letter in name)


def _later(first: str, second: str) -> bool:
    """Whether the second version of TensorRT is a later one of the same major version."""
    before, after = ([int(part) for part in one.split(".") if part.isdigit()] for one in (first, second))
    return before[:1] == after[:1] and before <= after
