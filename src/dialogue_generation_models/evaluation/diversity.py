"""How varied generated replies are: distinct-1, distinct-2 (Li et al. 2016, arXiv 1510.03055), repetition.

All count the model's own tokens, without the end token. Distinct-n falls as more replies are pooled, so
compare figures of the same number of replies only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import DataError

_REPEATED_RUN = 3


@dataclass(frozen=True)
class Diversity:
    """Figures over a pool of generated replies."""

    distinct_1: float
    """Different tokens divided by all tokens."""
    distinct_2: float
    """Different pairs of neighbouring tokens divided by all pairs."""
    repetition: float
    """Share of replies in which some run of three tokens occurs twice."""
    most_common: float
    """Share of the reply that was given most often."""
    mean_tokens: float
    replies: int


def diversity(replies: Sequence[Sequence[int]]) -> Diversity:
    """Measure replies given as token ids without the end token.

    Raises:
        DataError: there are no replies.
    """
    if not replies:
        raise DataError("There are no generated replies to measure; generate at least one.")
    [(_, most)] = Counter(map(tuple, replies)).most_common(1)
    return Diversity(
        distinct_1=distinct(replies, 1),
        distinct_2=distinct(replies, 2),
        repetition=sum(map(repeats_itself, replies)) / len(replies),
        most_common=most / len(replies),
        mean_tokens=sum(map(len, replies)) / len(replies),
        replies=len(replies),
    )


def distinct(replies: Sequence[Sequence[int]], n: int) -> float:
    """Return different n-grams divided by all n-grams; 0 if no reply is long enough."""
    runs = [run for reply in replies for run in _runs(reply, n)]
    return len(set(runs)) / len(runs) if runs else 0.0


def repeats_itself(reply: Sequence[int]) -> bool:
    """Tell whether some run of three tokens occurs twice in a reply."""
    runs = _runs(reply, _REPEATED_RUN)
    return len(set(runs)) < len(runs)


def _runs(reply: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(reply[i : i + n]) for i in range(len(reply) - n + 1)]
