"""The compiled functions, called with tensors, and what they read: packed weights and tables of rows.

The functions trust their pointers, so everything is checked here: a wrong shape, type, layout or number raises
`ValueError` before anything is read. What many calls share is checked once, when it is made.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .choosing import Chooser

_LANES, _DEPTH, _PANEL = 16, 4, 32
_GELU_TANH = 1
_MAX_WIDTH = 256
_NUMBER = 4  # bytes of a float32


@dataclass(frozen=True)
class PackedWeight:
    """8-bit weights as the kernel reads them.

    Raises:
        ValueError: the parts do not fit each other.
    """

    blocks: Tensor
    """uint8 [ceil(C_out / 32), ceil(C_in / 4), 32, 4]."""
    scale: Tensor
    """float32 [C_out]."""
    inputs: int

    def __post_init__(self) -> None:
        _check("scale", self.scale, torch.float32, (len(self.scale),))
        panels, steps = -(-len(self.scale) // _PANEL), -(-self.inputs // _DEPTH)
        _check("blocks", self.blocks, torch.uint8, (panels, steps, _PANEL, _DEPTH))

    @classmethod
    def empty(cls, outputs: int, inputs: int) -> PackedWeight:
        """Make room for weights that are put in piece by piece."""
        shape = (-(-outputs // _PANEL), -(-inputs // _DEPTH), _PANEL, _DEPTH)
        return cls(torch.empty(shape, dtype=torch.uint8), torch.empty(outputs), inputs)

    def put(self, first: int, part: PackedWeight) -> None:
        """Put the weights of the outputs from number `first` on, a multiple of 32, in their place."""
        panel = first // _PANEL
        self.blocks[panel : panel + len(part.blocks)] = part.blocks
        self.scale[first : first + len(part.scale)] = part.scale


@dataclass(frozen=True)
class AttentionRows:
    """Where the keys and values lie that each row of a batch looks at; made by `of` and `join`.

    Every row has a prompt, which others may share, and perhaps a tail of its own.
    """

    table: NDArray[np.int64]
    """[R, 7]: the C struct `Row`."""
    heads: int
    width: int
    """Numbers of a head."""
    owners: tuple[Tensor, ...]
    """What the addresses point into."""

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
            shared: keys and values of the prompts, each [P, H, S, D], D a multiple of 16 and at most 256.
            spans: first column of each prompt and the one after its last, int64 [2, P].
            prompts: the prompt of each row, int64 [R].
            tail: keys and values of the replies, each [R, H, T, D].

        Raises:
            ValueError: the parts do not fit each other.
        """
        if shared[0].dim() != 4:
            raise ValueError("keys must be [P, H, S, D]")
        count, heads, columns, width = shared[0].shape
        if width % _LANES or not 0 < width <= _MAX_WIDTH:
            raise ValueError(f"a head of {width} numbers; it must be a multiple of 16, at most 256")
        for part in shared:
            _check("keys and values", part, torch.float32, (count, heads, columns, width))
        _check("spans", spans, torch.int64, (2, count))
        _check("prompts", prompts, torch.int64, (len(prompts),))
        first, last, of_row = spans[0].numpy(), spans[1].numpy(), prompts.numpy()
        if not ((first >= 0) & (first <= last) & (last <= columns)).all():
            raise ValueError(f"a span lies outside the {columns} columns")
        if not ((of_row >= 0) & (of_row < count)).all():
            raise ValueError(f"a row's prompt is not one of {count}")
        table = np.zeros((len(of_row), 7), dtype=np.int64)
        start = (of_row * heads * columns + first[of_row]) * width * _NUMBER
        table[:, 0], table[:, 1] = start + shared[0].data_ptr(), start + shared[1].data_ptr()
        table[:, 2], table[:, 3] = columns, (last - first)[of_row]
        if tail is None:
            return cls(table, heads, width, shared)
        capacity = tail[0].shape[2] if tail[0].dim() == 4 else 0
        for part in tail:
            _check("tails", part, torch.float32, (len(of_row), heads, capacity, width))
        start = np.arange(len(of_row)) * (heads * capacity * width * _NUMBER)
        table[:, 4], table[:, 5] = start + tail[0].data_ptr(), start + tail[1].data_ptr()
        table[:, 6] = capacity
        return cls(table, heads, width, (*shared, *tail))

    @classmethod
    def join(cls, parts: Sequence[AttentionRows]) -> AttentionRows:
        """Put the rows of several batches of the same layer one after another.

        Raises:
            ValueError: their heads differ.
        """
        heads, width = parts[0].heads, parts[0].width
        if any((part.heads, part.width) != (heads, width) for part in parts):
            raise ValueError("rows of different layers cannot be joined")
        owners = tuple(owner for part in parts for owner in part.owners)
        return cls(np.concatenate([part.table for part in parts]), heads, width, owners)


class Kernels:
    """The compiled functions; all numbers float32 on the CPU.

    A row's result depends on that row alone, bit for bit.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self.chooser = Chooser(library)
        """What chooses among the scores of a vocabulary."""
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._linear = library.dgm_linear_int8
        self._linear.restype = None
        self._linear.argtypes = [
            pointer, number, number, pointer, pointer, pointer, number, ctypes.c_int, pointer, pointer,
        ]  # fmt: skip
        self._attend = library.dgm_attend
        self._attend.restype = None
        self._attend.argtypes = [
            pointer, pointer, pointer, number, number, number, ctypes.c_int, pointer, pointer, number,
            ctypes.c_float, pointer,
        ]  # fmt: skip
        self._add_norm = library.dgm_add_norm
        self._add_norm.restype = None
        self._add_norm.argtypes = [
            pointer, pointer, number, number, pointer, pointer, ctypes.c_float, pointer
        ]  # fmt: skip

    def linear(self, x: Tensor, weight: PackedWeight, bias: Tensor | None, *, gelu: bool) -> Tensor:
        """[N, C_in] → [N, C_out], with GELU in its tanh form if asked.

        Raises:
            ValueError: input or bias do not fit the weight.
        """
        x = x.contiguous()
        _check("x", x, torch.float32, (len(x), weight.inputs))
        rows, outputs = len(x), len(weight.scale)
        if bias is not None:
            _check("bias", bias, torch.float32, (outputs,))
        out = torch.empty(rows, outputs)
        padded = weight.blocks.shape[1] * _DEPTH
        scratch = torch.empty(rows * (padded + 8), dtype=torch.int8)
        self._linear(
            x.data_ptr(),
            rows,
            weight.inputs,
            weight.blocks.data_ptr(),
            weight.scale.data_ptr(),
            _pointer(bias),
            outputs,
            _GELU_TANH if gelu else 0,
            out.data_ptr(),
            scratch.data_ptr(),
        )
        return out

    def attend(
        self,
        query: Tensor,
        rows: AttentionRows,
        new: tuple[Tensor, Tensor] | None = None,
        places: NDArray[np.int64] | None = None,
    ) -> Tensor:
        """Look at each row's prompt, and at its tail; its new key and value are put in place first.

        Args:
            query: [R, H, 1, D].
            rows: what each row looks at.
            new: key and value of the new tokens, each [R, H, 1, D]; None to look at the prompts alone.
            places: the column of each row's tail that the new ones go to, [R]; those before it are seen.

        Returns:
            [R, H, 1, D].

        Raises:
            ValueError: the parts do not fit each other.
        """
        table, heads, width = rows.table, rows.heads, rows.width
        shape = (len(table), heads, 1, width)
        parts = [query] if new is None else [query, *new]
        for part in parts:
            if part.shape != shape or part.dtype != torch.float32 or part.device.type != "cpu":
                raise ValueError(f"query, key and value must be float32 {list(shape)} on the CPU")
        most = table[:, 3]
        if (new is None) != (places is None):
            raise ValueError("new keys and values need places, and places need them")
        if places is not None:
            if places.dtype != np.int64 or places.shape != (len(table),):
                raise ValueError(f"places must be int64 [{len(table)}]")
            if not ((places >= 0) & (places < table[:, 6])).all():
                raise ValueError("a place lies outside its row's tail")
            places = np.ascontiguousarray(places)
            most = most + table[:, 6]
        if not all(part.stride() == query.stride() for part in parts) or not _is_joined(query):
            parts = [part.contiguous() for part in parts]
        key, value = (None, None) if new is None else parts[1:]
        out = torch.empty(shape)
        self._attend(
            parts[0].data_ptr(),
            _pointer(key),
            _pointer(value),
            parts[0].stride(0),
            len(table),
            heads,
            width,
            table.ctypes.data,
            None if places is None else places.ctypes.data,
            int(most.max(initial=0)),
            width**-0.5,
            out.data_ptr(),
        )
        return out

    def add_norm(
        self, x: Tensor, added: Tensor | None, weight: Tensor, bias: Tensor, epsilon: float
    ) -> Tensor:
        """LayerNorm of a sum: two of [..., C] → [..., C].

        Raises:
            ValueError: the parts do not fit each other.
        """
        x = x.contiguous()
        _check("x", x, torch.float32, x.shape)
        if added is not None:
            added = added.contiguous()
            _check("added", added, torch.float32, x.shape)
        width = x.shape[-1]
        _check("weight", weight, torch.float32, (width,))
        _check("bias", bias, torch.float32, (width,))
        out = torch.empty_like(x)
        self._add_norm(
            x.data_ptr(),
            _pointer(added),
            x.numel() // max(1, width),
            width,
            weight.data_ptr(),
            bias.data_ptr(),
            epsilon,
            out.data_ptr(),
        )
        return out

    def can_attend(self, query: Tensor) -> bool:
        """Whether `attend` takes queries of this kind."""
        width = query.shape[3]
        is_plain = query.dtype == torch.float32 and query.device.type == "cpu"
        return is_plain and width % _LANES == 0 and width <= _MAX_WIDTH


def pack(weight: Tensor, scale: Tensor) -> PackedWeight:
    """Lay out int8 weights [C_out, C_in], with scales [C_out], in the kernel's blocks."""
    outputs, inputs = weight.shape
    full = F.pad(weight, (0, -inputs % _DEPTH, 0, -outputs % _PANEL))
    # Flipping the first bit adds 128; four of the bytes move as one number.
    fours = (
        (full.view(torch.uint8) ^ 128).view(torch.int32).view(-1, _PANEL, full.shape[1] // _DEPTH)
    )
    blocks = fours.transpose(1, 2).contiguous().view(torch.uint8)  # [panels, steps, PANEL * DEPTH]
    blocks = blocks.view(*blocks.shape[:2], _PANEL, _DEPTH)
    return PackedWeight(blocks, scale.contiguous(), inputs)


def _check(name: str, tensor: Tensor, dtype: torch.dtype, shape: Sequence[int]) -> None:
    """Refuse a tensor that the kernels would misread."""
    is_plain = tensor.dtype == dtype and tensor.device.type == "cpu" and tensor.is_contiguous()
    if not is_plain or tensor.shape != tuple(shape):
        wanted = f"contiguous {str(dtype).removeprefix('torch.')} {list(shape)} on the CPU"
        found = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        raise ValueError(f"{name} must be {wanted}, not {found}")


def _is_joined(x: Tensor) -> bool:
    """Whether the heads of each row, [R, H, 1, D], lie side by side."""
    return x.stride(3) == 1 and x.stride(1) == x.shape[3]


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
