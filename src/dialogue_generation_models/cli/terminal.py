"""How a conversation looks on a terminal. It draws and asks; what happens is `conversation.py`'s.

- Model text is never trusted: control characters and direction overrides are replaced before printing.
- Replies are wrapped by display width, in which Korean and Japanese letters count two.
- Keys that are typed while a reply is written are not echoed; they arrive at the next prompt.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle
from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

_INDENT = "  "
_DIRECTION_MARKS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def printable(text: str) -> str:
    """Return the text on one line, without characters that steer a terminal."""
    return "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in _DIRECTION_MARKS else c
        for c in text
    )


class TerminalView:
    """Draws with rich, asks with prompt-toolkit. Use it in a `with` block."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._session: PromptSession[str] = PromptSession(
            history=InMemoryHistory(),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            key_bindings=_key_bindings(),
            prompt_continuation=_INDENT,
        )
        self._column = 0
        self._echo: AbstractContextManager[None] = _no_echo()

    def __enter__(self) -> Self:
        self._echo.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._echo.__exit__(kind, error, trace)

    def complete(self, commands: Iterable[str]) -> None:
        """Let Tab complete these commands."""
        self._session.completer = WordCompleter(list(commands), sentence=True)

    def ask(self) -> str | None:
        """Return what the user typed, None for Ctrl+D.

        Raises:
            KeyboardInterrupt: Ctrl+C while nothing was typed.
        """
        try:
            return self._session.prompt([("ansicyan bold", "› ")])
        except EOFError:
            return None

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show that something is going on, until it is done."""
        with self._console.status(Text(text, "dim"), refresh_per_second=6):
            yield

    @contextmanager
    def replying(self) -> Iterator[None]:
        """Frame a reply that `write` gives piece by piece."""
        self._column = 0
        try:
            yield
        finally:
            if self._column:
                self._break()
            self._console.out("")

    def write(self, piece: str) -> None:
        """Append to the reply, on a new line where the next word does not fit."""
        width = max(self._console.width, len(_INDENT) + 2)
        for word in re.findall(r"\s+|\S+", printable(piece)):
            if self._column and self._column + cell_len(word) > width:
                self._break()
            if not self._column:
                word = word.lstrip()
            for part in [word] if cell_len(word) <= width - len(_INDENT) else word:
                if self._column + cell_len(part) > width:
                    self._break()
                if not self._column:
                    self._put(_INDENT)
                self._put(part)

    def note(self, text: str) -> None:
        """Say something about the conversation."""
        self._print(Text(text, "dim"))

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._print(Text(text, "red"))

    def banner(self, title: str, lines: Sequence[str]) -> None:
        """Open the conversation."""
        self._console.print(Text(title, "bold"))
        for line in lines:
            self._console.print(Text(line, "dim"))
        self._console.print()

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show names and what belongs to them."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, fact in rows:
            table.add_row(Text(name, "cyan"), Text(fact))
        self._print(table)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table; all columns but the last hold numbers."""
        table = Table(box=box.SIMPLE_HEAD, header_style="cyan", show_edge=False, pad_edge=False)
        for name in columns[:-1]:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column(columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._print(table)

    def _print(self, block: RenderableType) -> None:
        self._console.print(Padding(block, (0, 0, 1, len(_INDENT))))

    def _break(self) -> None:
        self._console.out("")
        self._column = 0

    def _put(self, text: str) -> None:
        self._console.out(text, end="")
        self._console.file.flush()
        self._column += cell_len(text)


@contextmanager
def _no_echo() -> Iterator[None]:
    """Keep typed keys, and the ^C of Ctrl+C, out of what is written (where the system has termios)."""
    try:
        import termios
    except ImportError:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _key_bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    def _clear_or_stop(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    return bindings
