"""Whether two words are somebody's family and given name, in either language and in Latin letters."""

from __future__ import annotations

import re

from . import japanese_lexicon as japanese
from . import korean_lexicon as korean
from .japanese_full_names import full_name_length, is_katakana_name
from .romanised_names import is_romanised_name

_LETTERS = re.compile(r"[\w\-']+")


def is_full_name(first: str, second: str) -> bool:
    """Whether two words, decoration aside, are a family name and a given name."""
    parts = _LETTERS.match(first), _LETTERS.match(second)
    if not (parts[0] and parts[1]):
        return False
    family, given = parts[0].group(), parts[1].group()
    if family.isascii():
        return given.isascii() and is_romanised_name(f"{family} {given}")
    if family in korean.surnames():
        return given in korean.given_names() or korean.may_be_given(given)
    if is_katakana_name(f"{family} {given}"):
        return True
    if family not in japanese.surnames():
        return False
    is_kana = bool(re.match(f"[{japanese.HIRAGANA}]", given))
    run, after = (family, given) if is_kana else (family + given, "")
    known = given in japanese.given_names()
    return known or full_name_length(run, after, None) == len(family + given)
