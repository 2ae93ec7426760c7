"""Reads the dialogues that `dgm generate` answers. Errors name the line and never quote the text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.importers.jsonl import decoded, parse_dialogue, parse_records, read_records
from ..dialogue import Dialogue
from ..errors import DataError, InputTextError

if TYPE_CHECKING:
    from ..chat import Chatbot


@dataclass(frozen=True)
class Context:
    """A dialogue that is to be answered."""

    dialogue: Dialogue
    where: str
    """File and line, for error messages."""

    @property
    def id(self) -> str:
        """The dialogue's id."""
        return self.dialogue.id


def read_contexts(source: str) -> list[Context]:
    """Read all dialogues of a file, or of standard input for "-".

    A line without an id gets its line number as one.

    Raises:
        DataError: the file cannot be read, holds nothing, or a line is no dialogue.
    """
    if source != "-":
        path = Path(source)
        contexts = list(_read(read_records(path), path.name))
    else:
        name = "standard input"
        with decoded(sys.stdin.buffer, name) as lines:
            contexts = list(_read(parse_records(lines, name), name))
    if not contexts:
        raise DataError(f"{source} holds no dialogues; give one JSON object a line.")
    return contexts


def check_contexts(bot: Chatbot, contexts: Sequence[Context], options: Mapping[str, Any]) -> None:
    """Make sure that the bot can answer every dialogue.

    Raises:
        DataError: naming the first line whose newest turn is empty, too long or not valid Unicode.
    """
    for context in contexts:
        try:
            bot.count_visible(context.dialogue, **options)
        except InputTextError as error:
            raise DataError(f"{context.where}: {error}") from None


def _read(records: Iterable[tuple[int, dict[str, Any]]], name: str) -> Iterator[Context]:
    for number, record in records:
        where = f"{name}, line {number}"
        dialogue = _parse(record, where)
        yield Context(Dialogue(dialogue.turns, dialogue.id or str(number)), where)


def _parse(record: Mapping[str, Any], where: str) -> Dialogue:
    texts = record.get("context")
    if texts is None or "turns" in record or "messages" in record:
        return parse_dialogue(record, where)
    if isinstance(texts, str):
        texts = [texts]
    name = record.get("id", "")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts) or not texts:
        raise DataError(f"{where}: 'context' must be a list of texts, oldest first.")
    if not isinstance(name, str):
        raise DataError(f"{where}: 'id' must be a text.")
    return Dialogue(Dialogue.from_texts(texts).turns, name)
