"""Thresholds and cut-off of a trained network, and how well it then spots: on faces it was never trained on.

Networks on frames watch videos of a virtual camera through the live path, frame by frame; those on motion, and joint
ones, are shown what was recorded of the performing portraits that their training kept aside. One half of the unseen
faces chooses the calibration, also on videos without expressions, since life is mostly calm; the other half is only
scored. Everything is synthetic: figures on real faces will be lower.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zlib import crc32

from livespot.capture.virtual import VirtualCamera
from livespot.config import InferSettings, Settings
from livespot.errors import LivespotError
from livespot.export import PROVISIONAL, export
from livespot.files import PICTURES, files_in
from livespot.infer import Scorer
from livespot.infer.onnx import OnnxScorer
from livespot.nets.checkpoint import Checkpoint
from livespot.nets.loading import network, network_name
from livespot.nets.motion import MotionNet
from livespot.pipeline import Pipeline
from livespot.training import joint_loop
from livespot.training.events import Video, choose, figures
from livespot.training.motion_loop import RECORDERS
from livespot.training.recordings import PERFORMED, Take, by_stem, halves, of_kind, record, validation_takes
from livespot.training.seeing import joint_of
from livespot.training.settings import JointRunSettings, MotionTrainSettings
from livespot.training.validation import judged

FPS = 30.0
SECONDS = 20.0
"""Length of one video of the virtual camera: about three micro- and three macro-expressions."""


class Watched(NamedTuple):
    """What a network says of faces it was never trained on."""

    choosing: list[Video]
    """These choose its calibration."""
    expressive: list[Video]
    neutral: list[Video]
    """These test it, with expressions and without."""
    protocol: str


def calibrate(checkpoint: Path, faces: Path, onnx_path: Path, half: bool = False) -> dict[str, Any]:
    """Export the network of `checkpoint` to `onnx_path` with its calibration; returns the figures stored beside it.

    `faces` holds the portraits of the run; of its validation faces every other one calibrates, the rest test. What lies
    at `onnx_path` is replaced at the end, and only if all went well.
    """
    kept = Checkpoint.load(checkpoint)
    if "validation" not in kept.split:
        raise LivespotError(f"{checkpoint} was trained on a labelled dataset, not on portraits: leave --faces out")
    portraits = by_stem(files_in(faces, PICTURES, "portrait"))
    if strange := [name for name in kept.split["validation"] if name not in portraits]:
        raise LivespotError(
            f"{faces} has no portrait {strange[0]}: give the portraits that {checkpoint} was trained on"
        )
    unseen = [portraits[name] for name in kept.split["validation"]]
    watched = WATCH.get(network_name(kept), _virtual_videos)(checkpoint, kept, unseen)
    chosen = choose(watched.choosing)
    found = figures(watched.expressive, watched.neutral, chosen, watched.protocol)
    export(checkpoint, onnx_path, chosen, found, half)
    return found


def _recordings(checkpoint: Path, kept: Checkpoint, portraits: Sequence[Path]) -> Watched:
    """The recordings lie beside the checkpoint; what is missing is recorded now."""
    settings, folder = MotionTrainSettings.model_validate(kept.settings), checkpoint.parent / "recordings"
    takes = validation_takes(portraits, settings.recordings)
    record(takes, folder, settings.recordings, RECORDERS)
    net = network(kept)
    assert isinstance(net, MotionNet)
    return _watched(takes, "regional motion", lambda some: judged(net, some, folder))


def _seen(checkpoint: Path, kept: Checkpoint, portraits: Sequence[Path]) -> Watched:
    """The embeddings lie beside the checkpoint; what is missing is recorded now."""
    streams = JointRunSettings.model_validate(kept.settings).streams
    takes = validation_takes(portraits, streams.recordings)
    joint_loop.record_seen(takes, checkpoint, streams)
    net, folder = joint_of(kept, checkpoint), checkpoint.parent / "seen"
    return _watched(takes, "appearance and regional motion", lambda some: joint_loop.judged(net, some, folder))


def _watched(takes: Sequence[Take], what: str, judge: Callable[[Sequence[Take]], list[Video]]) -> Watched:
    choosing, testing = halves(takes)
    expressive, neutral = (judge(of_kind(kind, testing)) for kind in PERFORMED)
    rates = " ".join(f"{fps:g}" for fps in sorted({take.fps for take in testing}))
    protocol = f"performing portraits, unseen faces, {what} as recorded live, frames/s {rates}"
    return Watched(judge(choosing), expressive, neutral, protocol)


WATCH: Mapping[str, Callable[[Path, Checkpoint, Sequence[Path]], Watched]] = {"motion": _recordings, "joint": _seen}
"""How networks that are not on frames alone are calibrated."""


def _virtual_videos(checkpoint: Path, _: Checkpoint, portraits: Sequence[Path]) -> Watched:
    with TemporaryDirectory() as folder:
        provisional = Path(folder) / "provisional.onnx"
        export(checkpoint, provisional, PROVISIONAL)
        with OnnxScorer(InferSettings(model=str(provisional))) as scorer:
            return Watched(
                [*_recorded(scorer, portraits[::2]), *_recorded(scorer, portraits[::4], calm=True)],
                _recorded(scorer, portraits[1::2]),
                _recorded(scorer, portraits[1::4], calm=True),
                "virtual camera, unseen faces, live path at 30 fps",
            )


def record_virtual(scorer: Scorer, portrait: Path, seed: int, calm: bool = False) -> Video:
    """Scores of a virtual video through the live path; a `calm` one sways and blinks, and shows no expression."""
    camera = VirtualCamera(portrait, portrait.stem, seed, FPS, SECONDS, realtime=False)
    if calm:
        camera.truth = ()
    with Pipeline(Settings(method="network"), [camera], scorer) as pipeline:
        steps = list(chain.from_iterable(pipeline))
    return Video(camera.truth, tuple(score for step in steps for score in step.scores), FPS)


def _recorded(scorer: Scorer, portraits: Sequence[Path], calm: bool = False) -> list[Video]:
    """One video of each portrait; its name is its seed, so that no two faces do the same."""
    return [record_virtual(scorer, portrait, _seed(portrait.stem), calm) for portrait in portraits]


def _seed(name: str) -> int:
    return int(name) if name.isdigit() else crc32(name.encode())
