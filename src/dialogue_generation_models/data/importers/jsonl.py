"""JSON Lines and TSV, plain or zstd-compressed: dialogue lines and text lines.

A line may be
- a dialogue line, `{"turns": [{"speaker", "text"}], "id", "meta"}`;
- a chat-API line, `{"messages": [{"role", "content"}]}`;
- a ShareGPT line, `{"conversations": [{"from", "value"}]}`;
- of a `.tsv`, `context<TAB>response`;
- a text line, `{"text": "..."}`.
Plain `.txt` files are read as one text a line. Errors name file and line and never quote the text.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ...dialogue import Dialogue, Turn
from ...errors import DataError
from .compression import MAGIC, decompress
from .pairs import is_tsv_header, parse_tsv

DIALOGUE_KEYS = {
    "turns": ("speaker", "text"),
    "messages": ("role", "content"),
    "conversations": ("from", "value"),
}
"""Field that holds the turns → the fields of a turn."""


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    """Yield the dialogues of a file, one a line.

    Raises:
        DataError: the file cannot be read, or a line is no dialogue.
    """
    if ".tsv" in path.suffixes[-2:]:
        with open_text(path) as lines:
            yield from _parse_pairs(lines, path.name)
        return
    for number, record in read_records(path):
        yield parse_dialogue(record, f"{path.name}, line {number}")


def read_texts(path: Path) -> Iterator[str]:
    """Yield every text of a file: text lines, the turns of dialogue lines, or lines of a `.txt`.

    Raises:
        DataError: the file cannot be read, or a line holds neither text nor turns.
    """
    if path.suffix == ".txt":
        with open_text(path) as lines:
            yield from (line.rstrip("\r\n") for line in lines)
        return
    if ".tsv" in path.suffixes[-2:]:
        yield from (turn.text for dialogue in read_dialogues(path) for turn in dialogue.turns)
        return
    for number, record in read_records(path):
        yield from parse_texts(record, f"{path.name}, line {number}")


def parse_texts(record: Mapping[str, Any], where: str) -> list[str]:
    """Return the text of a text line, or those of a dialogue's turns.

    Raises:
        DataError: it is neither; `where` says which line it is.
    """
    text = record.get("text")
    return (
        [text]
        if isinstance(text, str)
        else [turn.text for turn in parse_dialogue(record, where).turns]
    )


def _parse_pairs(lines: Iterable[str], name: str) -> Iterator[Dialogue]:
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and is_tsv_header(line)):
            continue
        dialogue = parse_tsv(line.rstrip("\r\n"))
        if dialogue is None:
            raise DataError(f"{name}, line {number} has not two texts with a tab between; mend it.")
        yield dialogue


def parse_dialogue(record: Mapping[str, Any], where: str) -> Dialogue:
    """Make a dialogue of a JSON object.

    Args:
        record: an object with `turns`, `messages` or `conversations`.
        where: file and line, for the error message.

    Raises:
        DataError: fields are missing or of the wrong type.
    """
    key = next((key for key in DIALOGUE_KEYS if key in record), "turns")
    entries, (speaker_key, text_key) = record.get(key), DIALOGUE_KEYS[key]
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"{where} is no dialogue; it needs a list 'turns', 'messages' or 'conversations'."
        )
    turns = []
    for entry in entries:
        speaker = entry.get(speaker_key) if isinstance(entry, dict) else None
        text = entry.get(text_key) if isinstance(entry, dict) else None
        if not isinstance(speaker, str) or not isinstance(text, str):
            raise DataError(f"{where}: each turn needs the texts '{speaker_key}' and '{text_key}'.")
        turns.append(Turn(speaker, text))
    name, meta = record.get("id", ""), record.get("meta", {})
    if not isinstance(name, str) or not isinstance(meta, dict):
        raise DataError(f"{where}: 'id' must be a text and 'meta' an object.")
    return Dialogue(tuple(turns), name, meta)


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers (from 1) and JSON objects; blank lines are skipped.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    with open_text(path) as lines:
        yield from parse_records(lines, path.name)


def parse_records(lines: Iterable[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers (from 1) and JSON objects of lines that were read from `name`.

    Raises:
        DataError: a line is no JSON object.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{name}, line {number} is not valid JSON; mend it.") from None
        if not isinstance(record, dict):
            raise DataError(f"{name}, line {number} is not a JSON object; mend it.")
        if not is_unicode(line, record):
            raise DataError(f"{name}, line {number} holds half a surrogate pair; mend it.")
        yield number, record


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 file, plain or zstd-compressed; only LF and CRLF end a line.

    Raises:
        DataError: the file cannot be opened, decompressed or decoded.
    """
    try:
        with path.open("rb") as file:
            is_compressed = path.suffix == ".zst" or file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            binary: Any = decompress(file, path.name) if is_compressed else file
            with decoded(binary, path.name) as lines:
                yield lines
    except OSError as error:
        reason = (error.strerror or "damaged").lower()
        raise DataError(f"Cannot read {path}: {reason}.") from None


@contextmanager
def decoded(binary: Any, name: str) -> Iterator[TextIO]:
    """Read a binary stream as UTF-8 lines.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        # Texts may hold other characters that look like line ends, such as U+2028.
        yield io.TextIOWrapper(binary, encoding="utf-8-sig", newline="\n")
    except UnicodeDecodeError:
        raise DataError(f"{name} is not valid UTF-8; convert it first.") from None


def is_unicode(line: str, record: Mapping[str, Any]) -> bool:
    """Whether a line's record is free of half surrogate pairs, which only an escape can bring."""
    if "\\u" not in line:
        return True
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
