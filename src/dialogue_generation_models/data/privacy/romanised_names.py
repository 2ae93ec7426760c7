"""Korean and Japanese full names in Latin letters: Kim Minsu, Jung Ha-yoon, Tanaka Hanako, YUTO MORISAKI.

Both parts must read as parts of a name; a family name beside an English word (Park Avenue) is none. How a name
may be written is worked out of the syllables of Korean names and of the readings of Japanese ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product

from . import korean_lexicon as korean
from . import patterns
from .word_lists import words

_FULL = re.compile(
    r"(?<![A-Za-z0-9@._])(?:[A-Z][a-z]{1,11} [A-Z][a-z]{1,11}(?:-[A-Za-z][a-z]{1,6}| [A-Z][a-z]{1,5})?"
    r"|[A-Z]{2,12} [A-Z]{2,12}(?:[\- ][A-Z]{2,6})?|[a-z]{3,10} [a-z]{5,12})(?![A-Za-z0-9@_])"
)
_INITIALS = patterns.words("g/k kk n d/t tt r/l m b/p pp s ss - j/ch jj ch k t p h")
_MEDIALS = patterns.words(
    "a ae ya yae eo/u/o e yeo/you/yu ye o wa wae oe yo u/oo/woo wo we wi yu/yoo eu ui/ee i/ee"
)
_FINALS = {0: "-", 1: "k/g", 4: "n", 7: "t", 8: "l", 16: "m", 17: "p/b", 19: "t", 21: "ng"}
"""Of Hangul in the order of Unicode; several writings of one letter, - for none."""
_FAMILIES = frozenset(
    patterns.words("""
kim lee yi rhee park choi choe jung jeong chung kang cho jo yoon yun jang chang lim im han oh seo suh shin
kwon hwang ahn an song jeon hong yoo yu ryu ko go moon mun yang son bae baek paik heo hur nam shim noh ha kwak
sung seong cha joo woo koo na min jin chae won chun bang gong hyun byun yeom choo seok pyo namkung jegal
""")
)
_ENGLISH = frozenset(
    patterns.words("an go ha son song moon park chun won min na sung hyun bang gong im oh")
)
"""Family names that are words, too: no names in small letters."""
_PLACES = frozenset(
    patterns.words(
        "suwon jeju incheon yeosu jinju wonju namsan busan sejong asan sinsa bosan gangnam"
    )
)
_KANA = dict(
    zip(
        "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわんがぎぐげござじずぜぞだぢづでどばびぶべぼぱぴぷぺぽ",
        patterns.words("""
a i u e o ka ki ku ke ko sa shi su se so ta chi tsu te to na ni nu ne no ha hi fu he ho ma mi mu me mo
ya yu yo ra ri ru re ro wa n ga gi gu ge go za ji zu ze zo da ji zu de do ba bi bu be bo pa pi pu pe po
"""),
        strict=True,
    )
)


def find_romanised(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of full names in Latin letters."""
    for match in _FULL.finditer(text):
        if is_romanised_name(match.group()):
            yield match.span()
        elif match.group().count(" ") == 2:
            first = match.group().rpartition(" ")[0]
            if is_romanised_name(first):
                yield match.start(), match.start() + len(first)


@lru_cache(maxsize=1 << 14)
def is_romanised_name(text: str) -> bool:
    """Whether two or three words are a family name and a given name, in either order."""
    is_small = text.islower()
    first, *rest = re.split("[ -]", text.lower())
    last = rest[-1]
    if len(rest) == 1 and _is_japanese(first, last):
        return True
    given = "".join(rest)
    if first in _FAMILIES and not (is_small and first in _ENGLISH):
        return _is_korean_given(given)
    return (
        len(rest) == 1 and last in _FAMILIES - _ENGLISH and not is_small and _is_korean_given(first)
    )


def _is_korean_given(word: str) -> bool:
    """Whether a word is two syllables that given names are made of."""
    if word in _PLACES:
        return False
    return any(
        word[:i] in _syllables(0) and word[i:] in _syllables(1) for i in range(2, len(word) - 1)
    )


@lru_cache(maxsize=2)
def _syllables(place: int) -> frozenset[str]:
    return frozenset(
        "".join(parts).replace("-", "")
        for syllable in (korean.FIRST, korean.SECOND)[place]
        for parts in product(*_writings(ord(syllable) - 0xAC00))
    )


def _writings(code: int) -> Iterable[list[str]]:
    initial, rest = divmod(code, 588)
    medial, final = divmod(rest, 28)
    return [
        letter.split("/")
        for letter in (_INITIALS[initial], _MEDIALS[medial], _FINALS.get(final, "-"))
    ]


def _is_japanese(first: str, last: str) -> bool:
    families, given = _readings("japanese_surname_readings"), _readings("japanese_given_readings")
    return (first in families and last in given) or (last in families and first in given)


@lru_cache(maxsize=2)
def _readings(table: str) -> frozenset[str]:
    """The readings of a list in Latin letters, with long vowels and without."""
    written = {_romaji(word) for word in words(table)}
    short = {re.sub("ou|oo", "o", word).replace("uu", "u") for word in written}
    return frozenset(word for word in written | short if len(word) > 2)


def _romaji(word: str) -> str:
    """How Hepburn writes a word in hiragana."""
    latin = ""
    for kana in word:
        if kana in "ゃゅょ":
            vowel = dict(zip("ゃゅょ", "auo", strict=True))[kana]
            latin = latin[:-1] + ("" if latin[:-1].endswith(("sh", "ch", "j")) else "y") + vowel
        elif kana == "っ":
            latin += "っ"
        else:
            letter = _KANA[kana]
            latin = latin[:-1] + letter[0] + letter if latin.endswith("っ") else latin + letter
    return latin
