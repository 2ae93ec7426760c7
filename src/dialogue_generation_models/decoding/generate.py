"""Prompts in, ranked replies out: puts rules, a search and the ranking together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ..config.decoding import DecodingConfig
from ..config.model import EncoderDecoderConfig, GPTConfig
from ..inference.engine import Engine
from .beam import Beam, BeamSearch
from .rank import ReverseScorer, rank
from .rules import build_pick, build_rules, reply_limit, written_prompt
from .sampling import row_keys
from .search import Candidate, Draft, IndependentSearch, run

__all__ = ["Candidate", "ReverseScorer", "generate", "stream"]


@torch.inference_mode()
def generate(
    engine: Engine,
    config: GPTConfig | EncoderDecoderConfig,
    prompts: Sequence[Sequence[int]],
    options: DecodingConfig,
    *,
    reverse: ReverseScorer | None = None,
) -> list[list[Candidate]]:
    """Find replies to each prompt, best first.

    A prompt's replies do not depend on the others in the batch. There are `num_return` of them, or
    fewer where equal or repetitive ones were dropped (see `rank`) or the rules leave no more.

    Args:
        engine: runs the model.
        config: the model's; gives the special ids, the vocabulary and the positions.
        prompts: token ids as `tokenizer.layout.build_prompt` lays them out.
        options: how to search.
        reverse: reranks, weighted with `options.mmi_weight`.

    Raises:
        OptionError: an option does not fit the model.
        InputTextError: a prompt is empty or too long for the model.
        CheckpointError: the model's output is not a number.
    """
    if not prompts:
        return []
    limits = [reply_limit(config, prompt, options.max_tokens) for prompt in prompts]
    search = build_search(config, prompts, limits, options)
    for _ in run(engine, prompts, max(limits), search):
        pass
    return [
        rank(search.found(number), prompt, options, config, reverse)
        for number, prompt in enumerate(prompts)
    ]


@torch.inference_mode()
def stream(
    engine: Engine,
    config: GPTConfig | EncoderDecoderConfig,
    prompt: Sequence[int],
    options: DecodingConfig,
) -> Iterator[int]:
    """Write one reply token by token, without the end token; raises like `generate`.

    Greedy and sampling give each token as soon as it is chosen; a beam and sample-and-rank give the
    winner's tokens once it is known.
    """
    if options.strategy not in ("greedy", "sample"):
        yield from generate(engine, config, [prompt], options)[0][0].ids
        return
    limit = reply_limit(config, prompt, options.max_tokens)
    search = _independent_search(config, [prompt], [limit], options.replace(num_return=1))
    [draft] = search.drafts
    seen = 0
    for _ in run(engine, [prompt], limit, search):
        yield from draft.ids[seen:]
        seen = len(draft.ids)


def build_search(
    config: GPTConfig | EncoderDecoderConfig,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    options: DecodingConfig,
) -> IndependentSearch | BeamSearch:
    """Make the search that the options ask for; its first batch has a row for each prompt.

    Raises:
        OptionError: an option does not fit the model.
    """
    if options.strategy in ("beam", "diverse_beam"):
        return _beam_search(config, prompts, limits, options)
    return _independent_search(config, prompts, limits, options)


def count_rows(options: DecodingConfig) -> int:
    """Return the most rows of a batch that the replies to one prompt are searched with."""
    return {
        "greedy": 1,
        "sample": options.num_return,
        "sample_and_rank": options.num_samples,
        "beam": options.num_beams,
        "diverse_beam": options.num_beams,
    }[options.strategy]


def _independent_search(
    config: GPTConfig | EncoderDecoderConfig,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    options: DecodingConfig,
) -> IndependentSearch:
    drafts = [
        Draft(number, limit, int(key))
        for number, (prompt, limit) in enumerate(zip(prompts, limits, strict=True))
        for key in row_keys(options.seed, prompt, count_rows(options))
    ]
    before = [_repeatable(config, prompts[draft.prompt], options) for draft in drafts]
    rules, pick = build_rules(options, config), build_pick(options)
    return IndependentSearch(drafts, before, rules, pick, config.eos_id)


def _beam_search(
    config: GPTConfig | EncoderDecoderConfig,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    options: DecodingConfig,
) -> BeamSearch:
    groups = options.num_beam_groups if options.strategy == "diverse_beam" else 1
    width = options.num_beams // groups
    beams: list[Beam] = []
    for number, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
        counted = len(written_prompt(config, prompt)) if options.length_counts_prompt else None
        beams += [
            Beam(number, width, limit, options.length_penalty, counted) for _ in range(groups)
        ]
    before = [_repeatable(config, prompts[beam.prompt], options) for beam in beams]
    rules = build_rules(options, config)
    return BeamSearch(beams, before, rules, config.eos_id, options.diversity_penalty)


def _repeatable(
    config: GPTConfig | EncoderDecoderConfig, prompt: Sequence[int], options: DecodingConfig
) -> Sequence[int]:
    """Return the tokens before the reply that penalty and n-gram rule count as used."""
    return written_prompt(config, prompt) if options.penalize_prompt else []
