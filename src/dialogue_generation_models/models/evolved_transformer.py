"""The paper's Meena: an Evolved Transformer encoder-decoder (So, Liang, Le 2019; Adiwardana et al. 2020).

- The cells mix attention with convolutions along the sequence; figure 3 of So et al. draws them, and
  the details (norms, activations, dropout) follow the authors' own code in tensor2tensor.
- Pre-norm: x = x + f(norm(x)), also inside the branches and the decoder's feed-forward; each side
  ends with a norm. LayerNorm eps 1e-6.
- The two branches of a cell have different widths: the narrow one is filled up with zeros and added.
- The encoder's convolutions see zeros where there is padding, the decoder's see only earlier tokens.
- Embeddings, positions and head are those of `encoder_decoder.py`. The Meena paper does not say how
  positions are told apart; tensor2tensor adds sinusoids, which have no weights.
- Attention projections have biases, which tensor2tensor's have not (0.02 % of the weights).
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..config.model import EvolvedTransformerConfig
from .cache import Cache
from .encoder_decoder import EncoderDecoderModel
from .layers import (
    Attention,
    CrossAttention,
    initialize_positions,
    initialize_weights,
)

EPS = 1e-6


class SeparableConvolution(nn.Module):
    """A convolution of each channel by itself, then a linear layer that mixes the channels."""

    def __init__(self, n_in: int, n_out: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.depthwise = nn.Conv1d(n_in, n_in, width, groups=n_in, bias=False)
        self.pointwise = nn.Linear(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """See as many tokens on the left as on the right: [B, S, C_in] → [B, S, C_out]."""
        side = self.width // 2
        return self.mix(F.pad(x.transpose(1, 2), (side, side)))

    def mix(self, x: Tensor) -> Tensor:
        """[B, C_in, width - 1 + T] → [B, T, C_out]."""
        return cast(Tensor, self.pointwise(self.depthwise(x).transpose(1, 2)))


class CausalSeparableConvolution(SeparableConvolution):
    """A separable convolution that sees a token and the `width - 1` before it."""

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """[B, T, C_in] → [B, T, C_out]; the cache keeps the last columns for the next step."""
        x = x.transpose(1, 2)  # [B, C_in, T]
        before = self.width - 1
        x = F.pad(x, (before, 0)) if cache is None else cache.window(self, x, self.width)
        return self.mix(x)


class EncoderBranches(nn.Module):
    """Dense layer to 4C beside a 3x1 convolution to C/2, summed; a 9x1 separable convolution to C/2."""

    def __init__(self, config: EvolvedTransformerConfig) -> None:
        super().__init__()
        n_embd = config.n_embd
        self.dense = nn.Linear(n_embd, 4 * n_embd)
        self.convolution = nn.Conv1d(n_embd, n_embd // 2, 3, padding=1)
        self.norm = nn.LayerNorm(4 * n_embd, EPS)
        self.separable = SeparableConvolution(4 * n_embd, n_embd // 2, 9)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """[B, S, C] and `keep`, bool [B, S, 1], False at padding → [B, S, C]."""
        x = x * keep
        wide = self.dropout(F.relu(self.dense(x)))  # [B, S, 4C]
        narrow = self.convolution(x.transpose(1, 2)).transpose(1, 2)  # [B, S, C/2]
        wide = add_narrow(wide, self.dropout(F.relu(narrow)))
        return fill_up(self.separable(self.norm(wide) * keep), x.shape[2])


class EncoderCell(nn.Module):
    """Gated linear unit, convolution branches, self-attention, feed-forward with ReLU."""

    def __init__(self, config: EvolvedTransformerConfig) -> None:
        super().__init__()
        n_embd = config.n_embd
        self.norm_1 = nn.LayerNorm(n_embd, EPS)
        self.value = nn.Linear(n_embd, n_embd)
        self.gate = nn.Linear(n_embd, n_embd)
        self.norm_2 = nn.LayerNorm(n_embd, EPS)
        self.branches = EncoderBranches(config)
        self.norm_3 = nn.LayerNorm(n_embd, EPS)
        self.attention = Attention(n_embd, config.n_head, config.attention_dropout)
        self.norm_4 = nn.LayerNorm(n_embd, EPS)
        self.up = nn.Linear(n_embd, config.n_inner)
        self.down = nn.Linear(config.n_inner, n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
        """[B, S, C] → [B, S, C]; `keep`, bool [B, S, 1], is False at padding."""
        normed = self.norm_1(x)
        x = x + self.dropout(self.value(normed) * self.gate(normed).sigmoid())
        x = x + self.dropout(self.branches(self.norm_2(x), keep))
        x = x + self.dropout(self.attention(self.norm_3(x), mask))
        inner = self.dropout(F.relu(self.up(self.norm_4(x))))  # [B, S, n_inner]
        x = x + self.dropout(self.down(inner))
        return x


class DecoderBranches(nn.Module):
    """11x1 separable convolution to 2C beside a 7x1 to C/2, summed; then a 7x1 to C."""

    def __init__(self, config: EvolvedTransformerConfig) -> None:
        super().__init__()
        n_embd = config.n_embd
        self.wide = CausalSeparableConvolution(n_embd, 2 * n_embd, 11)
        self.narrow = CausalSeparableConvolution(n_embd, n_embd // 2, 7)
        self.norm = nn.LayerNorm(2 * n_embd, EPS)
        self.last = CausalSeparableConvolution(2 * n_embd, n_embd, 7)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: Cache | None) -> Tensor:
        """[B, T, C] → [B, T, C]."""
        wide = self.dropout(F.relu(self.wide(x, cache)))  # [B, T, 2C]
        narrow = self.dropout(self.narrow(x, cache))  # [B, T, C/2]
        return cast(Tensor, self.last(self.norm(add_narrow(wide, narrow)), cache))


class DecoderCell(nn.Module):
    """Attention branches, convolution branches, self- and cross-attention, feed-forward with swish."""

    def __init__(self, config: EvolvedTransformerConfig) -> None:
        super().__init__()
        n_embd, n_head, dropout = config.n_embd, config.n_head, config.attention_dropout
        self.norm_1 = nn.LayerNorm(n_embd, EPS)
        self.attention_1 = Attention(n_embd, config.n_first_head, dropout)
        self.cross_attention_1 = CrossAttention(n_embd, n_head, dropout)
        self.norm_2 = nn.LayerNorm(n_embd, EPS)
        self.branches = DecoderBranches(config)
        self.norm_3 = nn.LayerNorm(n_embd, EPS)
        self.attention_2 = Attention(n_embd, n_head, dropout)
        self.norm_4 = nn.LayerNorm(n_embd, EPS)
        self.cross_attention_2 = CrossAttention(n_embd, n_head, dropout)
        self.norm_5 = nn.LayerNorm(n_embd, EPS)
        self.up = nn.Linear(n_embd, config.n_inner)
        self.inner_norm = nn.LayerNorm(config.n_inner, EPS)
        self.down = nn.Linear(config.n_inner, n_embd)
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
        is_causal = mask is None
        normed = self.norm_1(x)
        mixed = self.attention_1(normed, mask, is_causal=is_causal, cache=cache)
        read = self.cross_attention_1(normed, memory, memory_mask, cache)
        x = x + self.dropout(mixed) + self.dropout(read)
        x = x + self.dropout(self.branches(self.norm_2(x), cache))
        mixed = self.attention_2(self.norm_3(x), mask, is_causal=is_causal, cache=cache)
        x = x + self.dropout(mixed)
        read = self.cross_attention_2(self.norm_4(x), memory, memory_mask, cache)
        x = x + self.dropout(read)
        inner = self.dropout(F.silu(self.up(self.norm_5(x))))  # [B, T, n_inner]
        x = x + self.dropout(self.down(self.inner_norm(inner)))
        return x


class EvolvedTransformer(EncoderDecoderModel):
    """Evolved cells, and a norm at the end of either side."""

    config: EvolvedTransformerConfig

    def __init__(self, config: EvolvedTransformerConfig) -> None:
        super().__init__(
            config,
            encoder=(EncoderCell(config) for _ in range(config.n_encoder_layer)),
            decoder=(DecoderCell(config) for _ in range(config.n_decoder_layer)),
        )
        self.encoder_norm = nn.LayerNorm(config.n_embd, EPS)
        self.decoder_norm = nn.LayerNorm(config.n_embd, EPS)
        initialize_weights(self, n_residual=6 * config.n_decoder_layer)
        # Small, so that the tied head of a wide model does not start out repeating what was read.
        nn.init.normal_(self.token_embedding.weight, std=0.2 / self.embedding_scale)
        initialize_positions(self.position_embedding, 0.2)

    def run_encoder(self, x: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
        """Run all cells and the norm: [B, S, C] → [B, S, C]; `keep`, bool [B, S], is False at padding."""
        for cell in self.encoder:
            x = cell(x, mask, keep[:, :, None])
        return cast(Tensor, self.encoder_norm(x))

    def run_decoder(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Tensor | None,
        memory_mask: Tensor,
        cache: Cache | None,
    ) -> Tensor:
        """Run all cells and the norm: [B, T, C] → [B, T, C]."""
        for cell in self.decoder:
            x = cell(x, mask, memory, memory_mask, cache)
        return cast(Tensor, self.decoder_norm(x))


def fill_up(x: Tensor, width: int) -> Tensor:
    """Append channels of zeros: [B, T, C] → [B, T, width]."""
    return F.pad(x, (0, width - x.shape[2]))


def add_narrow(wide: Tensor, narrow: Tensor) -> Tensor:
    """Add the narrow branch, [B, T, C], to the first channels of the wide one, [B, T, C']."""
    return wide + fill_up(narrow, wide.shape[2])
