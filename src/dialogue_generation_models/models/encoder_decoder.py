"""What all encoder-decoders share: embeddings, masks, positions and the head. An architecture adds its layers.

- One token embedding serves encoder, decoder and output head; it is scaled by sqrt(width) on input.
- One position table serves both sides: the context starts at 0, the reply at `n_encoder_ctx`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from ..config.model import EncoderDecoderConfig
from .cache import Cache
from .layers import TiedHead
from .segments import segment_positions


class EncoderDecoderModel(nn.Module):
    """A sequence-to-sequence model: context ids and reply ids in, logits of each next reply token out."""

    config: EncoderDecoderConfig

    def __init__(
        self,
        config: EncoderDecoderConfig,
        encoder: Iterable[nn.Module],
        decoder: Iterable[nn.Module],
    ) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding = nn.Embedding(config.n_ctx, config.n_embd)
        self.head = TiedHead(self.token_embedding)
        self.embedding_scale = math.sqrt(config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)

    @abstractmethod
    def run_encoder(self, x: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
        """Run all layers of the encoder: [B, S, C] → [B, S, C].

        Args:
            x: embedded context, [B, S, C].
            mask: bool [B, 1, S, S], True where a token may look.
            keep: bool [B, S], False at padding.
        """

    @abstractmethod
    def run_decoder(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Tensor | None,
        memory_mask: Tensor,
        cache: Cache | None,
    ) -> Tensor:
        """Run all layers of the decoder: [B, T, C] → [B, T, C].

        Args:
            x: embedded reply, [B, T, C].
            mask: bool [B, 1, T, N] over all that the cache holds; None for a causal one.
            memory: what the encoder read, [B, S, C]; None where the cache has it.
            memory_mask: bool [B, 1, 1, S], False at padding.
            cache: of the reply's earlier tokens.
        """

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
        return self.run_encoder(x, mask, context_mask), context_mask

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
        x = self.run_decoder(x, mask, memory, memory_mask[:, None, None], cache)
        if logits_at is not None:
            x = x[logits_at]  # [N, C]
        return cast(Tensor, self.head(x))  # [B, T, V]

    def _embed(self, ids: Tensor, position_ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) * self.embedding_scale  # [B, T, C]
        return cast(Tensor, self.dropout(x + self.position_embedding(position_ids)))
