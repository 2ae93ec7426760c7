"""What a model remembers between decoding steps.

One cache serves every architecture. Each stateful layer stores its tensors under itself, batch first:
- growing keys and values of self-attention, in buffers of `capacity` columns made once;
- fixed keys and values over an encoder's output, computed once;
- windows of a causal convolution (Evolved Transformer).

This is the reference: plain, and for any number of new tokens. `inference/cache.py` has the fast one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .segments import causal_mask, segment_positions


class Cache:
    """The state of one batch of sequences that are decoded step by step.

    Args:
        capacity: the most tokens a row will ever hold, padding included.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._segment_ids: Tensor | None = None  # [B, capacity]
        self._growing: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # each [B, H, capacity, D]
        self._fixed: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # each [B, H, S, D]
        self._windows: dict[nn.Module, Tensor] = {}  # [B, C, width - 1]

    def advance(self, segment_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Note the segments of the tokens that come now, [B, T].

        A model calls this once per forward pass, before its layers call `attend`.

        Returns:
            The new tokens' positions, [B, T], and which of all tokens so far they may look at, bool
            [B, 1, T, S]: what `attend` is given as its mask.
        """
        rows, new = segment_ids.shape
        if self._segment_ids is None:
            self._segment_ids = segment_ids.new_zeros(rows, self.capacity)
        self._segment_ids[:, self.length : self.length + new] = segment_ids
        self.length += new
        seen = self._segment_ids[:, : self.length]  # [B, S]
        return segment_positions(seen)[:, -new:], causal_mask(segment_ids, seen)

    def attend(
        self, owner: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Append the new tokens' keys and values and look at all so far; each [B, H, T, D]."""
        keys, values = self._extend(owner, key, value)
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)

    def attend_fixed(
        self,
        owner: nn.Module,
        query: Tensor,
        make: Callable[[], tuple[Tensor, Tensor]],
        mask: Tensor,
    ) -> Tensor:
        """Look at keys and values that are made in the first step: [B, H, T, D] → [B, H, T, D].

        Args:
            owner: the layer that they belong to.
            query: [B, H, T, D].
            make: computes keys and values, each [B, H, S, D].
            mask: bool [B, 1, 1, S], True where a token may look.
        """
        if owner not in self._fixed:
            self._fixed[owner] = make()
        keys, values = self._fixed[owner]
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)

    def _extend(self, owner: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values of the new tokens, [B, H, T, D]; return all so far, [B, H, S, D]."""
        rows, heads, new, width = key.shape
        if owner not in self._growing:
            shape = (rows, heads, self.capacity, width)
            self._growing[owner] = (key.new_empty(shape), value.new_empty(shape))
        keys, values = self._growing[owner]
        keys[:, :, self.length - new : self.length] = key
        values[:, :, self.length - new : self.length] = value
        return keys[:, :, : self.length], values[:, :, : self.length]

    def window(self, owner: nn.Module, x: Tensor, width: int) -> Tensor:
        """Put the last `width - 1` columns seen before `x`, [B, C, T], in front of it.

        Before the first token they are zeros, which is a causal convolution's left padding.
        """
        before = self._windows.get(owner)
        if before is None:
            before = x.new_zeros(x.shape[0], x.shape[1], width - 1)
        x = torch.cat([before, x], dim=2)  # [B, C, width - 1 + T]
        self._windows[owner] = x[:, :, x.shape[2] - (width - 1) :]
        return x

    def reorder(self, rows: Tensor) -> None:
        """Make row i what row `rows[i]` was; rows may be repeated or left out."""
        for store in (self._growing, self._fixed):
            for owner, (keys, values) in store.items():
                store[owner] = (keys.index_select(0, rows), values.index_select(0, rows))
        for owner, columns in self._windows.items():
            self._windows[owner] = columns.index_select(0, rows)
        if self._segment_ids is not None:
            self._segment_ids = self._segment_ids.index_select(0, rows)
