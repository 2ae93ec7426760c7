"""What the rules of Korean names ask a name model, and which words that it does not know may be full names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from . import korean_lexicon as lexicon

_COUNTED = re.compile("[한백천이오육구][달명번개시분년살장잔층]")
"""백 명 중, 한달안."""
_OTHER_BEGINNINGS = "반인지가기사제모여부대"
"""Rare family names that begin many other words."""


class KoreanModel(Protocol):
    """What the rules ask a name model."""

    def read(self, words: Iterable[str]) -> None:
        """Look at words before they are asked about."""

    def is_name(self, word: str, name: str) -> bool:
        """Whether the beginning of a word is a proper noun."""

    def is_unknown(self, word: str, name: str) -> bool:
        """Whether the beginning of a word is a noun that no dictionary has."""

    def is_inflected(self, word: str) -> bool:
        """Whether a word is another one with particles or endings."""

    def is_compound(self, word: str, length: int) -> bool:
        """Whether a word begins with a noun that ends within its first letters."""


def may_be_unknown(name: str) -> bool:
    """Whether a word that no dictionary has is a full name: 표태겸, and not 반차, 지정복."""
    if len(name) < 3 or len(set(name)) == 1:
        return False
    is_other = name[0] in _OTHER_BEGINNINGS or _COUNTED.match(name)
    return not is_other or name[-2:] in lexicon.given_names()
