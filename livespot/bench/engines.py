"""How fast every engine of this machine scores clips, by batch size: from arrays to arrays, and without the copies.

On a GPU PyTorch runs twice, by CUDA graphs and eager; what copies cost is the difference between the two times, which
says what a ring of patches on the device could save at most.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from livespot.bench.figures import _machine
from livespot.config import InferSettings
from livespot.engines import ENGINES
from livespot.errors import EngineError
from livespot.infer import Scorer
from livespot.infer.arrays import examples

Say: TypeAlias = Callable[[str], None]
Inputs: TypeAlias = Mapping[str, NDArray[np.float32]]

BATCHES = tuple(2**power for power in range(11))
POINT_S = 1.0
"""So long each batch is timed, and each without its copies; an engine that takes longer for one gets no larger ones."""
ROUNDS = (3, 300)
"""At least, and at most."""
WARM_UP_ROUNDS = 3


@runtime_checkable
class OnDevice(Protocol):
    """A scorer with memory of its own, to and from which clips and scores are copied."""

    def again(self, clips: int) -> None:
        """Run the network without the copies."""


@dataclass(frozen=True)
class Point:
    """One engine with one batch."""

    clips: int
    median_ms: float
    """Of one call, from arrays to arrays."""
    p90_ms: float
    clips_s: float
    compute_ms: float | None = None
    """Without the copies; None where there are none."""
    moved_bytes: int | None = None
    """What its operations read and write; None where that is not known."""


@dataclass(frozen=True)
class Timed:
    """One engine with all batches."""

    engine: str
    name: str
    points: tuple[Point, ...]


def candidates(settings: InferSettings) -> dict[str, Callable[[], Scorer]]:
    """All engines that there may be, by the names that settings give them; and PyTorch as it is compared with."""
    chosen: dict[str, Callable[[], Scorer]] = {}
    for engine, make in ENGINES.items():
        chosen[engine] = _bound(make, settings)
        if engine == "torch":
            chosen["torch, eager"] = _bound(_torch, settings, "cuda")
            chosen["torch, CPU"] = _bound(_torch, settings, "cpu")
    return chosen


def measure(makes: Mapping[str, Callable[[], Scorer]], batches: Sequence[int], say: Say) -> dict[str, Any]:
    """Figures of all engines that open here, as a dict that JSON can hold, and why the others do not.

    Raises EngineError where none opens.
    """
    timed: list[Timed] = []
    absent: dict[str, str] = {}
    for engine, make in makes.items():
        say(engine)
        try:
            timed.append(_timed(engine, make, batches, say))
        except EngineError as error:
            absent[engine] = str(error)
    if not timed:
        raise EngineError("\n".join(f"no {engine}: {why}" for engine, why in absent.items()))
    return {
        "engines": [asdict(one) for one in timed],
        "absent": absent,
        "device_bytes_s": _device_bytes_s(timed),
        "machine": _machine(),
    }


def to_rich(figures: dict[str, Any]) -> Iterator[Table]:
    """A table for each engine."""
    for engine in figures["engines"]:
        table = Table(title=engine["name"], title_justify="left", header_style="bold")
        for heading in ("clips", "ms", "p90", "clips/s", "without copies, ms", "of the memory's bandwidth"):
            table.add_column(heading, justify="right")
        for point in engine["points"]:
            compute = "" if point["compute_ms"] is None else f"{point['compute_ms']:.3f}"
            share = bandwidth_share(point, figures["device_bytes_s"])
            shown = "" if share is None else f"{100 * share:.0f} %"
            times = (f"{point['median_ms']:.3f}", f"{point['p90_ms']:.3f}", f"{point['clips_s']:.0f}")
            table.add_row(str(point["clips"]), *times, compute, shown)
        yield table


def bandwidth_share(point: Mapping[str, Any], device_bytes_s: float | None) -> float | None:
    """What a point moves in the GPU's memory, as a share of what copies within it reach; None where it is not known."""
    if not device_bytes_s or not point["moved_bytes"] or not point["compute_ms"]:
        return None
    return float(point["moved_bytes"] / (point["compute_ms"] / 1000) / device_bytes_s)


def _timed(engine: str, make: Callable[[], Scorer], batches: Sequence[int], say: Say) -> Timed:
    with ExitStack() as stack:
        scorer = stack.enter_context(make())
        inputs = examples(scorer.clip, max(batches))
        points: list[Point] = []
        for clips in sorted(batches):
            say(f"{engine}, {clips} clips")
            points.append(_point(scorer, {name: array[:clips] for name, array in inputs.items()}, clips))
            if points[-1].median_ms > 1000 * POINT_S:
                break
        return Timed(engine, scorer.name, tuple(points))


def _point(scorer: Scorer, inputs: Inputs, clips: int) -> Point:
    took_s = _times_s(lambda: scorer.score(inputs))
    median_s = statistics.median(took_s)
    compute_s = _times_s(lambda: scorer.again(clips)) if isinstance(scorer, OnDevice) else None
    return Point(
        clips,
        round(1000 * median_s, 4),
        round(1000 * float(np.percentile(took_s, 90)), 4),
        round(clips / median_s, 1),
        None if compute_s is None else round(1000 * statistics.median(compute_s), 4),
        scorer.moved_bytes(clips) if isinstance(scorer, _Layered) else None,
    )


@runtime_checkable
class _Layered(Protocol):
    def moved_bytes(self, clips: int) -> int: ...


def _times_s(run: Callable[[], object]) -> list[float]:
    for _ in range(WARM_UP_ROUNDS):
        run()
    took_s: list[float] = []
    fewest, most = ROUNDS
    while len(took_s) < fewest or (sum(took_s) < POINT_S and len(took_s) < most):
        began_s = time.perf_counter()
        run()
        took_s.append(time.perf_counter() - began_s)
    return took_s


def _device_bytes_s(timed: Sequence[Timed]) -> float | None:
    if not any(one.engine == "torch" for one in timed):
        return None
    from livespot.torch_scorer import device_bytes_s

    return device_bytes_s()


def _torch(settings: InferSettings, device: str) -> Scorer:
    ENGINES["torch"](settings)  # says what is missing
    from livespot.torch_scorer import TorchScorer

    return TorchScorer(settings, device, graphs=False)


def _bound(make: Callable[..., Scorer], *arguments: Any) -> Callable[[], Scorer]:
    return lambda: make(*arguments)
