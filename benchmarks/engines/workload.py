"""What all engines are given: the same random model, the same contexts, the same way of choosing tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import AnyModelConfig, EncoderDecoderConfig
from dialogue_generation_models.models import build_model

CONTEXT_TOKENS, NEW_TOKENS = 40, 32
LOGIT_SPREAD = 3.28  # of Gaussian logits over 32,000 words that have 5 nats of entropy
END_LIFT = 13.0
"""How much the end token's logit is raised for natural endings: it then has about one chance in ten a step."""


class Skipped(Exception):
    """An engine cannot run here; the text says why."""


@dataclass(frozen=True)
class Work:
    """One call: contexts, replies to each, and how tokens are chosen."""

    contexts: list[list[int]]
    replies: int
    is_beam: bool
    ends: bool
    """Whether the end token may be chosen; else every reply has `NEW_TOKENS`."""

    @property
    def least(self) -> int:
        """The fewest tokens of a reply."""
        return 1 if self.ends else NEW_TOKENS


Run = Callable[[Work], int]
"""Writes the replies; returns how many tokens they have, end tokens left out."""


@dataclass(frozen=True)
class Setup:
    """What an engine is made of."""

    config: AnyModelConfig
    exports: Path
    """Where exported models are kept, and found again."""
    threads: int
    ends: bool

    def build(self) -> Any:
        """Make the model, the same each time; its next token has about 5 nats of entropy."""
        torch.manual_seed(0)
        model: Any = build_model(self.config).eval()
        table = model.token_embedding.weight
        make_loud(model, table)
        if self.ends:
            layers = (
                model.decoder if isinstance(self.config, EncoderDecoderConfig) else model.blocks
            )
            norm = layers[-1].norm_3 if hasattr(layers[-1], "norm_3") else layers[-1].norm_2
            lift_end(norm, table, self.config.eos_id)
        return model


@torch.no_grad()
def make_loud(model: torch.nn.Module, table: Tensor) -> None:
    """Draw weights with which the next token has about 5 nats of entropy.

    Layers must be as loud as the token that they are added to, or the tied head repeats it for certain.

    Args:
        model: of this package or of `transformers`.
        table: its token embedding, [V, C].
    """
    for layer in model.modules():
        weight = getattr(layer, "weight", None)
        if isinstance(layer, torch.nn.Linear) and weight is not table:
            weight.normal_(std=1 / math.sqrt(weight.shape[1]))
        elif type(layer).__name__ == "Conv1D":  # GPT-2's linear layer, stored as [in, out]
            weight.normal_(std=1 / math.sqrt(weight.shape[0]))
    table.normal_(std=LOGIT_SPREAD / math.sqrt(table.shape[1]))


@torch.no_grad()
def lift_end(norm: torch.nn.LayerNorm, table: Tensor, eos_id: int) -> None:
    """Raise the end token's logit to much the same height in every state, and others' by chance alone.

    Its embedding is made quiet, so that the state hardly moves it, and the last norm is given a bias.
    """
    end = table[eos_id].mul_(0.3)
    norm.bias.copy_(END_LIFT * end / end.square().sum())


def decoding(work: Work) -> DecodingConfig:
    """Say in our words how tokens are chosen."""
    return DecodingConfig(
        strategy="beam" if work.is_beam else "sample",
        num_return=work.replies,
        num_beams=max(work.replies, 1),
        temperature=1.0,
        top_p=0.8,
        repetition_penalty=1.3,
        no_repeat_ngram=3,
        min_tokens=work.least,
        max_tokens=NEW_TOKENS,
    )
