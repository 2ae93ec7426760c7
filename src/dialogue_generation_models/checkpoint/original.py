"""Released `.pth` files: state dicts of the published models, read without running what is in them.

- The GPT layout stands in `gpt_layout.py`; the Meena layout is the table below.
- `torch.load(weights_only=True)` is the only reader; there is no fallback.
- The files hold shared embeddings several times; the copies must be equal.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..config.model import GPTConfig, MeenaConfig, ModelConfig
from ..errors import CheckpointError
from .gpt_layout import PREFIX, checked, from_gpt_layout, to_gpt_layout
from .tensors import build_empty, fill

if TYPE_CHECKING:
    from ..models import Model

# Our names → released names, as parts of a key. Attention is named the same in all its places.
_MEENA_EMBEDDINGS = {
    "token_embedding.weight": "model.shared.weight",
    "position_embedding.weight": "model.position.weight",
}
_MEENA_COPIES = {
    f"model.{side}.{copy}.weight": original
    for side in ("encoder", "decoder")
    for copy, original in (
        ("embed_tokens", "model.shared.weight"),
        ("embed_positions", "model.position.weight"),
    )
} | {"lm_head.weight": "model.shared.weight"}
_MEENA_PARTS = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "cross_attention.query": "encoder_attn.q_proj",
    "cross_attention.key": "encoder_attn.k_proj",
    "cross_attention.value": "encoder_attn.v_proj",
    "cross_attention.output": "encoder_attn.out_proj",
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
}
# The norms follow their sublayers, of which the decoder has one more.
_MEENA_NORMS = {
    "encoder": {"norm_1": "self_attn_layer_norm", "norm_2": "final_layer_norm"},
    "decoder": {
        "norm_1": "self_attn_layer_norm",
        "norm_2": "encoder_attn_layer_norm",
        "norm_3": "final_layer_norm",
    },
}


def load_original(path: Path, config: ModelConfig) -> Model:
    """Read a released `.pth` into a model in float32.

    Raises:
        CheckpointError: the file is damaged, holds more than weights, or belongs to another model.
    """
    tensors = read_pth(path)
    try:
        state = from_original(tensors, config)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return fill(build_empty(config, len(state), str(path)), state, str(path))


def read_pth(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a `.pth` file, in torch's zip format or the one before 1.6.

    Raises:
        CheckpointError: the file is missing, damaged, or holds anything but tensors by name.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"There is no weight file {path}; check the path.")
    if path.stat().st_size == 0:
        raise CheckpointError(f"The weight file {path} is empty; get a complete copy.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about the age of the format
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a hostile file provokes, the answer is the same
        raise CheckpointError(
            f"{path} cannot be read as weights: it is cut off, damaged, or holds objects or code, "
            "of which nothing was run; get a plain state dict."
        ) from None
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds no state dict; save the model's state_dict() alone.")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path} holds more than weights (at {str(name)[:80]!r}); "
                "save the model's state_dict() alone."
            )
        # Others (sparse, nested, without memory) can be stored too, and break whatever looks at them.
        if tensor.layout != torch.strided or tensor.is_nested or tensor.device.type != "cpu":
            raise CheckpointError(
                f"{path} holds {name[:80]!r} as something else than a plain tensor; "
                "save the model's state_dict() alone."
            )
    return dict(content)


def from_original(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Turn a released state dict into ours.

    Raises:
        CheckpointError: a key is missing, surplus, or of a wrong shape; or copies differ.
    """
    is_meena_file = any(name.startswith("model.") for name in tensors)
    if isinstance(config, GPTConfig) and not is_meena_file:
        return from_gpt_layout(tensors, config)
    if isinstance(config, MeenaConfig) and is_meena_file:
        return _from_meena(tensors, config)
    there = "Meena" if is_meena_file else "GPT" if _is_gpt_file(tensors) else "another architecture"
    raise CheckpointError(
        f"The weights are of {there}, but the configuration is of kind '{_kind(config)}'; "
        "give the configuration that belongs to them."
    )


def to_original(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Turn our state dict of a GPT or Meena into the released one, copies included.

    Raises:
        CheckpointError: there is no released form of this architecture.
    """
    if isinstance(config, GPTConfig):
        tensors = to_gpt_layout(state, config)
        return tensors | {"lm_head.weight": tensors[f"{PREFIX}wte.weight"]}
    if isinstance(config, MeenaConfig):
        tensors = to_meena_layout(state)
        return tensors | {copy: tensors[original] for copy, original in _MEENA_COPIES.items()}
    raise CheckpointError(f"There is no released form of kind '{_kind(config)}'.")


def to_meena_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights of a `Meena` their released names, without copies."""
    return {_meena_key(name): tensor for name, tensor in state.items()}


def _from_meena(tensors: Mapping[str, Tensor], config: MeenaConfig) -> dict[str, Tensor]:
    left = dict(tensors)
    copies = {name: left.pop(name) for name in _MEENA_COPIES if name in left}
    state: dict[str, Tensor] = {}
    for name, empty in build_empty(config, len(tensors)).state_dict().items():
        key = _meena_key(name)
        state[name] = checked(key, left.pop(key, None), tuple(empty.shape))
    if left:
        raise CheckpointError(
            f"The key '{min(left)}' is not part of this architecture ({len(left)} surplus); "
            "check that the configuration belongs to this file."
        )
    for name, copy in copies.items():
        if not torch.equal(copy, tensors[_MEENA_COPIES[name]]):
            raise CheckpointError(
                f"'{name}' differs from '{_MEENA_COPIES[name]}', but this architecture shares the "
                "two; use a checkpoint that does."
            )
    return state


def _meena_key(name: str) -> str:
    """`decoder.3.norm_2.bias` → `model.decoder.layers.3.encoder_attn_layer_norm.bias`."""
    if name in _MEENA_EMBEDDINGS:
        return _MEENA_EMBEDDINGS[name]
    side, layer, rest = name.split(".", 2)
    part, _, leaf = rest.rpartition(".")
    there = {**_MEENA_PARTS, **_MEENA_NORMS[side]}[part]
    return f"model.{side}.layers.{layer}.{there}.{leaf}"


def _is_gpt_file(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.removeprefix(PREFIX).startswith("h.") for name in tensors)


def _kind(config: ModelConfig) -> str:
    return str(config.model_dump()["kind"])
