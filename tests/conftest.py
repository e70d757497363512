"""Manners of every test: no thread left behind, OpenCV as it was."""

import threading
from collections.abc import Iterator

import cv2
import pytest


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
