"""The layers that all architectures share: one attention, one feed-forward, the head, and their first weights.

Projections are plain `nn.Linear` and positions are [B, T], so that per-sample gradients work.
"""

from __future__ import annotations

import math
from typing import cast

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
        query, key, value = self.project(x)  # each [B, H, T, D]
        if cache is not None:
            return self.join_heads(cache.attend(self, query, key, value, mask))
        return self.join_heads(self.mix(query, key, value, mask, is_causal))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries, keys and values: [B, T, C] → three of [B, H, T, D]."""
        return self.split_heads(self.query(x)), *self.keys_and_values(x)

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, C] → two of [B, H, S, D]."""
        return self.split_heads(self.key(x)), self.split_heads(self.value(x))

    def mix(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool
    ) -> Tensor:
        """Mix the values by how well the keys fit the queries, with dropout: → [B, H, T, D]."""
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal,
        )

    def join_heads(self, mixed: Tensor) -> Tensor:
        """Put the heads side by side and through the output layer: [B, H, T, D] → [B, T, C]."""
        return cast(Tensor, self.output(mixed.transpose(1, 2).flatten(2)))

    def split_heads(self, x: Tensor) -> Tensor:
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
        query = self.split_heads(self.query(x))  # [B, H, T, D]

        def make() -> tuple[Tensor, Tensor]:
            if memory is None:
                raise ValueError("the first step needs the encoder's output")
            return self.keys_and_values(memory)  # [B, H, S, D]

        if cache is not None:
            return self.join_heads(cache.attend_fixed(self, query, make, memory_mask))
        return self.join_heads(self.mix(query, *make(), memory_mask, is_causal=False))


class AddNorm(nn.LayerNorm):
    """The end of a post-norm sublayer: add what it made to what it was given, and normalise."""

    def forward(self, x: Tensor, added: Tensor) -> Tensor:  # type: ignore[override]
        """Two of [B, T, C] → [B, T, C]."""
        return super().forward(x + added)


class FeedForward(nn.Module):
    """Two linear layers with the tanh form of GELU between them."""

    def __init__(self, n_embd: int, n_inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(n_embd, n_inner)
        self.down = nn.Linear(n_inner, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] → [B, T, C]."""
        return cast(Tensor, self.down(F.gelu(self.up(x), approximate="tanh")))


class TiedHead(nn.Module):
    """Scores every token with the token embedding, which belongs to the model and not to the head."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, so that its weights are not registered twice

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] → [..., V]."""
        return F.linear(x, self._embedding[0].weight)


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
