"""Meena as published: a plain post-norm Transformer encoder-decoder.

- It is not the paper's Evolved Transformer; that is `evolved_transformer.py`.
- One token embedding serves encoder, decoder and output head; it is scaled by sqrt(width) on input.
- One position table serves both sides: the context starts at 0, the reply at `n_encoder_ctx`.
- x = norm(x + f(x)) everywhere, LayerNorm eps 1e-6, no norm after the embeddings, no final norm.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from ..config.model import MeenaConfig
from .cache import Cache
from .layers import (
    AddNorm,
    Attention,
    CrossAttention,
    FeedForward,
    TiedHead,
    initialize_positions,
    initialize_weights,
    token_std,
)
from .segments import segment_positions

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


class Meena(nn.Module):
    """A sequence-to-sequence model: context ids and reply ids in, logits of each next reply token out."""

    def __init__(self, config: MeenaConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = nn.Embedding(config.n_ctx, config.n_embd)
        self.head = TiedHead(self.token_embedding)
        self.embedding_scale = math.sqrt(config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_encoder_layer))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_decoder_layer))
        initialize_weights(self, n_residual=3 * config.n_decoder_layer)
        loudness = token_std(config.n_embd) * self.embedding_scale
        initialize_positions(self.position_embedding, loudness)

    def forward(
        self,
        context_ids: Tensor,
        reply_ids: Tensor,
        *,
        context_mask: Tensor | None = None,
        logits_at: Tensor | None = None,
    ) -> Tensor:
        """Score every next token of the reply.

        Args:
            context_ids: [B, S], `u1 sept … un sept`, padded with `pad_id` on either side.
            reply_ids: [B, T], beginning with `bos_id`, padded on the right.
            context_mask: bool [B, S], True = keep; by default all that is not `pad_id`.
            logits_at: bool [B, T], where logits are wanted; all by default.

        Returns:
            Logits, [B, T, V], or [N, V] for the N places marked in `logits_at`.
        """
        memory, memory_mask = self.encode(context_ids, context_mask)
        return self.decode(reply_ids, memory, memory_mask, logits_at=logits_at)

    def encode(
        self,
        context_ids: Tensor,
        context_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Read the context: [B, S] → memory [B, S, C] and its mask, bool [B, S].

        Positions, [B, S], are counted from the first token that the mask keeps unless they are given.
        """
        if context_mask is None:
            context_mask = context_ids != self.config.pad_id
        segment_ids = context_mask.long()
        if position_ids is None:
            position_ids = segment_positions(segment_ids)
        x = self._embed(context_ids, position_ids)
        # Padding looks at padding, so that no row of the mask is empty.
        mask = (segment_ids[:, :, None] == segment_ids[:, None, :])[:, None]  # [B, 1, S, S]
        for layer in self.encoder:
            x = layer(x, mask)
        return x, context_mask

    def decode(
        self,
        reply_ids: Tensor,
        memory: Tensor | None,
        memory_mask: Tensor,
        *,
        logits_at: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Score the next tokens of a reply, [B, T] → [B, T, V].

        With a cache, `reply_ids` holds only the new tokens, and `memory` is read in the first call
        alone: later calls may pass None.
        """
        segment_ids = torch.ones_like(reply_ids)
        if cache is None:
            position_ids, mask = segment_positions(segment_ids), None
        else:
            position_ids, mask = cache.advance(segment_ids)
        x = self._embed(reply_ids, position_ids + self.config.n_encoder_ctx)
        for layer in self.decoder:
            x = layer(x, mask, memory, memory_mask[:, None, None], cache)
        if logits_at is not None:
            x = x[logits_at]  # [N, C]
        return cast(Tensor, self.head(x))  # [B, T, V]

    def _embed(self, ids: Tensor, position_ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) * self.embedding_scale  # [B, T, C]
        return cast(Tensor, self.dropout(x + self.position_embedding(position_ids)))
