"""Turn and Dialogue: the one data type that all layers speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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
