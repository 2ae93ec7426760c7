"""Imports exports of any known format; which one a file is, its content tells.

Memory is bounded: a room leaves as chat lines of a few thousand messages. Files named `NAME-1.txt` and
`NAME-2.txt` of one title are parts of one export. Accounts and problems name neither files nor people: both
may be private.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from ...errors import DataError, OptionError
from ..chats import Chat, Message
from . import kakaotalk, line
from .account import Account, Assembler
from .encodings import read_lines

Reader = Callable[[Iterator[str], Assembler], Iterator[Message]]
READERS: dict[str, tuple[Callable[[list[str]], bool], Reader]] = {
    "kakaotalk": (kakaotalk.matches, kakaotalk.read_kakaotalk),
    "line": (line.matches, line.read_line),
}
"""Format → (does it match these first lines, its reader), in the order in which they are tried."""

MOST_MESSAGES = 5000
"""Messages of a chat line."""
SILENCE = timedelta(minutes=30)
"""A chat line that is half full ends at a silence as long as this."""
_HEAD = 100
"""Lines by which a format is told."""
_PART = re.compile(r"(?<!\d-\d\d)-(\d{1,3})$")


def import_files(
    paths: Sequence[Path], accounts: list[Account], *, format: str | None = None
) -> Iterator[Chat]:
    """Yield the chat lines of exports, in the order of the files; parts of one chat follow each other.

    Args:
        paths: the files.
        accounts: gets one account a file, in the order of `paths`, filled while the chats are read. A
            file that cannot be read has a `problem` there and does not keep the others from being read.
        format: a name in `READERS`; told from each file's content if None.

    Raises:
        OptionError: no such format.
    """
    if format is not None and format not in READERS:
        raise OptionError(f"--format knows no '{format}'; use one of: {', '.join(READERS)}.")
    new = [Account() for _ in paths]
    accounts += new
    seen: set[str] = set()
    for parts in _group_parts(paths):
        rooms = [_open_room(paths[part], new[part], format) for part in parts]
        yield from _read_rooms([room for room in rooms if room], seen)


class _Room:
    """A file that is being read; its first message is read already, and with it the title."""

    def __init__(self, source: str, out: Assembler, messages: Iterator[Message]) -> None:
        self.source = source
        self._out = out
        first = next(messages, None)
        self.title = out.title
        self.messages = itertools.chain([] if first is None else [first], messages)


def _open_room(path: Path, account: Account, format: str | None) -> _Room | None:
    try:
        if path.exists() and not path.is_file():
            raise DataError("It is no regular file; name the export itself.")
        lines = _guard(read_lines(path), account)
        head = list(itertools.islice(lines, _HEAD))
        account.source = format or tell_format(head)
        out = Assembler(account)
        reader = READERS[account.source][1]
        return _Room(account.source, out, reader(itertools.chain(head, lines), out))
    except DataError as error:
        account.problem = str(error)
    except OSError as error:
        account.problem = _explain(error)
    return None


def _guard(lines: Iterator[str], account: Account) -> Iterator[str]:
    """Pass lines on; a file that breaks off is read up to there."""
    try:
        yield from lines
    except OSError as error:
        account.problem = _explain(error)


def _explain(error: OSError) -> str:
    return f"It cannot be read: {(error.strerror or 'damaged').lower()}."


def tell_format(head: list[str]) -> str:
    """Name the format of a file's first lines.

    Raises:
        DataError: it is none that is known.
    """
    if not head:
        raise DataError("It is empty; export the chat again.")
    for name, (matches, _) in READERS.items():
        if matches(head):
            return name
    raise DataError(f"Its format is unknown; these are read: {', '.join(READERS)}.")


def _group_parts(paths: Sequence[Path]) -> Iterator[list[int]]:
    """Yield places in `paths`, those of numbered parts together and in the order of their numbers."""
    groups: dict[tuple[Path, str], list[tuple[int, int]]] = {}
    for place, path in enumerate(paths):
        found = _PART.search(path.stem)
        stem = path.stem[: found.start()] if found else f"{path.stem}/{place}"
        groups.setdefault((path.parent, stem), []).append((int(found[1]) if found else 0, place))
    for group in groups.values():
        yield [place for _, place in sorted(group)]


def _read_rooms(rooms: list[_Room], seen: set[str]) -> Iterator[Chat]:
    """Yield the chat lines of files that may be parts of one room: neighbours of one title are."""
    for _, group in itertools.groupby(rooms, key=lambda room: (room.source, _room_key(room))):
        parts = list(group)
        source, title, name = parts[0].source, parts[0].title, ""
        for messages in cut(itertools.chain.from_iterable(part.messages for part in parts)):
            name = name or _name_room(source, title, messages, seen)
            yield Chat(name, source, title, tuple(messages))


def _room_key(room: _Room) -> str:
    return re.sub(r"-\d{1,3}\.txt$", "", room.title)


def cut(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Cut a room into the messages of its chat lines."""
    line: list[Message] = []
    for message in messages:
        if len(line) >= MOST_MESSAGES // 2 and (
            len(line) >= MOST_MESSAGES or _is_silence(line[-1].at, message.at)
        ):
            yield line
            line = []
        line.append(message)
    if line:
        yield line


def _is_silence(before: str | None, after: str | None) -> bool:
    if before is None or after is None:
        return False
    return datetime.fromisoformat(after) - datetime.fromisoformat(before) >= SILENCE


def _name_room(source: str, title: str, messages: list[Message], seen: set[str]) -> str:
    """Make an id of the content, so that it tells no name and stays the same in every run."""
    content = json.dumps([source, title, messages[:100]], ensure_ascii=False)
    name = f"{source}-{hashlib.sha256(content.encode(errors='replace')).hexdigest()[:16]}"
    numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    unused = next(candidate for candidate in numbered if candidate not in seen)
    seen.add(unused)
    return unused
