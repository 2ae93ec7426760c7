"""Tasks side by side in processes that end with this one, even where it is killed.

- Each worker has a pipe of its own. The pools of the library share queues with locks, and hang when a worker,
  or what starts workers, is ended by a signal to all of them.
- A killed parent closes its pipes: an idle worker sees the end of its own, and a thread ends a busy one.
- A worker locks the work folder as a helper, so that nobody goes on there while it still writes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import DialogueModelError
from ..files import join_helpers


def run_tasks(
    context: Any, count: int, work: Path, do: Callable[[int], object], tasks: Sequence[int]
) -> None:
    """Do all tasks, each in whichever worker is free.

    Args:
        context: how processes start, from `multiprocess`.
        count: workers; at most as many as tasks.
        work: the folder that this process holds and the workers write in.
        do: takes the number of a task.
        tasks: what to do.

    Raises:
        DialogueModelError: a worker was ended from outside.
        Exception: what a task raised; the others are cut off.
    """
    from multiprocess.connection import wait

    waiting = iter(tasks)
    with ExitStack() as stack:
        busy = [stack.enter_context(_worker(context, work, do)) for _ in range(count)]
        for pipe in busy:
            _send(pipe, next(waiting))
        while busy:
            for pipe in wait(busy):
                _check_outcome(pipe)
                task = next(waiting, None)
                if task is None:
                    busy.remove(pipe)
                else:
                    _send(pipe, task)


@contextmanager
def _worker(context: Any, work: Path, do: Callable[[int], object]) -> Iterator[Any]:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(work, do, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    except BaseException:
        process.kill()
        raise
    finally:
        ours.close()
        process.join()


def _send(pipe: Any, task: int) -> None:
    try:
        pipe.send(task)
    except OSError:
        raise _ended() from None


def _check_outcome(pipe: Any) -> None:
    try:
        error = pipe.recv()
    except (EOFError, OSError):
        raise _ended() from None
    if error is not None:
        raise error


def _ended() -> DialogueModelError:
    return DialogueModelError(
        "A worker was ended from outside, perhaps for want of memory; the same command goes on, "
        "with fewer --workers too."
    )


def _work(work: Path, do: Callable[[int], object], pipe: Any) -> None:
    """Do the tasks that come through the pipe until it is closed."""
    _end_with_parent(work)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_outcome(do, pipe.recv()))


def _outcome(do: Callable[[int], object], task: int) -> object:
    from multiprocess.pool import ExceptionWithTraceback

    try:
        do(task)
    except Exception as error:
        return ExceptionWithTraceback(error, error.__traceback__)
    return None


def _end_with_parent(work: Path) -> None:
    """Leave it to the parent when this worker ends, but for the parent's own end."""
    import multiprocess

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocess.parent_process()
    try:
        join_helpers(work)
    except FileNotFoundError:  # what a successor of the parent did is done
        os._exit(1)
    if not parent.is_alive():  # its successor may have looked for helpers before this was one
        os._exit(1)
    threading.Thread(target=_outlive_not, args=(parent,), daemon=True).start()


def _outlive_not(parent: Any) -> None:
    parent.join()
    os._exit(1)
