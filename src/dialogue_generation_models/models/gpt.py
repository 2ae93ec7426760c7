"""GPT: a decoder-only Transformer in two forms that differ in their blocks and their ends.

- post-norm, the published models: x = norm(x + f(x)), token embeddings scaled by sqrt(width), no final norm;
- pre-norm, the paper's GPT-2: x = x + f(norm(x)), no scale, a final norm.

Both: learned positions, tanh GELU, LayerNorm eps 1e-5, output head tied to the token embedding.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from ..config.model import GPTConfig
from .cache import Cache
from .layers import (
    AddNorm,
    Attention,
    FeedForward,
    TiedHead,
    initialize_positions,
    initialize_weights,
    token_std,
)
from .segments import causal_mask, segment_positions


class PostNormBlock(nn.Module):
    """The published models' block: normalise after each addition."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention = Attention(config.n_embd, config.n_head, config.attention_dropout)
        self.norm_1 = AddNorm(config.n_embd)
        self.feed_forward = FeedForward(config.n_embd, config.n_inner)
        self.norm_2 = AddNorm(config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """[B, T, C] → [B, T, C]."""
        mixed = self.attention(x, mask, is_causal=mask is None, cache=cache)
        x = self.norm_1(x, self.dropout(mixed))
        x = self.norm_2(x, self.dropout(self.feed_forward(x)))
        return x


class PreNormBlock(nn.Module):
    """The paper's GPT-2 block: normalise what goes into each sublayer (Radford et al. 2019, 2.3)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention = Attention(config.n_embd, config.n_head, config.attention_dropout)
        self.norm_1 = nn.LayerNorm(config.n_embd)
        self.feed_forward = FeedForward(config.n_embd, config.n_inner)
        self.norm_2 = nn.LayerNorm(config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """[B, T, C] → [B, T, C]."""
        mixed = self.attention(self.norm_1(x), mask, is_causal=mask is None, cache=cache)
        x = x + self.dropout(mixed)
        x = x + self.dropout(self.feed_forward(self.norm_2(x)))
        return x


class GPT(nn.Module):
    """A decoder-only language model: token ids in, logits of each next token out."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        is_post = config.norm == "post"
        block = PostNormBlock if is_post else PreNormBlock
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = nn.Embedding(config.n_ctx, config.n_embd)
        self.head = TiedHead(self.token_embedding)
        self.embedding_scale = math.sqrt(config.n_embd) if is_post else 1.0
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.n_layer))
        self.final_norm = nn.Identity() if is_post else nn.LayerNorm(config.n_embd)
        initialize_weights(self, n_residual=2 * config.n_layer)
        loudness = token_std(config.n_embd) * self.embedding_scale
        initialize_positions(self.position_embedding, loudness)

    def forward(
        self,
        input_ids: Tensor,
        *,
        segment_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        logits_at: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Score every next token.

        Args:
            input_ids: [B, T].
            segment_ids: [B, T]; tokens see only their own segment, 0 is padding. All one by default.
            position_ids: [B, T]; by default counted from each segment's start.
            logits_at: bool [B, T], where logits are wanted; all by default.
            cache: earlier steps; `input_ids` then holds only the new tokens.

        Returns:
            Logits, [B, T, V], or [N, V] for the N places marked in `logits_at`.
        """
        x = self.read(input_ids, segment_ids=segment_ids, position_ids=position_ids, cache=cache)
        if logits_at is not None:
            x = x[logits_at]  # [N, C]
        return cast(Tensor, self.head(x))  # [B, T, V]

    def read(
        self,
        input_ids: Tensor,
        *,
        segment_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Compute what the head scores: [B, T] → [B, T, C]; arguments as in `forward`."""
        x, mask = self._embed(input_ids, segment_ids, position_ids, cache)
        for block in self.blocks:
            x = block(x, mask, cache)
        return cast(Tensor, self.final_norm(x))

    def _embed(
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None,
        position_ids: Tensor | None,
        cache: Cache | None,
    ) -> tuple[Tensor, Tensor | None]:
        is_plain = segment_ids is None
        if segment_ids is None:
            segment_ids = torch.ones_like(input_ids)
        if cache is not None:
            counted, mask = cache.advance(segment_ids)
        else:
            counted = segment_positions(segment_ids)
            mask = None if is_plain else causal_mask(segment_ids, segment_ids)
        position_ids = counted if position_ids is None else position_ids
        x = self.token_embedding(input_ids) * self.embedding_scale  # [B, T, C]
        return self.dropout(x + self.position_embedding(position_ids)), mask
