"""What happens to the replies of one prompt once they are found: reranked, thinned out and sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ..config.decoding import DecodingConfig
from ..config.model import GPTConfig, ModelConfig
from ..inference.scoring import score_replies
from ..tokenizer.layout import prompt_limit
from .search import Candidate, scored_length

if TYPE_CHECKING:
    from ..models import Model

LONG_SUBSEQUENCE = 4
"""Common subsequences shorter than this never count: a greeting may be returned."""


class ReverseScorer(Protocol):
    """Says how well replies explain what was said before them."""

    def __call__(self, source: Sequence[int], replies: Sequence[Sequence[int]]) -> list[float]:
        """Return log P(source | reply) per token of the source for each reply."""
        ...


class ReverseModel:
    """A model trained on reversed dialogues: it reads a reply and writes the turn before it
    (DialoGPT, arXiv 1911.00536, section 3.2). It must have the forward model's tokenizer."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __call__(self, source: Sequence[int], replies: Sequence[Sequence[int]]) -> list[float]:
        """Return log P(source | reply) per token of the source for each reply."""
        config = self._model.config
        opening = [config.bos_id] if isinstance(config, GPTConfig) else []
        room = prompt_limit(config, len(source) + 1) - len(opening) - 1
        prompts = [[*opening, *reply[:room], config.sept_id] for reply in replies]
        sources = [[*source, config.eos_id]] * len(replies)
        return [logp.mean().item() for logp in score_replies(self._model, prompts, sources)]


def rank(
    candidates: Sequence[Candidate],
    prompt: Sequence[int],
    options: DecodingConfig,
    config: ModelConfig,
    reverse: ReverseScorer | None = None,
) -> list[Candidate]:
    """Sort candidates, best first, and leave at most `num_return`.

    With a reverse model the score becomes a weighted mean of both models' log-probabilities per token.
    Equal replies are merged (but not for `sample`, whose draws are independent), and those that repeat
    an earlier turn are dropped unless all do.
    """
    turns = split_turns(prompt, config)
    if reverse is not None and turns and options.mmi_weight:
        candidates = add_reverse(candidates, turns[-1], options.mmi_weight, reverse)
    ordered = sorted(candidates, key=lambda candidate: -candidate.score)
    if options.strategy != "sample":
        ordered = drop_duplicates(ordered)
    if options.max_turn_overlap < 1.0:
        ordered = drop_repeats(ordered, turns, options.max_turn_overlap) or ordered
    return ordered[: options.num_return]


def split_turns(prompt: Sequence[int], config: ModelConfig) -> list[list[int]]:
    """Cut a prompt into its turns' tokens, oldest first."""
    turns: list[list[int]] = [[]]
    for token in prompt:
        if token == config.sept_id:
            turns.append([])
        elif token not in (config.bos_id, config.pad_id):
            turns[-1].append(token)
    return [turn for turn in turns if turn]


def add_reverse(
    candidates: Sequence[Candidate], source: Sequence[int], weight: float, reverse: ReverseScorer
) -> list[Candidate]:
    """Score with (1 - weight) · log P(reply) / tokens + weight · log P(source | reply) / tokens."""
    backward = reverse(source, [candidate.ids for candidate in candidates])
    return [
        replace(
            candidate,
            score=(1 - weight) * candidate.logp / scored_length(candidate) + weight * logp,
        )
        for candidate, logp in zip(candidates, backward, strict=True)
    ]


def drop_duplicates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Leave the first of the candidates with the same tokens."""
    first: dict[tuple[int, ...], Candidate] = {}
    for candidate in candidates:
        first.setdefault(tuple(candidate.ids), candidate)
    return list(first.values())


def drop_repeats(
    candidates: Sequence[Candidate], turns: Sequence[Sequence[int]], overlap: float
) -> list[Candidate]:
    """Leave candidates that repeat no earlier turn: the cross-turn rule (arXiv 2001.09977, section 4).

    Repeating means a common subsequence of at least `LONG_SUBSEQUENCE` tokens that is longer than
    the part `overlap` of the turn.
    """

    def repeats(ids: Sequence[int], turn: Sequence[int]) -> bool:
        common = common_subsequence(ids, turn)
        return common >= LONG_SUBSEQUENCE and common > overlap * len(turn)

    return [c for c in candidates if not any(repeats(c.ids, turn) for turn in turns)]


def common_subsequence(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common subsequence, a whole row of the table at a time in the bits of one
    integer (Hyyrö 2004)."""
    places: dict[int, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything  # a 0 where the table grows
    for token in second:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & everything
    return len(first) - row.bit_count()
