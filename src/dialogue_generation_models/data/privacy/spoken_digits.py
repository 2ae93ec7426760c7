"""Digits that are said in words that fill several letters: ゼロキュウゼロ, まる九まる, 공하나공 둘넷칠칠.

Most of the words mean something else in a talk (に, ご, 둘): they are digits only beside a zero, in a long
run of such words, or where they make a whole phone number together with figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import Pattern

from .patterns import words

_KANA = {
    word: digit
    for table in (
        "ゼロ レイ マル イチ ニ サン ヨン シ ゴ ロク ナナ シチ ハチ キュウ ク",
        "ぜろ れい まる いち に さん よん し ご ろく なな しち はち きゅう く",
    )
    for word, digit in zip(words(table), "000123445677899", strict=True)
}
_NATIVE = dict(zip(words("하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉"), "123456789", strict=True))
_KANJI = dict(zip("〇零一二三四五六七八九", "00123456789", strict=True))
_HANGUL = dict(zip("공영일이삼사오육륙칠팔구", "001234566789", strict=True))
_FIGURES = {str(n): str(n) for n in range(10)}
_VALUES = {**_KANA, **_NATIVE, **_KANJI, **_HANGUL, **_FIGURES}


def _any_of(words: dict[str, str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_KANA_WORD = f"(?:{_any_of(_KANA)})ー?"
_GAP = r"(?:[ 、,。・の\-ー\n]{0,2}|[ \n]?ハイフン[ \n]?)"
_JAPANESE = rf"(?:{_KANA_WORD}|[0-9{''.join(_KANJI)}])"
_KOREAN = f"(?:{_any_of(_NATIVE)}|[0-9{''.join(_HANGUL)}])"
_MORE = rf"(?:[ 、,。・の\-ー\n]{{0,2}}{_KANA_WORD})"
_MIXED = re.compile(
    rf"{_JAPANESE}(?:{_GAP}{_JAPANESE}){{9,24}}|{_KOREAN}(?:[ ,.\-\n]{{0,2}}{_KOREAN}){{9,24}}"
)
"""Figures and words of one language."""
_KANA_RUN = re.compile(rf"(?:ゼロ|ぜろ){_MORE}{{2,}}|{_KANA_WORD}{_MORE}{{6,}}")
_TOKEN = re.compile(f"ハイフン|{_KANA_WORD}|{_any_of(_NATIVE)}|[{''.join(_VALUES | {})}]")
_PHONE = re.compile(r"0[15789]0[0-9]{8}|01[16-9][0-9]{7}|0[1-9][0-9]{8}")
SIGN: Pattern[str] = re.compile(
    "|".join(f"{zero}(?={_GAP}{_JAPANESE})" for zero in ("ゼロ", "ぜろ"))
    + "".join(f"|{zero}(?=[789七八九キなはきナハ])" for zero in ("マル", "まる", "レイ", "れい"))
    + "|ロク|ナナ|ハチ|ろく|なな|はち|하나(?=[공영])"
    + "".join(f"|{word}(?={_KOREAN})" for word in words("둘 셋 넷 여섯 일곱 여덟 아홉"))
)
"""What is searched for first; alternatives that begin with a letter, which `re` skips to."""


def spoken_digits(text: str, first: int, last: int) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and digit of each word between `first` and `last` that is one."""
    done = first
    for run in _MIXED.finditer(text, first, last):
        tokens = [*_TOKEN.finditer(text, *run.span())]
        digits = [token for token in tokens if token.group() != "ハイフン"]
        value = "".join(_VALUES[token.group().rstrip("ー")] for token in digits)
        phone = _PHONE.match(value)
        if phone is None or not any(len(token.group()) > 1 for token in digits):
            continue
        done = digits[phone.end() - 1].end()
        for token in tokens:
            if token.end() <= done:
                yield *token.span(), _VALUES.get(token.group().rstrip("ー"), "-")
    for run in _KANA_RUN.finditer(text, done, last):
        for token in _TOKEN.finditer(text, *run.span()):
            yield *token.span(), _VALUES[token.group().rstrip("ー")]
