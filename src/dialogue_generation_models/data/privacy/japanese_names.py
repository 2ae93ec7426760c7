"""The name model of Japanese: SudachiPy with its core dictionary. The only file that imports it.

It is asked about one run of letters at a time and remembers the answers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...errors import MissingExtraError


class JapaneseNames:
    """Finds what the dictionary calls a person's name.

    Raises:
        MissingExtraError: sudachipy or its dictionary is not installed.
    """

    def __init__(self) -> None:
        try:
            from sudachipy import Dictionary, SplitMode

            self._tokenizer: Any = Dictionary(dict="core").tokenizer(SplitMode.C)
        except (ImportError, ModuleNotFoundError):
            raise MissingExtraError("sudachipy", "data") from None
        self.find = lru_cache(maxsize=1 << 16)(self._find)

    def is_loanword(self, word: str) -> bool:
        """Whether a word in Katakana is a known noun that is written so: ロボット, not サクラ."""
        tokens = self._tokenizer.tokenize(word)
        return (
            len(tokens) == 1
            and len(word) > 2
            and not tokens[0].is_oov()
            and tokens[0].part_of_speech()[1] == "普通名詞"
            and tokens[0].normalized_form() == word
        )

    def _find(self, text: str) -> tuple[tuple[int, int, str], ...]:
        """Return start, end and `family`, `given` or `name` of each person's name; neighbours joined."""
        found: list[tuple[int, int, str]] = []
        for token in self._tokenizer.tokenize(text):
            kind = token.part_of_speech()
            if kind[2] != "人名":
                continue
            what = {"姓": "family", "名": "given"}.get(kind[3], "name")
            if found and found[-1][1] == token.begin():
                found[-1] = (found[-1][0], token.end(), "name")
            else:
                found.append((token.begin(), token.end(), what))
        return tuple(found)
