"""A trigram language model over the same tokens: the figure that a neural model must beat.

- Interpolated modified Kneser-Ney (Chen and Goodman 1998, section 3): three discounts a level, lower
  levels count in how many contexts a token occurs, and the uniform distribution stands below them.
- It learns what the dialogue model learns: each turn from a dialogue's second on, ended by `eos`, given
  the turns before it, of which it sees the last two tokens (`… sept`).
- N-grams are single integers in sorted arrays; counting and look-up are whole-array operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .exchanges import EncodedExchange
from .scoring import Scores

_Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Level:
    """Counts of n-grams of one order; every array is sorted by its keys."""

    keys: _Ids  # [N], n-gram as a number: context * vocabulary + token
    counts: _Ids  # [N]
    contexts: _Ids  # [M]
    totals: npt.NDArray[np.float64]  # [M], sum of a context's counts
    held_back: npt.NDArray[np.float64]  # [M], sum of a context's discounts
    discounts: npt.NDArray[np.float64]  # [4], for counts 0, 1, 2, 3 and more

    @classmethod
    def build(cls, keys: _Ids, counts: _Ids, vocab_size: int) -> _Level:
        discounts = _estimate_discounts(counts)
        contexts, starts = np.unique(keys // vocab_size, return_index=True)
        totals = np.add.reduceat(counts, starts).astype(np.float64)
        held_back = np.add.reduceat(discounts[np.minimum(counts, 3)], starts)
        return cls(keys, counts, contexts, totals, held_back, discounts)

    def interpolate(self, contexts: _Ids, keys: _Ids, lower: Scores) -> Scores:
        """Mix this level's discounted estimate with the `lower` level's, all [N]."""
        places, is_known = _find(self.keys, keys)
        counts = np.where(is_known, self.counts[places], 0)
        kept = counts - self.discounts[np.minimum(counts, 3)]
        places, is_known = _find(self.contexts, contexts)
        mixed = (kept + self.held_back[places] * lower) / self.totals[places]
        return np.where(is_known, mixed, lower)


class TrigramModel:
    """P(token | two tokens before it), over a vocabulary of `vocab_size`."""

    def __init__(
        self, vocab_size: int, start_id: int, levels: tuple[_Level, _Level, _Level]
    ) -> None:
        self.vocab_size = vocab_size
        self._start_id = start_id
        self._unigrams, self._bigrams, self._trigrams = levels

    @classmethod
    def fit(
        cls,
        pairs: Iterable[tuple[Sequence[int], Sequence[int]]],
        vocab_size: int,
        *,
        start_id: int,
    ) -> TrigramModel:
        """Count the trigrams that end in a reply.

        Args:
            pairs: context and reply, as token ids; only the context's last two tokens matter.
            vocab_size: all ids are below it.
            start_id: stands where a context has fewer than two tokens.

        Raises:
            DataError: there is no token to learn from.
        """
        grams = _trigrams(pairs, start_id)
        if not len(grams):
            raise DataError("There is no reply to train the trigram model on; give more dialogues.")
        first, second, third = grams.T
        v = vocab_size
        keys, counts = np.unique((first * v + second) * v + third, return_counts=True)
        # Below the top, an n-gram counts once for each different token that stood before it.
        pair_keys, pair_counts = np.unique(keys % (v * v), return_counts=True)
        token_keys, token_counts = np.unique(pair_keys % v, return_counts=True)
        levels = (
            _Level.build(token_keys, token_counts, v),
            _Level.build(pair_keys, pair_counts, v),
            _Level.build(keys, counts, v),
        )
        return cls(vocab_size, start_id, levels)

    def logp(self, grams: _Ids) -> Scores:
        """Return log P of each row's last token after its first two, [N, 3] → [N]."""
        first, second, third = grams.T
        v = self.vocab_size
        context = first * v + second
        p = np.full(len(grams), 1 / v)
        p = self._unigrams.interpolate(np.zeros_like(third), third, p)
        p = self._bigrams.interpolate(second, second * v + third, p)
        p = self._trigrams.interpolate(context, context * v + third, p)
        return np.asarray(np.log(p), dtype=np.float64)

    def score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Scores]:
        """Return log P of each reply's tokens, given the tokens before them."""
        logp = self.logp(_trigrams(pairs, self._start_id))
        ends = np.cumsum([len(reply) for _, reply in pairs])
        return np.split(logp, ends[:-1])


def trigram_pairs(
    items: Iterable[EncodedExchange], sept_id: int
) -> list[tuple[list[int], list[int]]]:
    """Give what a trigram model sees of exchanges: the end of the newest turn, and the reply."""
    return [([*item.turns[-1][-1:], sept_id], item.reply) for item in items]


def _trigrams(pairs: Iterable[tuple[Sequence[int], Sequence[int]]], start_id: int) -> _Ids:
    """Lay out every reply token behind the two tokens before it, [N, 3]."""
    flat: list[int] = []
    is_reply: list[bool] = []
    for context, reply in pairs:
        before = [start_id, start_id, *context[-2:]][-2:]
        flat += [*before, *reply]
        is_reply += [False, False] + [True] * len(reply)
    ids = np.array(flat, dtype=np.int64)
    if len(ids) < 3:
        return np.empty((0, 3), dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(ids, 3)
    return np.asarray(windows[np.array(is_reply[2:])], dtype=np.int64)


def _estimate_discounts(counts: _Ids) -> npt.NDArray[np.float64]:
    """Estimate what to take from counts 0, 1, 2 and more (Chen and Goodman 1998, equation 26)."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        # Too little data to estimate from: absolute discounting.
        return np.array([0.0, 0.75, 0.75, 0.75])
    y = n1 / (n1 + 2 * n2)
    raw = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    # On odd counts-of-counts the estimate can leave the range in which probabilities stay positive.
    return np.clip(raw, [0.0, 0.1, 0.1, 0.1], [0.0, 0.95, 1.95, 2.95])


def _find(keys: _Ids, wanted: _Ids) -> tuple[_Ids, npt.NDArray[np.bool_]]:
    """Return where `wanted` stand in sorted `keys`, and which are there at all."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return places, keys[places] == wanted
