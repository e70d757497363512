"""Processes that work for another: they take one core each, and end with it."""

import os
import signal
import threading
from multiprocessing import parent_process

import cv2


def begin_worker() -> None:
    """One core; Ctrl-C is for the process that started this one, and when that is killed, so is this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
