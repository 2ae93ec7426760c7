"""Files and folders that appear whole or not at all, and folders that are one process's alone.

What is written stands beside its place under another name, is flushed to the disk, and is moved there. Whatever
stops this in between, the older one is whole.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import DialogueModelError

PARTIAL = ".partial"
"""How the name ends of what is being written."""
LOCK = ".lock"
"""Is locked by the process that holds a folder."""
HELPERS = ".helpers"
"""Is locked by the processes that help it."""


@contextmanager
def replacing(
    path: Path, *, is_private: bool = False, is_contested: bool = False
) -> Iterator[Path]:
    """Give the path of an empty file to write; put it in the place of `path` when the block ends well.

    Args:
        path: where the file will be.
        is_private: whether it is for this user's eyes alone.
        is_contested: whether several processes may write it at once; what one leaves that is killed then stays,
            where else the next one writes over it.

    Raises:
        OSError: the disk refuses; the file before is as it was.
    """
    process = f".{os.getpid()}" if is_contested else ""
    partial = path.with_name(f"{path.name}{process}{PARTIAL}")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600 if is_private else 0o666)
        yield partial
        put_in_place(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(partial):
            error.filename = str(path)  # the name that the user knows
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file in one piece, a text as UTF-8.

    Raises:
        OSError: the disk refuses; the file before is as it was.
    """
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def put_in_place(partial: Path, place: Path) -> None:
    """Flush a finished file or folder, and move it to where an older one may be.

    Whoever is cut off between the two moves of folders finds the older one as `.NAME.previous` beside its
    place.
    """
    for path in (*partial.rglob("*"), partial):
        _flush(path)
    previous = previous_of(place)
    if partial.is_dir() and place.is_dir():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(place, previous)
    try:
        os.replace(partial, place)
    except OSError:
        if previous.is_dir():
            os.replace(previous, place)
        raise
    _flush(place.parent)
    if place.is_dir():
        shutil.rmtree(previous, ignore_errors=True)


def recover(place: Path) -> None:
    """Put the older folder back if a move was cut off between its two halves."""
    previous = previous_of(place)
    if previous.is_dir() and not place.exists():
        os.replace(previous, place)


def previous_of(place: Path) -> Path:
    """Where the older folder is while it is being replaced."""
    return place.with_name(f".{place.name}.previous") if place.name else place / ".previous"


@contextmanager
def only_process(folder: Path, refusal: DialogueModelError) -> Iterator[None]:
    """Hold a folder; the system lets go of it when the process ends, however it ends.

    A forked child would hold it too, and could outlive the process: who holds a folder forks none.

    Raises:
        DialogueModelError: the `refusal`, because another process holds it.
    """
    with (folder / LOCK).open("a+b") as file:
        try:
            _lock(file)
        except OSError:
            raise refusal from None
        yield


def join_helpers(folder: Path) -> None:
    """Count as a helper of the folder's holder until this process ends, however it ends.

    Raises:
        OSError: nobody holds the folder any more.
    """
    if sys.platform != "win32":  # whose locks cannot be shared
        import fcntl

        # Never closed, since that would unlock it.
        fcntl.flock(os.open(folder / HELPERS, os.O_RDWR), fcntl.LOCK_SH)


def wait_for_helpers(folder: Path) -> None:
    """Wait until those are gone who helped an earlier holder, which may have been killed this moment."""
    with (folder / HELPERS).open("a+b") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)


def _flush(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk."""
    if os.name != "posix" and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
