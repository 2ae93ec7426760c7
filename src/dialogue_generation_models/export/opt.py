"""The published GPT in the layout of OPT, which `transformers` has a class for.

OPT with `do_layer_norm_before=False` (as in OPT-350M) is a post-norm decoder with learned positions, biases,
any activation, LayerNorm eps 1e-5 and no final norm: the published GPT but for two things, which weights can
express.

- Its embeddings are not scaled. The scale goes into the table; and because the head is tied to the table, the
  last norm, which only the head reads, is divided by it.
- Its position table begins with two rows that are not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..config.model import GPTConfig

_UNUSED_POSITIONS = 2
_PARTS = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "norm_1": "self_attn_layer_norm",
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
    "norm_2": "final_layer_norm",
}


def to_opt(
    state: Mapping[str, Tensor], config: GPTConfig
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Turn the state dict of a post-norm `GPT` into that of an `OPTForCausalLM` and its `config.json`."""
    scale = math.sqrt(config.n_embd)
    last_norm = f"blocks.{config.n_layer - 1}.norm_2"
    tensors = {}
    for name, tensor in state.items():
        if name == "token_embedding.weight":
            tensors["model.decoder.embed_tokens.weight"] = tensor * scale
        elif name == "position_embedding.weight":
            unused = tensor.new_zeros(_UNUSED_POSITIONS, config.n_embd)
            tensors["model.decoder.embed_positions.weight"] = torch.cat([unused, tensor])
        else:
            _, layer, rest = name.split(".", 2)
            part, _, leaf = rest.rpartition(".")
            weight = tensor / scale if name.startswith(last_norm) else tensor
            tensors[f"model.decoder.layers.{layer}.{_PARTS[part]}.{leaf}"] = weight
    return tensors, _config_json(config)


def _config_json(config: GPTConfig) -> dict[str, Any]:
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.n_ctx,
        "hidden_size": config.n_embd,
        "word_embed_proj_dim": config.n_embd,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "ffn_dim": config.n_inner,
        "activation_function": "gelu_new",
        "do_layer_norm_before": False,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": True,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "layerdrop": 0.0,
    }
