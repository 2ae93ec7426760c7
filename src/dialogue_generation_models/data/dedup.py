"""Copies of dialogues and of replies, beyond those to keep.

- Case, width, spacing and punctuation do not count; digits do: 3시 is not 4시. A text of neither letters nor
  digits is compared whole.
- Only 8-byte keys are remembered, no text. Of 3,700 corpora of 100 million texts, one has a chance match.
- Near-copies come with the same key (`pipeline.py` finds them), so that one rule serves both.
"""

from __future__ import annotations

import hashlib
import unicodedata

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
NO_KEY = np.uint64(0)
"""The key of what is never a copy."""


def text_key(text: str) -> str:
    """Return what two copies of a text share: its letters and digits, folded; else all but its spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())


def hash_key(key: str) -> int:
    """Return 8 bytes for a key, the same on every machine and run; never 0."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") or 1


def surplus(keys: Keys, keep: int) -> npt.NDArray[np.bool_]:
    """Mark the copies of each key after the first `keep`; 0 keeps all."""
    if keep == 0 or not len(keys):
        return np.zeros(len(keys), dtype=bool)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    places = np.arange(len(keys))
    rank = np.empty(len(keys), dtype=np.int64)
    rank[order] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    marks: npt.NDArray[np.bool_] = (rank >= keep) & (keys != NO_KEY)
    return marks
