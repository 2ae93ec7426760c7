"""The names that stand for others: rare ones, so that hardly anybody bears them.

They are told by script and part, the Korean ones also by their final, so that particles stay right.
"""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

from . import korean_lexicon as korean
from .word_lists import words

_FAMILIES = {"open": "두모어피뇌", "final": "탁옥빙팽궉묵증편봉감승"}
_FIRSTS = "가겨고그누느다도두로루르마모무벼보비새세소시여오우으이저초타토투파포푸하휘"
_LASTS = {"open": "루샤묘료뷰", "final": "온담림솜늠범움", "ㄹ": "늘빌솔율슬"}
_KANJI_FIRSTS, _KANJI_LASTS = "澪羽瑠璃季弥紬織", "緒乃都埜瀬帆月江"
_KANA_FIRSTS, _KANA_LASTS = (
    ("みう", "うる", "るき", "りや", "きほ", "やつ", "つむ", "おり"),
    ("おの", "えの", "との", "やせ", "せほ", "づき", "こえ", "ほの"),
)
_LATIN_FIRSTS = (
    "Bel",
    "Cor",
    "Dav",
    "Fen",
    "Gal",
    "Hol",
    "Jor",
    "Kel",
    "Mer",
    "Nev",
    "Orl",
    "Quin",
    "Rov",
    "Syl",
)
_LATIN_LASTS = ("ora", "iam", "ette", "iso", "una", "ovan", "ika", "elle", "ard", "umi")
POOL_STEP = 37
"""Neighbouring rooms and names begin this far apart in a pool."""


@lru_cache(maxsize=1)
def pools() -> dict[str, tuple[str, ...]]:
    """All pseudonyms, by script, part and final."""
    made: dict[str, tuple[str, ...]] = {}
    taken = korean.given_names() | korean.ordinary_words() | korean.roles()
    for final, lasts in _LASTS.items():
        made_up = (a + b for b in lasts for a in _FIRSTS if a != b)
        made[f"korean given {final}"] = tuple(w for w in made_up if w not in taken)
    for final, families in _FAMILIES.items():
        made[f"korean family {final}"] = tuple(families)
    pairs = [(a, b) for b in range(len(_KANJI_LASTS)) for a in range(len(_KANJI_FIRSTS))]
    made["kanji given"] = tuple(_KANJI_FIRSTS[a] + _KANJI_LASTS[b] for a, b in pairs)
    made["hiragana given"] = tuple(_KANA_FIRSTS[a] + _KANA_LASTS[b] for a, b in pairs)
    made["katakana given"] = tuple(_to_katakana(word) for word in made["hiragana given"])
    made["kanji family"] = tuple(sorted(words("japanese_pseudonyms")))
    made["latin given"] = tuple(a + b for b in _LATIN_LASTS for a in _LATIN_FIRSTS)
    made["latin family"] = tuple(sorted(words("latin_pseudonyms")))
    # In no order that tells anything, so that neighbours do not sound alike.
    return {name: tuple(sorted(pool, key=_shuffled)) for name, pool in made.items()}


def _shuffled(word: str) -> int:
    return crc32(word.encode())


@lru_cache(maxsize=1)
def _all_pseudonyms() -> frozenset[str]:
    return frozenset(word.lower() for pool in pools().values() for word in pool)


def is_pseudonym(name: str) -> bool:
    """Whether a family name or a given name is of a pool."""
    return name.lower() in _all_pseudonyms()


def split_pseudonym(text: str) -> tuple[str, str] | None:
    """Return the family name and the given name of a full name that is all of the pools, or None."""
    for length in range(1, min(len(text), 4)):
        if is_pseudonym(text[:length]) and is_pseudonym(text[length:]):
            return text[:length], text[length:]
    return None


def _to_katakana(word: str) -> str:
    return "".join(chr(ord(letter) + 0x60) for letter in word)
