"""The layers that all architectures share: one attention, one feed-forward, and how tokens see each other.

Unusual here:
- A sequence's padding and packing are one thing: `segment_ids`, [B, T]. Tokens see only tokens of the
  same number, 0 is padding, so a usual 0/1 attention mask is the case of one segment.
- Positions count from each segment's start, so padding on either side and packing change no logits.
- Projections are plain `nn.Linear` and positions are [B, T], so that per-sample gradients work.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cache import Cache


class Attention(nn.Module):
    """Multi-head attention of a sequence over itself."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__()
        self.n_head = n_head
        self.dropout = dropout
        self.query = nn.Linear(n_embd, n_embd)
        self.key = nn.Linear(n_embd, n_embd)
        self.value = nn.Linear(n_embd, n_embd)
        self.output = nn.Linear(n_embd, n_embd)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        is_causal: bool = False,
        cache: Cache | None = None,
    ) -> Tensor:
        """Let tokens look at each other.

        Args:
            x: [B, T, C].
            mask: bool, broadcastable to [B, H, T, S]; True where a token may look.
            is_causal: each token sees itself and earlier ones; only without `mask` and `cache`.
            cache: keys and values of earlier steps, which are seen too.
        """
        key, value = self.keys_and_values(x)  # [B, H, T, D]
        if cache is not None:
            key, value = cache.extend(self, key, value)  # [B, H, S, D]
        return self.attend(x, key, value, mask, is_causal)

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, C] → two of [B, H, S, D]."""
        return self._split_heads(self.key(x)), self._split_heads(self.value(x))

    def attend(
        self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool
    ) -> Tensor:
        """Mix the values by how well the keys fit the queries of `x`: [B, T, C] → [B, T, C]."""
        mixed = F.scaled_dot_product_attention(
            self._split_heads(self.query(x)),
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal,
        )  # [B, H, T, D]
        return cast(Tensor, self.output(mixed.transpose(1, 2).flatten(2)))

    def _split_heads(self, x: Tensor) -> Tensor:
        """[B, T, C] → [B, H, T, D]."""
        rows, length, width = x.shape
        return x.view(rows, length, self.n_head, width // self.n_head).transpose(1, 2)


class CrossAttention(Attention):
    """Multi-head attention of a sequence over an encoder's output."""

    def forward(  # type: ignore[override]
        self, x: Tensor, memory: Tensor | None, memory_mask: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """Let tokens look at the memory.

        Args:
            x: [B, T, C].
            memory: [B, S, C]; may be None once its keys and values are in the cache.
            memory_mask: bool, broadcastable to [B, H, T, S]; True where a token may look.
            cache: holds the memory's keys and values, computed in the first step.
        """
        stored = None if cache is None else cache.fixed.get(self)
        if stored is None:
            if memory is None:
                raise ValueError("the first step needs the encoder's output")
            stored = self.keys_and_values(memory)  # [B, H, S, D]
            if cache is not None:
                cache.fixed[self] = stored
        key, value = stored
        return self.attend(x, key, value, memory_mask, is_causal=False)


class FeedForward(nn.Module):
    """Two linear layers with the tanh form of GELU between them."""

    def __init__(self, n_embd: int, n_inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(n_embd, n_inner)
        self.down = nn.Linear(n_inner, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] → [B, T, C]."""
        return cast(Tensor, self.down(F.gelu(self.up(x), approximate="tanh")))


def causal_mask(segment_ids: Tensor, key_segment_ids: Tensor) -> Tensor:
    """Say which keys a token may look at: earlier ones and itself, in its own segment.

    Padding (segment 0) looks at padding; no row is empty, so no softmax gives NaN.

    Args:
        segment_ids: [B, T], the tokens that look: the last T of the sequence.
        key_segment_ids: [B, S], all tokens so far.

    Returns:
        bool [B, 1, T, S].
    """
    new, seen = segment_ids.shape[1], key_segment_ids.shape[1]
    earlier = torch.ones(new, seen, dtype=torch.bool, device=segment_ids.device).tril(seen - new)
    same = segment_ids[:, :, None] == key_segment_ids[:, None, :]  # [B, T, S]
    return (same & earlier)[:, None]


def segment_positions(segment_ids: Tensor) -> Tensor:
    """Count each token's place in its segment from 0: [B, T] → [B, T]."""
    index = torch.arange(segment_ids.shape[1], device=segment_ids.device).expand_as(segment_ids)
    starts = torch.ones_like(segment_ids, dtype=torch.bool)
    starts[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    return index - (index * starts).cummax(dim=1).values


def initialize_weights(model: nn.Module, n_residual: int) -> None:
    """Draw fresh weights from N(0, 0.02²), biases 0 (GPT-2, section 2.3).

    Wide embeddings are drawn smaller: the head is tied to them, and a post-norm model would begin by
    repeating each token, at a loss far above ln V.

    Args:
        model: the model whose linear layers and embeddings are drawn anew.
        n_residual: sublayers added to the residual stream; their last layers start smaller by
            1/sqrt(n_residual), so that the stream's variance does not grow with depth.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=token_std(layer.embedding_dim))
        elif isinstance(layer, nn.Linear):
            is_last = name.endswith((".output", ".down"))
            nn.init.normal_(layer.weight, std=0.02 / math.sqrt(n_residual if is_last else 1))
            nn.init.zeros_(layer.bias)


def token_std(n_embd: int) -> float:
    """Standard deviation that `initialize_weights` draws token embeddings with."""
    return min(0.02, 8 / n_embd)


def initialize_positions(table: nn.Embedding, tokens: float) -> None:
    """Draw positions half as loud as the tokens that they are added to.

    With 0.02 beside tokens that are scaled by sqrt(width), a model cannot hear where a token stands: a
    Meena of width 128 then copied 8 tokens at a loss of 2.4 after 300 steps, and of 0.02 with this.

    Args:
        table: the position embedding.
        tokens: standard deviation of the token embeddings as they are added, after scaling.
    """
    nn.init.normal_(table.weight, std=tokens / 2)
