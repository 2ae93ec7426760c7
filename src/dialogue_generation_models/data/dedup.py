"""Exact copies of dialogues and of replies, beyond those to keep.

- Case, width, spacing, digits and punctuation do not count; a text without letters is compared whole.
- Only 8-byte hashes are remembered, no text. Of 3,700 corpora of 100 million texts, one has a chance match.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..config.cleaning import DedupConfig
from ..dialogue import Dialogue


@dataclass
class DedupReport:
    """What was removed; counts only."""

    dialogues_in: int = 0
    dialogues_out: int = 0
    turns_in: int = 0
    turns_out: int = 0
    copied_dialogues: int = 0
    """Dialogues that were copies."""
    copied_replies: int = 0
    """Replies that were copies, and before which their dialogue was cut."""


def without_duplicates(
    dialogues: Iterable[Dialogue], config: DedupConfig, report: DedupReport
) -> Iterator[Dialogue]:
    """Yield dialogues, the first copies of each; what is cut to less than two turns is left out.

    Args:
        dialogues: read once.
        config: how many copies stay.
        report: counts are added to it.
    """
    seen_dialogues: Counter[int] = Counter()
    seen_replies: Counter[int] = Counter()
    for dialogue in dialogues:
        report.dialogues_in += 1
        report.turns_in += len(dialogue.turns)
        keys = [text_key(turn.text) for turn in dialogue.turns]
        if config.keep_dialogues:
            code = hash_key("\n".join(keys))
            seen_dialogues[code] += 1
            if seen_dialogues[code] > config.keep_dialogues:
                report.copied_dialogues += 1
                continue
        end = len(keys)
        if config.keep_replies:
            end = _first_copy(keys, seen_replies, config.keep_replies)
            report.copied_replies += end < len(keys)
        if end >= 2:
            report.dialogues_out += 1
            report.turns_out += end
            yield replace(dialogue, turns=dialogue.turns[:end])


def _first_copy(keys: list[str], seen: Counter[int], keep: int) -> int:
    """Return the place of the first reply too many, and count those before it."""
    for place, key in enumerate(keys[1:], 1):
        code = hash_key(key)
        if seen[code] >= keep:
            return place
        seen[code] += 1
    return len(keys)


def text_key(text: str) -> str:
    """Return what two copies of a text share: its letters, folded; without letters, all but its spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalpha, folded)) or "".join(folded.split())


def hash_key(key: str) -> int:
    """Return 8 bytes for a key, the same on every machine and run."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
