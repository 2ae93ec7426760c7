"""Recall@1 of 20: does the model find the true reply among 19 random ones?

- Replies are ranked by log-likelihood per token, the end token included.
- The 19 are replies from the same data, drawn with a seed; none has the true reply's text.
- A tie counts against the model, so a model that scores all replies alike gets 0 and not chance.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DataError
from ..tokenizer.tokenizer import Tokenizer
from .exchanges import EncodedExchange, Exchange, build_context, encode_exchanges
from .scoring import Progress, score_in_batches

if TYPE_CHECKING:
    from ..models import Model

_Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True)
class Ranking:
    """How often the true reply came first, with its 95 % interval (Wilson 1927)."""

    recall: float
    low: float
    high: float
    mrr: float
    """Mean of 1 / rank of the true reply."""
    count: int
    candidates: int


def rank_replies(
    model: Model,
    tokenizer: Tokenizer,
    items: Iterable[Exchange],
    *,
    candidates: int = 20,
    seed: int = 0,
) -> Ranking:
    """Rank each true reply among random ones from the same data.

    Raises:
        DataError: there are fewer different replies than `candidates`.
        CheckpointError: the model gives NaN or infinity.
    """
    encoded = encode_exchanges(model.config, tokenizer, items)
    return rank_encoded(model, encoded, range(len(encoded)), candidates=candidates, seed=seed)


def rank_encoded(
    model: Model,
    encoded: Sequence[EncodedExchange],
    chosen: Sequence[int],
    *,
    candidates: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the true replies of the `chosen` exchanges; distractors come from all of `encoded`.

    Raises:
        DataError: there are fewer different replies than `candidates`, or none is chosen.
    """
    texts = len({item.text for item in encoded})
    if texts < candidates or not chosen:
        raise DataError(
            f"Ranking needs at least {candidates} different replies, but there are {texts}; "
            "give more dialogues."
        )
    generator = random.Random(seed)
    ranks = []
    for i in chosen:
        replies = [
            encoded[j].reply for j in [i, *_distractors(encoded, i, candidates - 1, generator)]
        ]
        # One context for all: what fits beside the longest.
        prompt = build_context(model.config, encoded[i], max(map(len, replies)))
        scores = score_in_batches(model, [prompt] * candidates, replies)
        ranks.append(_rank_of_first([float(score.mean()) for score in scores]))
        if progress:
            progress(1)
    hits = ranks.count(1)
    low, high = wilson_interval(hits, len(ranks))
    mrr = math.fsum(1 / rank for rank in ranks) / len(ranks)
    return Ranking(hits / len(ranks), low, high, mrr, len(ranks), candidates)


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate (Wilson 1927; no continuity correction)."""
    rate = hits / count
    scale = 1 + _Z95**2 / count
    center = (rate + _Z95**2 / (2 * count)) / scale
    half = _Z95 / scale * math.sqrt(rate * (1 - rate) / count + _Z95**2 / (4 * count**2))
    return max(0.0, center - half), min(1.0, center + half)


def _distractors(
    encoded: Sequence[EncodedExchange], truth: int, count: int, generator: random.Random
) -> list[int]:
    """Draw exchanges whose replies differ from the true one and from each other."""
    seen = {encoded[truth].text}
    drawn: list[int] = []
    while len(drawn) < count:
        i = generator.randrange(len(encoded))
        if encoded[i].text not in seen:
            seen.add(encoded[i].text)
            drawn.append(i)
    return drawn


def _rank_of_first(scores: Sequence[float]) -> int:
    return 1 + sum(other >= scores[0] for other in scores[1:])
