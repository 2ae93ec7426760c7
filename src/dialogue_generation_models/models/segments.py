"""Which tokens of a row belong together, and so see each other and count their positions.

A sequence's padding and packing are one thing: `segment_ids`, [B, T]. Tokens see only tokens of the same
number, 0 is padding, so a usual 0/1 attention mask is the case of one segment. Positions count from each
segment's start, so padding on either side and packing change no logits.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
