"""Recordings that nobody performed: a training that finds them needs no camera."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import yaml

from livespot.capture.virtual import Expression
from livespot.motion.search import COUNT, GRID_HZ
from livespot.records import MOTION_CHANNELS
from livespot.synth.script import NAMES
from livespot.training.motion_loop import training_takes
from livespot.training.recordings import Recording, Response, Take, save, save_response, validation_takes
from livespot.training.settings import MotionTrainSettings, load_train_settings

SHIPPED = Path(__file__).parents[2] / "configs" / "train" / "default.yaml"
TINY = {
    "validation_faces": 4,
    "net": {"levels": 4, "taps": 5, "filters": 2, "width": 4, "dilations": [4, 8], "dropout": 0.2},
    "sequences_per_step": 2,
    "judged_s": 2.0,
    "steps": 8,
    "validate_every": 4,
    "patience": 2,
    "checkpoint_every_s": 1e-6,
}
SECONDS = 12.0


def faces(folder: Path, count: int = 8) -> Path:
    """A folder of portraits that nobody will look at."""
    folder.mkdir()
    for place in range(count):
        (folder / f"{place:03}.jpg").touch()
    return folder


def written(path: Path, **changes: Any) -> Path:
    """The shipped settings, with these changed and all else small."""
    path.write_text(yaml.safe_dump(yaml.safe_load(SHIPPED.read_text()) | TINY | changes))
    return path


def recordings(out: Path, portraits: Path, config: Path) -> None:
    """All that a run in `out` asks for."""
    settings = load_train_settings(config, MotionTrainSettings)
    paths, unseen = sorted(portraits.iterdir()), settings.validation_faces
    (out / "recordings").mkdir(parents=True)
    takes = [*training_takes(paths[:-unseen], [], settings), *validation_takes(paths[-unseen:], settings.recordings)]
    _record(takes, out / "recordings")


def _record(takes: Iterable[Take], folder: Path) -> None:
    for take in takes:
        rng = np.random.default_rng(crc32(take.name.encode()))
        if take.kind == "response":
            regions, fields = (rng.normal(0, 0.3, (len(NAMES), n, 2)).astype(np.float32) for n in (COUNT, 40))
            save_response(take.file(folder), Response(regions, fields))
        else:
            cells = rng.normal(0, 0.003, (round(SECONDS * GRID_HZ), MOTION_CHANNELS)).astype(np.float32)
            save(take.file(folder), [_shown(cells) if take.kind == "expressive" else Recording(cells, 0.0, ())])


def _shown(cells: np.ndarray[Any, np.dtype[np.float32]]) -> Recording:
    """With a micro- and a macro-expression of the whole face."""
    truth = (
        Expression("micro", 3.0, 3.2, 3.4, 0.0, "12", 0.02),
        Expression("macro", 6.0, 7.0, 8.0, 0.0, "1", 0.05),
    )
    for one in truth:
        cells[round(one.onset_s * GRID_HZ) : round(one.offset_s * GRID_HZ), : 2 * COUNT] += 0.02
    return Recording(cells, 0.0, truth)
