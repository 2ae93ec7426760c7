"""Attention of one new token a row over keys that several rows share, and over each row's own.

Rows of one prompt are gathered, so that its keys are read once for all of them. The softmax runs over both
parts together, so the result is that of ordinary attention over the prompt and the reply.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shared:
    """Which prompt each row answers, and which of the prompt's columns are tokens."""

    mask: Tensor
    """bool [P, S], True where a prompt has a token."""
    prompts: Tensor
    """[R], the prompt of each row."""
    is_full: bool
    """Whether no column is padding."""
    slots: Tensor = field(init=False)
    """[R], each row's place in a rectangle of P times `width` rows."""
    width: int = field(init=False)
    """The most rows that one prompt has."""

    def __post_init__(self) -> None:
        counts = torch.bincount(self.prompts, minlength=len(self.mask))
        order = self.prompts.argsort(stable=True)
        starts = counts.cumsum(0) - counts  # [P]
        within = torch.empty_like(order)
        within[order] = torch.arange(len(order), device=order.device) - starts[self.prompts[order]]
        width = int(counts.max()) if len(counts) else 0
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "slots", self.prompts * width + within)

    @classmethod
    def of(cls, mask: Tensor) -> Shared:
        """One row a prompt."""
        return cls(mask, torch.arange(len(mask), device=mask.device), bool(mask.all()))

    @classmethod
    def empty(cls) -> Shared:
        """No prompt yet."""
        return cls(torch.empty(0, 0, dtype=torch.bool), torch.empty(0, dtype=torch.long), True)

    def reorder(self, rows: Tensor) -> Shared:
        """Make row i what row `rows[i]` was; nothing where there are no prompts."""
        if not len(self.mask):
            return self
        return Shared(self.mask, self.prompts.index_select(0, rows), self.is_full)


def attend_shared(
    query: Tensor,
    keys_and_values: tuple[Tensor, Tensor],
    shared: Shared,
    tail: tuple[Tensor, Tensor] | None = None,
    tail_length: int = 0,
) -> Tensor:
    """Mix the values of a prompt and of a reply's tail by how well their keys fit.

    Args:
        query: [R, H, 1, D].
        keys_and_values: of the prompts, each [P, H, S, D].
        shared: which rows look at which prompt.
        tail: keys and values of the replies, each [R, H, T, D].
        tail_length: columns of the tail that are filled.

    Returns:
        [R, H, 1, D].
    """
    keys, values = keys_and_values
    query = query * (1 / math.sqrt(query.shape[3]))
    gathered = _gather(query[:, :, 0], shared)  # [P, H, N, D]
    scores = gathered @ keys.transpose(2, 3)  # [P, H, N, S]
    if not shared.is_full:
        scores = scores.masked_fill(~shared.mask[:, None, None], -math.inf)
    scores = _scatter(scores, shared)  # [R, H, S]
    if tail is None:
        return _mix(scores.softmax(dim=2), values, shared)[:, :, None]
    tail_keys, tail_values = (part[:, :, :tail_length] for part in tail)  # [R, H, T, D]
    own = (query @ tail_keys.transpose(2, 3))[:, :, 0]  # [R, H, T]
    weights = torch.cat([scores, own], dim=2).softmax(dim=2)  # [R, H, S + T]
    seen = scores.shape[2]
    mixed = _mix(weights[:, :, :seen], values, shared)  # [R, H, D]
    return mixed[:, :, None] + weights[:, :, None, seen:] @ tail_values


def _mix(weights: Tensor, values: Tensor, shared: Shared) -> Tensor:
    """[R, H, S] and [P, H, S, D] → [R, H, D]."""
    return _scatter(_gather(weights, shared) @ values, shared)


def _gather(x: Tensor, shared: Shared) -> Tensor:
    """Put the rows of each prompt together: [R, H, ...] → [P, H, N, ...]; missing ones are 0."""
    rectangle = x.new_zeros(len(shared.mask) * shared.width, *x.shape[1:])
    rectangle[shared.slots] = x
    return rectangle.view(len(shared.mask), shared.width, *x.shape[1:]).transpose(1, 2)


def _scatter(x: Tensor, shared: Shared) -> Tensor:
    """Back to single rows: [P, H, N, ...] → [R, H, ...]."""
    return x.transpose(1, 2).flatten(0, 1)[shared.slots]
