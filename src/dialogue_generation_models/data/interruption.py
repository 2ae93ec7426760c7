"""SIGTERM ends a preparation like Ctrl+C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def end_like_ctrl_c() -> Iterator[None]:
    """Hear SIGTERM, by which Slurm and service managers end a job, like Ctrl+C.

    Only the main thread hears signals; and who has a handler already, or ignores SIGTERM, keeps to that.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
