"""The compiled functions, called with tensors.

They trust their pointers, so everything is checked before it is handed over: a wrong shape, type, layout or
number raises `ValueError`. What many calls share is checked once, when it is made (`packed`, `rows`).
"""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .checks import check, pointer, takes_heads
from .choosing import Chooser
from .packed import PackedLayers, PackedLinear, PackedNorm
from .rows import AttentionRows, HeadsStruct, StackedRows


class Kernels:
    """The compiled functions; all numbers float32 on the CPU.

    A row's result depends on that row alone, bit for bit.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self.chooser = Chooser(library)
        """What chooses among the scores of a vocabulary."""
        self.with_tiles = bool(library.dgm_has_tiles())
        """Whether products use the tiles of AMX; the bits are the same without."""
        address, number = ctypes.c_void_p, ctypes.c_int64
        self._linear = library.dgm_linear
        self._linear.restype = None
        self._linear.argtypes = [address, address, number, address, address, ctypes.c_int]
        self._attend = library.dgm_attend
        self._attend.restype = None
        self._attend.argtypes = [address, number, address, address, address]
        self._add_norm = library.dgm_add_norm
        self._add_norm.restype = None
        self._add_norm.argtypes = [address, address, address, number, address]
        self._step = library.dgm_step
        self._step.restype = None
        self._step.argtypes = [
            address, number, address, number, address, address, address, address, address,
            ctypes.c_int,
        ]  # fmt: skip

    def linear(self, x: Tensor, layer: PackedLinear) -> Tensor:
        """[N, C_in] → [N, C_out].

        Raises:
            ValueError: the input does not fit the layer.
        """
        x = x.contiguous()
        check("x", x, torch.float32, (len(x), layer.inputs))
        out = torch.empty(len(x), layer.outputs)
        scratch = torch.empty(layer.scratch(len(x)), dtype=torch.int8)
        self._linear(
            ctypes.byref(layer.struct),
            x.data_ptr(),
            len(x),
            out.data_ptr(),
            scratch.data_ptr(),
            self.with_tiles,
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
        shape = (len(rows.table), rows.heads, 1, rows.width)
        parts = [query] if new is None else [query, *new]
        for part in parts:
            if part.shape != shape or part.dtype != torch.float32 or part.device.type != "cpu":
                raise ValueError(f"query, key and value must be float32 {list(shape)} on the CPU")
        if (new is None) != (places is None):
            raise ValueError("new keys and values need places, and places need them")
        if places is not None:
            rows.check_places(places)
        if not all(part.stride() == query.stride() for part in parts) or not _is_joined(query):
            parts = [part.contiguous() for part in parts]
        key, value = (None, None) if new is None else parts[1:]
        heads = HeadsStruct(
            parts[0].data_ptr(),
            pointer(key),
            pointer(value),
            parts[0].stride(0),
            rows.heads,
            rows.width,
        )
        out = torch.empty(shape)
        self._attend(
            ctypes.byref(heads),
            len(rows.table),
            ctypes.byref(rows.struct),
            None if places is None else places.ctypes.data,
            out.data_ptr(),
        )
        return out

    def add_norm(self, x: Tensor, added: Tensor | None, norm: PackedNorm) -> Tensor:
        """LayerNorm of a sum: two of [..., C] → [..., C].

        Raises:
            ValueError: the parts do not fit each other.
        """
        x = x.contiguous()
        check("x", x, torch.float32, (*x.shape[:-1], norm.width))
        if added is not None:
            added = added.contiguous()
            check("added", added, torch.float32, x.shape)
        out = torch.empty_like(x)
        self._add_norm(
            ctypes.byref(norm.struct),
            x.data_ptr(),
            pointer(added),
            x.numel() // norm.width,
            out.data_ptr(),
        )
        return out

    def step(
        self,
        x: Tensor,
        layers: PackedLayers,
        rows: StackedRows,
        places: NDArray[np.int64],
        memory: StackedRows | None = None,
    ) -> Tensor:
        """Take one token a row through a decoder's layers: [R, C] → [R, C].

        Args:
            x: [R, C].
            layers: all their parts.
            rows: the prompts and tails that each row's own attention looks at, layer by layer.
            places: the column of each row's tail that the new token's key and value go to, [R].
            memory: what each row sees of an encoder's output, for layers that look at one.

        Raises:
            ValueError: the parts do not fit each other.
        """
        x = x.contiguous()
        check("x", x, torch.float32, (rows.rows, layers.embedding))
        seen = [rows] if memory is None else [rows, memory]
        if layers.has_cross != (memory is not None):
            raise ValueError("layers with attention to an encoder's output need rows for it")
        for part in seen:
            if (part.heads, part.width) != (layers.heads, layers.width):
                raise ValueError("the rows are another model's")
            if (part.rows, len(part.layers)) != (rows.rows, len(layers.layers)):
                raise ValueError("all layers and both kinds of attention need the same rows")
        rows.check_places(places)
        out = torch.empty_like(x)
        room = torch.empty(layers.room(rows.rows))
        self._step(
            layers.structs,
            len(layers.layers),
            x.data_ptr(),
            rows.rows,
            rows.structs,
            None if memory is None else memory.structs,
            places.ctypes.data,
            out.data_ptr(),
            room.data_ptr(),
            self.with_tiles,
        )
        return out

    def can_attend(self, query: Tensor) -> bool:
        """Whether `attend` takes queries of this kind."""
        is_plain = query.dtype == torch.float32 and query.device.type == "cpu"
        return is_plain and takes_heads(query.shape[3])


def _is_joined(x: Tensor) -> bool:
    """Whether the heads of each row, [R, H, 1, D], lie side by side."""
    return x.stride(3) == 1 and x.stride(1) == x.shape[3]
