"""Linear layers in 8 bits: whole-number products, scales for each weight row and each token.

- Weights have one scale an output channel, made once. Activations have one scale a token, made as they come,
  so a token's result never depends on what else is in the batch.
- Products and their sums are whole numbers, and exact: what is lost is lost in rounding to 8 bits alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.cache import Cache
from ..models.gpt import GPT, PostNormBlock
from ..models.layers import AddNorm, Attention, FeedForward, TiedHead
from ..models.meena import DecoderLayer, Meena
from .cache import JoinedCache, SharedCache
from .native import (
    Kernels,
    PackedLayer,
    PackedLayers,
    PackedLinear,
    PackedNorm,
    PackedSublayer,
    PackedWeight,
    find_kernels,
    pack,
    takes_heads,
)

if TYPE_CHECKING:
    from ..models import Model

_LARGEST = 127.0
_TOKENS_AT_ONCE = 256
_ROWS_AT_ONCE = 128  # they stay in the cache; a multiple of what the kernels pack together


class Int8Linear(nn.Module):
    """A linear layer whose weights are kept and multiplied in 8 bits; it cannot be trained.

    Args:
        weight: [C_out, C_in].
        bias: [C_out].
        gelu: whether GELU in its tanh form follows.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self._bias = None if bias is None else _own(bias)
        self._gelu = gelu
        self._kernels = find_kernels()
        self._columns = torch.empty(0)  # int8 [C_in, C_out], where there are no kernels
        if self._kernels is None:
            self._columns, self._scale = _quantize_columns(weight.detach())
        else:
            packed = _quantize_packed(weight.detach())
            self._scale = packed.scale
            self.packed = PackedLinear(packed, self._bias, gelu=gelu)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C_in] → [..., C_out]."""
        rows = x.float().flatten(0, -2)  # [N, C_in]
        kernels = self._kernels
        result = self._multiply(rows) if kernels is None else kernels.linear(rows, self.packed)
        return result.view(*x.shape[:-1], len(self._scale))

    def _multiply(self, rows: Tensor) -> Tensor:
        rounded, scale = quantize_rows(rows)  # [N, C_in], [N, 1]
        result = torch._int_mm(rounded, self._columns) * (scale * self._scale)
        if self._bias is not None:
            result += self._bias
        return F.gelu(result, approximate="tanh") if self._gelu else result


class Int8Attention(Attention):
    """Self-attention in 8 bits, with one product for queries, keys and values."""

    def __init__(self, layer: Attention) -> None:
        nn.Module.__init__(self)
        self.n_head = layer.n_head
        self.dropout = 0.0
        parts = (layer.query, layer.key, layer.value)
        weight, bias = (torch.cat([getattr(x, n) for x in parts]) for n in ("weight", "bias"))
        self.projection = Int8Linear(weight, bias)
        self.output = Int8Linear(layer.output.weight, layer.output.bias)  # type: ignore[assignment]

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries, keys and values: [B, T, C] → three of [B, H, T, D]."""
        rows, length, width = x.shape
        split = self.projection(x).view(rows, length, 3, self.n_head, width // self.n_head)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        return query, key, value


class FastAddNorm(nn.Module):
    """`AddNorm` in one pass over the numbers; float32 as before."""

    def __init__(self, layer: AddNorm, kernels: Kernels) -> None:
        super().__init__()
        self.packed = PackedNorm(_own(layer.weight), _own(layer.bias), layer.eps)
        self._kernels = kernels

    def forward(self, x: Tensor, added: Tensor) -> Tensor:
        """Two of [B, T, C] → [B, T, C]."""
        return self._kernels.add_norm(x, added, self.packed)


class Int8FeedForward(nn.Module):
    """A feed-forward layer in 8 bits, with GELU in the first of its two products."""

    def __init__(self, layer: FeedForward) -> None:
        super().__init__()
        self.up = Int8Linear(layer.up.weight, layer.up.bias, gelu=True)
        self.down = Int8Linear(layer.down.weight, layer.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] → [B, T, C]."""
        # Few rows at once: what lies between the two layers is wide, and stays in the cache.
        parts = torch.split(x.flatten(0, -2), _TOKENS_AT_ONCE)
        made = [self.down(self.up(part)) for part in parts]
        return torch.cat(made).view(x.shape) if len(made) > 1 else made[0].view(x.shape)


class FastLayers(nn.Module):
    """All layers of a decoder, post-norm, whose step of one token a row is one call of the kernels.

    Args:
        layers: their parts are in 8 bits already.
        kernels: that the parts are packed for.
    """

    def __init__(self, layers: Sequence[PostNormBlock | DecoderLayer], kernels: Kernels) -> None:
        super().__init__()
        self._layers = nn.ModuleList(layers)
        self._kernels = kernels
        self._packed = PackedLayers([_packed_layer(layer) for layer in layers])
        self._owners = [layer.attention for layer in layers]
        self._looking = [x.cross_attention for x in layers if isinstance(x, DecoderLayer)]

    def forward(self, x: Tensor, mask: Tensor | None, *rest: Tensor | Cache | None) -> Tensor:
        """[B, T, C] → [B, T, C]; arguments as the layers take them, the cache last."""
        cache = rest[-1]
        if not isinstance(cache, SharedCache | JoinedCache) or not cache.is_stepping:
            for layer in self._layers:
                x = layer(x, mask, *rest)
            return x
        rows = cache.stacked_growing_rows(self._owners)
        memory = cache.stacked_fixed_rows(self._looking) if self._looking else None
        newest = x[:, 0].float()  # [R, C]
        return self._kernels.step(newest, self._packed, rows, cache.places, memory)[:, None]


def _packed_layer(layer: PostNormBlock | DecoderLayer) -> PackedLayer:
    attention, feed_forward = cast(Int8Attention, layer.attention), layer.feed_forward
    own = _sublayer(attention.projection, attention.output, layer.norm_1)
    cross, last_norm = None, layer.norm_2
    if isinstance(layer, DecoderLayer):
        looking = layer.cross_attention
        cross = _sublayer(looking.query, looking.output, layer.norm_2)
        last_norm = layer.norm_3
    inside = _sublayer(feed_forward.up, feed_forward.down, last_norm)
    return PackedLayer(own, cross, inside, attention.n_head)


def _sublayer(first: nn.Module, second: nn.Module, norm: nn.Module) -> PackedSublayer:
    products = cast(Int8Linear, first).packed, cast(Int8Linear, second).packed
    return PackedSublayer(*products, cast(FastAddNorm, norm).packed)


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to whole numbers of 8 bits: float [N, C] → int8 [N, C] and scales [N, 1].

    A row that is not finite keeps a scale that is not finite, so that it stays one.
    """
    scale = x.abs().amax(dim=1, keepdim=True) / _LARGEST
    return (x / scale.clamp(min=torch.finfo(x.dtype).tiny)).round().to(torch.int8), scale


def _own(tensor: Tensor) -> Tensor:
    """Copy a tensor that may be mapped from a file, in float32."""
    return tensor.detach().to(torch.float32, copy=True)


def _quantize_pieces(weight: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Round weights of any precision, [C_out, C_in], some rows at a time, so that no full copy is made.

    Yields the number of the first row, int8 [N, C_in] and scales [N].
    """
    for first in range(0, len(weight), _ROWS_AT_ONCE):
        rounded, scale = quantize_rows(weight[first : first + _ROWS_AT_ONCE].float())
        yield first, rounded, scale[:, 0]


def _quantize_columns(weight: Tensor) -> tuple[Tensor, Tensor]:
    """[C_out, C_in] → int8 [C_in, C_out] and scales [C_out]."""
    outputs, inputs = weight.shape
    columns, scales = torch.empty(inputs, outputs, dtype=torch.int8), torch.empty(outputs)
    for first, rounded, scale in _quantize_pieces(weight):
        last = first + len(rounded)
        columns[:, first:last], scales[first:last] = rounded.t(), scale
    return columns, scales


def _quantize_packed(weight: Tensor) -> PackedWeight:
    outputs, inputs = weight.shape
    packed = PackedWeight.empty(outputs, inputs)
    for first, rounded, scale in _quantize_pieces(weight):
        packed.put(first, pack(rounded, scale))
    return packed


def pack_int8(model: Model) -> Model:
    """Replace a model's linear layers and its head by 8-bit ones, in place; return the model."""
    _pack_children(model, model)
    kernels = find_kernels()
    if kernels is not None:
        if isinstance(model, GPT):
            model.blocks = _fast(model.blocks, kernels)
        elif isinstance(model, Meena):
            model.decoder = _fast(model.decoder, kernels)
    return model.eval()


def _pack_children(module: nn.Module, model: Model) -> None:
    for name, child in list(module.named_children()):
        packed = _pack(child, model)
        if packed is None:
            _pack_children(child, model)
        else:
            setattr(module, name, packed)  # from here on nobody holds the full weights


def _pack(layer: nn.Module, model: Model) -> nn.Module | None:
    """Make the 8-bit layer that takes a layer's place; None if it stays, or its parts have their own."""
    kernels = find_kernels()
    if type(layer) is Attention:
        return Int8Attention(layer)
    if isinstance(layer, FeedForward):
        return Int8FeedForward(layer)
    if isinstance(layer, TiedHead):
        return Int8Linear(model.token_embedding.weight, None)
    if isinstance(layer, AddNorm) and kernels is not None:
        return FastAddNorm(layer, kernels)
    return Int8Linear(layer.weight, layer.bias) if type(layer) is nn.Linear else None


def _fast(layers: nn.ModuleList, kernels: Kernels) -> nn.ModuleList:
    """Make one layer of all, if the kernels take their steps."""
    known = [layer for layer in layers if isinstance(layer, PostNormBlock | DecoderLayer)]
    if len(known) < len(layers):
        return layers
    width = cast(FastAddNorm, known[0].norm_1).packed.width // known[0].attention.n_head
    return nn.ModuleList([FastLayers(known, kernels)]) if takes_heads(width) else layers
