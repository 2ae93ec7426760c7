"""What became of every line of an export, so that nothing is lost in silence.

Each line has exactly one class; the classes sum to the file's lines. An account holds no chat text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from ..chats import Message

Record: TypeAlias = "tuple[str | None, str, str, bool]"
"""Time, speaker and text of the line that begins a message, and whether it is a notice."""
LineClass = Literal[
    "message", "continuation", "date", "notice", "placeholder", "header", "blank", "unparsed"
]
CLASSES: tuple[LineClass, ...] = get_args(LineClass)
NO_MESSAGE = "no message was read; check that it is the right file."
LONGEST_MESSAGE = 1 << 20
"""Characters; lines that would make a message longer are counted as unparsed."""
MOST_NUMBERS = 1000
"""Unparsed lines whose numbers are kept."""
_NUMBERS_SHOWN = 8


@dataclass
class Account:
    """Counts of one export file."""

    source: str = ""
    """The format it was read as."""
    problem: str = ""
    """Why the file could not be read; no text and no name."""
    counts: dict[LineClass, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))

    repeated: int = 0
    """Messages that another export of the same room holds too, and that were left out here."""
    unparsed_lines: list[int] = field(default_factory=list)
    """The numbers (from 1) of the first unparsed lines."""

    def add(self, line_class: LineClass, lines: int = 1) -> None:
        """Count lines."""
        self.counts[line_class] += lines

    def add_unparsed(self, lines: int = 1, pending: int = 0) -> None:
        """Count unparsed lines, which follow the counted ones and `pending` others that are not counted yet."""
        first = self.lines + pending + 1
        room = MOST_NUMBERS - len(self.unparsed_lines)
        self.unparsed_lines += range(first, first + min(lines, room))
        self.counts["unparsed"] += lines

    def add_repeated(self, messages: int) -> None:
        """Count messages that were left out because another export of the room holds them."""
        self.repeated += messages

    @property
    def unit(self) -> str:
        """What is counted: of a JSON array its entries, which may all be on one line."""
        return "entry" if self.source == "json" else "line"

    @property
    def lines(self) -> int:
        """Lines of the file, or entries of an array."""
        return sum(self.counts.values())


def list_unparsed(numbers: Sequence[int], count: int, source: str) -> str:
    """Say which of a file's lines were not understood, by the first of their `count` numbers."""
    listed = ", ".join(map(str, numbers[:_NUMBERS_SHOWN]))
    return f"{Account(source).unit} {listed}{', ...' if count > _NUMBERS_SHOWN else ''}"


class Assembler:
    """Joins the lines of a message, and counts them. Parsers of line-based exports fill it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.title = ""
        self.at: str | None = None
        self.speaker = ""
        self.is_notice = False
        self.lines: list[str] = []
        """Lines of the message that is still open; empty where none is."""
        self._size = 0
        self._blanks = 0

    def read(
        self,
        lines: Iterable[str],
        parse: Callable[[str], Record | None],
        name: Callable[[str], LineClass | None],
        classify: Callable[[str], LineClass],
    ) -> Iterator[Message]:
        """Yield the messages of an export's lines, and count the lines.

        Args:
            lines: all of the export.
            parse: reads a line that begins a message; None of any other.
            name: names one of those others, and takes what it says; None if it is blank or goes on.
            classify: tells a message from a placeholder and a notice.
        """
        counts = self.account.counts
        # A message waits here for the next line; most are followed by another, and need no assembling.
        held: Record | None = None
        for line in lines:
            record = parse(line)
            if held and record:
                at, speaker, text, is_notice = held
                line_class: LineClass = "notice" if is_notice else classify(text)
                counts[line_class] += 1
                if line_class == "message":
                    yield Message(at, speaker, text)
                held = record
                continue
            if held:
                self.open(*held)
            held = record
            kind = None if record else name(line)
            if not record and not kind:
                self.extend(line)
                continue
            if message := self.close(classify):
                yield message
            if kind:
                self.account.add(kind)
        if held:
            self.open(*held)
        if message := self.close(classify):
            yield message

    def open(self, at: str | None, speaker: str, text: str, is_notice: bool) -> None:
        """Begin a message, or a notice; the one before must have been closed."""
        self.at, self.speaker, self.is_notice = at, speaker, is_notice
        self.lines, self._size = [text], len(text)

    def extend(self, line: str) -> None:
        """Add a line to the open message; blank ones belong to it only if text follows them."""
        if not line or line.isspace():
            self._blanks += 1
            return
        self._size += len(line) + self._blanks + 1
        if not self.lines or self._size > LONGEST_MESSAGE:
            self.account.add_unparsed(pending=self._blanks + bool(self.lines))
            return
        self.account.add("continuation", self._blanks + 1)
        self.lines += [""] * self._blanks
        self.lines.append(line)
        self._blanks = 0

    @property
    def is_after_blank(self) -> bool:
        """Whether the line before this one was blank."""
        return self._blanks > 0

    def close(self, classify: Callable[[str], LineClass]) -> Message | None:
        """End the open message, if there is one, and return it if that is what it is."""
        message = None
        if self.lines:
            text = self.lines[0] if len(self.lines) == 1 else "\n".join(self.lines)
            line_class = "notice" if self.is_notice else classify(text)
            self.account.counts[line_class] += 1
            if line_class == "message":
                message = Message(self.at, self.speaker, text)
            self.lines = []
        if self._blanks:
            self.account.add("blank", self._blanks)
            self._blanks = 0
        return message
