"""One record of each kind, for the tests of the event stream."""

from dataclasses import replace

from livespot.metrics import BUCKETS_S, STAGES, RecordingMetrics, RunMetrics, SourceMetrics, Spread
from livespot.records import Event, Gap, Scores, Status

OPEN = Event(
    id="cam1-0-0",
    phase="open",
    type="micro",
    source="cam1",
    face=0,
    onset_s=12.0,
    onset_frame=360,
    apex_s=12.1,
    apex_frame=363,
    offset_s=None,
    offset_frame=None,
    confidence=0.7,
    decided_s=12.2,
    arrival_s=1000.0,
)
UPDATE = replace(
    OPEN, phase="update", apex_s=12.2, apex_frame=366, decided_s=12.3, regions=("mouth_corner_left", "cheek_left")
)
CLOSE = replace(UPDATE, phase="close", offset_s=12.4, offset_frame=372, decided_s=12.5)
SCORES = Scores(micro=0.25, macro=0.5, face=0, source="cam1", index=366, t_s=12.2, arrival_s=1000.0)
LOST_FACE = Gap("cam1", 13.0, 14.5, "face_lost", face=0)
LOST_FRAMES = Gap("cam1", 15.0, 15.2, "frames_dropped", frames=6)
RUNNING = Status("cam1", "running", 0.0)

RECORDS = (OPEN, UPDATE, CLOSE, SCORES, LOST_FACE, LOST_FRAMES, RUNNING)

TOOK = Spread(counts=(*range(len(BUCKETS_S)), 5), sum_s=12.5, p50_s=0.02, p95_s=0.2, p99_s=0.25)
MEASURED_SOURCE = SourceMetrics(
    state="running",
    state_s=90.5,
    detail="",
    frames=60,
    fps=29.97,
    faces=1,
    dropped_frames=6,
    gaps={"frames_dropped": 1, "reconnect": 2},
    gap_s={"frames_dropped": 0.2, "reconnect": 8.0},
    events={"micro": 3, "macro": 1},
    reconnects=2,
    stalls=4,
    reconnects_per_hour=1,
    stalls_per_hour=3,
    latency=TOOK,
    stages=dict.fromkeys(STAGES, TOOK),
    queues={"frames": 2, "faces": 1},
    resident_bytes=104_000_000,
)
MEASURED = RunMetrics(
    uptime_s=7500.0,
    idle_s=0.1,
    resident_bytes=412_000_000,
    queues={"messages": 0},
    sources={"cam1": MEASURED_SOURCE, "cam2": replace(MEASURED_SOURCE, resident_bytes=None, frames=70)},
    recording=RecordingMetrics(error="", waiting=4, lost=0),
)
