"""Lines of a text export, whatever its encoding: UTF-8, UTF-16, CP949 (Korean) or CP932 (Japanese).

The encoding is told from the bytes, never from the file's name or the locale. The file is read twice in small
pieces, once to tell and once to decode, so memory stays bounded however long the file or one of its lines is.
"""

from __future__ import annotations

import codecs
import io
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .compression import MAGIC, decompress

PIECE = 1 << 20
"""Bytes or characters held at once."""
LONGEST_LINE = 1 << 20
"""Characters of a line that are kept; no messenger lets anybody send more."""

_HANGUL = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]")
_KANA = re.compile(rb"\x82[\x9f-\xf1]|\x83[\x40-\x96]")


def detect_encoding(file: BinaryIO) -> str:
    """Name the encoding of a file that stands at its beginning; moves the position.

    CP949 writes Hangul with lead bytes that CP932 keeps for half-width kana, and CP932 writes kana with lead
    bytes that CP949 keeps for rare syllables: whichever pairs are more frequent decide.
    """
    piece = file.read(PIECE)
    if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if not piece.startswith(codecs.BOM_UTF8) and (guess := _guess_utf16(piece[:4096])):
        return guess
    decoder = codecs.getincrementaldecoder("utf-8")()
    while piece:
        try:
            decoder.decode(piece)
        except UnicodeDecodeError:
            return _guess_legacy(piece)
        piece = file.read(PIECE)
    return "utf-8-sig"


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file without their ends, which may be LF, CRLF and CR, mixed.

    NULs and byte order marks inside are dropped; bytes that do not decode become U+FFFD.

    Raises:
        OSError: the file cannot be read.
    """
    return itertools.chain.from_iterable(read_blocks(path, tell_encoding(path)))


def tell_encoding(path: Path) -> str:
    """Name the encoding of a file, plain or zstd-compressed.

    Raises:
        OSError: the file cannot be read.
        DataError: it is compressed, and damaged.
    """
    with _open(path) as (_, binary):
        return detect_encoding(binary)


def read_blocks(
    path: Path,
    encoding: str,
    longest: int = LONGEST_LINE,
    tell: Callable[[int], object] | None = None,
) -> Iterator[list[str]]:
    """Yield the lines that `read_lines` yields, many at once: a loop over a list is the fastest there is.

    Args:
        path: the file, plain or zstd-compressed.
        encoding: as `tell_encoding` names it.
        longest: characters of a line that are kept.
        tell: is given the bytes of the file that each block took.

    Raises:
        OSError: the file cannot be read.
        DataError: it is compressed, and damaged.
    """
    return _split(read_pieces(path, encoding, tell), longest)


def read_pieces(
    path: Path, encoding: str, tell: Callable[[int], object] | None = None
) -> Iterator[str]:
    """Yield the text of a file as `read_blocks` reads it, piece by piece, whatever its lines."""
    with _open(path) as (file, binary):
        done = 0
        with io.TextIOWrapper(binary, encoding=encoding, errors="replace") as text:
            while piece := text.read(PIECE):
                if "\0" in piece or "\ufeff" in piece:
                    piece = piece.replace("\0", "").replace("\ufeff", "")
                yield piece
                if tell:
                    tell(file.tell() - done)
                    done = file.tell()


@contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a file; yield it and its content, which is another stream if it is compressed."""
    with path.open("rb") as file:
        is_compressed = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        # Errors of an import name no file: its name may be a person's.
        yield file, decompress(file, "It") if is_compressed else file


def peek(lines: Iterator[str], most: int) -> list[str]:
    """Take so many lines, or fewer that fill a piece."""
    taken, size = [], 0
    for line in itertools.islice(lines, most):
        taken.append(line)
        size += len(line)
        if size >= PIECE:
            break
    return taken


def _split(pieces: Iterator[str], longest: int) -> Iterator[list[str]]:
    rest = ""
    for piece in pieces:
        # str.splitlines would also cut at U+2028 and its like, which stand in messages.
        lines = piece.split("\n")
        if rest:
            lines[0] = (rest + lines[0])[:longest] if len(rest) < longest else rest
        rest = lines.pop()
        yield lines
    if rest:
        yield [rest]


def _guess_utf16(head: bytes) -> str | None:
    """ASCII (digits, spaces, line ends) in UTF-16 has a NUL in every other byte."""
    half = len(head) // 2
    for name, start, other in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        # Hangul syllables such as U+C800 bring a few NULs into the other half.
        if half and head[start::2].count(0) > max(half // 10, 5 * head[other::2].count(0)):
            return name
    return None


def _guess_legacy(piece: bytes) -> str:
    text = piece.decode("utf-8", errors="replace")
    damaged = text.count("\ufffd")
    if sum(character > "\x7f" for character in text) > 10 * damaged:
        return "utf-8-sig"
    hangul, kana = len(_HANGUL.findall(piece)), len(_KANA.findall(piece))
    if not hangul and not kana:
        return "utf-8-sig"
    return "cp949" if hangul >= kana else "cp932"
