"""Folders that are one process's alone, and that change their place whole."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import DialogueModelError


@contextmanager
def only_process(folder: Path, refusal: DialogueModelError) -> Iterator[None]:
    """Hold a folder; the system lets go of it when the process ends, however it ends.

    Raises:
        DialogueModelError: the `refusal`, because another process holds it.
    """
    with (folder / ".lock").open("a+b") as file:
        try:
            _lock(file)
        except OSError:
            raise refusal from None
        yield


def put_in_place(partial: Path, place: Path) -> None:
    """Move a finished folder to where an older one may be; cut off at any moment, one of them is there.

    Between the two moves the older one is `.NAME.previous` beside its place.
    """
    previous = previous_of(place)
    if place.is_dir():
        shutil.rmtree(previous, ignore_errors=True)
        place.replace(previous)
    try:
        partial.replace(place)
    except OSError:
        if previous.is_dir():
            previous.replace(place)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def recover(place: Path) -> None:
    """Put the older folder back if a move was cut off between its two halves."""
    previous = previous_of(place)
    if previous.is_dir() and not place.exists():
        previous.replace(place)


def previous_of(place: Path) -> Path:
    """Where the older folder is while it is being replaced."""
    return place.with_name(f".{place.name}.previous")


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place, flush it to the disk, and put it there."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
