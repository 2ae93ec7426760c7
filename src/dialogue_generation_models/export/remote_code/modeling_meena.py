"""Meena as published in 2020, for `transformers`: a post-norm Transformer encoder-decoder.

    AutoModelForSeq2SeqLM.from_pretrained(FOLDER, trust_remote_code=True)

- x = norm(x + f(x)), LayerNorm eps 1e-6, tanh GELU, no norm after the embeddings, no final norm.
- One token embedding serves encoder, decoder and output; it is scaled by sqrt(width) on input.
- One position table serves both sides: the context starts at 0, the reply at `max_encoder_length`.

The names of the weights are those of the released files.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

EPS = 1e-6
# transformers renamed the field in the course of version 5.
CACHE = "cache" if "cache" in Seq2SeqLMOutput.__dataclass_fields__ else "past_key_values"


class MeenaConfig(PretrainedConfig):
    """The shape of a Meena, with the keys of the released files."""

    model_type = "dialogue-meena"
    is_encoder_decoder = True
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "decoder_layers",
        "num_attention_heads": "decoder_attention_heads",
    }

    def __init__(
        self,
        vocab_size: int = 32_000,
        max_position_embeddings: int = 256,
        max_encoder_length: int = 128,
        d_model: int = 768,
        encoder_layers: int = 2,
        encoder_attention_heads: int = 12,
        encoder_ffn_dim: int = 3072,
        decoder_layers: int = 12,
        decoder_attention_heads: int = 12,
        decoder_ffn_dim: int = 3072,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.max_encoder_length = max_encoder_length
        self.d_model = d_model
        self.encoder_layers = encoder_layers
        self.encoder_attention_heads = encoder_attention_heads
        self.encoder_ffn_dim = encoder_ffn_dim
        self.decoder_layers = decoder_layers
        self.decoder_attention_heads = decoder_attention_heads
        self.decoder_ffn_dim = decoder_ffn_dim
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.use_cache = kwargs.pop("use_cache", True)
        kwargs["is_encoder_decoder"] = True
        # The head is a call of the embedding, so there is nothing to tie.
        kwargs["tie_word_embeddings"] = False
        super().__init__(**kwargs)


class Attention(nn.Module):
    """Multi-head attention over the sequence itself, or over an encoder's output."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, C] → two of [B, H, S, D]."""
        return self._split(self.k_proj(x)), self._split(self.v_proj(x))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """[B, T, C] → [B, T, C]; `mask` is bool, True where a token may look."""
        dropout = self.dropout if self.training else 0.0
        query = self._split(self.q_proj(x))  # [B, H, T, D]
        mixed = F.scaled_dot_product_attention(query, keys, values, mask, dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Self-attention in both directions, then feed-forward."""

    def __init__(self, config: MeenaConfig) -> None:
        super().__init__()
        width = config.d_model
        self.self_attn = Attention(width, config.encoder_attention_heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(width, EPS)
        self.fc1 = nn.Linear(width, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width, EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, S, C] → [B, S, C]."""
        mixed = self.self_attn(x, *self.self_attn.keys_and_values(x), mask)
        x = self.self_attn_layer_norm(x + self.dropout(mixed))
        inner = F.gelu(self.fc1(x), approximate="tanh")
        return self.final_layer_norm(x + self.dropout(self.fc2(inner)))


class DecoderLayer(nn.Module):
    """Causal self-attention, attention over the encoder's output, then feed-forward."""

    def __init__(self, config: MeenaConfig, number: int) -> None:
        super().__init__()
        self.number = number
        width, heads, dropout = (
            config.d_model,
            config.decoder_attention_heads,
            config.attention_dropout,
        )
        self.self_attn = Attention(width, heads, dropout)
        self.self_attn_layer_norm = nn.LayerNorm(width, EPS)
        self.encoder_attn = Attention(width, heads, dropout)
        self.encoder_attn_layer_norm = nn.LayerNorm(width, EPS)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width, EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        cache: EncoderDecoderCache | None,
    ) -> Tensor:
        """[B, T, C] and memory [B, S, C] → [B, T, C]."""
        keys, values = self.self_attn.keys_and_values(x)
        if cache is not None:
            keys, values = cache.self_attention_cache.update(keys, values, self.number)
        mixed = self.self_attn(x, keys, values, mask)
        x = self.self_attn_layer_norm(x + self.dropout(mixed))
        read = self.encoder_attn(x, *self._read(memory, cache), memory_mask)
        x = self.encoder_attn_layer_norm(x + self.dropout(read))
        inner = F.gelu(self.fc1(x), approximate="tanh")
        return self.final_layer_norm(x + self.dropout(self.fc2(inner)))

    def _read(self, memory: Tensor, cache: EncoderDecoderCache | None) -> tuple[Tensor, Tensor]:
        """Keys and values over the memory, which are computed once."""
        if cache is None:
            return self.encoder_attn.keys_and_values(memory)
        if cache.is_updated.get(self.number):
            layer = cache.cross_attention_cache.layers[self.number]
            return layer.keys, layer.values
        cache.is_updated[self.number] = True
        made = self.encoder_attn.keys_and_values(memory)
        return cache.cross_attention_cache.update(*made, self.number)


class Stack(nn.Module):
    """The layers of one side."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class Encoder(nn.Module):
    """What `generate` calls before it decodes; it reads the model's own layers."""

    main_input_name = "input_ids"

    def __init__(self, owner: MeenaForConditionalGeneration) -> None:
        super().__init__()
        self._owner = (owner,)  # in a tuple, so that nothing is registered twice

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> BaseModelOutput:
        """Read contexts: [B, S] → memory [B, S, C]."""
        return BaseModelOutput(last_hidden_state=self._owner[0].encode(input_ids, attention_mask))


class MeenaForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Context ids and reply ids in, logits of each next reply token out."""

    config_class = MeenaConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = ["EncoderLayer", "DecoderLayer"]

    def __init__(self, config: MeenaConfig) -> None:
        super().__init__(config)
        encoder = [EncoderLayer(config) for _ in range(config.encoder_layers)]
        decoder = [DecoderLayer(config, number) for number in range(config.decoder_layers)]
        self.model = nn.ModuleDict(
            {
                "shared": nn.Embedding(config.vocab_size, config.d_model),
                "position": nn.Embedding(config.max_position_embeddings, config.d_model),
                "encoder": Stack(encoder),
                "decoder": Stack(decoder),
            }
        )
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embedding, which is the head too."""
        return self.model["shared"]

    def get_output_embeddings(self) -> None:
        """Return nothing: the head has no weights of its own."""

    def get_encoder(self, *_: Any, **__: Any) -> nn.Module:
        """Return what reads the context."""
        return Encoder(self)

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Read contexts, padded on either side: [B, S] → memory [B, S, C]."""
        keep = self._keep(input_ids, attention_mask)
        x = self._embed(input_ids, (keep.long().cumsum(1) - 1).clamp(min=0))
        mask = keep[:, None, None]  # [B, 1, 1, S]
        for layer in self.model["encoder"].layers:
            x = layer(x, mask)
        return x

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Tensor, ...] | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Score every next token of the reply.

        Args:
            input_ids: contexts, [B, S].
            attention_mask: [B, S], 1 = keep; by default all that is not padding.
            decoder_input_ids: replies, [B, T], beginning with bos; with a cache only the new tokens.
            encoder_outputs: what the encoder gave, instead of `input_ids`.
            labels: the next tokens, [B, T], -100 where none counts.
            use_cache: whether keys and values are kept for the next call.
            kwargs: the cache under the name that this version of transformers gives it.
        """
        if encoder_outputs is None:
            encoder_outputs = (self.encode(input_ids, attention_mask),)
        memory = encoder_outputs[0]  # [B, S, C]
        if attention_mask is None and input_ids is not None:
            attention_mask = self._keep(input_ids, None)
        if attention_mask is None:
            attention_mask = memory.new_ones(memory.shape[:2])
        if decoder_input_ids is None and labels is not None:
            decoder_input_ids = labels.roll(1, dims=1).masked_fill(
                labels.roll(1, dims=1) == -100, self.config.pad_token_id
            )
            decoder_input_ids[:, 0] = self.config.decoder_start_token_id
        cache = kwargs.get("cache", kwargs.get("past_key_values"))
        if cache is None and use_cache and labels is None:
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        x = self._decode(decoder_input_ids, memory, attention_mask.bool()[:, None, None], cache)
        logits = F.linear(x, self.model["shared"].weight)  # [B, T, V]
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return Seq2SeqLMOutput(
            loss=loss, logits=logits, encoder_last_hidden_state=memory, **{CACHE: cache}
        )

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Give the next step the tokens that the cache does not hold."""
        cache = kwargs.get("cache", kwargs.get("past_key_values"))
        seen = 0 if cache is None else cache.get_seq_length()
        return {
            "decoder_input_ids": input_ids[:, seen:],
            "encoder_outputs": kwargs.get("encoder_outputs"),
            "attention_mask": kwargs.get("attention_mask"),
            "use_cache": kwargs.get("use_cache"),
            CACHE: cache,
        }

    def _decode(
        self, ids: Tensor, memory: Tensor, memory_mask: Tensor, cache: EncoderDecoderCache | None
    ) -> Tensor:
        seen = 0 if cache is None else cache.get_seq_length()
        new = ids.shape[1]
        positions = (
            torch.arange(seen, seen + new, device=ids.device) + self.config.max_encoder_length
        )
        x = self._embed(ids, positions.expand_as(ids))
        mask = torch.ones(new, seen + new, dtype=torch.bool, device=ids.device).tril(seen)
        for layer in self.model["decoder"].layers:
            x = layer(x, mask, memory, memory_mask, cache)
        return x

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        x = self.model["shared"](ids) * math.sqrt(self.config.d_model)
        return self.dropout(x + self.model["position"](positions))

    def _keep(self, ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        return ids != self.config.pad_token_id if attention_mask is None else attention_mask.bool()
