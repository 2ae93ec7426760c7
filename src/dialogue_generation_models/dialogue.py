"""Turn and Dialogue: the one data type that all layers speak."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")


@dataclass(frozen=True)
class Turn:
    """What one speaker said before the next one spoke."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Dialogue:
    """Turns in the order in which they were said, oldest first."""

    turns: tuple[Turn, ...]
    id: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Dialogue:
        """Make a dialogue of two speakers, A and B, who take turns."""
        return cls(tuple(Turn("AB"[i % 2], text) for i, text in enumerate(texts)))

    def merge_speakers(self) -> Dialogue:
        """Join neighbouring messages of one speaker into one turn, with a space between."""
        merged: list[Turn] = []
        for turn in self.turns:
            if merged and merged[-1].speaker == turn.speaker:
                merged[-1] = Turn(turn.speaker, f"{merged[-1].text} {turn.text}")
            else:
                merged.append(turn)
        return Dialogue(tuple(merged), self.id, self.meta)


def is_blank(text: str) -> bool:
    """Whether nothing in the text can be seen: spaces, controls, zero-width marks, filler letters."""
    return not any(_is_visible(character) for character in text)


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    # Unassigned and private code points may look like something; half surrogates get their own error.
    is_letter = category[0] not in "CZM" or category in ("Cn", "Co", "Cs")
    return is_letter and character not in _INVISIBLE_LETTERS
