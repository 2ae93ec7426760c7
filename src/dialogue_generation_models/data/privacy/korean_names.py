"""The name model of Korean: kiwipiepy, whose model comes with the package. The only file that imports it.

It is asked about one word at a time and remembers the answers. A proper noun alone is no person (a town, a
brand is one too): whoever asks has found the shape of a name first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...errors import MissingExtraError


class KoreanNames:
    """Says whether a word begins with a proper noun. Loading takes a few seconds.

    Raises:
        MissingExtraError: kiwipiepy is not installed.
    """

    def __init__(self) -> None:
        try:
            from kiwipiepy import Kiwi
        except ImportError:
            raise MissingExtraError("kiwipiepy", "data") from None
        self._kiwi: Any = Kiwi(num_workers=1)
        self.is_name = lru_cache(maxsize=1 << 16)(self._is_name)

    def _is_name(self, word: str, name: str) -> bool:
        """Whether the model reads the beginning of `word` as the proper noun `name`."""
        tokens = self._kiwi.tokenize(word)
        first = tokens[0] if tokens else None
        return first is not None and first.tag == "NNP" and first.form == name
