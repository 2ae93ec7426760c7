"""The fast cache: a prompt is kept once, however many replies are written to it.

- Reading the prompts is as in the reference cache, one row a prompt. From the first step on, each row is a
  reply: it looks at its prompt's keys and values, which are shared, and at its own tail, which is short.
- So `reorder` moves tails only. A prompt that no row needs any more stays until the session ends.
- A step brings one token a row.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..models.cache import Cache
from .attention import Shared, attend_shared


class SharedCache(Cache):
    """The state of prompts and of the replies that are written to them.

    Args:
        prompt_tokens: width of the first forward pass, padding included.
        reply_tokens: the most steps after it.
    """

    def __init__(self, prompt_tokens: int, reply_tokens: int) -> None:
        super().__init__(prompt_tokens)
        self._reply_tokens = reply_tokens
        self._steps = 0  # tokens in each tail
        self._positions = torch.empty(0)  # [R], of the next token
        self._shared = Shared.empty()
        self._memory = Shared.empty()
        self._tails: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # each [R, H, reply_tokens, D]

    def advance(self, segment_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Note the new tokens, [B, T]; see `Cache.advance`. From the second call on T must be 1."""
        if self.length == 0:
            positions, mask = super().advance(segment_ids)
            self._positions = positions[:, -1] + 1
            self._shared = Shared.of(segment_ids != 0)
            return positions, mask
        if segment_ids.shape[1] != 1:
            raise ValueError("a shared cache takes one token a row after the prompt")
        positions = self._positions[:, None]
        self._positions = self._positions + 1
        self._steps += 1
        return positions, None

    def attend(
        self, owner: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Look at the prompt and the tail, each [R, H, 1, D]; the prompt itself is read as in `Cache`."""
        if self._steps == 0:
            return super().attend(owner, query, key, value, mask)
        if owner not in self._tails:
            rows, heads, _, width = key.shape
            shape = (rows, heads, self._reply_tokens, width)
            self._tails[owner] = (key.new_empty(shape), value.new_empty(shape))
        prompt, tail = self._growing[owner], self._tails[owner]
        return attend_shared(query, prompt, self._shared, (key, value), tail, self._steps - 1)

    def attend_fixed(
        self,
        owner: nn.Module,
        query: Tensor,
        make: Callable[[], tuple[Tensor, Tensor]],
        mask: Tensor,
    ) -> Tensor:
        """Look at the encoder's output, which is kept once a prompt; see `Cache.attend_fixed`."""
        if self._steps == 0:
            self._memory = Shared.of(mask[:, 0, 0])
            keys, values = make()
            kept = keys.contiguous(), values.contiguous()
            return super().attend_fixed(owner, query, lambda: kept, mask)
        return attend_shared(query, self._fixed[owner], self._memory)

    def reorder(self, rows: Tensor) -> None:
        """Make row i what row `rows[i]` was; rows may be repeated or left out."""
        self._positions = self._positions.index_select(0, rows)
        self._shared = self._shared.reorder(rows)
        self._memory = self._memory.reorder(rows)
        for owner, tail in self._tails.items():
            self._tails[owner] = (self._move(tail[0], rows), self._move(tail[1], rows))
        for owner, columns in self._windows.items():
            self._windows[owner] = columns.index_select(0, rows)

    def _move(self, tail: Tensor, rows: Tensor) -> Tensor:
        moved = tail.new_empty(len(rows), *tail.shape[1:])
        torch.index_select(tail[:, :, : self._steps], 0, rows, out=moved[:, :, : self._steps])
        return moved
