"""Manners of every test: no thread left behind, OpenCV as it was. Films that several files of tests share."""

import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import hypothesis
import pytest

from tests import films
from tests.films import Picture

# The same examples at every run: what fails, fails for whoever looks at it, and for the change that broke it.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

# A shell that starts the tests in the background ignores Ctrl-C, and so would every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [
        thread
        for thread in threading.enumerate()
        if thread not in before and (not thread.daemon or thread.name.startswith("livespot"))
    ]
    assert left == [], f"the test left {left} running"


@pytest.fixture(autouse=True)
def _opencv_keeps_its_threads() -> Iterator[None]:
    threads = cv2.getNumThreads()
    yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="session")
def pictures() -> list[Picture]:
    """A face with one macro-expression."""
    return films.film(films.MACRO_SEED)


@pytest.fixture(scope="session")
def micro_pictures() -> list[Picture]:
    """A face with one micro-expression."""
    return films.film(films.MICRO_SEED)


@pytest.fixture(scope="session")
def video(pictures: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The macro-expression as a file."""
    return films.write_video(tmp_path_factory.mktemp("films") / "macro.avi", pictures)


@pytest.fixture(scope="session")
def micro_video(micro_pictures: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro-expression as a file."""
    return films.write_video(tmp_path_factory.mktemp("films") / "micro.avi", micro_pictures)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An ONNX file that scores like `films.MotionScorer`."""
    from tests.infer.engines import MOTION, MOTION_METADATA, write_engine  # onnx takes its time to load

    return write_engine(tmp_path_factory.mktemp("engines") / "motion.onnx", MOTION_METADATA, MOTION)


@pytest.fixture
def display() -> Iterator[str]:
    """Number of a virtual screen."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed: apt install xvfb")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    with server, server.stdout as numbers:
        yield f":{numbers.readline().decode().strip()}"
        server.terminate()
