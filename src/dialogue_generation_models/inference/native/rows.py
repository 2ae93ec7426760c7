"""Where the keys and values lie that the rows of a batch look at.

Each table is checked when it is made, and lays itself out as `layers.h` says; it keeps the tensors that the
addresses point into.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .checks import check, takes_heads


class SightStruct(ctypes.Structure):
    """What the rows of a batch look at."""

    _fields_ = [
        ("table", ctypes.c_void_p),
        ("most", ctypes.c_int64),
        ("is_half", ctypes.c_int64),
    ]


class HeadsStruct(ctypes.Structure):
    """Where queries lie, and keys and values where there are new ones."""

    _fields_ = [
        ("query", ctypes.c_void_p),
        ("key", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("width", ctypes.c_int64),
    ]


@dataclass(frozen=True)
class AttentionRows:
    """Where the keys and values lie that each row of a batch looks at; made by `of`, `join` and `reorder`.

    Every row has a prompt, which others may share, and perhaps a tail of its own.
    """

    table: NDArray[np.int64]
    """[R, 7]: the C struct `Row`."""
    heads: int
    width: int
    """Numbers of a head."""
    dtype: torch.dtype
    """Of keys and values: float32 or float16."""
    owners: tuple[Tensor, ...]
    """What the addresses point into."""

    @property
    def is_half(self) -> bool:
        """Whether keys and values have 16 bits."""
        return self.dtype == torch.float16

    @cached_property
    def _most(self) -> int:
        """The most keys that a row may look at."""
        return int((self.table[:, 3] + self.table[:, 6]).max(initial=0))

    @cached_property
    def struct(self) -> SightStruct:
        """What the kernels read."""
        return SightStruct(self.table.ctypes.data, self._most, self.is_half)

    def check_places(self, places: NDArray[np.int64]) -> None:
        """Refuse columns of the tails, [R], that are not in them.

        Raises:
            ValueError: there is such a column, or not one for each row.
        """
        if places.dtype != np.int64 or places.shape != (len(self.table),):
            raise ValueError(f"places must be int64 [{len(self.table)}]")
        if not places.flags.c_contiguous:
            raise ValueError("places must lie side by side")
        if not ((places >= 0) & (places < self.table[:, 6])).all():
            raise ValueError("a place lies outside its row's tail")

    @classmethod
    def of(
        cls,
        shared: tuple[Tensor, Tensor],
        spans: Tensor,
        prompts: Tensor,
        tail: tuple[Tensor, Tensor] | None = None,
    ) -> AttentionRows:
        """Describe rows whose prompts lie in one buffer, and so do their tails.

        Args:
            shared: keys and values of the prompts, float32 or float16, each [P, H, S, D], D a multiple of 16
                and at most 256.
            spans: first column of each prompt and the one after its last, int64 [2, P].
            prompts: the prompt of each row, int64 [R].
            tail: keys and values of the replies, of the same type, each [R, H, T, D].

        Raises:
            ValueError: the parts do not fit each other.
        """
        dtype = shared[0].dtype
        if dtype not in (torch.float32, torch.float16):
            raise ValueError(f"keys must be float32 or float16, not {dtype}")
        if shared[0].dim() != 4:
            raise ValueError("keys must be [P, H, S, D]")
        count, heads, columns, width = shared[0].shape
        if not takes_heads(width):
            raise ValueError(f"a head of {width} numbers; it must be a multiple of 16, at most 256")
        for part in shared:
            check("keys and values", part, dtype, (count, heads, columns, width))
        check("spans", spans, torch.int64, (2, count))
        check("prompts", prompts, torch.int64, (len(prompts),))
        first, last, of_row = spans[0].numpy(), spans[1].numpy(), prompts.numpy()
        if not ((first >= 0) & (first <= last) & (last <= columns)).all():
            raise ValueError(f"a span lies outside the {columns} columns")
        if not ((of_row >= 0) & (of_row < count)).all():
            raise ValueError(f"a row's prompt is not one of {count}")
        table = np.zeros((len(of_row), 7), dtype=np.int64)
        start = (of_row * heads * columns + first[of_row]) * width * dtype.itemsize
        table[:, 0], table[:, 1] = start + shared[0].data_ptr(), start + shared[1].data_ptr()
        table[:, 2], table[:, 3] = columns, (last - first)[of_row]
        if tail is None:
            return cls(table, heads, width, dtype, shared)
        return cls._with_tail(table, heads, width, shared, tail)

    def reorder(
        self, rows: NDArray[np.int64], tail: tuple[Tensor, Tensor] | None = None
    ) -> AttentionRows:
        """Make row i what row `rows[i]` was, with the tails that were moved likewise, if there are any.

        Raises:
            ValueError: there are no such rows, the tails do not fit them, or these rows were joined.
        """
        if len(self.owners) > 4 or (tail is None) != (len(self.owners) == 2):
            raise ValueError("rows of one batch, with their tails if they have any")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.table):
            raise ValueError(f"rows must be among {len(self.table)}")
        shared, table = self.owners[:2], self.table[rows]
        if tail is None:
            return AttentionRows(table, self.heads, self.width, self.dtype, shared)
        return self._with_tail(table, self.heads, self.width, shared, tail)

    @classmethod
    def _with_tail(
        cls,
        table: NDArray[np.int64],
        heads: int,
        width: int,
        shared: tuple[Tensor, ...],
        tail: tuple[Tensor, Tensor],
    ) -> AttentionRows:
        """Write the tails into a new table, and return its rows."""
        dtype, capacity = shared[0].dtype, tail[0].shape[2] if tail[0].dim() == 4 else 0
        for part in tail:
            check("tails", part, dtype, (len(table), heads, capacity, width))
        start = np.arange(len(table)) * (heads * capacity * width * dtype.itemsize)
        table[:, 4], table[:, 5] = start + tail[0].data_ptr(), start + tail[1].data_ptr()
        table[:, 6] = capacity
        return cls(table, heads, width, dtype, (*shared, *tail))

    @classmethod
    def join(cls, parts: Sequence[AttentionRows]) -> AttentionRows:
        """Put the rows of several batches of the same layer one after another.

        Raises:
            ValueError: their heads differ.
        """
        heads, width, dtype = parts[0].heads, parts[0].width, parts[0].dtype
        if any((part.heads, part.width, part.dtype) != (heads, width, dtype) for part in parts):
            raise ValueError("rows of different layers cannot be joined")
        owners = tuple(owner for part in parts for owner in part.owners)
        return cls(np.concatenate([part.table for part in parts]), heads, width, dtype, owners)


class StackedRows:
    """What the same rows look at in each of several layers.

    Raises:
        ValueError: the layers differ.
    """

    def __init__(self, layers: Sequence[AttentionRows]) -> None:
        first = layers[0]
        self.rows, self.heads, self.width = len(first.table), first.heads, first.width
        for layer in layers:
            if (len(layer.table), layer.heads, layer.width) != (self.rows, self.heads, self.width):
                raise ValueError("rows of different layers cannot be stacked")
            if not np.array_equal(layer.table[:, 6], first.table[:, 6]):
                raise ValueError("the tails of the layers differ")
        self.layers = layers
        self.structs = (SightStruct * len(layers))(*(layer.struct for layer in layers))

    def check_places(self, places: NDArray[np.int64]) -> None:
        """Refuse columns that are not in the tails; see `AttentionRows.check_places`."""
        self.layers[0].check_places(places)
