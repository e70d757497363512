"""Processes that work for another: they take one core each, and end with it."""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any

import cv2

from livespot.errors import LivespotError


def begin_worker() -> None:
    """One core; Ctrl-C is for the process that started this one, and when that is killed, so is this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that are started meanwhile hear neither Ctrl-C nor SIGTERM, which a terminal or systemd sends to all.

    They would die of it before they can begin, which takes seconds. In the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def workers(jobs: int, begin: Callable[..., None] = begin_worker, *shared: Any) -> Iterator[ProcessPoolExecutor]:
    """So many fresh processes, each of which begins with `begin` of what is `shared`. Left by Ctrl-C, they end at once.

    Raises LivespotError where one was killed.
    """
    with ProcessPoolExecutor(jobs, get_context("spawn"), begin, shared) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise LivespotError(
                "a process was ended from outside, perhaps for want of memory: the same command goes on; "
                "fewer --jobs need less"
            ) from None
        except BaseException:  # Ctrl-C, too: what is not whole is made again the next time
            for process in active_children():
                process.terminate()
            raise


def settle() -> None:
    """All is loaded: Python does not look through it for garbage again, which would take 50 to 90 ms each time."""
    gc.collect()
    gc.freeze()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
