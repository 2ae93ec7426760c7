"""The conversation as detectors read it: folded, with a way back to the original.

- Letters that stand for one other letter (full width, circled, dashes) are translated one to one.
- Everything that changes the length (zero-width, spelt-out at and dot, spaces inside spaced digits) is an edit,
  and the map from folded to original is the list of edits, not a number per letter.
- Hangul, kanji and jamo digits are folded only inside a run of seven or more digits: 이, 일, 구, 오 are words.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from .finding import Finding, Kind

_DASHES = "‐‑‒–—―−﹣－ー"
_SPOKEN_DASHES = "_~*,·・ㅡ〜에の"
"""Between the groups of a phone number: 010에 1234에 5678."""
_LETTERS = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if code != 0xFF0D}
_CIRCLED = {
    letter: str(unicodedata.digit(letter))
    for first, last in (("⓪", "⓪"), ("①", "⑨"), ("⓵", "⓽"), ("❶", "❾"), ("➀", "➈"), ("➊", "➒"))
    for letter in map(chr, range(ord(first), ord(last) + 1))
}
_SPACES = dict.fromkeys("\u00a0\u3000\t\u2002\u2003\u2009", " ")
_ONE_TO_ONE = str.maketrans({**_LETTERS, **_CIRCLED, **_SPACES})

_DIGITS = {
    **{str(n): str(n) for n in range(10)},
    **dict(zip("공영일이삼사오육륙칠팔구", "001234566789", strict=True)),
    **dict(zip("〇零一二三四五六七八九", "00123456789", strict=True)),
    "ㅇ": "0",
}
_D = "".join(_DIGITS)
_EDIT = re.compile(
    r"(?P<zero>(?<![A-Za-z0-9])[oO]1[oO0](?=[ .\-]?[0-9])|(?<=(?<![0-9])01)[oO](?=[ .\-]?[0-9]))"
    r"|(?P<hidden>[\u200b-\u200f\u2060\u00ad\ufeff]+)"
    r"|(?P<jamo>[\u1100-\u11ff]+)"
    r"|(?P<at> ?(?:골뱅이|アットマーク|あっとまーく|[(\[](?:at|AT|골뱅이|アット)[)\]]) ?)"
    r"|(?P<said_at>(?<=[A-Za-z0-9]) at (?=[a-z0-9\-]{1,40}\.(?:com|net|co|kr|jp)))"
    r"|(?P<com> ?(?:닷|쩜|점) ?(?:컴|com)(?![a-z]))"
    r"|(?P<net> ?(?:닷|쩜|점) ?(?:넷|net)(?![a-z]))"
    r"|(?P<dot> ?(?:(?:닷|쩜|점)(?= ?(?:co|kr|ac|go|org|케이알))|ドット|[(\[](?:dot|닷)[)\]]) ?)"
    r"|(?P<kr>(?<=\.)케이알)"
    rf"|(?P<digits>[{_D}][{_D} .\-\n{_DASHES}{_SPOKEN_DASHES}\u200b-\u200f\u2060\ufeff]{{5,}}[{_D}])"
)
_MOBILE = re.compile(r"0[15789]0[0-9]{0,8}")
_SPELT = {
    "hidden": "",
    "at": "@",
    "said_at": "@",
    "com": ".com",
    "net": ".net",
    "dot": ".",
    "kr": "kr",
}


class _Piece(NamedTuple):
    """A stretch of folded text and the original stretch that it came from."""

    folded: int
    start: int
    end: int
    even: bool
    """Letter for letter; otherwise any part of it stands for the whole original stretch."""


class _Edit(NamedTuple):
    start: int
    end: int
    replacement: str


@dataclass(frozen=True)
class Conversation:
    """Messages of one conversation, as sent and as folded."""

    original: str
    """The messages, joined by a line break."""
    folded: str
    pieces: tuple[_Piece, ...]

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Conversation:
        """Fold the messages of a conversation, oldest first."""
        original = "\n".join(texts)
        plain = original.translate(_ONE_TO_ONE)
        parts: list[str] = []
        pieces: list[_Piece] = []
        done = length = 0
        for edit in _edits(plain):
            if edit.start > done:
                pieces.append(_Piece(length, done, edit.start, True))
                parts.append(plain[done : edit.start])
                length += edit.start - done
            if edit.replacement:
                even = len(edit.replacement) == edit.end - edit.start
                pieces.append(_Piece(length, edit.start, edit.end, even))
                parts.append(edit.replacement)
                length += len(edit.replacement)
            done = edit.end
        pieces.append(_Piece(length, done, len(plain), True))
        parts.append(plain[done:])
        return cls(original, "".join(parts), tuple(pieces))

    def find(self, kind: Kind, start: int, end: int) -> Finding:
        """Make a finding of the folded stretch [start, end), which must not be empty."""
        return Finding(kind, self._locate(start)[0], self._locate(end - 1)[1])

    def _locate(self, index: int) -> tuple[int, int]:
        at = bisect_right(self.pieces, index, key=_folded) - 1
        piece = self.pieces[at]
        if not piece.even:
            return piece.start, piece.end
        start = piece.start + index - piece.folded
        return start, start + 1


def _folded(piece: _Piece) -> int:
    return piece.folded


def _edits(text: str) -> Iterator[_Edit]:
    for match in _EDIT.finditer(text):
        group = match.lastgroup or ""
        if group == "digits":
            yield from _digit_edits(match.group(), match.start())
        elif group == "zero":
            yield _Edit(*match.span(), match.group().upper().replace("O", "0"))
        elif group == "jamo":
            yield _Edit(*match.span(), unicodedata.normalize("NFC", match.group()))
        else:
            yield _Edit(*match.span(), _SPELT[group])


def _digit_edits(run: str, offset: int) -> Iterator[_Edit]:
    """Fold a run of digits and separators; one edit a letter, so that offsets stay exact."""
    places = [i for i, letter in enumerate(run) if letter in _DIGITS]
    ascii_digits = sum(run[i].isascii() for i in places)
    chosen = _spelt_digits(run, places, ascii_digits)
    lone = len(places) >= 7 and all(b - a > 1 for a, b in pairwise(places))
    value = "".join(_DIGITS[run[i]] for i in sorted(chosen))
    grouped = len(value) == 13 or (value.startswith(("0", "82", "81")) and 9 <= len(value) <= 14)
    for i, letter in enumerate(run):
        start = offset + i
        if i in chosen:
            if not letter.isascii():
                yield _Edit(start, start + 1, _DIGITS[letter])
        elif letter in "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff" or (
            lone and letter not in _DIGITS and letter != "\n"
        ):
            yield _Edit(start, start + 1, "")
        elif letter in _DASHES or (grouped and letter in _SPOKEN_DASHES):
            yield _Edit(start, start + 1, "-")


def _spelt_digits(run: str, places: list[int], ascii_digits: int) -> set[int]:
    """Which letters of a run are digits: not the particle after a number, nor a word before it."""
    if ascii_digits == len(places):
        return set(places)
    value = "".join(_DIGITS[run[i]] for i in places)
    if len(places) < 7 or not any(run[i] != "ㅇ" for i in places):
        return {i for i in places if run[i].isascii()}
    starts = [match.start() for match in _MOBILE.finditer(value)]
    kept: set[int] = {i for i in places if run[i].isascii()}
    for first in starts or [0]:
        kept.update(_trimmed(run, places[first : first + 11] if starts else places))
    return kept


def _trimmed(run: str, places: list[int]) -> list[int]:
    """Without the words at the ends of a number that is mostly written in figures."""
    kept = list(places)
    if sum(run[i].isascii() for i in kept) >= 7:
        while kept and not run[kept[-1]].isascii() and run[kept[-1]] not in "공영ㅇ":
            kept.pop()
        while kept and not run[kept[0]].isascii() and run[kept[0]] not in "공영ㅇ":
            kept.pop(0)
    return kept
