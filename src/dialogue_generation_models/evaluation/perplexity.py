"""Perplexity of the replies that people gave, per token and per character.

Per token it compares models of one tokenizer. Per character it compares any two models: the total is
divided by characters, whatever the tokens are; the end of a reply counts as one character.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DataError
from ..tokenizer.tokenizer import Tokenizer
from .exchanges import EncodedExchange, Exchange, build_context, encode_exchanges
from .scoring import Progress, Scores, score_in_batches

if TYPE_CHECKING:
    from ..models import Model


@dataclass(frozen=True)
class Perplexity:
    """How surprised a model is by the true replies, the end token included."""

    per_token: float
    per_character: float
    tokens: int
    characters: int
    mean_logp: float
    """Mean log-probability of a token, in nats."""


def perplexity(model: Model, tokenizer: Tokenizer, items: Iterable[Exchange]) -> Perplexity:
    """Score the replies of `items` with a model.

    Raises:
        DataError: no exchange is left to score.
        CheckpointError: the model gives NaN or infinity.
    """
    encoded = encode_exchanges(model.config, tokenizer, items)
    return summarize(encoded, score_exchanges(model, encoded))


def score_exchanges(
    model: Model, encoded: Sequence[EncodedExchange], progress: Progress | None = None
) -> list[Scores]:
    """Return log P of each exchange's reply tokens."""
    return score_in_batches(
        model,
        [build_context(model.config, item, len(item.reply)) for item in encoded],
        [item.reply for item in encoded],
        progress=progress,
    )


def summarize(encoded: Sequence[EncodedExchange], scores: Sequence[Scores]) -> Perplexity:
    """Turn the log-probabilities of reply tokens into perplexities.

    Raises:
        DataError: there is nothing to average.
    """
    tokens = sum(len(item.reply) for item in encoded)
    characters = sum(item.characters for item in encoded)
    if not tokens:
        raise DataError("There is no reply to evaluate; give dialogues of two turns or more.")
    logp = math.fsum(float(score.sum()) for score in scores)
    return Perplexity(
        per_token=_exp(-logp / tokens),
        per_character=_exp(-logp / characters),
        tokens=tokens,
        characters=characters,
        mean_logp=logp / tokens,
    )


def _exp(nats: float) -> float:
    # Beyond 709 a float overflows; such a model is beyond comparison anyway.
    return math.exp(min(nats, 709.0))
