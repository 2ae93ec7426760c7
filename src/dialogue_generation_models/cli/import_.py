"""`dgm import`: chat lines from the exports of messengers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ..data.chats import Chat
from ..data.importers.account import CLASSES, Account
from ..data.importers.sniff import import_files
from ..errors import DataError, UsageError

app = typer.Typer(add_completion=False)


@app.command()
def import_(
    exports: Annotated[
        list[Path], typer.Argument(metavar="EXPORT...", help="Files that a messenger exported.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File for the chat lines.")
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="kakaotalk or line; told from the content by default."
        ),
    ] = None,
    is_json: Annotated[
        bool, typer.Option("--json", help="Print the account as JSON on standard output.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
    ] = False,
) -> None:
    """Turn the exports of messengers into chat lines.

    Every line of an export is accounted for. Photos, stickers and what the app itself wrote are
    counted, and left out. The account names files by their place on the command line.
    """
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists; name another file or add --overwrite.")
    if any(output.resolve() == export.resolve() for export in exports):
        raise UsageError("The output file is one of the exports; name another file.")
    accounts: list[Account] = []
    partial = output.with_name(f"{output.name}.partial")
    try:
        messages = _write(partial, import_files(exports, accounts, format=format))
        if not messages:
            _show(accounts, as_json=is_json)
            raise DataError("No messages were found; nothing was written.")
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    _show(accounts, as_json=is_json)
    unread = sum(1 for account in accounts if account.problem)
    if unread:
        raise DataError(f"Exports that could not be read: {unread}; the others were written.")


def _write(path: Path, chats: Iterable[Chat]) -> int:
    messages = 0
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        for chat in chats:
            messages += len(chat.messages)
            record = {
                "id": chat.id,
                "source": chat.source,
                "title": chat.title,
                "messages": [message._asdict() for message in chat.messages],
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return messages


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
            }
            for number, a in enumerate(accounts, start=1)
        ]
        print(json.dumps(rows))
        return
    print(
        "export  format    " + "  ".join(f"{name:>12}" for name in ("lines", *CLASSES)),
        file=sys.stderr,
    )
    for number, account in enumerate(accounts, start=1):
        numbers = "  ".join(f"{n:>12}" for n in (account.lines, *account.counts.values()))
        print(f"{number:>6}  {account.source:<9} {numbers}", file=sys.stderr)
        if account.problem:
            print(f"        {account.problem}", file=sys.stderr)
