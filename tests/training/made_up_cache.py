"""A cache of faces that nobody aligned: as `livespot prepare` leaves it, without an hour of video."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from livespot.config import AlignSettings
from livespot.datasets.cache import (
    ABOUT,
    CROPS,
    LABELS,
    MESH,
    MESHES,
    ROW,
    ROWS,
    STATE,
    folder_of,
    key_of,
)
from livespot.evaluation.labels import Span, Video, write_labels
from livespot.records import CROP_PX

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
FPS, FRAMES = 30.0, 240
SUBJECTS = ("s1", "s2", "s3")

TINY: Mapping[str, Any] = {
    "net": {
        "stem_filters": 4,
        "blocks": [
            {"features": 4, "kernel_px": 8, "stride_px": 8},
            {"features": 4, "kernel_px": 3, "stride_px": 2},
            {"features": 8, "kernel_px": 3, "stride_px": 1},
        ],
        "dense": 4,
        "dropout": 0.1,
        "dense_dropout": 0.1,
    },
    "epochs": 2,
    "steps_per_epoch": 3,
    "warmup_steps": 2,
    "checkpoint_every_s": 1e-6,
}


def written(path: Path, name: str = "casme2.yaml", **changes: Any) -> Path:
    """The shipped settings, with these changed and all else small."""
    settings = yaml.safe_load((CONFIGS / name).read_text()) | TINY
    settings["sampling"] |= {"per_step": 4}
    path.write_text(yaml.safe_dump(settings | changes))
    return path


def videos(subjects: Iterable[str] = SUBJECTS, each: int = 1) -> list[Video]:
    """Of each subject; every one shows both classes, at other times."""
    return [
        Video(f"{subject}_{number}", subject, FPS, FRAMES, _truths(5 * place + 20 * number))
        for place, subject in enumerate(subjects)
        for number in range(1, each + 1)
    ]


def _truths(later: int) -> tuple[Span, ...]:
    return Span(60 + later, 70 + later, "micro"), Span(110 + later, 145 + later, "macro")


def cache(folder: Path, of: Iterable[Video], left_out: Iterable[str] = ()) -> Path:
    """Their faces: the lower half moves while an expression shows; it is lost for five of the last frames.

    That is less than is bridged, but it is found again as another one. `left_out` names videos that were not there.
    """
    of, why = list(of), dict.fromkeys(left_out, "its file is not there")
    for video in of:
        if video.name not in why:
            _write(folder_of(folder, video.name), video)
    write_labels(folder / LABELS, of)
    state = {"key": key_of(AlignSettings()), "complete": True, "left_out": why}
    (folder / STATE).write_text(json.dumps(state))
    return folder


def _write(place: Path, video: Video) -> None:
    frames = video.length or FRAMES
    place.mkdir(parents=True)
    rows, crops = np.zeros(frames, ROW), _crops(video, frames)
    rows["t_s"], rows["transform"] = np.arange(frames) / (video.fps or FPS), np.eye(2, 3)
    rows["face"][-20:-15], crops[-20:-15] = -1, 0
    rows["face"][-15:] = 1
    rows.tofile(place / ROWS)
    crops.tofile(place / CROPS)
    np.zeros(1, MESH).tofile(place / MESHES)
    lost = {"from_s": (frames - 20) / FPS, "to_s": (frames - 15) / FPS, "reason": "face_lost", "face": 0}
    about = {"frames": frames, "meshes": 1, "source": video.name, "gaps": [(frames - 16, lost)], "origin": {}}
    (place / ABOUT).write_text(json.dumps(about))


def _crops(video: Video, frames: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(crc32(str(video.subject).encode()))
    noise = cv2.GaussianBlur(rng.normal(128, 200, (CROP_PX, CROP_PX)), (0, 0), 2).clip(0, 255).astype(np.uint8)
    crops = np.repeat(noise[None], frames, axis=0)
    for span in video.truths:
        shift = 2 if span.type == "micro" else 6
        for frame in range(span.onset, span.offset + 1):
            crops[frame, 56:] = np.roll(noise[56:], shift, axis=1)
    return crops
