"""The conversation as detectors read it: folded, with a way back to the original.

- Letters that stand for one other letter (full width, circled, bold) are translated one to one.
- What changes the length is folded in three layers: letters (zero-width, jamo), words (a spelt-out at, dot or
  katakana digit), runs of digits. Each layer that changed anything keeps a list of its pieces, not a number
  for each letter.
- Hangul, kanji and jamo digits are folded only inside a run of six or more digits: 이, 일, 구, 오 are words.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from re import Match, Pattern
from typing import NamedTuple

from .finding import Finding, Kind
from .reading_order import NOD_BETWEEN_FIGURES
from .spoken_digits import SIGN, spoken_digits
from .windows import windows

_DASHES = "‐‑‒–—―−﹣－ー"
_SPOKEN_DASHES = "_ㅡ에의の "
"""Letters between the groups of a phone number: 010에 1234에 5678; signs may be any."""
_PLAIN_SEPARATORS = frozenset(" -.()/\n")
_BLANKS = "\u00a0\u3000\t\u2002\u2003\u2009"
_STYLED = (
    (0x2070, 0x209C),
    (0x2460, 0x24FF),
    (0x2776, 0x2793),
    (0x1D400, 0x1D7FF),
    (0xFF01, 0xFF5E),
)
"""Blocks of raised, circled, bold and full-width forms of one ASCII letter."""
_HIDDEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u2069\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
_ONE_LETTER = re.compile(f"[{_BLANKS}{''.join(f'{chr(a)}-{chr(b)}' for a, b in _STYLED)}]+")
_SHORT_FORMS = re.compile(rf"[{_HIDDEN}\u1100-\u11ff\uff65-\uff9f]+")
"""Invisible letters, decomposed Hangul, half-width katakana."""
_DROP_HIDDEN = re.compile(f"[{_HIDDEN}]+")

_DIGITS = {
    **{str(n): str(n) for n in range(10)},
    **dict(zip("공영일이삼사오육륙칠팔구", "001234566789", strict=True)),
    **dict(zip("〇零一二三四五六七八九", "00123456789", strict=True)),
    **dict.fromkeys("ㅇ○◯", "0"),
}
_D = "".join(_DIGITS)
_RUN = re.compile(rf"[{_D}](?:[^\w○◯]{{0,3}}[{_D}]|[{_DASHES}{_SPOKEN_DASHES}]{{1,3}}[{_D}]){{5,}}")
_MOBILE = re.compile(r"0[15789]0[0-9]{8}")
_PARTS = re.compile(
    rf"[0〇零](?:(?<=0)[1789]0|(?<!0)[七八九][〇零])[^0-9]{{1,30}}?(?<![가-힣一-龥])([{_D}]{{4}})(?![{_D}])"
    rf"[^0-9]{{1,30}}?(?<![가-힣一-龥])([{_D}]{{4}})(?![{_D}])"
)
"""A phone number told in parts, with words in between."""
_PLATE = re.compile(r"[0-9]{2,3} ?[오구사] ?[0-9]{4}")
"""A car's, whose letter is no figure."""
_FOURS = re.compile(rf"[{_D}]{{4}}(?:[^{_D}]{{1,3}}[{_D}]{{4}}){{2,3}}")
"""Of a card, of My Number."""
_SPELT = re.compile(
    r" (?<=[A-Za-z@] )(?<![A-Za-z0-9][A-Za-z] )(?:[A-Za-z0-9@_.#\-] ){2,63}[A-Za-z0-9@_.#\-](?![A-Za-z0-9])"
)
"""What follows the first of some Latin letters that each stand alone: k i m 9 2 @ n a v e r."""
_RESIDENT = re.compile(r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[1-8][0-9]{6}")

_LATIN_BEFORE = r"(?<=[A-Za-z0-9])"


def _each(words: Iterable[str], after: str = "") -> str:
    return "|".join(f"{word}{after}" for word in words)


_SAID_DOT = re.compile(_each("닷쩜점", r"(?= ?(?:컴|넷|케이알|[A-Za-z]))"))
_BRACKETS = (r"\(", r"\[", r"\{")
_SAID_DASH = (
    *("다시", "대시", "하이픈", "작대기", "그다음에", "그다음", "그리고", "다음은", "ハイフン"),
)


class _Word(NamedTuple):
    sign: Pattern[str]
    """What is searched for first, absent from most conversations; alternatives that begin with a
    letter, which `re` skips to."""
    pattern: Pattern[str]
    replacement: str


_WORDS = (
    _Word(
        re.compile(
            rf"골뱅이|アット|あっと|{_each(_BRACKETS, ' ?(?:[aA][tT]?|골뱅이|アット|あっと)')}"
        ),
        re.compile(
            rf"(?:{_LATIN_BEFORE}에)?[ \n]?(?:골뱅이|アットマーク|あっとまーく"
            r"|[(\[{] ?(?:at|AT|골뱅이|アット|あっと)(?:マーク)? ?[)\]}]"
            r"|(?<=[A-Za-z0-9])[(\[{][aA][)\]}](?=[A-Za-z0-9\-]{1,40}\.)"
            r"|(?:アット|あっと)(?= ?[A-Za-z0-9\-]{1,40}(?:\.| ?ドット| ?どっと)))[ \n]?"
        ),
        "@",
    ),
    _Word(
        re.compile("앳|엣|at (?<= at )|AT (?<= AT )"),
        re.compile(
            rf"{_LATIN_BEFORE} ?(?:앳|엣| (?:at|AT) ) ?"
            r"(?=(?:[a-z0-9\-]{1,40}|네이버|지메일|한메일|다음|카카오|네이트) ?(?:\.|점|닷|쩜|dot|DOT|Dot))"
        ),
        "@",
    ),
    _Word(_SAID_DOT, re.compile(r"[ \n]?(?:닷|쩜|점) ?(?:컴|com)(?![a-z])"), ".com"),
    _Word(_SAID_DOT, re.compile(r" ?(?:닷|쩜|점) ?(?:넷|net)(?![a-z])"), ".net"),
    _Word(_SAID_DOT, re.compile(r" ?(?:닷|쩜|점) ?케이알"), ".kr"),
    _Word(
        _SAID_DOT,
        re.compile(r"(?<=[A-Za-z0-9가-힣]) ?(?:닷|쩜|점) ?(?=[A-Za-z])"),
        ".",
    ),
    _Word(
        re.compile(rf"ドット|どっと|{_each(_BRACKETS, ' ?(?:dot|DOT|[닷점.])')}"),
        re.compile(r" ?(?:ドット|どっと|[(\[{] ?(?:dot|DOT|닷|점|\.) ?[)\]}]) ?"),
        ".",
    ),
    _Word(
        re.compile(_each(_SAID_DASH, rf"(?= ?[{_D}])")),
        re.compile(rf"(?<=[{_D}]) ?(?:{'|'.join(_SAID_DASH)}) ?(?=[{_D}])"),
        "-",
    ),
    _Word(
        re.compile(_each(_DASHES, "(?=[0-9])")), re.compile(rf"(?<=[0-9])[{_DASHES}](?=[0-9])"), "-"
    ),
    _Word(
        re.compile("언더|밑줄|アンダー"),
        re.compile(
            r"(?<=[A-Za-z0-9]) ?(?:언더 ?바|언더스코어|밑줄|アンダー(?:バー|スコア)?) ?(?=[A-Za-z0-9])"
        ),
        "_",
    ),
    _Word(
        re.compile("dot (?<= dot )|DOT (?<= DOT )"),
        re.compile(r"(?<=[A-Za-z0-9]) (?:dot|DOT) (?=[A-Za-z]{2,6}(?![A-Za-z]))"),
        ".",
    ),
    _Word(re.compile("공일공"), re.compile("공일공"), "010"),
    _Word(re.compile("ㄱ(?=[일1])"), re.compile(rf"ㄱ[일1][공0ㄱ](?=[ .\-]?[{_D}])"), "010"),
    _Word(
        re.compile(f"제로|ゼロ(?=[{_D}])"),
        re.compile(rf"(?<=[{_D}])제로|[제ゼ][로ロ](?=[{_D}])"),
        "0",
    ),
    _Word(
        re.compile(_each(("o", "O", "0(?!10)"), "[1lIㅣ][oO0]")),
        re.compile(r"(?<![A-Za-z0-9])(?!010)[oO0][1lIㅣ][oO0](?=[ .\-]?[0-9])"),
        "010",
    ),
)
_ANY_SIGN = re.compile(
    "|".join(dict.fromkeys(sign.pattern for sign, _, _ in _WORDS)) + f"|{SIGN.pattern}"
)
_REACH = 48


class _Edit(NamedTuple):
    start: int
    end: int
    replacement: str


class _Piece(NamedTuple):
    """A stretch of folded text and the stretch that it came from."""

    folded: int
    start: int
    end: int
    even: bool
    """Letter for letter; otherwise any part of it stands for the whole stretch."""


@dataclass(frozen=True)
class Conversation:
    """Messages of one conversation, as sent and as folded."""

    original: str
    """The messages, joined by a line break."""
    folded: str
    layers: tuple[tuple[_Piece, ...], ...]
    """The pieces of each folding, in the order in which they were done."""

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Conversation:
        """Fold the messages of a conversation, oldest first."""
        original = "\n".join(texts)
        text = _ONE_LETTER.sub(_plain_letters, original)
        layers = []
        for edits_of in (_letter_edits, _word_edits, _digit_edits):
            edits = sorted(edits_of(text))
            if edits:
                text, pieces = _rewrite(text, edits)
                layers.append(pieces)
        return cls(original, text, tuple(layers))

    def find(self, kind: Kind, start: int, end: int) -> Finding:
        """Make a finding of the folded stretch [start, end), which must not be empty."""
        last = end - 1
        for pieces in reversed(self.layers):
            start, last = _locate(pieces, start)[0], _locate(pieces, last)[1] - 1
        return Finding(kind, start, last + 1)


@cache
def _one_to_one() -> dict[int, str]:
    """What each letter that stands for one ASCII letter or digit is read as."""
    table = {ord(blank): " " for blank in _BLANKS}
    for first, last in _STYLED:
        for letter in map(chr, range(first, last + 1)):
            plain = unicodedata.normalize("NFKC", letter)
            digit = unicodedata.digit(letter, None)
            if digit is not None:
                table[ord(letter)] = str(digit)
            elif len(plain) == 1 and plain.isascii():
                table[ord(letter)] = plain
    del table[ord("－")], table[ord("～")]  # read as dashes where they stand between digits
    return table


def _plain_letters(match: Match[str]) -> str:
    return match.group().translate(_one_to_one())


def _rewrite(text: str, edits: Sequence[_Edit]) -> tuple[str, tuple[_Piece, ...]]:
    """Apply edits, ordered by start; of overlapping ones the first."""
    parts: list[str] = []
    pieces: list[_Piece] = []
    done = length = 0
    for start, end, replacement in edits:
        if start < done:
            continue
        if start > done:
            pieces.append(_Piece(length, done, start, True))
            parts.append(text[done:start])
            length += start - done
        if replacement:
            pieces.append(_Piece(length, start, end, len(replacement) == end - start))
            parts.append(replacement)
            length += len(replacement)
        done = end
    pieces.append(_Piece(length, done, len(text), True))
    parts.append(text[done:])
    return "".join(parts), tuple(pieces)


def _locate(pieces: tuple[_Piece, ...], index: int) -> tuple[int, int]:
    piece = pieces[bisect_right(pieces, index, key=_folded) - 1]
    if not piece.even:
        return piece.start, piece.end
    start = piece.start + index - piece.folded
    return start, start + 1


def _folded(piece: _Piece) -> int:
    return piece.folded


def _letter_edits(text: str) -> Iterator[_Edit]:
    for match in NOD_BETWEEN_FIGURES.finditer(text):
        yield _Edit(*match.span(), "")
    for match in _SPELT.finditer(text):
        for i in range(*match.span()):
            if text[i] == " ":
                yield _Edit(i, i + 1, "")
    for match in _SHORT_FORMS.finditer(text):
        seen = _DROP_HIDDEN.sub("", match.group())
        yield _Edit(*match.span(), unicodedata.normalize("NFKC", seen))


def _word_edits(text: str) -> Iterator[_Edit]:
    for first, last in windows(text, _ANY_SIGN, _REACH):
        for sign, pattern, replacement in _WORDS:
            if sign.search(text, first, last):
                for match in pattern.finditer(text, first, last):
                    yield _Edit(*match.span(), replacement)
        if SIGN.search(text, first, last):
            yield from (_Edit(*edit) for edit in spoken_digits(text, first, last))


def _part_edits(text: str) -> Iterator[_Edit]:
    for match in _PARTS.finditer(text):
        for start, end in (match.span(1), match.span(2)):
            for i in range(start, end):
                yield _Edit(i, i + 1, _DIGITS[text[i]])
        if match.group()[0] in "〇零":
            for i in range(match.start(), match.start() + 3):
                yield _Edit(i, i + 1, _DIGITS[text[i]])


def _digit_edits(text: str) -> Iterator[_Edit]:
    """Fold runs of digits and separators; one edit a letter, so that offsets stay exact."""
    yield from _part_edits(text)
    for match in _RUN.finditer(text):
        run, offset = match.group(), match.start()
        if _PLATE.fullmatch(run):
            continue
        places = [i for i, letter in enumerate(run) if letter in _DIGITS]
        chosen = _spelt_digits(run, places)
        lone = len(places) >= 7 and all(b - a > 1 for a, b in pairwise(places))
        value = "".join(_DIGITS[run[i]] for i in sorted(chosen))
        grouped = len(value) == 13 or (value[:1] == "0" and 9 <= len(value) <= 12)
        grouped = grouped or (value[:2] in ("82", "81") and 9 <= len(value) <= 14)
        grouped = grouped or bool(_FOURS.fullmatch(run))
        known = _PLAIN_SEPARATORS.union(_DIGITS)
        for i, letter in enumerate(run):
            start = offset + i
            if i in chosen:
                if not letter.isascii():
                    yield _Edit(start, start + 1, _DIGITS[letter])
            elif lone and letter not in _DIGITS and letter != "\n":
                yield _Edit(start, start + 1, "")
            elif letter in _DASHES or letter == "_" or (grouped and letter not in known):
                yield _Edit(start, start + 1, "-")


def _spelt_digits(run: str, places: list[int]) -> set[int]:
    """Which letters of a run are digits: not the particle after a number, nor a word before it."""
    figures = {i for i in places if run[i].isascii()}
    if len(figures) == len(places):
        return figures
    together = places[-1] - places[0] + 1 == len(places)
    if len(places) < (6 if together else 7) or all(run[i] in "ㅇ○◯" for i in places):
        return figures
    value = "".join(_DIGITS[run[i]] for i in places)
    known = [*_MOBILE.finditer(value), *_RESIDENT.finditer(value)]
    for match in known:
        figures.update(places[slice(*match.span())])
    return figures if known else figures | set(_trimmed(run, places))


def _trimmed(run: str, places: list[int]) -> list[int]:
    """Without the words at the ends of a number that is mostly written in figures."""
    kept = list(places)
    if sum(run[i].isascii() for i in kept) > max(5, len(kept) / 2):
        while not run[kept[-1]].isascii() and run[kept[-1]] not in "공영ㅇ":
            kept.pop()
        if not re.match(r"[^\W0-9]{3}", run):  # a word has a figure or two: 삼공이 is none
            while not run[kept[0]].isascii() and run[kept[0]] not in "공영ㅇ":
                kept.pop(0)
    return kept
