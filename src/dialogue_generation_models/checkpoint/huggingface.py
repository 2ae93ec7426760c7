"""GPT-2 checkpoints in the layout of `transformers`, to and from a pre-norm `GPT`.

- Nothing here imports `transformers`; the layout is two files, `config.json` and `model.safetensors`.
- GPT-2 has one special id, the end of text. It opens, separates and ends turns alike (DialoGPT joins
  turns that way) and stands in for padding, which is never read.
- `sept_token_id` and `unk_token_id` in `config.json` are ours; `transformers` keeps and ignores them.
- The post-norm models have no counterpart in `transformers`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ..config.io import read_config_file
from ..config.model import GPTConfig
from ..errors import CheckpointError
from ..models.gpt import GPT
from .folder import replacing_folder, to_json
from .gpt_layout import from_gpt_layout, to_gpt_layout
from .tensors import build_empty, fill, read_tensors, write_tensors

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

# What this package's pre-norm GPT computes; the first value is what `transformers` takes by default.
_SETTINGS: Mapping[str, tuple[object, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}


def from_huggingface(
    state_dict: Mapping[str, Tensor], config_json: Mapping[str, Any]
) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Turn a GPT-2 checkpoint into a configuration and the state dict of its `GPT`.

    Raises:
        CheckpointError: the configuration asks for what `GPT` does not compute, or a key is missing,
            surplus, of a wrong shape or not finite.
        ConfigError: a size or an id is impossible.
    """
    for key, accepted in _SETTINGS.items():
        value = config_json.get(key, accepted[0])
        if value not in accepted:
            raise CheckpointError(
                f"{CONFIG_FILE} sets '{key}' to {json.dumps(value)}, but only "
                f"{json.dumps(accepted[0])} is supported; use a plain GPT-2 checkpoint."
            )
    config = _config_from(config_json)
    return config, from_gpt_layout(state_dict, config)


def to_huggingface(model: GPT) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Turn a pre-norm `GPT` into a GPT-2 state dict and the content of its `config.json`.

    Raises:
        CheckpointError: the model is post-norm.
    """
    config = model.config
    if config.norm != "pre":
        raise CheckpointError(
            "GPT-2 in transformers is pre-norm and cannot compute this post-norm model; "
            "export a model that was trained with norm 'pre'."
        )
    config_json = {
        **{key: accepted[0] for key, accepted in _SETTINGS.items()},
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_positions": config.n_ctx,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_inner": config.n_inner,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop"), config.dropout),
        "attn_pdrop": config.attention_dropout,
        "bos_token_id": config.bos_id,
        "eos_token_id": config.eos_id,
        "pad_token_id": config.pad_id,
        "unk_token_id": config.unk_id,
        "sept_token_id": config.sept_id,
    }
    return to_gpt_layout(model.state_dict(), config), config_json


def load_huggingface_folder(path: Path) -> GPT:
    """Read a folder with `config.json` and `model.safetensors` into a float32 model.

    Raises:
        ConfigError, CheckpointError: a file is missing or damaged, or see `from_huggingface`.
    """
    file = path / WEIGHTS_FILE
    if not file.is_file():
        raise CheckpointError(
            f"{file} is missing; other weight files are not read, so open the checkpoint in "
            "transformers and save it again with save_pretrained, in one piece."
        )
    tensors = read_tensors(file)
    config, state = from_huggingface(tensors, read_config_file(path / CONFIG_FILE))
    model = fill(build_empty(config, len(tensors)), state, str(file))
    return cast(GPT, model)


def save_huggingface_folder(model: GPT, path: Path) -> None:
    """Write a folder that `transformers.GPT2LMHeadModel.from_pretrained` reads, whole or not at all.

    Raises:
        CheckpointError: the model is post-norm, `path` holds other files, or the disk refuses.
    """
    tensors, config_json = to_huggingface(model)
    with replacing_folder(path, {CONFIG_FILE, WEIGHTS_FILE}) as partial:
        (partial / CONFIG_FILE).write_bytes(to_json(config_json))
        write_tensors(partial / WEIGHTS_FILE, tensors)


def _config_from(config_json: Mapping[str, Any]) -> GPTConfig:
    for key in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
        if type(config_json.get(key)) is not int:
            raise CheckpointError(f"{CONFIG_FILE} lacks '{key}'; use the file beside the weights.")

    def given(key: str, default: Any) -> Any:
        value = config_json.get(key)
        return default if value is None else value

    # GPT-2's last id is the end of text.
    eos_id = given("eos_token_id", config_json["vocab_size"] - 1)
    return GPTConfig(
        vocab_size=config_json["vocab_size"],
        n_ctx=config_json["n_positions"],
        n_embd=config_json["n_embd"],
        n_layer=config_json["n_layer"],
        n_head=config_json["n_head"],
        n_inner=given("n_inner", 4 * config_json["n_embd"]),
        norm="pre",
        dropout=given("resid_pdrop", 0.1),
        attention_dropout=given("attn_pdrop", 0.1),
        pad_id=given("pad_token_id", eos_id),
        unk_id=given("unk_token_id", eos_id),
        bos_id=given("bos_token_id", eos_id),
        eos_id=eos_id,
        sept_id=given("sept_token_id", eos_id),
    )
