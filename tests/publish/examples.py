"""One record of each kind, for the tests of the event stream."""

from dataclasses import replace

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
