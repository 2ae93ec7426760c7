"""Bars on a terminal and plain lines elsewhere, always on the error stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..data.pipeline import Stage
    from ..evaluation.measure import Track

_SECONDS_BETWEEN_NOTES = 10
_SECONDS_BETWEEN_LOOKS = 0.3


@contextmanager
def show_progress() -> Iterator[Track]:
    """Draw bars on a terminal; elsewhere name each measure when it begins. Both on stderr."""
    if not sys.stderr.isatty():

        def announce(name: str, total: int) -> Any:
            print(f"measuring {name} ({total:,} to go)", file=sys.stderr, flush=True)
            return lambda _: None

        yield announce
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:

        def draw(name: str, total: int) -> Any:
            task = bars.add_task(name, total=total)
            return lambda done: bars.advance(task, done)

        yield draw


def show_count(lines: Iterable[str], total: int, done: int) -> Iterator[str]:
    """Pass lines on; on the error stream draw a bar on a terminal, else say now and then how far it is."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total, completed=done)
            for line in lines:
                yield line
                bar.advance(task)
        return
    told = time.monotonic()
    for number, line in enumerate(lines, start=done + 1):
        yield line
        if time.monotonic() - told >= _SECONDS_BETWEEN_NOTES:
            told = time.monotonic()
            print(f"{number} of {total}", file=sys.stderr, flush=True)


@contextmanager
def show_bytes(total: int) -> Iterator[Callable[[int], object] | None]:
    """Draw a bar of bytes on a terminal, and yield what advances it; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


@contextmanager
def show_stages(stages: Sequence[Stage], logs: Path) -> Iterator[Callable[[Stage], None]]:
    """Show how far a preparation is: a bar on a terminal, a line a stage elsewhere; on stderr."""
    if not sys.stderr.isatty():
        yield lambda stage: print(f"{stage.name} ...", file=sys.stderr, flush=True)
        return
    import threading

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    name = TextColumn("{task.description:<22}")
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    over = threading.Event()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=sum(stage.tasks for stage in stages))

        def count() -> None:
            while not over.wait(_SECONDS_BETWEEN_LOOKS):
                bar.update(task, completed=sum(_done(logs / stage.name) for stage in stages))

        counter = threading.Thread(target=count, daemon=True)
        counter.start()
        try:
            yield lambda stage: bar.update(task, description=stage.name)
        finally:
            over.set()
            counter.join()


def _done(logs: Path) -> int:
    markers = logs / "completions"
    return sum(1 for _ in markers.iterdir()) if markers.is_dir() else 0
