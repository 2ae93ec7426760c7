"""Corpora as chat lines: JSON Lines and arrays (dialogues of any known form, and our own chat lines), TSV, CSV.

One dialogue becomes one chat line, whose messages have no time and keep their speakers. Our own chat lines go
through as they are. An id is kept; a dialogue without one is named after its content and its line. A line that
is no dialogue is unparsed, and nothing of it is told but its number. Of an array, its entries are counted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ...dialogue import Dialogue
from ...errors import DataError
from ..chats import Chat, Message, parse_chat
from .account import LONGEST_MESSAGE, Account
from .arrays import is_array, read_entries
from .jsonl import DIALOGUE_KEYS, is_unicode, parse_dialogue
from .pairs import find_columns, is_tsv_header, parse_tsv, split_csv

_NO_TEXT = re.compile("[\x01-\x08\x0e-\x1f\x7f-\x9f\ufffd]")
"""Control characters, and what stands for bytes that do not decode."""
_MOST_NO_TEXT = 0.02
_UNDECODED = "\ufffd"
_LEAST_PAIRS = 0.9
T = TypeVar("T")


def matches_jsonl(lines: list[str]) -> bool:
    """Whether these first lines of a file are JSON Lines with dialogues or chats."""
    records = map(parse_object, (line for line in lines if line.lstrip().startswith("{")))
    return any(key in record for record in records if record for key in DIALOGUE_KEYS)


def matches_array(lines: list[str]) -> bool:
    """Whether these first lines of a file begin a JSON array with dialogues or chats."""
    beginning = "\n".join(lines)
    return is_array(beginning) and any(f'"{key}"' in beginning for key in DIALOGUE_KEYS)


def matches_tsv(lines: list[str]) -> bool:
    """Whether these first lines of a file are pairs with a tab between; pictures and programs are none.

    A header tells it, or nine lines of ten: a damaged line is told of when it is read.
    """
    filled = [line for line in lines if line.strip()]
    if not filled or _is_binary(filled):
        return False
    pairs = sum(line.count("\t") == 1 for line in filled)
    return is_tsv_header(filled[0]) or pairs >= _LEAST_PAIRS * len(filled)


def _is_binary(lines: list[str]) -> bool:
    letters = sum(map(len, lines))
    signs = sum(len(_NO_TEXT.findall(line)) for line in lines)
    return signs > letters * _MOST_NO_TEXT


def matches_csv(lines: list[str]) -> bool:
    """Whether a file's first line names the columns of questions and answers."""
    return bool(lines) and find_columns(lines[0]) is not None


def read_jsonl(lines: Iterator[str], account: Account) -> Iterator[Chat]:
    """Yield the chat lines of JSON Lines."""
    return read_objects(objects_of_lines(lines, account), account, _chat_maker(account))


def read_array(pieces: Iterator[str], account: Account) -> Iterator[Chat]:
    """Yield the chat lines of a JSON array, whose text comes in pieces."""
    return read_objects(objects_of_array(pieces, account), account, _chat_maker(account))


def objects_of_lines(lines: Iterator[str], account: Account) -> Iterator[dict[str, Any] | None]:
    """Yield the JSON object of each line, None for a line without one; blank lines are counted."""
    for line in lines:
        if line and not line.isspace():
            yield parse_object(line)
        else:
            account.add("blank")


def objects_of_array(pieces: Iterator[str], account: Account) -> Iterator[dict[str, Any] | None]:
    """Yield the entries of a JSON array that are objects, None for each other one."""
    for entry in read_entries(pieces, account):
        yield _check_object(*entry) if entry else None


def read_objects(
    records: Iterator[dict[str, Any] | None],
    account: Account,
    make: Callable[[dict[str, Any]], T | None],
) -> Iterator[T]:
    """Yield what becomes of JSON objects; those of which nothing becomes are unparsed.

    Args:
        records: all of a file, None for what is no object.
        account: each of them is counted there.
        make: takes an object; gives None or raises DataError if it is not what the file is to hold.
    """
    for record in records:
        try:
            made = None if record is None else make(record)
        except DataError:
            made = None
        if made is None:
            account.add_unparsed()
        else:
            account.add("message")
            yield made


def read_tsv(lines: Iterator[str], account: Account) -> Iterator[Chat]:
    """Yield the pairs of a TSV file."""
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace():
            account.add("blank")
        elif number == 1 and is_tsv_header(line):
            account.add("header")
        elif dialogue := parse_tsv(line):
            account.add("message")
            yield _to_chat(dialogue, "tsv", number)
        else:
            account.add_unparsed()


def read_csv(lines: Iterator[str], account: Account) -> Iterator[Chat]:
    """Yield the pairs of a CSV file; without a header the first two columns are meant."""
    columns = (0, 1)
    record: list[str] = []
    quotes = size = 0
    for number, line in enumerate(lines, start=1):
        if number == 1 and (named := find_columns(line)):
            columns = named
            account.add("header")
            continue
        record.append(line)
        quotes += line.count('"')
        size += len(line) + 1
        if quotes % 2 and size < LONGEST_MESSAGE:
            continue
        if chat := _take_record("\n".join(record), columns, number):
            account.add("message")
            account.add("continuation", len(record) - 1)
            yield chat
        elif len(record) == 1 and not line.strip():
            account.add("blank")
        else:
            account.add_unparsed(len(record))
        record, quotes, size = [], 0, 0
    account.add_unparsed(len(record))


def _take_record(record: str, columns: tuple[int, int], number: int) -> Chat | None:
    fields = split_csv(record) or []
    if len(fields) <= max(columns):
        return None
    texts = [fields[column] for column in columns]
    if not all(text.strip() for text in texts):
        return None
    return _to_chat(Dialogue.from_texts(texts), "csv", number)


def _chat_maker(account: Account) -> Callable[[dict[str, Any]], Chat | None]:
    before = ""

    def make(record: dict[str, Any]) -> Chat | None:
        nonlocal before
        chat = _parse(record, account.lines + 1, before)
        before = chat.id if chat else before
        return chat

    return make


def _parse(record: dict[str, Any], number: int, before: str) -> Chat | None:
    if _is_chat(record):
        chat = parse_chat(record, "")
        return chat if chat.messages else None
    return _to_chat(parse_dialogue(record, ""), "jsonl", number, before)


def parse_object(line: str) -> dict[str, Any] | None:
    """Return the JSON object of a line; None if it holds none, or bytes that do not decode."""
    try:
        return _check_object(line, json.loads(line))
    except (ValueError, RecursionError):
        return None


def _check_object(written: str, value: Any) -> dict[str, Any] | None:
    is_sound = isinstance(value, dict) and _UNDECODED not in written and is_unicode(written, value)
    return value if is_sound else None


def _is_chat(record: dict[str, Any]) -> bool:
    """Our own chat lines have `messages` as chat APIs have, but of other fields."""
    messages = record.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    return isinstance(first, dict) and "text" in first


def _to_chat(dialogue: Dialogue, source: str, number: int, before: str = "") -> Chat:
    """Make a chat line; neighbouring ones must not share an id, which would make them one room."""
    name = dialogue.id
    if not name or name == before:
        content = json.dumps([(t.speaker, t.text) for t in dialogue.turns], ensure_ascii=False)
        name = f"{source}-{hashlib.sha256(content.encode()).hexdigest()[:16]}-{number}"
    messages = tuple(Message(None, turn.speaker, turn.text) for turn in dialogue.turns)
    return Chat(name, source, "", messages, dict(dialogue.meta))
