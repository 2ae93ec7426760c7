"""Random draws that repeat: each depends on the seed, the prompt, the sample's number and the step.

Nothing depends on what else is in the batch or where a row stands in it, so a seed gives the same
replies with any batch size. One number a row and step is enough, because a token is drawn by inverting
the cumulative distribution; a generator for each row would cost more than the draw.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inference.native import find_chooser
from .logits import largest, log_total, scale_temperature

BEST = 512
"""Tokens among which most draws fall."""
WIDER = 4096
"""Tokens among which nearly all others fall."""

_SAMPLE_STRIDE = np.uint64(0xD1342543DE82EF95)
_STEP_STRIDE = np.uint64(0x9E3779B97F4A7C15)


def row_keys(seed: int | None, prompt: Sequence[int], samples: int) -> NDArray[np.uint64]:
    """Make one key for each sample of a prompt, uint64 [samples]; fresh ones without a seed."""
    if seed is None:
        seed = secrets.randbits(63)
    words = np.array([seed, *prompt], dtype="<u8")
    first = int.from_bytes(blake2b(words.tobytes(), digest_size=8).digest(), "little")
    numbers = np.arange(samples, dtype=np.uint64)
    return _scramble(np.full(samples, first, dtype=np.uint64) + numbers * _SAMPLE_STRIDE)


def uniforms(keys: NDArray[np.uint64], steps: int | NDArray[np.int64]) -> Tensor:
    """Draw one number in [0, 1) for each key, [B], at this step or each at its own: float64 [B]."""
    at = np.broadcast_to(np.asarray(steps, dtype=np.uint64), keys.shape)
    bits = _scramble(keys + at * _STEP_STRIDE) >> np.uint64(11)
    return torch.from_numpy(bits.astype(np.float64) * 2.0**-53)


def draw(logits: Tensor, numbers: Tensor) -> Tensor:
    """Pick the token at which the cumulative distribution passes the row's number: [B, V], [B] → [B]."""
    total = logits.softmax(dim=1).cumsum(dim=1)  # [B, V]
    # A number below the total always finds a token, and never one of probability 0.
    last = total[:, -1:]
    aim = (numbers.to(last)[:, None] * last).minimum(last.nextafter(torch.zeros_like(last)))
    return torch.searchsorted(total, aim, right=True)[:, 0]


def draw_best_first(
    scores: Tensor,
    numbers: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> Tensor:
    """Draw under these limits, with a cumulative distribution that runs from the best token to the worst.

    Args:
        scores: [B, V].
        numbers: one in [0, 1) a row, [B].
        temperature, top_k, top_p, min_p: as `DecodingConfig` has them, but the temperature is above 0.

    Returns:
        The tokens, [B].
    """
    chooser = find_chooser(scores)
    if chooser is not None:
        return chooser.draw(
            scores, numbers, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
        )
    if temperature != 1.0:
        scores = scale_temperature(scores, temperature)
    draw_early = partial(draw_from_best, top_k=top_k, top_p=top_p, min_p=min_p)
    widths = [width for width in (BEST, WIDER) if top_k < width]

    def draw_within(scores: Tensor, numbers: Tensor, widths: Sequence[int]) -> Tensor:
        """Draw from ever more of the best tokens, each time for the rows that need more."""
        tokens, is_known = draw_early(scores, numbers, width=widths[0])
        if not is_known.all():
            rest = ~is_known
            tokens[rest] = draw_within(scores[rest], numbers[rest], widths[1:])
        return tokens

    return draw_within(scores, numbers.to(scores.device), [*widths, scores.shape[1]])


def draw_from_best(
    logits: Tensor,
    numbers: Tensor,
    *,
    width: int = BEST,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Draw as `draw_best_first` does, at temperature 1, from the best tokens alone: most draws end early.

    Args:
        logits: [B, V].
        numbers: one in [0, 1) a row, [B].
        width: how many of the best tokens.
        top_k: less than `width`, unless that is the whole vocabulary; 0 for no limit.
        top_p: 1 for no limit.
        min_p: 0 for no limit.

    Returns:
        The tokens, [B], and bool [B]: False where a row needs more than its best tokens.
    """
    top, ids = largest(logits, width)  # [B, W], falling
    total = log_total(logits, ids[:, :1])  # [B, 1]
    is_filtered = top_k > 0 or top_p < 1.0 or min_p > 0.0
    if is_filtered:
        top = top.masked_fill(top < _edge(top, total, top_k, top_p, min_p), -math.inf)
        total = top.logsumexp(dim=1, keepdim=True)
    mass = (top - total).exp().cumsum(dim=1)
    last = mass[:, -1:]
    aim = numbers.to(mass)[:, None]
    is_whole = top.shape[1] == logits.shape[1]
    if is_filtered or is_whole:
        # A set that ends within the best tokens is known whole; rounding may leave its mass a little off 1.
        is_known = (top[:, -1] == -math.inf) | is_whole
        aim = (aim * last).minimum(last.nextafter(torch.zeros_like(last)))
    else:
        is_known = (aim < last)[:, 0]
    places = torch.searchsorted(mass, aim, right=True).clamp(max=top.shape[1] - 1)
    return ids.gather(1, places)[:, 0], is_known


def _edge(top: Tensor, total: Tensor, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Find the lowest score that all limits keep: falling scores [B, W], log of the mass [B, 1] → [B, 1]."""
    place = min(top_k, top.shape[1])
    edge = top[:, place - 1 : place] if top_k else torch.full_like(total, -math.inf)
    if top_p < 1.0:
        if top_k:
            total = top.masked_fill(top < edge, -math.inf).logsumexp(dim=1, keepdim=True)
        mass = (top - total).exp().cumsum(dim=1)  # [B, W]
        last = (mass < top_p).sum(dim=1, keepdim=True).clamp(max=top.shape[1] - 1)
        edge = edge.maximum(top.gather(1, last))
    if min_p > 0.0:
        edge = edge.maximum(top[:, :1] + math.log(min_p))
    return edge


def _scramble(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each word (the finaliser of SplitMix64, Steele et al. 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed
