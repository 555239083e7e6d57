"""Processes that work for this one, clean up when it is interrupted, and end with it."""

import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from compdd_eval.utils.errors import InputError

_CLEANING = 5  # seconds that a process has to remove its files


@contextlib.contextmanager
def processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """Lend processes that know what this one knows, and that end with it, however it ends."""
    # forked, for what this process knows, such as an opened copy of ImageNet, need not be read again or pickled
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else None)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(number, context, initializer=_end_with_parent, initargs=(os.getpid(),))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "one of the processes was killed, most likely since memory ran out; give a smaller --num_proc"
        ) from error
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent(parent: int) -> None:
    """Let Ctrl-C to the main process, clean up and end when it says so, and end at once when it is gone.

    A pool takes what a task raises for its result, `SystemExit`, too, and would then wait for other tasks.
    """
    end = [math.inf]

    def clean_up(*_: object) -> None:
        end[0] = min(end[0], time.monotonic() + _CLEANING)
        raise SystemExit(1)

    def watch() -> None:
        while os.getppid() == parent and time.monotonic() < end[0]:
            time.sleep(0.5)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the main process says when to end
    signal.signal(signal.SIGTERM, clean_up)
    threading.Thread(target=watch, daemon=True).start()
