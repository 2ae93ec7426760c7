"""The GPT-2 key layout, which the released GPT files and the checkpoints on model hubs share.

- Their linear layers are stored transposed, [in, out], and query, key and value are one matrix.
- Keys may begin with `transformer.` or not.
- `attn.bias` and `attn.masked_bias` are buffers of the causal mask, not weights.
- `lm_head.weight` is the token embedding once more, or absent.
- Only pre-norm models have `ln_f`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.model import GPTConfig
from ..errors import CheckpointError
from .tensors import FLOATS

PREFIX = "transformer."
HEAD = "lm_head.weight"
_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")


@dataclass(frozen=True)
class Entry:
    """One tensor of the layout: its key, the names it has here, and its shape there.

    Several names: the tensor is their concatenation along the last dimension.
    """

    key: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    is_transposed: bool = False


def entries(config: GPTConfig) -> Iterator[Entry]:
    """List the tensors of a model, the head and buffers excepted."""
    n_embd = config.n_embd
    yield Entry("wte.weight", ("token_embedding.weight",), (config.vocab_size, n_embd))
    yield Entry("wpe.weight", ("position_embedding.weight",), (config.n_ctx, n_embd))
    for layer in range(config.n_layer):
        there, here = f"h.{layer}", f"blocks.{layer}"
        for norm in ("1", "2"):
            yield from _norm(f"{there}.ln_{norm}", f"{here}.norm_{norm}", n_embd)
        fused = tuple(f"{here}.attention.{part}" for part in ("query", "key", "value"))
        output = (f"{here}.attention.output",)
        yield from _linear(f"{there}.attn.c_attn", fused, n_embd, 3 * n_embd)
        yield from _linear(f"{there}.attn.c_proj", output, n_embd, n_embd)
        up, down = (f"{here}.feed_forward.up",), (f"{here}.feed_forward.down",)
        yield from _linear(f"{there}.mlp.c_fc", up, n_embd, config.n_inner)
        yield from _linear(f"{there}.mlp.c_proj", down, config.n_inner, n_embd)
    if config.norm == "pre":
        yield from _norm("ln_f", "final_norm", n_embd)


def from_gpt_layout(tensors: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """Turn weights of the layout into the state dict of a `GPT`.

    Raises:
        CheckpointError: a key is missing, surplus, of a wrong shape or type, or not finite; or the
            head is not the token embedding.
    """
    left = {key.removeprefix(PREFIX): tensor for key, tensor in tensors.items()}
    if len(left) < len(tensors):
        raise CheckpointError(f"The file holds keys both with and without '{PREFIX}'; remove one.")
    head = left.pop(HEAD, None)
    state: dict[str, Tensor] = {}
    for entry in entries(config):
        tensor = checked(entry.key, left.pop(entry.key, None), entry.shape)
        state.update(_to_ours(entry, tensor))
    surplus = sorted(key for key in left if not _BUFFER.fullmatch(key))
    if surplus:
        raise CheckpointError(
            f"The key '{surplus[0]}' is not part of this architecture ({len(surplus)} surplus); "
            "check that the configuration belongs to this file."
        )
    if head is not None and not torch.equal(head, state["token_embedding.weight"]):
        raise CheckpointError(
            f"'{HEAD}' differs from the token embedding, but this architecture ties the two; "
            "use a checkpoint with a tied head."
        )
    return state


def to_gpt_layout(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """Turn the state dict of a `GPT` into weights of the layout; keys begin with `transformer.`."""
    tensors = {}
    for entry in entries(config):
        parts = [state[name].detach() for name in entry.names]
        if entry.is_transposed:
            parts = [part.T for part in parts]
        tensors[PREFIX + entry.key] = torch.cat(parts, dim=-1).contiguous()
    return tensors


def checked(key: str, tensor: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor that can be a weight of this shape; refuse any other.

    Raises:
        CheckpointError: it is missing, has another shape or type, or is not finite.
    """
    if tensor is None:
        raise CheckpointError(
            f"The key '{key}' is missing; check that the file is complete and that the "
            "configuration belongs to it."
        )
    if tuple(tensor.shape) != shape:
        raise CheckpointError(
            f"'{key}' has the shape {list(tensor.shape)} where the configuration asks for "
            f"{list(shape)}; check that the configuration belongs to this file."
        )
    if tensor.dtype not in FLOATS:
        raise CheckpointError(
            f"'{key}' holds {tensor.dtype}; only float32, float16 and bfloat16 are weights."
        )
    if not torch.isfinite(tensor).all():
        raise CheckpointError(f"'{key}' holds NaN or infinity; use an undamaged checkpoint.")
    return tensor


def _to_ours(entry: Entry, tensor: Tensor) -> dict[str, Tensor]:
    parts = tensor.chunk(len(entry.names), dim=-1)
    if entry.is_transposed:
        parts = tuple(part.T for part in parts)
    return {name: part.contiguous() for name, part in zip(entry.names, parts, strict=True)}


def _norm(key: str, name: str, width: int) -> Iterator[Entry]:
    for part in ("weight", "bias"):
        yield Entry(f"{key}.{part}", (f"{name}.{part}",), (width,))


def _linear(key: str, names: tuple[str, ...], n_in: int, n_out: int) -> Iterator[Entry]:
    weights = tuple(f"{name}.weight" for name in names)
    biases = tuple(f"{name}.bias" for name in names)
    yield Entry(f"{key}.weight", weights, (n_in, n_out), is_transposed=True)
    yield Entry(f"{key}.bias", biases, (n_out,))
