"""Meena as published: a plain post-norm Transformer encoder-decoder.

- It is not the paper's Evolved Transformer; that is `evolved_transformer.py`.
- Embeddings, positions and head are those of `encoder_decoder.py`.
- x = norm(x + f(x)) everywhere, LayerNorm eps 1e-6, no norm after the embeddings, no final norm.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..config.model import MeenaConfig
from .cache import Cache
from .encoder_decoder import EncoderDecoderModel
from .layers import (
    AddNorm,
    Attention,
    CrossAttention,
    FeedForward,
    initialize_positions,
    initialize_weights,
    token_std,
)

EPS = 1e-6


class EncoderLayer(nn.Module):
    """Self-attention in both directions, then feed-forward."""

    def __init__(self, config: MeenaConfig) -> None:
        super().__init__()
        self.attention = Attention(config.n_embd, config.n_encoder_head, config.attention_dropout)
        self.norm_1 = AddNorm(config.n_embd, EPS)
        self.feed_forward = FeedForward(config.n_embd, config.n_encoder_inner)
        self.norm_2 = AddNorm(config.n_embd, EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, S, C] → [B, S, C]."""
        x = self.norm_1(x, self.dropout(self.attention(x, mask)))
        x = self.norm_2(x, self.dropout(self.feed_forward(x)))
        return x


class DecoderLayer(nn.Module):
    """Causal self-attention, attention over the encoder's output, then feed-forward."""

    def __init__(self, config: MeenaConfig) -> None:
        super().__init__()
        self.attention = Attention(config.n_embd, config.n_decoder_head, config.attention_dropout)
        self.norm_1 = AddNorm(config.n_embd, EPS)
        self.cross_attention = CrossAttention(
            config.n_embd, config.n_decoder_head, config.attention_dropout
        )
        self.norm_2 = AddNorm(config.n_embd, EPS)
        self.feed_forward = FeedForward(config.n_embd, config.n_decoder_inner)
        self.norm_3 = AddNorm(config.n_embd, EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Tensor | None,
        memory_mask: Tensor,
        cache: Cache | None,
    ) -> Tensor:
        """[B, T, C] and memory [B, S, C] → [B, T, C]."""
        mixed = self.attention(x, mask, is_causal=mask is None, cache=cache)
        x = self.norm_1(x, self.dropout(mixed))
        mixed = self.cross_attention(x, memory, memory_mask, cache)
        x = self.norm_2(x, self.dropout(mixed))
        x = self.norm_3(x, self.dropout(self.feed_forward(x)))
        return x


class Meena(EncoderDecoderModel):
    """Plain layers, no norm at either end."""

    config: MeenaConfig

    def __init__(self, config: MeenaConfig) -> None:
        super().__init__(
            config,
            encoder=(EncoderLayer(config) for _ in range(config.n_encoder_layer)),
            decoder=(DecoderLayer(config) for _ in range(config.n_decoder_layer)),
        )
        initialize_weights(self, n_residual=3 * config.n_decoder_layer)
        loudness = token_std(config.n_embd) * self.embedding_scale
        initialize_positions(self.position_embedding, loudness)

    def run_encoder(self, x: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
        """Run all layers: [B, S, C] → [B, S, C]; nothing looks at what `keep` marks as padding."""
        for layer in self.encoder:
            x = layer(x, mask)
        return x

    def run_decoder(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Tensor | None,
        memory_mask: Tensor,
        cache: Cache | None,
    ) -> Tensor:
        """Run all layers: [B, T, C] → [B, T, C]."""
        for layer in self.decoder:
            x = layer(x, mask, memory, memory_mask, cache)
        return x
