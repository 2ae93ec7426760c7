"""Functions on the scores of the next token: [B, V] → [B, V]; a token is ruled out with -inf.

- Those whose names end in `_` change the scores in place, as in torch: a copy of the vocabulary's scores costs
  as much as all else that they do. The others are pure.
- `keep_top_p` and `keep_typical` do not sort the vocabulary: they look at the best 256 tokens, and at
  more only in rows whose set is larger. Probabilities are always those over the whole vocabulary.
- Tokens that tie with the last one kept are kept too, so a result never depends on an order of ids.
- `history`, [B, W], holds the tokens that repetition is measured against, padded on the left with
  `NO_TOKEN`; a history of any columns has at least one token in each row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..inference.native import find_chooser

NO_TOKEN = -1
"""Fills short rows of a history."""

_BLOCK = 16
"""Tokens of a block in `largest`."""
_FEW = 1024
"""Tokens among which a row that has any usually has one."""
_LOOKS = (256, 2048)  # then the whole vocabulary
_SMALLEST_TEMPERATURE = 1e-30  # smaller ones are 0 in float32


def scale_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by a temperature above 0; the best token comes out at 0, so that nothing overflows."""
    best = logits.amax(dim=1, keepdim=True)
    return (logits - best).div_(max(temperature, _SMALLEST_TEMPERATURE))


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k likeliest tokens."""
    if k >= logits.shape[1]:
        return logits
    edge = logits.topk(k, dim=1).values[:, -1:]  # [B, 1]
    return logits.masked_fill(logits < edge, -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the fewest likeliest tokens that have the probability p together (arXiv 1904.09751)."""
    edge = _edge(logits, logits.softmax(dim=1), p)
    return logits.masked_fill(logits < edge, -math.inf)


def keep_min_p(logits: Tensor, share: float) -> Tensor:
    """Keep tokens at least as likely as this share of the likeliest one's probability."""
    if share <= 0.0:
        return logits
    edge = logits.amax(dim=1, keepdim=True) + math.log(share)  # [B, 1]
    return logits.masked_fill(logits < edge, -math.inf)


def keep_typical(logits: Tensor, p: float) -> Tensor:
    """Keep the fewest tokens with the probability p together whose information is nearest to the
    entropy (arXiv 2202.00666, equation 12)."""
    logp = logits.log_softmax(dim=1)
    probabilities = logp.exp()
    entropy = -(logp * probabilities).nansum(dim=1, keepdim=True)  # [B, 1]; 0 · -inf counts as 0
    typicality = -(logp + entropy).abs()
    edge = _edge(typicality, probabilities, p)
    return logits.masked_fill(typicality < edge, -math.inf)


def penalize_repetition_(scores: Tensor, history: Tensor, penalty: float) -> Tensor:
    """Divide positive and multiply negative scores of the history's tokens (arXiv 1909.05858, 4.1)."""
    if not history.shape[1]:
        return scores
    ids = history.where(
        history != NO_TOKEN, history[:, -1:]
    )  # the last token twice changes nothing
    used = scores.gather(1, ids)  # [B, W]
    return scores.scatter_(1, ids, (used * penalty).where(used < 0, used / penalty))


def ban_repeated_ngrams_(scores: Tensor, history: Tensor, size: int) -> Tensor:
    """Rule out tokens that would complete a run of `size` tokens which the history already has."""
    if history.shape[1] < size:
        return scores
    runs = history.unfold(1, size, 1)  # [B, W - size + 1, size]
    begun = history[:, history.shape[1] - size + 1 :]  # [B, size - 1]
    repeated = (runs[..., :-1] == begun[:, None]).all(dim=2) & (runs[..., 0] != NO_TOKEN)
    rows, places = repeated.nonzero(as_tuple=True)
    scores[rows, runs[rows, places, -1]] = -math.inf
    return scores


def ban_tokens_(scores: Tensor, ids: Sequence[int] | Tensor) -> Tensor:
    """Rule out these tokens in every row."""
    index = ids if isinstance(ids, Tensor) else scores.new_tensor(ids).long()
    return scores.index_fill_(1, index, -math.inf)


def allow_end_(scores: Tensor, unruled: Tensor, eos_id: int) -> Tensor:
    """Let a row end, with its score before all rules, if the rules left it no token at all."""
    # A row that has a token among its first few need not be looked through.
    if (scores[:, :_FEW].amax(dim=1) == -math.inf).any():
        stuck = scores.amax(dim=1) == -math.inf  # [B]
        scores[stuck, eos_id] = unruled[stuck, eos_id]
    return scores


def token_logp(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of one token a row: [B, V] and [B] → [B]."""
    chooser = find_chooser(logits)
    if chooser is not None:
        return logits.gather(1, ids[:, None])[:, 0] - chooser.log_total(logits)
    return logits.log_softmax(dim=1).gather(1, ids[:, None])[:, 0]


def all_logp(logits: Tensor) -> Tensor:
    """Log-probabilities of all tokens: [B, V] → [B, V]."""
    chooser = find_chooser(logits)
    if chooser is not None:
        return logits - chooser.log_total(logits)[:, None]
    return logits.log_softmax(dim=1)


def log_total(scores: Tensor, ids: Tensor) -> Tensor:
    """Log of the sum of exp over the vocabulary: [B, V] → [B, 1].

    Args:
        scores: of all tokens.
        ids: a token of each row that is not banned, [B, 1]; -inf less -inf would be no number.
    """
    # One fused pass; torch's own logsumexp makes three.
    return scores.gather(1, ids) - scores.log_softmax(dim=1).gather(1, ids)


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the best tokens, best first: [B, V] → scores and ids, each [B, count], or [B, V] if there are fewer.

    Without kernels: the best `count` scores lie in the `count` blocks with the best maxima, so most of the
    vocabulary is only compared within its block.
    """
    chooser = find_chooser(scores)
    if chooser is not None:
        return chooser.best(scores, min(count, scores.shape[1]))
    n_blocks = scores.shape[1] // _BLOCK
    rest = scores.shape[1] - n_blocks * _BLOCK
    if n_blocks <= 2 * count or scores.device.type != "cpu":
        top, ids = scores.topk(min(count, scores.shape[1]), dim=1)
        return top, ids
    # Block b holds tokens b, b + n_blocks, b + 2 n_blocks ..., so that maxima are taken over whole rows.
    blocks = scores[:, : n_blocks * _BLOCK].view(-1, _BLOCK, n_blocks)
    best = blocks.amax(dim=1).topk(count, dim=1, sorted=False).indices  # [B, count]
    steps = torch.arange(_BLOCK, device=scores.device)[:, None] * n_blocks
    ids = (best[:, None] + steps).flatten(1)  # [B, _BLOCK * count]
    if rest:
        last = torch.arange(n_blocks * _BLOCK, scores.shape[1], device=scores.device)
        ids = torch.cat([ids, last.expand(len(ids), -1)], dim=1)
    top, places = scores.gather(1, ids).topk(count, dim=1)
    return top, ids.gather(1, places)


def _edge(
    keys: Tensor, probabilities: Tensor, mass: float, widths: Sequence[int] = _LOOKS
) -> Tensor:
    """Find the last of the fewest largest keys that have this mass together: [B, V] → [B, 1]."""
    whole = keys.shape[1]
    width = min(widths[0], whole) if widths else whole
    top, ids = largest(keys, width)  # [B, width], falling
    total = probabilities.gather(1, ids).cumsum(dim=1)
    place = (total < mass).sum(dim=1, keepdim=True).clamp(max=width - 1)  # [B, 1]
    edge = top.gather(1, place)
    short = total[:, -1] < mass  # [B]
    if width < whole and short.any():
        edge[short] = _edge(keys[short], probabilities[short], mass, widths[1:])
    return edge
