"""The fast cache: a prompt is kept once, however many replies are written to it.

- Reading the prompts is as in the reference cache, one row a prompt. From the first step on, each row is a
  reply: it looks at its prompt's keys and values, which are shared, and at its own tail, which is short.
- So `reorder` moves tails only. A prompt that no row needs any more stays until the session ends.
- A step brings one token a row.
- Several caches may take a step together (`JoinedCache`): the model multiplies all rows at once, each row looks
  at what its own cache keeps, and nothing is copied when a cache joins or leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.cache import Cache
from .attention import Shared, attend_shared
from .native import AttentionRows, StackedRows, find_kernels

_LARGEST_HALF = torch.finfo(torch.float16).max


class SharedCache(Cache):
    """The state of prompts and of the replies that are written to them.

    Args:
        prompt_tokens: width of the first forward pass, padding included.
        reply_tokens: the most steps after it.
        in_half: whether keys and values are kept in 16 bits once the prompts are read, where the kernels
            look at them.
    """

    def __init__(self, prompt_tokens: int, reply_tokens: int, *, in_half: bool = False) -> None:
        super().__init__(prompt_tokens)
        self._reply_tokens = reply_tokens
        self._in_half = in_half
        self._steps = 0  # tokens in each tail
        self._positions = torch.empty(0)  # [R], of the next token
        self._shared = Shared.empty()
        self._memory = Shared.empty()
        self._tails: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # each [R, H, reply_tokens, D]
        self._tables: dict[nn.Module, AttentionRows] = {}
        self._stacks: dict[nn.Module, StackedRows] = {}  # by their first layer
        self.places: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """The column of each row's tail that holds the newest token, [R]."""

    @property
    def rows(self) -> int:
        """Rows of the next step."""
        return len(self._positions)

    @property
    def is_stepping(self) -> bool:
        """Whether the prompts are read, and each row brings one token."""
        return self._steps > 0

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
        self.places = np.full(self.rows, self._steps)
        self._steps += 1
        return positions, None

    def attend(
        self, owner: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Look at the prompt and the tail, each [R, H, 1, D]; the prompt itself is read as in `Cache`."""
        if self._steps == 0:
            return super().attend(owner, query, key, value, mask)
        kernels = find_kernels()
        if kernels is not None and kernels.can_attend(query):
            return kernels.attend(query, self.growing_rows(owner), (key, value), self.places)
        prompt, tail = self._growing[owner], self._tail(owner)
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
        kernels = find_kernels()
        if kernels is not None and kernels.can_attend(query):
            return kernels.attend(query, self.fixed_rows(owner))
        return attend_shared(query, self._fixed[owner], self._memory)

    def growing_rows(self, owner: nn.Module) -> AttentionRows:
        """Say where a layer's keys and values of prompts and replies lie, for the kernels."""
        if owner not in self._tables:
            spans, prompts = self._shared.spans, self._shared.prompts
            self._narrow(self._growing, owner)
            tail = self._tail(owner)
            self._tables[owner] = AttentionRows.of(self._growing[owner], spans, prompts, tail)
        return self._tables[owner]

    def fixed_rows(self, owner: nn.Module) -> AttentionRows:
        """Say where a layer's keys and values of the encoder's output lie, for the kernels."""
        if owner not in self._tables:
            spans, prompts = self._memory.spans, self._memory.prompts
            self._narrow(self._fixed, owner)
            self._tables[owner] = AttentionRows.of(self._fixed[owner], spans, prompts)
        return self._tables[owner]

    def stacked_growing_rows(self, owners: Sequence[nn.Module]) -> StackedRows:
        """As `growing_rows`, for several layers."""
        return self._stacked(self.growing_rows, owners)

    def stacked_fixed_rows(self, owners: Sequence[nn.Module]) -> StackedRows:
        """As `fixed_rows`, for several layers."""
        return self._stacked(self.fixed_rows, owners)

    def _stacked(
        self, rows_of: Callable[[nn.Module], AttentionRows], owners: Sequence[nn.Module]
    ) -> StackedRows:
        if owners[0] not in self._stacks:
            self._stacks[owners[0]] = StackedRows([rows_of(owner) for owner in owners])
        return self._stacks[owners[0]]

    def _narrow(self, kept: dict[nn.Module, tuple[Tensor, Tensor]], owner: nn.Module) -> None:
        if self._in_half:
            keys, values = (x.clamp(-_LARGEST_HALF, _LARGEST_HALF).half() for x in kept[owner])
            kept[owner] = keys, values

    def _tail(self, owner: nn.Module) -> tuple[Tensor, Tensor]:
        """Keys and values of the replies, each [R, H, reply_tokens, D]."""
        if owner not in self._tails:
            keys = self._growing[owner][0]
            shape = (self.rows, keys.shape[1], self._reply_tokens, keys.shape[3])
            self._tails[owner] = (keys.new_empty(shape), keys.new_empty(shape))
        return self._tails[owner]

    def reorder(self, rows: Tensor) -> None:
        """Make row i what row `rows[i]` was; rows may be repeated or left out."""
        self._positions = self._positions.index_select(0, rows)
        self._shared = self._shared.reorder(rows)
        self._memory = self._memory.reorder(rows)
        for owner, tail in self._tails.items():
            self._tails[owner] = (self._move(tail[0], rows), self._move(tail[1], rows))
        self._stacks.clear()
        for owner, table in self._tables.items():
            self._tables[owner] = table.reorder(rows.numpy(), self._tails.get(owner))
        for owner, columns in self._windows.items():
            self._windows[owner] = columns.index_select(0, rows)

    def _move(self, tail: Tensor, rows: Tensor) -> Tensor:
        moved = tail.new_empty(len(rows), *tail.shape[1:])
        torch.index_select(tail[:, :, : self._steps], 0, rows, out=moved[:, :, : self._steps])
        return moved


class JoinedCache(Cache):
    """Caches whose rows take one step together: those of the first, then those of the second, and so on.

    It lives for one forward pass and keeps nothing itself.

    Args:
        parts: caches that have read their prompts.
    """

    def __init__(self, parts: Sequence[SharedCache]) -> None:
        super().__init__(0)
        self._parts = parts
        self._counts = [part.rows for part in parts]
        self.places: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """The column of each row's tail that holds the newest token, [R]."""
        self.is_stepping = True

    def advance(self, segment_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Note one new token a row, [R, 1]; see `Cache.advance`."""
        pieces = zip(self._parts, self._split(segment_ids), strict=True)
        positions = torch.cat([part.advance(piece)[0] for part, piece in pieces])
        self.places = np.concatenate([part.places for part in self._parts])
        return positions, None

    def attend(
        self, owner: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Let each row look at its prompt and its tail; each [R, H, 1, D]."""
        kernels = find_kernels()
        if kernels is not None and kernels.can_attend(query):
            return kernels.attend(query, self.growing_rows(owner), (key, value), self.places)
        pieces = zip(self._parts, *map(self._split, (query, key, value)), strict=True)
        return torch.cat([part.attend(owner, q, k, v, None) for part, q, k, v in pieces])

    def attend_fixed(
        self,
        owner: nn.Module,
        query: Tensor,
        make: Callable[[], tuple[Tensor, Tensor]],
        mask: Tensor,
    ) -> Tensor:
        """Let each row look at its prompt's encoder output; see `Cache.attend_fixed`."""
        kernels = find_kernels()
        if kernels is not None and kernels.can_attend(query):
            return kernels.attend(query, self.fixed_rows(owner))
        pieces = zip(self._parts, self._split(query), strict=True)
        return torch.cat([part.attend_fixed(owner, piece, make, mask) for part, piece in pieces])

    def growing_rows(self, owner: nn.Module) -> AttentionRows:
        """Say where a layer's keys and values of prompts and replies lie, for the kernels."""
        return AttentionRows.join([part.growing_rows(owner) for part in self._parts])

    def fixed_rows(self, owner: nn.Module) -> AttentionRows:
        """Say where a layer's keys and values of the encoder's output lie, for the kernels."""
        return AttentionRows.join([part.fixed_rows(owner) for part in self._parts])

    def stacked_growing_rows(self, owners: Sequence[nn.Module]) -> StackedRows:
        """As `growing_rows`, for several layers."""
        return StackedRows([self.growing_rows(owner) for owner in owners])

    def stacked_fixed_rows(self, owners: Sequence[nn.Module]) -> StackedRows:
        """As `fixed_rows`, for several layers."""
        return StackedRows([self.fixed_rows(owner) for owner in owners])

    def window(self, owner: nn.Module, x: Tensor, width: int) -> Tensor:
        """Put the columns that each row has seen in front of the new ones; see `Cache.window`."""
        pieces = zip(self._parts, self._split(x), strict=True)
        return torch.cat([part.window(owner, piece, width) for part, piece in pieces])

    def reorder(self, rows: Tensor) -> None:
        """Raise ValueError: rows move within their own caches."""
        raise ValueError("reorder the caches that were joined, one by one")

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split_with_sizes(self._counts)
