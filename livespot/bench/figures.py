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
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import psutil
from rich.table import Table

from livespot.bench.alignment import PATH_FPS, WARM_UP_FRAMES, Image, aligned, facemesh, measure_alignment
from livespot.bench.motion import TVL1_PX, flow_prices_ms, measure_errors
from livespot.bench.receiving import receiver
from livespot.buffer import ClipBuffer
from livespot.capture.opencv import VideoFile
from livespot.capture.passing import Paced
from livespot.capture.source import Source
from livespot.capture.virtual import VirtualCamera
from livespot.config import Settings
from livespot.decode import Decoder
from livespot.errors import SourceError
from livespot.infer import OnnxScorer, Scorer
from livespot.landmarks import (
    FaceMesh,
)
from livespot.live import serve
from livespot.motion.spotter import MotionSpotter
from livespot.motion.tracker import RegionTracker
from livespot.motion.window import MotionWindow
from livespot.normalise import local_contrast
from livespot.pipeline import Pipeline
from livespot.publish.zmq import Publisher
from livespot.records import CROP_PX, Event, Face, Scores

Say: TypeAlias = Callable[[str], None]

CLIP_FRAMES = 600
CLIP_BYTES = 600_000_000
"""Most of the clip that is held in memory for what is measured stage by stage."""
CLIP_MIN_S = 1.2
"""Shorter clips end before the network has looked back far enough to score."""
PIPELINE_FRAMES = 2000
LIVE_S = 10.0
CLIP_S = 20.0
"""Length of the virtual camera's clip, where none is given."""


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
        facemesh_fps, landmarks = facemesh(frames)
        say("stage by stage")
        faces = list(aligned(frames, fps, settings))
        stages_s = _stages(path, faces, settings, scorer)
        say("alignment")
        alignment = measure_alignment(frames, fps, landmarks, settings)
        say("dense flows")
        flows_ms = flow_prices_ms([face.crop for face, _ in faces if face is not None])
        say("the whole pipeline")
        pipeline_fps = _throughput(path, settings, scorer)
        say("latency at the clip's own pace")
        latency_ms, received_ms = _latency(path, settings, scorer)
        say("displacement error")
        errors_percent = measure_errors(settings)
        engine = scorer.name
    height, width = frames[0].shape[:2]
    return {
        "clip": {"name": path.name, "width": width, "height": height, "fps": round(fps, 3), "frames": len(frames)},
        "facemesh_fps": round(facemesh_fps, 1),
        "pipeline_fps": round(pipeline_fps, 1),
        "stages_ms": {stage: round(1000 * float(np.median(took_s)), 4) for stage, took_s in stages_s.items()},
        "stages_mean_ms": {stage: round(1000 * float(np.mean(took_s)), 4) for stage, took_s in stages_s.items()},
        "flows_ms": flows_ms,
        "latency_ms": latency_ms,
        "received_ms": received_ms,
        "publish_us": _percentiles([1e6 * took_s for took_s in stages_s["publish"]]),
        "alignment": alignment,
        "displacement_error_percent": errors_percent,
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
        table.add_row(f"  {stage}", f"{cost_ms:.3f} ms, mean {figures['stages_mean_ms'][stage]:.3f}")
    for flow, cost_ms in figures["flows_ms"].items():
        side_px = TVL1_PX if flow == "tvl1" else CROP_PX
        table.add_row(f"  {flow} at {side_px}x{side_px}, beside motion", f"{cost_ms:.1f} ms")
    for what, latency, unit in (
        ("publish() of an event", figures["publish_us"], "µs"),
        ("arrival to published", figures["latency_ms"], "ms"),
        ("arrival to received, another process", figures["received_ms"], "ms"),
    ):
        table.add_row(what, f"p50 {latency['p50']:.1f}, p95 {latency['p95']:.1f}, p99 {latency['p99']:.1f} {unit}")
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


def errors_to_rich(figures: dict[str, Any]) -> Table:
    """How far off regional motion is: a row for each method and noise, a column for each amplitude."""
    by_method = figures["displacement_error_percent"]
    title = "Displacement error (rms) by how far skin has come, both in % of the IOD"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("noise in grey levels")
    for amplitude in next(iter(next(iter(by_method.values())).values())):
        table.add_column(amplitude, justify="right")
    for method, by_noise in by_method.items():
        for noise, errors in by_noise.items():
            table.add_row(f"{method}, noise of {noise}", *(f"{error:.2f}" for error in errors.values()))
    return table


def _stages(
    path: Path, faces: Sequence[tuple[Face | None, float]], settings: Settings, scorer: Scorer
) -> dict[str, list[float]]:
    """Seconds that each stage took, one after the other, frame by frame; `align` is told with the faces."""
    asked = scorer.clip
    buffer, window = ClipBuffer(asked), MotionWindow(asked)
    tracker = RegionTracker()
    spotter = MotionSpotter(settings.motion, settings.decode, "bench", 0)
    decoder = Decoder(settings.decode, scorer.calibration, "bench", 0)
    watch = _StopWatch()
    with Publisher("tcp://127.0.0.1:*") as publisher:
        for face in [face for face, _ in faces if face is not None]:
            with watch("motion"):
                (motion,) = tracker.push(face)
            with watch("spot"):
                spotter.push(motion)
            patch, recent = None, None
            if asked.references_s:
                with watch("normalise"):
                    patch = local_contrast(face.crop)
            if asked.motion_s:
                with watch("window"):
                    recent = window.push(motion)
            with watch("buffer"):
                clips = buffer.push(face, patch, recent)
            for clip in clips:
                with watch("infer"):
                    micro, macro = scorer.score({name: array[None] for name, array in clip.inputs.items()})[0]
                scores = Scores(float(micro), float(macro), 0, "bench", clip.index, clip.t_s, clip.arrival_s)
                with watch("decode"):
                    decoder.push(scores)
                with watch("publish"):
                    publisher.publish(_event(scores))
    align_s = [took_s for _, took_s in faces[WARM_UP_FRAMES:]]
    return {"capture": _reading_s(path, len(faces)), "align": align_s} | watch.took_s


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


def _latency(path: Path, settings: Settings, scorer: Scorer) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds from the arrival of a frame until all it led to was published, and until a subscriber in another
    process had received its scores, at the clip's own pace. Raises SourceError where none was."""
    source = Paced(VideoFile(path, "bench", loop=True))
    arrived_s: dict[int, float] = {}
    with Publisher("tcp://127.0.0.1:*") as publisher, receiver(publisher) as other:
        with Pipeline(settings, [source], scorer) as pipeline:
            for turn in serve(pipeline, publisher, scores=True, duration_s=LIVE_S):
                meter = turn.meter
                sent = [message["seq"] for message in turn.messages if message["kind"] == "score"]
                decided_s = [scores.arrival_s for step in turn.steps for scores in step.scores]
                arrived_s |= zip(sent, decided_s, strict=True)
            waited_ms = [1000 * latency_s for latency_s in list(meter.latencies_s)[WARM_UP_FRAMES:]]
            dropped = pipeline.dropped
        publisher.heartbeat()
        received_s = other.received_s()
    taken_ms = [1000 * (received_s[seq] - at_s) for seq, at_s in arrived_s.items() if seq in received_s]
    if not taken_ms:
        raise SourceError(f"{path}: no score was received in {LIVE_S:g} s: look at the machine's load")
    return _percentiles(waited_ms) | {"dropped": dropped}, _percentiles(taken_ms) | {"received": len(taken_ms)}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
    return {"p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2)}


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
