"""The output of `dgm generate`: appears under its name only when it is whole, and can be gone on with.

While a run goes on, lines are collected in FILE.partial, and FILE.partial.json says of which run they
are: a fingerprint of input, options and model. The same run again goes on after the last whole line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from typing_extensions import Self

from ..errors import DataError
from ..files import put_in_place

if TYPE_CHECKING:
    from ..chat import Reply


def format_line(name: str, replies: Iterable[Reply]) -> str:
    """Return the output line of one dialogue, without a line end."""
    listed = [
        {"text": reply.text, "score": round(reply.score, 6), "tokens": reply.tokens}
        for reply in replies
    ]
    return json.dumps({"id": name, "replies": listed}, ensure_ascii=False)


def fingerprint(parts: Iterable[object], files: Sequence[Path]) -> str:
    """Return a hash of values that have a stable `repr`, and of the contents of files."""
    total = hashlib.sha256()
    for part in parts:
        total.update(repr(part).encode("utf-8", "surrogatepass") + b"\0")
    for path in files:
        if path.is_file():
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    total.update(block)
        total.update(b"\0")
    return total.hexdigest()


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a place that cannot be written to, before any work is done.

    Raises:
        DataError: the file exists, or its folder does not.
    """
    if path.suffix == ".zst":
        raise DataError("The output is plain JSON Lines; give it a name that ends in .jsonl.")
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it.")
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists already; choose another name or add --overwrite.")
    if not path.parent.is_dir():
        raise DataError(f"The folder {path.parent} does not exist; make it first.")


class RepliesFile:
    """A file that grows line by line beside its final place. Use it in a `with` block.

    Args:
        path: where it will be.
        run: fingerprint of what is being done.
        overwrite: whether the remains of another run may be thrown away.

    Raises:
        DataError: there are remains of another run, or the file cannot be written.
    """

    def __init__(self, path: Path, run: str, *, overwrite: bool = False) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._about = path.with_name(f"{path.name}.partial.json")
        try:
            self.done = self._count_done(run, overwrite)
            self._file = self._open(run)
        except OSError as error:
            raise _explain(path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, line: str) -> None:
        """Add a line, and hand it to the system at once."""
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise _explain(self._path, error) from None
        self.done += 1

    def finish(self) -> None:
        """Put the whole file in its place."""
        try:
            self._file.close()
            put_in_place(self._partial, self._path)
            self._about.unlink(missing_ok=True)
        except OSError as error:
            raise _explain(self._path, error) from None

    def _count_done(self, run: str, overwrite: bool) -> int:
        """Count the whole lines of an earlier part of this run, and cut off half a line."""
        if not self._partial.exists():
            return 0
        if self._read_run() != run:
            if overwrite:
                self._partial.unlink()
                return 0
            raise DataError(
                f"{self._partial} is left from a run with other input, options or model; "
                "repeat that run to complete it, or delete the file to begin anew."
            )
        content = self._partial.read_bytes()
        end = content.rfind(b"\n") + 1
        os.truncate(self._partial, end)
        return content[:end].count(b"\n")

    def _open(self, run: str) -> BinaryIO:
        if not self._partial.exists():
            self._about.write_text(json.dumps({"run": run}) + "\n", encoding="utf-8")
        return self._partial.open("ab")

    def _read_run(self) -> object:
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return about.get("run") if isinstance(about, dict) else None


def _explain(path: Path, error: OSError) -> DataError:
    reason = (error.strerror or "unknown reason").lower()
    return DataError(f"Cannot write {path}: {reason}.")
