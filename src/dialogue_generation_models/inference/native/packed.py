"""A decoder's layers as the kernels read them: packed weights, norms, and what they are parts of.

Each is checked when it is made, and lays itself out as `layers.h` says; it keeps the tensors that the addresses
point into.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check, pointer, takes_heads

_DEPTH, _PANEL = 4, 32
_GELU_TANH = 1
_NUMBER = 4  # bytes of a float32
_SPARE = 64  # bytes that a tile may read past the last row


class _LinearStruct(ctypes.Structure):
    _fields_ = [
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("activation", ctypes.c_int64),
    ]


class _NormStruct(ctypes.Structure):
    _fields_ = [
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("epsilon", ctypes.c_float),
    ]


class _SublayerStruct(ctypes.Structure):
    _fields_ = [("first", _LinearStruct), ("second", _LinearStruct), ("norm", _NormStruct)]


class _LayerStruct(ctypes.Structure):
    _fields_ = [
        ("attention", _SublayerStruct),
        ("cross", _SublayerStruct),
        ("feed_forward", _SublayerStruct),
        ("heads", ctypes.c_int64),
        ("width", ctypes.c_int64),
    ]


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
        check("scale", self.scale, torch.float32, (len(self.scale),))
        panels, steps = -(-len(self.scale) // _PANEL), -(-self.inputs // _DEPTH)
        check("blocks", self.blocks, torch.uint8, (panels, steps, _PANEL, _DEPTH))

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


class PackedLinear:
    """A linear layer in 8 bits: packed weights, a bias, and GELU in its tanh form if asked.

    Raises:
        ValueError: the bias does not fit the weight.
    """

    def __init__(self, weight: PackedWeight, bias: Tensor | None, *, gelu: bool = False) -> None:
        self.inputs, self.outputs = weight.inputs, len(weight.scale)
        if bias is not None:
            check("bias", bias, torch.float32, (self.outputs,))
        self._parts = weight, bias
        activation = _GELU_TANH if gelu else 0
        self.struct = _LinearStruct(
            weight.blocks.data_ptr(),
            weight.scale.data_ptr(),
            pointer(bias),
            self.inputs,
            self.outputs,
            activation,
        )

    def scratch(self, rows: int) -> int:
        """Bytes that the kernel needs for so many rows."""
        return rows * (self.inputs + _DEPTH + 2 * _NUMBER) + _SPARE


class PackedNorm:
    """A LayerNorm.

    Raises:
        ValueError: the parts do not fit each other.
    """

    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float) -> None:
        self.width = len(weight)
        for name, part in {"weight": weight, "bias": bias}.items():
            check(name, part, torch.float32, (self.width,))
        self._parts = weight, bias
        self.struct = _NormStruct(weight.data_ptr(), bias.data_ptr(), self.width, epsilon)


@dataclass(frozen=True)
class PackedSublayer:
    """What a sublayer consists of, besides attention itself."""

    first: PackedLinear
    """Makes queries, keys and values; queries; or what lies inside a feed-forward layer."""
    second: PackedLinear
    norm: PackedNorm
    """Of the sum of what the sublayer made and was given."""


class PackedLayer:
    """A layer of a decoder: attention, perhaps attention to an encoder's output, and feed-forward.

    Raises:
        ValueError: the parts do not fit each other.
    """

    def __init__(
        self,
        attention: PackedSublayer,
        cross: PackedSublayer | None,
        feed_forward: PackedSublayer,
        heads: int,
    ) -> None:
        self.embedding, self.inner = attention.norm.width, feed_forward.first.outputs
        self.heads, self.width = heads, self.embedding // heads
        self.has_cross = cross is not None
        self._parts = attention, cross, feed_forward
        if self.width * heads != self.embedding or not takes_heads(self.width):
            raise ValueError(f"{heads} heads of {self.embedding} numbers in all")
        self._check(attention, 3 * self.embedding, self.embedding)
        self._check(feed_forward, self.inner, self.inner)
        if cross is not None:
            self._check(cross, self.embedding, self.embedding)
        structs = [
            _SublayerStruct(part.first.struct, part.second.struct, part.norm.struct)
            if part is not None
            else _SublayerStruct()
            for part in (attention, cross, feed_forward)
        ]
        self.struct = _LayerStruct(*structs, heads, self.width)

    def _check(self, part: PackedSublayer, made: int, taken: int) -> None:
        first, second = part.first, part.second
        found = (first.inputs, first.outputs, second.inputs, second.outputs, part.norm.width)
        if found != (self.embedding, made, taken, self.embedding, self.embedding):
            raise ValueError(f"a sublayer of the sizes {found}, {self.embedding} wide")

    def room(self, rows: int) -> int:
        """Numbers that the kernel needs for so many rows."""
        _, _, feed_forward = self._parts
        scratch = max(feed_forward.first.scratch(rows), feed_forward.second.scratch(rows))
        return rows * (5 * self.embedding + self.inner) + -(-scratch // _NUMBER)


class PackedLayers:
    """All layers of a decoder, of one shape.

    Raises:
        ValueError: they differ.
    """

    def __init__(self, layers: Sequence[PackedLayer]) -> None:
        first = layers[0]
        self.embedding, self.heads, self.width = first.embedding, first.heads, first.width
        self.has_cross = first.has_cross
        shapes = {(x.embedding, x.inner, x.heads, x.has_cross) for x in layers}
        if len(shapes) > 1:
            raise ValueError(f"layers of different shapes: {sorted(shapes)}")
        self.layers = layers
        self.structs = (_LayerStruct * len(layers))(*(layer.struct for layer in layers))

    def room(self, rows: int) -> int:
        """Numbers that the kernel needs for so many rows."""
        return self.layers[0].room(rows)


def pack(weight: Tensor, scale: Tensor) -> PackedWeight:
    """Lay out int8 weights [C_out, C_in], with scales [C_out], in the kernel's blocks."""
    outputs, inputs = weight.shape
    full = F.pad(weight, (0, -inputs % _DEPTH, 0, -outputs % _PANEL))
    # Flipping the first bit adds 128; four of the bytes move as one number.
    fours = (
        (full.view(torch.uint8) ^ 128).view(torch.int32).view(-1, _PANEL, full.shape[1] // _DEPTH)
    )
    blocks = (
        fours.transpose(1, 2).contiguous().view(torch.uint8)
    )  # [panels, steps, _PANEL * _DEPTH]
    blocks = blocks.view(*blocks.shape[:2], _PANEL, _DEPTH)
    return PackedWeight(blocks, scale.contiguous(), inputs)
