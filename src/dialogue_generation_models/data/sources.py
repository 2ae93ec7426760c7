"""Inputs of a preparation: what each is, told from its content, and how it is read.

Exports of messengers are one source together, because several may be parts of one room. They are never called
by their file names, which may hold people's, nor is a corpus for which nobody states a licence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..config.preparation import SourceStatement
from ..dialogue import Dialogue, Turn
from ..errors import DataError
from .chats import Chat, parse_chat
from .consent import check_statement, find_statement
from .importers.account import Account
from .importers.arrays import is_array
from .importers.jsonl import DIALOGUE_KEYS, parse_dialogue, parse_records, parse_texts
from .importers.sniff import (
    CORPUS_READERS,
    first_objects,
    import_files,
    name_format,
    read_corpus,
    read_head,
)
from .sessions import parse_time

Kind: TypeAlias = Literal["export", "chats", "dialogues", "pairs", "texts"]
PRIVATE: frozenset[Kind] = frozenset({"export", "chats"})
_PIECE = 1 << 20


@dataclass(frozen=True)
class File:
    """An input file as it was when the preparation began."""

    path: Path
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Source:
    """One input, or all exports together."""

    number: int
    kind: Kind
    label: str
    """Its name in the manifest: of a corpus with a licence the file's, of all else what it is, and a number."""
    files: tuple[File, ...]
    statements: tuple[SourceStatement, ...]
    """One a file."""

    @property
    def is_private(self) -> bool:
        """Whether it holds private chats."""
        return self.kind in PRIVATE

    def chats(self, accounts: list[Account]) -> Iterator[Chat]:
        """Yield the chat lines of exports or of a file of chat lines."""
        if self.kind == "export":
            return import_files([file.path for file in self.files], accounts)
        return read_corpus(self.files[0].path, accounts, _parse_chat)

    def dialogues(self, accounts: list[Account]) -> Iterator[Dialogue]:
        """Yield the dialogues of a corpus; a text is a dialogue of one turn."""
        return islice(self._dialogues(accounts), self.statements[0].limit)

    def _dialogues(self, accounts: list[Account]) -> Iterator[Dialogue]:
        path = self.files[0].path
        if self.kind == "dialogues":
            return read_corpus(path, accounts, lambda record: parse_dialogue(record, ""))
        if self.kind == "pairs":
            return (_to_dialogue(chat) for chat in import_files([path], accounts))
        lines = read_corpus(path, accounts, lambda record: parse_texts(record, ""))
        return (Dialogue((Turn("A", text),)) for texts in lines for text in texts if text.strip())


def find_sources(
    inputs: Sequence[Path], statements: Sequence[SourceStatement], *, has_consent: bool
) -> list[Source]:
    """Tell what each input is, and check that it may be used.

    Args:
        inputs: files, or folders whose `.jsonl` and `.jsonl.zst` files are meant, with those below.
        statements: licences and consent.
        has_consent: whether the user vouches for all inputs.

    Raises:
        DataError: an input cannot be read, or nobody vouches for it.
    """
    paths = list(dict.fromkeys(path for given in inputs for path in _expand(given)))
    kinds = {path: tell_kind(path, place) for place, path in enumerate(paths, start=1)}
    exports = [path for path in paths if kinds[path] == "export"]
    groups = [[path] for path in paths if kinds[path] != "export"]
    sources: list[Source] = []
    private = 0
    for number, group in enumerate([*([exports] if exports else []), *groups]):
        kind = kinds[group[0]]
        private += kind in PRIVATE
        said = tuple(find_statement(path, statements) for path in group)
        for path, statement in zip(group, said, strict=True):
            place = f"Input {paths.index(path) + 1}"
            is_private = kind in PRIVATE
            check_statement(statement, place, is_private=is_private, has_consent=has_consent)
        label = f"private chats {private}" if kind in PRIVATE else f"{kind} {number + 1}"
        if kind in ("dialogues", "texts") and said[0].license:
            label = _stem(group[0])  # what is public has a public name; one's own may be a person's
        files = tuple(File(path.resolve(), *_hash(path)) for path in group)
        sources.append(Source(number, kind, label, files, said))
    return sources


def tell_kind(path: Path, place: int) -> Kind:
    """Tell what a file is by its beginning, plain or compressed: the first line or entry that is whole.

    What no importer knows counts as an export too: the import tells what is wrong and reads the others.

    Raises:
        DataError: it cannot be read, or is JSON of none of the known kinds.
    """
    try:
        if not path.is_file():
            raise DataError(f"Input {place} is no regular file; name an existing file.")
        head = read_head(path)
    except OSError as error:
        raise DataError(
            f"Input {place} cannot be read: {(error.strerror or 'damaged').lower()}."
        ) from None
    format = name_format(head)
    first = next((line for line in head if line.strip()), "")
    is_lines = first.lstrip().startswith("{")
    if not (is_lines or format in ("json", "jsonl") or (not format and is_array(first))):
        return "pairs" if format in CORPUS_READERS else "export"
    kind = next((kind for record in first_objects(path) if (kind := _kind_of(record))), None)
    if kind is None:
        if is_lines:
            list(parse_records([first], f"Input {place}"))  # it may be no JSON at all
        raise DataError(
            f"The first {'line' if is_lines else 'entry'} of input {place} is no chat, dialogue or text "
            "line; see docs/preparing.md for what is read."
        )
    return kind


def _kind_of(record: dict[str, Any]) -> Kind | None:
    messages = record.get("messages")
    if messages == []:  # a chat or a dialogue: another line tells
        return None
    if isinstance(messages, list):
        is_chat = any(isinstance(message, dict) and "speaker" in message for message in messages)
        return "chats" if is_chat else "dialogues"
    if any(key in record for key in DIALOGUE_KEYS):
        return "dialogues"
    return "texts" if isinstance(record.get("text"), str) else None


def _parse_chat(record: dict[str, Any]) -> Chat:
    chat = parse_chat(record, "")
    for message in chat.messages:
        if message.at:
            parse_time(message.at)
    return chat


def _to_dialogue(chat: Chat) -> Dialogue:
    return Dialogue(tuple(Turn(m.speaker, m.text) for m in chat.messages), chat.id)


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.name.endswith((".jsonl", ".jsonl.zst")))
    if not found:
        raise DataError(f"The folder {path} holds no .jsonl or .jsonl.zst file; name files.")
    return found


def _stem(path: Path) -> str:
    return path.name.removesuffix(".zst").removesuffix(".jsonl").removesuffix(".json")


def _hash(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size
