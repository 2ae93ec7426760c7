"""Held-out dialogues: chosen by a hash of their id, and kept out of training even as copies."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise

from ..dialogue import Dialogue

_PARTS = 10_000


def is_held_out(dialogue: Dialogue, percent: float) -> bool:
    """Say whether a dialogue belongs to the validation part; the same on every machine and run.

    A dialogue without an id is known by its texts, or all of them would go one way.
    """
    name = dialogue.id or "\n".join(turn.text for turn in dialogue.turns)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % _PARTS < percent * _PARTS / 100


def without_copies(
    dialogues: Iterable[Dialogue], held_out: Iterable[Dialogue]
) -> Iterator[Dialogue]:
    """Leave out dialogues that share an exchange, a turn and its reply, with a held-out one.

    Letter case, width and spacing do not count; greetings that everybody exchanges do not either,
    which are exchanges of fewer than ten letters in all.
    """
    known = {exchange for dialogue in held_out for exchange in _exchanges(dialogue)}
    for dialogue in dialogues:
        if known.isdisjoint(_exchanges(dialogue)):
            yield dialogue


def _exchanges(dialogue: Dialogue) -> Iterator[tuple[str, str]]:
    texts = [_key(turn.text) for turn in dialogue.turns]
    return ((a, b) for a, b in pairwise(texts) if len(a) + len(b) >= 10)


def _key(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in folded if letter.isalnum())
