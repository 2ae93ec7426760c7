"""From options to functions: what a search may choose, and how a token is picked.

This is the one place that reads the options on logits; the searches see only the functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config.decoding import DecodingConfig
from ..config.model import EncoderDecoderConfig, GPTConfig
from ..errors import InputTextError, OptionError
from . import logits as on_logits
from .sampling import draw, draw_best_first, uniforms

Lengths: TypeAlias = int | NDArray[np.int64]
"""Tokens that the replies have so far: of all rows alike, or of each, [B]."""
Rules: TypeAlias = Callable[[Tensor, Tensor, Lengths], Tensor]
"""(scores [B, V], history [B, W], lengths) → scores [B, V] with at least one token left."""
Pick: TypeAlias = Callable[[Tensor, NDArray[np.uint64], Lengths], Tensor]
"""(scores [B, V], the rows' keys [B], lengths) → the tokens picked, [B]."""


def build_rules(options: DecodingConfig, config: GPTConfig | EncoderDecoderConfig) -> Rules:
    """Chain the rules that hold for every strategy.

    Raises:
        OptionError: `banned_ids` names a token that the model does not have.
    """
    banned = sorted({*config.never_in_reply_ids, *options.banned_ids})
    if banned and banned[-1] >= config.vocab_size:
        raise OptionError(
            f"Illegal value for 'banned_ids': {banned[-1]} is not below the model's "
            f"{config.vocab_size} tokens."
        )
    rules: list[Rules] = []
    if options.repetition_penalty != 1.0:
        penalty = options.repetition_penalty
        rules.append(lambda x, history, _: on_logits.penalize_repetition_(x, history, penalty))
    if options.no_repeat_ngram:
        size = options.no_repeat_ngram
        rules.append(lambda x, history, _: on_logits.ban_repeated_ngrams_(x, history, size))
    rules.append(lambda x, _history, _lengths: on_logits.ban_tokens_(x, banned))
    if options.min_tokens:
        least = options.min_tokens
        rules.append(lambda x, _, lengths: _ban_early_end_(x, lengths, least, config.eos_id))

    def apply(scores: Tensor, history: Tensor, lengths: Lengths) -> Tensor:
        ruled = scores.clone()
        for rule in rules:
            ruled = rule(ruled, history, lengths)
        return on_logits.allow_end_(ruled, scores, config.eos_id)

    return apply


def _ban_early_end_(scores: Tensor, lengths: Lengths, least: int, eos_id: int) -> Tensor:
    """Rule out the end in rows that have fewer than `least` tokens."""
    early = np.broadcast_to(np.asarray(lengths) < least, len(scores))
    if early.all():
        scores[:, eos_id] = -math.inf
    elif early.any():
        scores[torch.from_numpy(early).to(scores.device), eos_id] = -math.inf
    return scores


def build_pick(options: DecodingConfig) -> Pick:
    """Chain temperature, top-k, top-p, min-p and typical, in this order, before a draw.

    Greedy, and a temperature of 0, take the likeliest token.
    """
    if options.strategy == "greedy" or options.temperature == 0.0:
        return lambda scores, keys, lengths: scores.argmax(dim=1)
    if options.typical_p < 1.0:
        filters = _build_filters(options)
        return lambda scores, keys, lengths: draw(
            reduce(lambda kept, keep: keep(kept), filters, scores), uniforms(keys, lengths)
        )
    return lambda scores, keys, lengths: draw_best_first(
        scores,
        uniforms(keys, lengths),
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
    )


def _build_filters(options: DecodingConfig) -> list[Callable[[Tensor], Tensor]]:
    filters: list[Callable[[Tensor], Tensor]] = []
    if options.temperature != 1.0:
        filters.append(partial(on_logits.scale_temperature, temperature=options.temperature))
    if options.top_k:
        filters.append(partial(on_logits.keep_top_k, k=options.top_k))
    if options.top_p < 1.0:
        filters.append(partial(on_logits.keep_top_p, p=options.top_p))
    if options.min_p > 0.0:
        filters.append(partial(on_logits.keep_min_p, share=options.min_p))
    filters.append(partial(on_logits.keep_typical, p=options.typical_p))
    return filters


def written_prompt(
    config: GPTConfig | EncoderDecoderConfig, prompt: Sequence[int]
) -> Sequence[int]:
    """Return the tokens before the reply on the side where it is written: GPT the prompt, else bos."""
    return [config.bos_id] if isinstance(config, EncoderDecoderConfig) else prompt


def reply_limit(
    config: GPTConfig | EncoderDecoderConfig, prompt: Sequence[int], max_tokens: int
) -> int:
    """Cut the longest reply to the model's positions; the last token needs none, nothing follows it.

    Raises:
        InputTextError: the prompt is empty or too long for the model.
    """
    if isinstance(config, EncoderDecoderConfig):
        readable, positions = config.n_encoder_ctx, config.n_ctx - config.n_encoder_ctx
    else:
        readable, positions = config.n_ctx, config.n_ctx - len(prompt) + 1
    if not prompt:
        raise InputTextError("The prompt is empty; give at least one token.")
    if len(prompt) > readable:
        raise InputTextError(
            f"The prompt has {len(prompt)} tokens, but the model can read only {readable}; shorten it."
        )
    return min(max_tokens, positions)
