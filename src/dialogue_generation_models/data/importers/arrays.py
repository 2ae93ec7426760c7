"""JSON arrays of dialogues, `[{"conversations": [...]}, ...]`, pretty-printed or on one line, entry by entry.

- A file is read on only where an entry needs it, so memory is that of the longest entry, and of a piece.
- An entry that is damaged is passed over. The next one begins where a key comes that entries begin with: inside
  a string its quotes would be escaped, and the objects within an entry begin with other keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .account import Account

LONGEST_ENTRY = 1 << 24
"""Characters; a longer entry is damaged."""

_ARRAY = re.compile(r'\s*\[\s*\{\s*"')
_OPENING = re.compile(r"\s*\[")
_END = re.compile("]")
_GAP = re.compile(r"[\s,]*")
_FIRST_KEY = re.compile(r'\{\s*"([^"\\]{1,100})"\s*:')
_FIRST_KEYS = ("id", "conversations", "messages", "turns", "text")
_MOST_KEYS = 20
_OVERLAP = 300
"""Characters that may hold the beginning of an entry of which the rest is still to be read."""
_MARGIN = 16
"""An error so near to the end, such as one in `tru`, may be gone when more has been read."""
_CUT_OFF = "It is cut off; get a complete copy."


def is_array(beginning: str) -> bool:
    """Whether a file that begins so is a JSON array of objects."""
    return _ARRAY.match(beginning) is not None


def read_entries(pieces: Iterator[str], account: Account) -> Iterator[tuple[str, Any] | None]:
    """Yield the entries of an array, as written and as values; None for each that is damaged.

    Args:
        pieces: the file's text.
        account: gets a problem if the array has no end.
    """
    text = _Text(pieces)
    text.skip(_OPENING)
    while (sign := text.next_sign()) not in ("", "]"):
        if sign == ":":  # the rest of an entry that lost its bracket
            text.skip_to_next_entry()
            continue
        entry = text.decode()
        yield entry
        if entry is None:
            text.skip_to_next_entry()
    if not sign:
        account.problem = account.problem or _CUT_OFF
        return
    text.skip(_END)
    if text.next_sign():  # something stands behind the array
        yield None


class _Text:
    """As much of a file as is needed, and a place in it."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._keys: dict[str, None] = {}
        """What entries were seen to begin with."""
        self._decoder = json.JSONDecoder()
        self.place = 0

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Move behind what a pattern matches here."""
        while not self._text and self._read_on():
            pass
        if found := pattern.match(self._text, self.place):
            self.place = found.end()

    def next_sign(self) -> str:
        """Move to the next character that is neither space nor comma, and return it; empty at the end."""
        while True:
            self.skip(_GAP)
            if self.place < len(self._text):
                return self._text[self.place]
            if not self._read_on():
                return ""

    def decode(self) -> tuple[str, Any] | None:
        """Move behind the value here, and return it as written and as it is; stay at a damaged one."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self.place)
            except json.JSONDecodeError as error:
                if not (self._may_be_cut(error) and self._read_on()):
                    return None
            except (ValueError, RecursionError):
                return None
            else:
                self._learn_key()
                start, self.place = self.place, end
                return self._text[start:end], value

    def skip_to_next_entry(self) -> None:
        """Move to where the next entry begins; to the array's end if there is none."""
        keys = "|".join(map(re.escape, self._keys or _FIRST_KEYS))
        entry = re.compile(rf'\{{\s*"(?:{keys})"\s*:')
        self.place += 1
        while not (found := entry.search(self._text, self.place)):
            self.place = max(self.place, len(self._text) - _OVERLAP)
            if not self._read_on():
                self.place = len(self._text.rstrip())
                self.place -= self._text.endswith("]", 0, self.place)
                return
        self.place = found.start()

    def _read_on(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._text = self._text[self.place :] + piece
        self.place = 0
        return True

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        is_at_end = error.pos >= len(self._text) - _MARGIN
        is_open = is_at_end or error.msg.startswith("Unterminated string")
        return is_open and len(self._text) - self.place < LONGEST_ENTRY

    def _learn_key(self) -> None:
        found = _FIRST_KEY.match(self._text, self.place)
        if found and len(self._keys) < _MOST_KEYS:
            self._keys[found[1]] = None
