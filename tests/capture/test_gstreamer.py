"""GStreamer pipelines: refused where OpenCV has none, and run for real where the system's OpenCV is installed.

Debian's python3-opencv is one library for one version of Python: a reader finds it by PYTHONPATH, before the wheel.
"""

import re
import sysconfig
from pathlib import Path

import cv2
import pytest

from livespot.capture import open_source
from livespot.capture.camera import Camera
from livespot.capture.opencv import GstreamerPipeline
from livespot.capture.source import source_name
from livespot.config import CaptureSettings, SourceSettings
from livespot.errors import SourceError
from tests.capture.watching import Watched

SYSTEMS = Path(f"/usr/lib/python3/dist-packages/cv2{sysconfig.get_config_var('EXT_SUFFIX')}")
PATIENT = CaptureSettings(open_timeout_s=20.0, retry_s=0.1, retry_max_s=0.2)


def watched(pipeline: str) -> Watched:
    source = open_source(SourceSettings(uri=f"gstreamer:{pipeline}", rotate=90), PATIENT)
    assert isinstance(source, Camera)
    return Watched(source)


def test_a_pipeline_is_a_camera_with_a_name() -> None:
    assert source_name("gstreamer:nvarguscamerasrc ! x") == "gstreamer"


@pytest.mark.skipif(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer")
def test_without_gstreamer_a_pipeline_is_refused_with_what_to_do() -> None:
    with pytest.raises(SourceError, match="this OpenCV has no GStreamer, as no wheel of PyPI has"):
        GstreamerPipeline("videotestsrc", "cam").__enter__()


@pytest.mark.skipif(not SYSTEMS.exists(), reason="needs the system's OpenCV with GStreamer: apt install python3-opencv")
def test_a_pipeline_is_run_by_the_systems_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / SYSTEMS.name).symlink_to(SYSTEMS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    test_picture = "videotestsrc is-live=true num-buffers=30 ! video/x-raw,width=320,height=240,framerate=30/1"
    with watched(test_picture) as seen:
        seen.until(lambda seen: len(seen.frames) >= 40)
    assert seen.frames[0].image.shape == (320, 240, 3)
    times_s = [frame.t_s for frame in seen.frames if frame.epoch == 0]
    numbers = [round(30 * t_s) for t_s in times_s]
    assert times_s == pytest.approx([number / 30 for number in numbers], abs=0.002)
    assert numbers[0] == 0 and numbers == sorted(set(numbers))  # on a busy machine some are left out
    assert any(re.search(r"the pipeline ended after (30|[12]?\d) frames", one.detail) for one in seen.told)
    assert seen.frames[-1].epoch >= 1
