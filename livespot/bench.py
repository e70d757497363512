"""What livespot costs and how still it holds a face, measured on this machine in one run.

Absolute figures belong to the machine they name. Ratios of figures of one run (the pipeline to FaceMesh alone,
stabilised to plain alignment) may be compared across machines.
"""

import os
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray
from rich.table import Table

from livespot.align import Aligner
from livespot.buffer import ClipBuffer
from livespot.capture.opencv import VideoFile
from livespot.capture.source import Source
from livespot.capture.virtual import VirtualCamera
from livespot.config import Settings
from livespot.decode import Decoder
from livespot.errors import SourceError
from livespot.infer import OnnxScorer, Scorer
from livespot.landmarks import (
    CROP_EYES_PX,
    CROP_IOD_PX,
    RIGID,
    FaceMesh,
    apply,
    compose,
    crop_transform,
)
from livespot.live import serve
from livespot.normalise import local_contrast
from livespot.pipeline import Pipeline
from livespot.publish.zmq import Publisher
from livespot.records import CROP_PX, Event, Face, Frame, Scores

Say: TypeAlias = Callable[[str], None]
Image: TypeAlias = NDArray[np.uint8]
Transform: TypeAlias = NDArray[np.float64]
Landmarks: TypeAlias = NDArray[np.float32]

WARM_UP_FRAMES = 20
CLIP_FRAMES = 600
CLIP_BYTES = 600_000_000
"""Most of the clip that is held in memory for what is measured stage by stage."""
CLIP_MIN_S = 1.2
"""Shorter clips end before the network has looked back far enough to score."""
PIPELINE_FRAMES = 2000
LIVE_S = 10.0
CLIP_S = 20.0
"""Length of the virtual camera's clip, where none is given."""

PATH_FPS, PATH_S = 30.0, 10.0
PATH_NOISE_LEVELS = 4.0
PATH_SWAY_PX, PATH_NOD, PATH_ROLL_RAD = 6.0, 0.02, np.radians(2.0)
"""The known path of a still: sideways and down, growth, rotation, at periods that have nothing in common."""

RIGID_GRID_IOD = np.stack(np.meshgrid(np.arange(-0.18, 0.181, 0.06), np.arange(-0.14, 0.35, 0.06)), -1).reshape(-1, 2)
"""(63, 2) where residual motion is measured: nose bridge and ridge, and the eye corners beside them."""


def measure(clip: Path | None, settings: Settings, memory_frames: int, say: Say) -> dict[str, Any]:
    """All figures as a dict that JSON can hold. `say` is told what is being measured.

    The clip is one video with one face; None makes one with the virtual camera. Raises SourceError where it has no
    face or too few frames.
    """
    with tempfile.TemporaryDirectory() as folder, OnnxScorer(settings.infer) as scorer, _one_thread():
        path = clip or _virtual_clip(Path(folder) / "virtual.avi", say)
        _check_face(path)
        say(f"memory over {memory_frames} frames")
        rss_mb = _memory(path, settings, scorer, memory_frames)
        frames, fps = _read(path)  # after the memory test: half a gigabyte of pictures
        say("FaceMesh alone")
        facemesh_fps, landmarks = _facemesh(frames)
        say("stage by stage")
        stages_ms, align_mean_ms = _stages(path, frames, fps, settings, scorer)
        say("alignment")
        alignment = _alignment(frames, fps, landmarks, settings)
        say("the whole pipeline")
        pipeline_fps = _throughput(path, settings, scorer)
        say("latency at the clip's own pace")
        latency_ms = _latency(path, settings, scorer)
        engine = scorer.name
    height, width = frames[0].shape[:2]
    return {
        "clip": {"name": path.name, "width": width, "height": height, "fps": round(fps, 3), "frames": len(frames)},
        "facemesh_fps": round(facemesh_fps, 1),
        "pipeline_fps": round(pipeline_fps, 1),
        "stages_ms": stages_ms,
        "align_mean_ms": align_mean_ms,
        "latency_ms": latency_ms,
        "alignment": alignment,
        "rss_mb": rss_mb,
        "machine": _machine() | {"engine": engine},
    }


def to_rich(figures: dict[str, Any]) -> Table:
    """The figures for the terminal."""
    clip, alignment = figures["clip"], figures["alignment"]
    table = Table(title=f"{clip['name']}, {clip['width']}x{clip['height']}", title_justify="left", header_style="bold")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_row("FaceMesh alone", f"{figures['facemesh_fps']:.0f} frames/s")
    ratio = figures["pipeline_fps"] / figures["facemesh_fps"]
    table.add_row("whole pipeline", f"{figures['pipeline_fps']:.0f} frames/s, {ratio:.2f} times FaceMesh")
    for stage, cost_ms in figures["stages_ms"].items():
        mean = f", mean {figures['align_mean_ms']:.3f}" if stage == "align" else ""
        table.add_row(f"  {stage}", f"{cost_ms:.3f} ms{mean}")
    latency = figures["latency_ms"]
    table.add_row(
        "arrival to published", f"p50 {latency['p50']:.1f}, p95 {latency['p95']:.1f}, p99 {latency['p99']:.1f} ms"
    )
    for what, plain, ours in (
        ("residual motion, median", alignment["residual_plain_px"]["median"], alignment["residual_px"]["median"]),
        ("residual motion, p90", alignment["residual_plain_px"]["p90"], alignment["residual_px"]["p90"]),
        ("known path", alignment["known_path_plain_px"], alignment["known_path_px"]),
    ):
        table.add_row(what, f"{ours:.4f} px, plain {plain:.4f}: {ours / plain:.2f}")
    table.add_row("a step followed in its frame", f"{100 * alignment['step_followed']:.1f} %")
    rss = figures["rss_mb"]
    table.add_row("memory", f"{rss['start']:.0f} MB, {rss['end'] - rss['start']:+.1f} over {rss['frames']} frames")
    return table


def plain_crop(image: Image, transform: Transform) -> Image:
    """The crop uint8 (112, 112) that a transform cuts out of a BGR image."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    crop = cv2.warpAffine(grey, transform, (CROP_PX, CROP_PX), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def residual_px(crops: Sequence[Image | None]) -> dict[str, float]:
    """Motion of the rigid region between consecutive crops: per pair the median over `RIGID_GRID_IOD`, in crop px.

    Raises SourceError where no two crops follow each other.
    """
    grid = (RIGID_GRID_IOD * CROP_IOD_PX + CROP_EYES_PX).astype(np.float32)
    motion_px = []
    for before, after in pairwise(crops):
        if before is not None and after is not None:
            moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, grid, grid.copy(), winSize=(15, 15), maxLevel=2)
            shifts_px = np.linalg.norm(moved - grid, axis=1)[found.ravel() > 0]
            motion_px += [float(np.median(shifts_px))] if len(shifts_px) else []
    if not motion_px:
        raise SourceError("the face is never in two pictures that follow each other: give a clip in which it stays")
    return {"median": round(float(np.median(motion_px)), 4), "p90": round(float(np.percentile(motion_px, 90)), 4)}


def known_path(still: Image) -> Iterator[tuple[Image, Transform]]:
    """A still picture moved along a known path with noise: each frame, and the similarity that moved the still."""
    rng = np.random.default_rng(0)
    for index in range(round(PATH_FPS * PATH_S)):
        phase = 2 * np.pi * index / PATH_FPS
        sway_px = PATH_SWAY_PX * np.array([np.sin(phase / 5.1 + 0.5), 0.7 * np.sin(phase / 4.3)])
        image, motion = _moved(
            still, PATH_ROLL_RAD * np.sin(phase / 3.7), 1 + PATH_NOD * np.sin(phase / 2.9 + 1), sway_px
        )
        noisy = image + rng.normal(0, PATH_NOISE_LEVELS, image.shape)
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8), motion


def wander_px(
    transforms: Sequence[Transform | None], motions: Sequence[Transform], points: NDArray[np.float32]
) -> float:
    """Standard deviation over time of where points (N, 2) of the moved still come to lie in the crop, in its pixels.

    Raises SourceError where there is no transform at all.
    """
    places = [
        apply(compose(transform, motion), points)
        for transform, motion in zip(transforms, motions, strict=True)
        if transform is not None
    ]
    if not places:
        raise SourceError("the face is lost as soon as it moves: give a clip in which it is larger")
    return round(float(np.std(places, axis=0).mean()), 4)


def _moved(still: Image, roll_rad: float, growth: float, sway_px: NDArray[np.float64]) -> tuple[Image, Transform]:
    """The still turned, grown about its middle, and shifted; and the similarity (2, 3) that did it."""
    height, width = still.shape[:2]
    motion = cv2.getRotationMatrix2D((width / 2, height / 2), float(np.degrees(roll_rad)), growth)
    motion = np.hstack([motion[:, :2], motion[:, 2:] + sway_px[:, None]])
    image = cv2.warpAffine(still, motion, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(image, np.uint8), np.asarray(motion, np.float64)


def step_followed(still: Image, points: NDArray[np.float32], settings: Settings) -> float:
    """Share of a sudden turn and nod that the crop has followed in the very frame in which it happens; 1: no lag.

    The still is shown calm, then at once moved by as much as `known_path` at its farthest; `points` (N, 2) lie on it.
    """
    turned = _moved(still, PATH_ROLL_RAD, 1 + PATH_NOD, np.array([PATH_SWAY_PX, 0.7 * PATH_SWAY_PX]))
    calm = [still] * WARM_UP_FRAMES
    faces = [face for face, _ in _aligned([*calm, turned[0]], PATH_FPS, settings)]
    before, after = faces[-2], faces[-1]
    if before is None or after is None:
        return 0.0
    rest_px = apply(before.transform, points)
    went_px = apply(compose(before.transform, turned[1]), points) - rest_px
    left_px = apply(compose(after.transform, turned[1]), points) - rest_px
    return round(float(1 - np.linalg.norm(left_px) / np.linalg.norm(went_px)), 4)


def _alignment(
    frames: Sequence[Image], fps: float, landmarks: Sequence[Landmarks | None], settings: Settings
) -> dict[str, Any]:
    faces = [face for face, _ in _aligned(frames, fps, settings)]
    plain_crops = [
        None if transform is None else plain_crop(image, transform)
        for image, transform in zip(frames, _plain(landmarks), strict=True)
    ]
    still, points = next(
        (image, found[list(RIGID)]) for image, found in zip(frames, landmarks, strict=True) if found is not None
    )
    images, motions = map(list, zip(*known_path(still), strict=True))
    plain_path = _plain(_facemesh(images)[1])
    tracked_path = [face.transform if face else None for face, _ in _aligned(images, PATH_FPS, settings)]
    return {
        "residual_plain_px": residual_px(plain_crops),
        "residual_px": residual_px([face.crop if face else None for face in faces]),
        "known_path_plain_px": wander_px(plain_path, motions, points),
        "known_path_px": wander_px(tracked_path, motions, points),
        "step_followed": step_followed(still, points, settings),
    }


def _plain(landmarks: Sequence[Landmarks | None]) -> list[Transform | None]:
    """What plain alignment makes of the landmarks of each frame."""
    return [None if found is None else crop_transform(found) for found in landmarks]


def _aligned(images: Sequence[Image], fps: float, settings: Settings) -> Iterator[tuple[Face | None, float]]:
    """The oldest face of each picture, and the seconds that aligning took."""
    with Aligner(settings.align, "bench") as aligner:
        for index, image in enumerate(images):
            frame = Frame(image, "bench", index, index / fps, 0.0)
            began_s = time.perf_counter()
            found = aligner.push(frame)
            took_s = time.perf_counter() - began_s
            yield next((face for face in found if isinstance(face, Face)), None), took_s


def _facemesh(frames: Sequence[Image]) -> tuple[float, list[Landmarks | None]]:
    """Frames per second of FaceMesh alone, and the landmarks of the first face of each frame."""
    with FaceMesh() as mesh:
        for image in frames[:WARM_UP_FRAMES]:
            mesh.find(image)
        began_s = time.perf_counter()
        found = [mesh.find(image) for image in frames]
        rate = len(frames) / (time.perf_counter() - began_s)
    return rate, [landmarks[0] if landmarks else None for landmarks in found]


def _stages(
    path: Path, frames: Sequence[Image], fps: float, settings: Settings, scorer: Scorer
) -> tuple[dict[str, float], float]:
    """Median milliseconds of each stage, one after the other; and the mean of align, with looks at the landmarks."""
    aligned = list(_aligned(frames, fps, settings))
    buffer = ClipBuffer(scorer.clip)
    decoder = Decoder(settings.decode, scorer.calibration, "bench", 0)
    watch = _StopWatch()
    with Publisher("tcp://127.0.0.1:*") as publisher:
        for face in [face for face, _ in aligned if face is not None]:
            with watch("normalise"):
                patch = local_contrast(face.crop)
            with watch("buffer"):
                clips = buffer.push(face, patch)
            for clip in clips:
                with watch("infer"):
                    micro, macro = scorer.score(clip.frames[None])[0]
                scores = Scores(float(micro), float(macro), 0, "bench", clip.index, clip.t_s, clip.arrival_s)
                with watch("decode"):
                    decoder.push(scores)
                with watch("publish"):
                    publisher.publish(_event(scores))
    align_s = [took_s for _, took_s in aligned[WARM_UP_FRAMES:]]
    cost_s = {"capture": _reading_s(path, len(frames)), "align": align_s} | watch.took_s
    medians = {stage: round(1000 * float(np.median(took_s)), 4) for stage, took_s in cost_s.items()}
    return medians, round(1000 * float(np.mean(align_s)), 4)


class _StopWatch:
    """Seconds that each stage took, time after time."""

    def __init__(self) -> None:
        self.took_s: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began_s = time.perf_counter()
        yield
        self.took_s[stage].append(time.perf_counter() - began_s)


def _event(scores: Scores) -> Event:
    now_s, index = scores.t_s, scores.index
    return Event(
        "bench-0", "open", "micro", "bench", 0, now_s, index, now_s, index, None, None, 0.9, now_s, scores.arrival_s
    )


def _reading_s(path: Path, frames: int) -> list[float]:
    with VideoFile(path, "bench") as source:
        pictures = iter(source)
        took_s = []
        for _ in range(frames):
            began_s = time.perf_counter()
            if next(pictures, None) is None:
                break
            took_s.append(time.perf_counter() - began_s)
    return took_s


def _throughput(path: Path, settings: Settings, scorer: Scorer) -> float:
    """Frames per second of the whole pipeline, reading and publishing included, on the looped clip."""
    done_s = list(_arrivals(VideoFile(path, "bench", loop=True), settings, scorer, PIPELINE_FRAMES + WARM_UP_FRAMES))
    return (len(done_s) - 1 - WARM_UP_FRAMES) / (done_s[-1] - done_s[WARM_UP_FRAMES])


def _latency(path: Path, settings: Settings, scorer: Scorer) -> dict[str, float]:
    """Milliseconds from the arrival of a frame until all it led to was published, at the clip's own pace."""
    source = VideoFile(path, "bench", loop=True, paced=True)
    with Publisher("tcp://127.0.0.1:*") as publisher, Pipeline(settings, [source], scorer) as pipeline:
        for turn in serve(pipeline, publisher, scores=True, duration_s=LIVE_S):
            meter = turn.meter
        waited_ms = [1000 * latency_s for latency_s in list(meter.latencies_s)[WARM_UP_FRAMES:]]
        dropped = pipeline.dropped
    p50, p95, p99 = np.percentile(waited_ms, (50, 95, 99)).tolist()
    return {"p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2), "dropped": dropped}


def _memory(path: Path, settings: Settings, scorer: Scorer, frames: int) -> dict[str, float]:
    """Resident megabytes after a warm-up and `frames` frames later, the clip looped."""
    process = psutil.Process()
    warm_up = max(frames // 10, WARM_UP_FRAMES)
    start_mb = end_mb = 0.0
    for done, _ in enumerate(_arrivals(VideoFile(path, "bench", loop=True), settings, scorer, frames + warm_up)):
        if done == warm_up:
            start_mb = process.memory_info().rss / 1e6
    end_mb = process.memory_info().rss / 1e6
    return {"start": round(start_mb, 1), "end": round(end_mb, 1), "frames": frames}


def _arrivals(source: Source, settings: Settings, scorer: Scorer, frames: int) -> Iterator[float]:
    """The time at which each of the first `frames` frames was done with and published."""
    with Publisher("tcp://127.0.0.1:*") as publisher, Pipeline(settings, [source], scorer) as pipeline:
        for turn in serve(pipeline, publisher):
            now_s = time.perf_counter()
            for step in turn.steps:
                if step.frame is not None and frames > 0:
                    frames -= 1
                    yield now_s
            if frames <= 0:
                pipeline.stop()


def _read(path: Path) -> tuple[list[Image], float]:
    """The first pictures of the clip and its frame rate."""
    with VideoFile(path, "bench") as source:
        frames: list[Image] = []
        for frame in source:
            frames.append(frame.image)
            if len(frames) == CLIP_FRAMES or len(frames) * frame.image.nbytes > CLIP_BYTES:
                break
        fps = source.fps or PATH_FPS
    if len(frames) < max(2 * WARM_UP_FRAMES, CLIP_MIN_S * fps):
        raise SourceError(
            f"{path} has {len(frames)} pictures at {fps:g} a second; a measurement needs at least "
            f"{2 * WARM_UP_FRAMES}, and {CLIP_MIN_S:g} s"
        )
    return frames, fps


def _check_face(path: Path) -> None:
    """Before minutes are spent on a clip without a face. Raises SourceError."""
    with VideoFile(path, "bench") as source, FaceMesh() as mesh:
        if not any(mesh.find(frame.image) for frame in islice(source, CLIP_FRAMES)):
            raise SourceError(f"no face is found in {path}: give a clip with a face that looks at the camera")


def _virtual_clip(path: Path, say: Say) -> Path:
    say("a clip of the virtual camera")
    with VirtualCamera(seconds=CLIP_S, realtime=False) as camera:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), camera.fps or PATH_FPS, (640, 480))
        for frame in camera:
            writer.write(frame.image)
        writer.release()
    return path


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


VERSIONS = ("livespot", "mediapipe", "numpy", "onnxruntime", "opencv-contrib-python", "pyzmq")


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV keeps to one thread, as in the pipeline."""
    kept = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(kept)
