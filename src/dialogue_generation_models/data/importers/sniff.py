"""Imports files of any known format; which one a file is, its content tells.

Memory is bounded: a room leaves as chat lines of a few thousand messages. Files named `NAME-1.txt` and
`NAME-2.txt` of one title are parts of one export. Accounts and problems name neither files nor people: both
may be private.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ...errors import DataError, OptionError
from ..chats import Chat, Message
from . import corpora, kakaotalk, line
from .account import Account, Assembler
from .arrays import is_array
from .encodings import LONGEST_LINE, peek, read_blocks, read_pieces, tell_encoding
from .rooms import cut, find_copies, merge, name_room

Matches = Callable[[list[str]], bool]
READERS: dict[str, tuple[Matches, Callable[[Iterator[str], Assembler], Iterator[Message]]]] = {
    "kakaotalk": (kakaotalk.matches, kakaotalk.read_kakaotalk),
    "line": (line.matches, line.read_line),
}
"""Format of a messenger → (does it match these first lines, its reader)."""
CORPUS_READERS: dict[str, tuple[Matches, Callable[[Iterator[str], Account], Iterator[Chat]]]] = {
    "jsonl": (corpora.matches_jsonl, corpora.read_jsonl),
    "json": (corpora.matches_array, corpora.read_array),
    "csv": (corpora.matches_csv, corpora.read_csv),
    "tsv": (corpora.matches_tsv, corpora.read_tsv),
}
"""Format of a corpus → the same; a corpus has no room, and each line of it is a chat of its own. An array is
read by pieces, because all of it may be one line."""
FORMATS = (*READERS, *CORPUS_READERS)
"""All formats, in the order in which they are tried."""

_HEAD = 100
"""Lines by which a format is told."""
_LONGEST_CORPUS_LINE = 1 << 24
"""Characters of a line of a corpus that are kept: a line may be a whole chat."""
_NO_ENTRY = "none of its lines could be read; check that it is the right file, and mend it."
T = TypeVar("T")
_PART = re.compile(r"(?<!\d-\d\d)-(\d{1,3})$")


@dataclass(frozen=True)
class _Export:
    """A file that can be read, its account, and what its beginning tells."""

    path: Path
    account: Account
    encoding: str
    title: str
    tell: Callable[[int], object] | None

    def read(self, account: Account | None = None) -> Iterator[Message]:
        """Yield the messages, accounted in the file's own account unless another is given."""
        is_last = account is None
        out = Assembler(account or self.account)
        lines = _read(self.path, self.encoding, out.account, self.tell if is_last else None)
        return READERS[self.account.source][1](lines, out)

    def read_chats(self) -> Iterator[Chat]:
        """Yield the chats of a corpus."""
        return CORPUS_READERS[self.account.source][1](self.content(), self.account)

    def content(self) -> Iterator[str]:
        """Yield the lines of a corpus, or the pieces of an array."""
        if self.account.source == "json":
            return _guard(read_pieces(self.path, self.encoding, self.tell), self.account)
        return _read(self.path, self.encoding, self.account, self.tell, _LONGEST_CORPUS_LINE)


def import_files(
    paths: Sequence[Path],
    accounts: list[Account],
    *,
    format: str | None = None,
    tell: Callable[[int], object] | None = None,
) -> Iterator[Chat]:
    """Yield the chat lines of files, in their order; parts and copies of one room become one.

    Args:
        paths: the files.
        accounts: gets one account a file, in the order of `paths`, filled while the chats are read. A
            file that cannot be read has a `problem` there and does not keep the others from being read.
        format: a name in `FORMATS`; told from each file's content if None.
        tell: is given the bytes of each piece that has been read.

    Raises:
        OptionError: no such format.
        MissingExtraError: a file is compressed and zstandard is not installed.
    """
    if format is not None and format not in FORMATS:
        raise OptionError(f"--format knows no '{format}'; use one of: {', '.join(FORMATS)}.")
    new = [Account() for _ in paths]
    accounts += new
    exports: list[list[_Export]] = []
    for group in _group_parts(paths):
        found = (_survey(paths[place], new[place], format, tell) for place in group)
        parts = [export for export in found if export]
        # Neighbours of one title are parts; a corpus has no title and stands alone.
        for _, same in itertools.groupby(parts, key=_room_key):
            exports += _split_copies(list(same))
    seen: set[str] = set()
    for rooms in _group_titles(exports):
        first = rooms[0][0]
        if first.account.source in CORPUS_READERS:
            yield from first.read_chats()
            continue
        for copies in _group_copies(rooms):
            yield from _read_room([rooms[place] for place in copies], seen)


def read_corpus(
    path: Path, accounts: list[Account], make: Callable[[dict[str, Any]], T | None]
) -> Iterator[T]:
    """Yield what becomes of the JSON objects of a corpus; what is none of them is counted and left out.

    Args:
        path: a file of JSON Lines or with a JSON array, plain or compressed.
        accounts: gets the file's account, with a `problem` if it breaks off or nothing of it could be read.
        make: takes an object; gives None or raises DataError if it is not what the file is to hold.
    """
    account = Account()
    accounts.append(account)
    with _telling(account):
        yield from corpora.read_objects(_read_objects(path, account), account, make)
    if account.counts["unparsed"] and not account.counts["message"] and not account.problem:
        account.problem = _NO_ENTRY


def first_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that a file begins with, on its first lines or in an array.

    Raises:
        OSError: it cannot be read.
        DataError: it is compressed, and damaged.
    """
    return filter(None, itertools.islice(_read_objects(path, Account()), _HEAD))


def _read_objects(path: Path, account: Account) -> Iterator[dict[str, Any] | None]:
    """Yield the JSON objects of a file, None for what is none."""
    encoding = tell_encoding(path)
    is_whole = is_array("\n".join(_read_head(path, encoding)))
    account.source = "json" if is_whole else "jsonl"
    content = _Export(path, account, encoding, "", None).content()
    objects = corpora.objects_of_array if is_whole else corpora.objects_of_lines
    yield from objects(content, account)


def sniff_file(path: Path) -> str:
    """Name the format of a file, plain or compressed; empty if it is damaged or of no format that is known.

    Raises:
        OSError: it cannot be read.
    """
    return name_format(read_head(path))


def name_format(head: list[str]) -> str:
    """Name the format of a file's first lines; empty if it is none that is known."""
    try:
        return tell_format(head)
    except DataError:
        return ""


def read_head(path: Path) -> list[str]:
    """Return the first lines of a file, plain or compressed; none if it is damaged.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return _read_head(path, tell_encoding(path))
    except DataError:
        return []


def _read_head(path: Path, encoding: str) -> list[str]:
    beginning = next(read_pieces(path, encoding), "")
    if is_array(beginning):
        return [beginning]  # its line may be all of a large file
    blocks = read_blocks(path, encoding, _LONGEST_CORPUS_LINE)
    return peek(itertools.chain.from_iterable(blocks), _HEAD)


def _survey(
    path: Path, account: Account, format: str | None, tell: Callable[[int], object] | None
) -> _Export | None:
    """Look at the beginning of a file; None, and a problem in its account, if it cannot be read."""
    with _telling(account):
        if path.exists() and not path.is_file():
            raise DataError("It is no regular file; name the export itself.")
        encoding = tell_encoding(path)
        head = _read_head(path, encoding)
        account.source = format or tell_format(head)
        title = ""
        if account.source in READERS:
            out = Assembler(Account())
            next(READERS[account.source][1](iter(head), out), None)
            title = out.title
        return _Export(path, account, encoding, title, tell)
    return None


def _read(
    path: Path,
    encoding: str,
    account: Account,
    tell: Callable[[int], object] | None,
    longest: int = LONGEST_LINE,
) -> Iterator[str]:
    """Yield the lines of a file; one that breaks off is read up to there."""
    return itertools.chain.from_iterable(
        _guard(read_blocks(path, encoding, longest, tell), account)
    )


def _guard(content: Iterator[T], account: Account) -> Iterator[T]:
    with _telling(account):
        yield from content


@contextmanager
def _telling(account: Account) -> Iterator[None]:
    """End what is done with a file that cannot be read, and put the reason into its account."""
    try:
        yield
    except DataError as error:
        account.problem = str(error)
    except OSError as error:
        account.problem = f"It cannot be read: {(error.strerror or 'damaged').lower()}."


def tell_format(head: list[str]) -> str:
    """Name the format of a file's first lines.

    Raises:
        DataError: it is none that is known.
    """
    if not head:
        raise DataError("It is empty; export the chat again.")
    for name, (matches, _) in {**READERS, **CORPUS_READERS}.items():
        if matches(head):
            return name
    raise DataError(f"Its format is unknown; these are read: {', '.join(FORMATS)}.")


def _group_parts(paths: Sequence[Path]) -> Iterator[list[int]]:
    """Yield places in `paths`, those of numbered parts together and in the order of their numbers."""
    groups: dict[tuple[Path, str], list[tuple[int, int]]] = {}
    for place, path in enumerate(paths):
        found = _PART.search(path.stem)
        stem = path.stem[: found.start()] if found else f"{path.stem}/{place}"
        groups.setdefault((path.parent, stem), []).append((int(found[1]) if found else 0, place))
    for group in groups.values():
        yield [place for _, place in sorted(group)]


def _room_key(export: _Export) -> tuple[str, str]:
    # A corpus has no title, nor has a Mac's export: nothing says that two are of one room.
    if export.account.source in CORPUS_READERS or not export.title:
        return export.account.source, str(id(export))
    return export.account.source, re.sub(r"-\d{1,3}\.txt$", "", export.title)


def _split_copies(parts: list[_Export]) -> list[list[_Export]]:
    """Keep parts that follow each other as one export; ones that overlap are several exports of one room."""
    alone = [[part] for part in parts]
    return [parts] if len(_group_copies(alone)) == len(parts) else alone


def _group_titles(exports: list[list[_Export]]) -> list[list[list[_Export]]]:
    """Put exports of one title together."""
    groups: dict[tuple[str, str], list[list[_Export]]] = {}
    for parts in exports:
        groups.setdefault(_room_key(parts[0]), []).append(parts)
    return list(groups.values())


def _group_copies(rooms: list[list[_Export]]) -> list[list[int]]:
    if len(rooms) == 1:
        return [[0]]
    return find_copies([functools.partial(_read_parts, parts, True) for parts in rooms])


def _read_parts(parts: list[_Export], is_survey: bool) -> Iterator[Message]:
    return itertools.chain.from_iterable(
        part.read(Account() if is_survey else None) for part in parts
    )


def _read_room(copies: list[list[_Export]], seen: set[str]) -> Iterator[Chat]:
    """Yield the chat lines of one room."""
    first = copies[0][0]
    messages = _read_parts(copies[0], False)
    for parts in copies[1:]:
        messages = merge(messages, _read_parts(parts, False), parts[0].account.add_repeated)
    name, source = "", first.account.source
    for stretch in cut(messages):
        name = name or name_room(source, first.title, stretch, seen)
        yield Chat(name, source, first.title, tuple(stretch))
