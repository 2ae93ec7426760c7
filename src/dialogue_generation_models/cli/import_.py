"""`dgm import`: chat lines from the exports of messengers."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring as quote
from pathlib import Path
from typing import Annotated

import typer

from ..data.chats import Chat
from ..data.importers.account import CLASSES, NO_MESSAGE, Account, list_unparsed
from ..data.importers.sniff import FORMATS, import_files
from ..errors import DataError, UsageError
from ..files import replacing
from .progress import show_bytes

app = typer.Typer(add_completion=False)

_OBJECTS_BETWEEN_COLLECTIONS = 100_000
_EXPORTS_A_TABLE = 5


@app.command()
def import_(
    exports: Annotated[
        list[Path],
        typer.Argument(metavar="EXPORT...", help="What a messenger exported, or a corpus."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File for the chat lines.")
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"{', '.join(FORMATS)}; told from the content by default.",
        ),
    ] = None,
    is_json: Annotated[
        bool, typer.Option("--json", help="Print the account as JSON on standard output.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
    ] = False,
) -> None:
    """Turn the exports of messengers, and corpora of dialogues, into chat lines.

    Every line of an export is accounted for. Photos, stickers and what the app itself wrote are
    counted, and left out. The account names files by their place on the command line.
    """
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists; name another file or add --overwrite.")
    if any(output.resolve() == export.resolve() for export in exports):
        raise UsageError("The output file is one of the exports; name another file.")
    accounts: list[Account] = []
    with replacing(output) as partial:
        with show_bytes(_measure(exports)) as tell:
            messages = _write(partial, import_files(exports, accounts, format=format, tell=tell))
        if not messages:
            _show(accounts, as_json=is_json)
            raise DataError("No messages were found; nothing was written.")
    _show(accounts, as_json=is_json)
    unread = sum(1 for account in accounts if account.problem)
    if unread:
        raise DataError(f"Exports that could not be read: {unread}; the others were written.")


def _measure(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def _write(path: Path, chats: Iterable[Chat]) -> int:
    # Messages are many, soon gone and without cycles: looking for these takes a quarter of the time.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    messages = 0
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        for chat in chats:
            messages += len(chat.messages)
            file.write(_format(chat) + "\n")
    return messages


def _format(chat: Chat) -> str:
    """Return a chat line; its messages are joined as text, which takes half the time of `json.dumps`."""
    head = {"id": chat.id, "source": chat.source, "title": chat.title}
    messages = ", ".join(
        [
            f'{{"at": {quote(at) if at else "null"}, "speaker": {quote(speaker)}, "text": {quote(text)}}}'
            for at, speaker, text in chat.messages
        ]
    )
    meta = f', "meta": {json.dumps(chat.meta, ensure_ascii=False)}' if chat.meta else ""
    return f'{json.dumps(head, ensure_ascii=False)[:-1]}, "messages": [{messages}]{meta}}}'


def _show(accounts: list[Account], *, as_json: bool) -> None:
    """Print the account: JSON on standard output, or a table on the error stream."""
    if as_json:
        rows = [
            {
                "export": number,
                "format": a.source,
                "problem": a.problem,
                "lines": a.lines,
                **a.counts,
                "unparsed_lines": a.unparsed_lines,
                "repeated": a.repeated,
            }
            for number, a in enumerate(accounts, start=1)
        ]
        print(json.dumps(rows))
        return
    numbered = list(enumerate(accounts, start=1))
    for start in range(0, len(numbered), _EXPORTS_A_TABLE):
        _print_table(numbered[start : start + _EXPORTS_A_TABLE])
    for number, account in numbered:
        for note in _note(account):
            print(f"Export {number}: {note}", file=sys.stderr)


def _print_table(numbered: list[tuple[int, Account]]) -> None:
    from rich.console import Console
    from rich.table import Table

    is_terminal = sys.stderr.isatty()
    # Classes stand one below the other: side by side they do not fit into 80 columns.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("export", style="bold")
    for number, _ in numbered:
        table.add_column(str(number), justify="right", min_width=8)
    table.add_row("format", *(account.source or "-" for _, account in numbered))
    for name in CLASSES:
        table.add_row(name, *(f"{account.counts[name]:,}" for _, account in numbered))
    table.add_row("lines", *(f"{account.lines:,}" for _, account in numbered), style="bold")
    console = Console(stderr=True, highlight=False) if is_terminal else Console(width=500)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()), file=sys.stderr)


def _note(account: Account) -> Iterator[str]:
    """Yield what a table has no place for, without a word of the export."""
    if account.problem:
        yield account.problem
    elif not account.counts["message"]:
        yield NO_MESSAGE
    if account.repeated:
        yield f"{account.repeated:,} messages stand in another export of the room too, and are written once."
    if numbers := account.unparsed_lines:
        yield f"unparsed: {list_unparsed(numbers, account.counts['unparsed'], account.source)}"
