"""The name model of Korean: kiwipiepy, whose model comes with the package. The only file that imports it.

It is asked about words, not sentences, and remembers the answers. A proper noun alone is no person (a town and
a brand are ones too): whoever asks has found the shape of a name first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import MissingExtraError

_MOST_WORDS = 1 << 16


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
        self._unknown = self._kiwi.tokenize("뷁쀍꿿")[0].id
        """What it calls a noun that its dictionary does not have: most full names are such."""
        self._known: dict[str, tuple[tuple[str, str], ...]] = {}

    def read(self, words: Iterable[str]) -> None:
        """Read words all at once, so that asking about them is cheap."""
        if len(self._known) > _MOST_WORDS:
            self._known.clear()
        new = [word for word in words if word not in self._known]
        for word, tokens in zip(new, self._kiwi.tokenize(new), strict=True):
            self._known[word] = tuple(
                (token.form, "?" if token.id == self._unknown else token.tag) for token in tokens
            )

    def is_name(self, word: str, name: str) -> bool:
        """Whether the model reads the beginning of `word` as the proper noun `name`."""
        return self._tokens(word)[0] == (name, "NNP")

    def is_unknown(self, word: str, name: str) -> bool:
        """Whether the model does not know the beginning of `word`: a new noun, or syllables one by one."""
        tokens = self._tokens(word)
        if tokens[0] == (name, "?"):
            return True
        parts = tokens[: len(name)]
        return [form for form, _ in parts] == [*name] and all(
            tag[0] in "N?" or tag in ("MM", "XPN") for _, tag in parts
        )

    def is_inflected(self, word: str) -> bool:
        """Whether the model reads `word` as a word that is no name, with particles or endings."""
        (form, tag), *rest = self._tokens(word)
        return tag[:2] in ("VV", "VA", "VX") or (
            tag in ("NNG", "NR", "MAG", "NP", "XR", "NNB")
            and len(form) > 1
            and bool(rest)
            and rest[0][1].startswith(("J", "VCP", "XS", "E"))
        )

    def is_compound(self, word: str, length: int) -> bool:
        """Whether `word` begins with a noun or an adverb that ends before its letter `length`."""
        form, tag = self._tokens(word)[0]
        return tag in ("NNG", "MAG", "XR", "NR", "NP") and 1 < len(form) < length

    def _tokens(self, word: str) -> tuple[tuple[str, str], ...]:
        if word not in self._known:
            self.read([word])
        return self._known[word]
