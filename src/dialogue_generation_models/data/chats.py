"""Chat lines: an imported messenger export, before it is cut into sessions.

One JSON object a line, `{"id", "source", "title", "messages": [{"at", "speaker", "text"}]}`. A long chat stands
on several lines with the same `id`, in order, so that no reader ever holds more than a part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError
from .importers.jsonl import read_records


class Message(NamedTuple):
    """What one person sent at once."""

    at: str | None
    """Local time without zone, `2020-11-03T11:29:00`; None where the export has none."""
    speaker: str
    text: str


@dataclass(frozen=True)
class Chat:
    """A room's messages, or a part of them, oldest first."""

    id: str
    """The same on every line of one room."""
    source: str
    """What it was imported from, such as `kakaotalk`; no file name, which may hold a person's name."""
    title: str
    messages: tuple[Message, ...]
    meta: dict[str, Any] = field(default_factory=dict)


def read_chats(path: Path) -> Iterator[Chat]:
    """Yield the chat lines of a file.

    Raises:
        DataError: the file cannot be read, or a line is no chat line.
    """
    for number, record in read_records(path):
        yield parse_chat(record, f"{path.name}, line {number}")


def parse_chat(record: dict[str, Any], where: str) -> Chat:
    """Make a chat of a JSON object.

    Args:
        record: an object with `messages`; `id`, `source`, `title` and `meta` may be missing.
        where: file and line, for the error message.

    Raises:
        DataError: fields are missing or of the wrong type.
    """
    entries = record.get("messages")
    if not isinstance(entries, list):
        raise DataError(f"{where} is no chat line; it needs a list 'messages'.")
    labels = [record.get(name) or "" for name in ("id", "source", "title")]
    meta = record.get("meta") or {}
    if not all(isinstance(label, str) for label in labels) or not isinstance(meta, dict):
        raise DataError(f"{where}: 'id', 'source' and 'title' must be texts, 'meta' an object.")
    return Chat(labels[0], labels[1], labels[2], tuple(_message(e, where) for e in entries), meta)


def _message(entry: Any, where: str) -> Message:
    if isinstance(entry, dict):
        at, speaker, text = entry.get("at"), entry.get("speaker"), entry.get("text")
        if isinstance(speaker, str) and isinstance(text, str) and isinstance(at, str | None):
            return Message(at, speaker, text)
    raise DataError(
        f"{where}: each message needs the texts 'speaker' and 'text', and 'at' or null."
    )
