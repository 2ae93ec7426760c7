"""Bars for the measures of a model, shared by the commands that take them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..evaluation.measure import Track


@contextmanager
def show_progress() -> Iterator[Track]:
    """Draw bars on a terminal; elsewhere name each measure when it begins. Both on stderr."""
    if not sys.stderr.isatty():

        def announce(name: str, total: int) -> Any:
            print(f"{name}: {total}", file=sys.stderr, flush=True)
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
