"""Ctrl+C lets the step that runs come to its end; and a run's folder is one trainer's alone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType

from ..errors import TrainingError
from ..files import only_process


@contextmanager
def stop_after_step() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl+C was pressed; a second Ctrl+C interrupts at once.

    SIGTERM, by which launchers and Slurm end a job, is heard like the first Ctrl+C. Only the main thread
    hears signals; in another one the function always says no.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def only_trainer(folder: Path) -> AbstractContextManager[None]:
    """Hold a run's folder; the system lets go of it when the process ends, however it ends.

    Raises:
        TrainingError: (on entering) another process trains in the folder.
    """
    refusal = f"Another process trains in {folder}; wait for it, or give a new folder with -o."
    return only_process(folder, TrainingError(refusal))
