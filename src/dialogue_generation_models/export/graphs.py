"""The models as functions of tensors alone: what is remembered between steps goes in and comes out.

- `past.N.key`, `past.N.value`: self-attention so far, [B, H, P, D]; `past.N.window`: the last inputs of a
  causal convolution, [B, C, width - 1]. Each comes out, one step further, as `present.…`.
- `cross.N.key`, `cross.N.value`: the context as the decoder looks at it, [B, H, S, D]; the encoder makes it.

B is the batch, T the new tokens, P those before, S the context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from ..models.cache import Cache
from ..models.evolved_transformer import CausalSeparableConvolution
from ..models.gpt import GPT
from ..models.layers import Attention, CrossAttention

if TYPE_CHECKING:
    from ..models import EncoderDecoder, Model

_M = TypeVar("_M", bound=nn.Module)


@dataclass(frozen=True)
class Value:
    """What goes into a graph: its name, an example, and which of its dimensions may have any size."""

    name: str
    example: Tensor
    free: dict[int, str]


@dataclass(frozen=True)
class Graph:
    """A function of tensors."""

    name: str
    module: nn.Module
    inputs: tuple[Value | list[Value], ...]
    """As the module's `forward` takes them."""
    outputs: list[str]

    @property
    def values(self) -> list[Value]:
        """All inputs in one list."""
        return [
            value for part in self.inputs for value in (part if isinstance(part, list) else [part])
        ]


class TensorCache(Cache):
    """A cache that is given its state as tensors, and gives it back one step further."""

    def __init__(self, state: dict[Any, tuple[Tensor, ...]], keep: Tensor, past: int) -> None:
        super().__init__(0)
        self._state = state
        self._keep = keep  # bool [B, P + T]
        self._past = past
        self.present: dict[nn.Module, tuple[Tensor, ...]] = {}

    def advance(self, segment_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Count positions by the mask, padding left out; see `Cache.advance`."""
        own = torch.arange(segment_ids.shape[1], device=segment_ids.device) + self._past  # [T]
        counted = (self._keep.long().cumsum(1) - 1).clamp(min=0)  # [B, P + T]
        places = torch.arange(self._keep.shape[1], device=segment_ids.device)
        # Padding looks at itself too, so that no row of the mask is empty.
        is_own = places == own[:, None]  # [T, P + T]
        seen = (self._keep[:, None] & (places <= own[:, None])) | is_own  # [B, T, P + T]
        return counted.index_select(1, own), seen[:, None]

    def attend(
        self, owner: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Append keys and values and look at all; see `Cache.attend`."""
        before_keys, before_values = self._state[owner]
        keys = torch.cat([before_keys, key], dim=2)  # [B, H, P + T, D]
        values = torch.cat([before_values, value], dim=2)
        self.present[owner] = (keys, values)
        return _mix(query, keys, values, mask)

    def attend_fixed(
        self,
        owner: nn.Module,
        query: Tensor,
        make: Callable[[], tuple[Tensor, Tensor]],
        mask: Tensor,
    ) -> Tensor:
        """Look at keys and values that were given; see `Cache.attend_fixed`."""
        keys, values = self._state[owner]
        return _mix(query, keys, values, mask)

    def window(self, owner: nn.Module, x: Tensor, width: int) -> Tensor:
        """Put the columns seen before in front; see `Cache.window`."""
        (before,) = self._state[owner]
        x = torch.cat([before, x], dim=2)  # [B, C, width - 1 + T]
        self.present[owner] = (x[:, :, x.shape[2] - (width - 1) :],)
        return x


def build_graphs(model: Model) -> list[Graph]:
    """Make the graphs of a model: one for a GPT, encoder and decoder for the others."""
    if isinstance(model, GPT):
        return [_gpt_graph(model)]
    return [_encoder_graph(model), _decoder_graph(model)]


class _GPTStep(nn.Module):
    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model
        self.owners = _owners(model.blocks, Attention)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, logits_at: Tensor, state: list[Tensor]
    ) -> list[Tensor]:
        grouped = dict(zip(self.owners, _pairs(state), strict=True))
        cache = TensorCache(grouped, attention_mask != 0, state[0].shape[2])
        x = self.model.read(input_ids, cache=cache)
        logits = self.model.head(x.index_select(1, logits_at))  # [B, K, V]
        return [logits, *(part for owner in self.owners for part in cache.present[owner])]


class _Encoder(nn.Module):
    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model
        self.readers = _owners(model.decoder, CrossAttention)

    def forward(self, context_ids: Tensor, context_mask: Tensor) -> list[Tensor]:
        keep = context_mask != 0
        positions = (keep.long().cumsum(1) - 1).clamp(min=0)
        memory, _ = self.model.encode(context_ids, keep, positions)
        return [part for reader in self.readers for part in reader.keys_and_values(memory)]


class _DecoderStep(nn.Module):
    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model
        self.readers = _owners(model.decoder, CrossAttention)
        self.owners = _owners(model.decoder, Attention)
        self.windows = _owners(model.decoder, CausalSeparableConvolution)

    def forward(
        self,
        input_ids: Tensor,
        context_mask: Tensor,
        cross: list[Tensor],
        state: list[Tensor],
        windows: Sequence[Tensor] = (),
    ) -> list[Tensor]:
        past = state[0].shape[2]
        grouped: dict[Any, tuple[Tensor, ...]] = {
            **dict(zip(self.readers, _pairs(cross), strict=True)),
            **dict(zip(self.owners, _pairs(state), strict=True)),
            **{owner: (part,) for owner, part in zip(self.windows, windows, strict=True)},
        }
        keep = input_ids.new_ones(input_ids.shape[0], past + input_ids.shape[1]) != 0
        cache = TensorCache(grouped, keep, past)
        logits = self.model.decode(input_ids, None, context_mask != 0, cache=cache)
        owners = [*self.owners, *self.windows]
        return [logits, *(part for owner in owners for part in cache.present[owner])]


# Sizes of the examples: all different and none of them 1, so that no size is taken for another.
_B, _T, _P, _S = 2, 3, 5, 7
_STEP = {0: "batch", 1: "new"}


def _gpt_graph(model: GPT) -> Graph:
    module = _GPTStep(model)
    return Graph(
        "model",
        module,
        (
            Value("input_ids", _ids(_B, _T), _STEP),
            Value("attention_mask", _ids(_B, _P + _T), {0: "batch", 1: "total"}),
            Value("logits_at", torch.arange(_T - 1, -1, -1)[:2], {0: "kept"}),
            _states("past", module.owners),
        ),
        ["logits", *_names("present", len(module.owners))],
    )


def _encoder_graph(model: EncoderDecoder) -> Graph:
    module = _Encoder(model)
    free = {0: "batch", 1: "context"}
    inputs = (Value("context_ids", _ids(_B, _S), free), Value("context_mask", _ids(_B, _S), free))
    return Graph("encoder", module, inputs, _names("cross", len(module.readers)))


def _decoder_graph(model: EncoderDecoder) -> Graph:
    module = _DecoderStep(model)
    windows = [
        Value(
            f"past.{number}.window",
            torch.zeros(_B, layer.depthwise.in_channels, layer.width - 1),
            {0: "batch"},
        )
        for number, layer in enumerate(module.windows)
    ]
    return Graph(
        "decoder",
        module,
        (
            Value("input_ids", _ids(_B, _T), _STEP),
            Value("context_mask", _ids(_B, _S), {0: "batch", 1: "context"}),
            _states("cross", module.readers, (_S, "context")),
            _states("past", module.owners),
            *([windows] if windows else []),
        ),
        [
            "logits",
            *_names("present", len(module.owners)),
            *(value.name.replace("past", "present") for value in windows),
        ],
    )


def _states(
    prefix: str, owners: Sequence[Attention], length: tuple[int, str] = (_P, "past")
) -> list[Value]:
    size, name = length
    values = []
    for number, owner in enumerate(owners):
        shape = (_B, owner.n_head, size, owner.query.out_features // owner.n_head)
        for part in ("key", "value"):
            example = torch.zeros(shape)  # one for each: the same tensor would be one input
            values.append(Value(f"{prefix}.{number}.{part}", example, {0: "batch", 2: name}))
    return values


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}.{number}.{part}" for number in range(count) for part in ("key", "value")]


def _mix(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention in plain operations; exporters guard torch's own against rows that see nothing."""
    scores = query @ keys.transpose(2, 3) * query.shape[3] ** -0.5  # [B, H, T, S]
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.matmul(scores.softmax(3), values)


def _ids(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.long)


def _owners(layers: nn.Module, kind: type[_M]) -> list[_M]:
    return [layer for layer in layers.modules() if type(layer) is kind]


def _pairs(tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    return list(zip(tensors[::2], tensors[1::2], strict=True))
