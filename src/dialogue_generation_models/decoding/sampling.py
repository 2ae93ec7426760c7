"""Random draws that repeat: each depends on the seed, the prompt, the sample's number and the step.

Nothing depends on what else is in the batch or where a row stands in it, so a seed gives the same
replies with any batch size. One number a row and step is enough, because a token is drawn by inverting
the cumulative distribution; a generator for each row would cost more than the draw.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SAMPLE_STRIDE = np.uint64(0xD1342543DE82EF95)
_STEP_STRIDE = np.uint64(0x9E3779B97F4A7C15)


def row_keys(seed: int | None, prompt: Sequence[int], samples: int) -> NDArray[np.uint64]:
    """Make one key for each sample of a prompt, uint64 [samples]; fresh ones without a seed."""
    if seed is None:
        seed = secrets.randbits(63)
    words = np.array([seed, *prompt], dtype="<u8")
    first = int.from_bytes(blake2b(words.tobytes(), digest_size=8).digest(), "little")
    numbers = np.arange(samples, dtype=np.uint64)
    return _scramble(np.full(samples, first, dtype=np.uint64) + numbers * _SAMPLE_STRIDE)


def uniforms(keys: NDArray[np.uint64], step: int) -> Tensor:
    """Draw one number in [0, 1) for each key at this step, float64 [B]."""
    steps = np.full_like(keys, step)
    bits = _scramble(keys + steps * _STEP_STRIDE) >> np.uint64(11)
    return torch.from_numpy(bits.astype(np.float64) * 2.0**-53)


def draw(logits: Tensor, numbers: Tensor) -> Tensor:
    """Pick the token at which the cumulative distribution passes the row's number: [B, V], [B] → [B]."""
    total = logits.softmax(dim=1).cumsum(dim=1)  # [B, V]
    # A number below the total always finds a token, and never one of probability 0.
    last = total[:, -1:]
    aim = (numbers.to(last)[:, None] * last).minimum(last.nextafter(torch.zeros_like(last)))
    return torch.searchsorted(total, aim, right=True)[:, 0]


def _scramble(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each word (the finaliser of SplitMix64, Steele et al. 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed
