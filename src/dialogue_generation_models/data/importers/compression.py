"""zstd files as streams. Unlike zstandard's own reader this one takes a cut-off file for an error, not for a
shorter file; small bites of input bound what one of them can become."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from ...errors import DataError, MissingExtraError

MAGIC = b"\x28\xb5\x2f\xfd"
"""What a zstd file begins with."""
_BITE = 256  # bytes of input at a time; what bombs make of them is some thousand times as much


def decompress(file: BinaryIO, name: str) -> io.BufferedReader:
    """Return the decompressed content of a file.

    Args:
        file: stands at its beginning.
        name: what an error calls the file.

    Raises:
        MissingExtraError: zstandard is not installed.
        DataError: (while it is read) the file is damaged, cut off or no zstd file.
    """
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("zstandard", "data") from None
    raw: Any = _ZstdFile(file, name, zstandard)
    return io.BufferedReader(raw)


class _ZstdFile(io.RawIOBase):
    """Decompresses frame after frame."""

    def __init__(self, file: BinaryIO, name: str, zstandard: Any) -> None:
        self._file = file
        self._name = name
        self._zstandard = zstandard
        self._frame: Any = None
        self._compressed = b""
        self._ready = memoryview(b"")  # views are cut without a copy

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            self._compressed = self._compressed or self._file.read(_BITE)
            if not self._compressed:
                if self._frame is not None:
                    raise DataError(f"{self._name} is cut off; get a complete copy.")
                return 0
            self._ready = memoryview(self._decompress())
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _decompress(self) -> bytes:
        frame = self._frame or self._zstandard.ZstdDecompressor().decompressobj()
        try:
            text: bytes = frame.decompress(self._compressed)
        except self._zstandard.ZstdError:
            raise DataError(
                f"{self._name} is damaged or no zstd file; decompress it or rename it."
            ) from None
        self._compressed = frame.unused_data if frame.eof else b""
        self._frame = None if frame.eof else frame
        return text
