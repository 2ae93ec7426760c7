"""Attention of one new token a row over keys that several rows share, and over each row's own, in torch.

Rows of one prompt are gathered, so that its keys are read once for all of them. The softmax runs over both
parts together, so the result is that of ordinary attention over the prompt and the reply. The kernels do the
same (`native`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

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
    spans: Tensor
    """int64 [2, P]: each prompt's first token's column, and the one after its last's."""

    @cached_property
    def width(self) -> int:
        """The most rows that one prompt has."""
        return int(self._counts.max()) if len(self._counts) else 0

    @cached_property
    def slots(self) -> Tensor:
        """Each row's place in a rectangle of P times `width` rows, [R]."""
        order = self.prompts.argsort(stable=True)
        starts = self._counts.cumsum(0) - self._counts  # [P]
        within = torch.empty_like(order)
        within[order] = torch.arange(len(order), device=order.device) - starts[self.prompts[order]]
        return self.prompts * self.width + within

    @cached_property
    def _counts(self) -> Tensor:
        return torch.bincount(self.prompts, minlength=len(self.mask))

    @classmethod
    def of(cls, mask: Tensor) -> Shared:
        """One row a prompt."""
        columns = torch.arange(mask.shape[1], device=mask.device)
        first = mask.int().argmax(dim=1)
        last = (columns * mask).amax(dim=1) + 1
        rows = torch.arange(len(mask), device=mask.device)
        return cls(mask, rows, bool(mask.all()), torch.stack([first, last]))

    @classmethod
    def empty(cls) -> Shared:
        """No prompt yet."""
        none = torch.empty(0, dtype=torch.long)
        return cls(torch.empty(0, 0, dtype=torch.bool), none, True, torch.stack([none, none]))

    def reorder(self, rows: Tensor) -> Shared:
        """Make row i what row `rows[i]` was; nothing where there are no prompts."""
        if not len(self.mask):
            return self
        return replace(self, prompts=self.prompts.index_select(0, rows))


def attend_shared(
    query: Tensor,
    keys_and_values: tuple[Tensor, Tensor],
    shared: Shared,
    new: tuple[Tensor, Tensor] | None = None,
    tail: tuple[Tensor, Tensor] | None = None,
    place: int = 0,
) -> Tensor:
    """Mix the values of a prompt, and of a reply's tail if there is one, by how well their keys fit.

    Args:
        query: [R, H, 1, D].
        keys_and_values: of the prompts, each [P, H, S, D].
        shared: which rows look at which prompt.
        new: key and value of the new tokens, each [R, H, 1, D], written to the tail.
        tail: keys and values of the replies, each [R, H, T, D].
        place: the column of the tail that the new ones go to; those before it are seen too.

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
    if new is None or tail is None:
        return _mix(scores.softmax(dim=2), values, shared)[:, :, None]
    for part, column in zip(tail, new, strict=True):
        part[:, :, place] = column[:, :, 0]
    tail_keys, tail_values = (part[:, :, : place + 1] for part in tail)  # [R, H, T, D]
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
