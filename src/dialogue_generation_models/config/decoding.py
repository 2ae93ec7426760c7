"""How replies are searched for: one record of options with one home for each default."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator
from typing_extensions import Self

from ..errors import DialogueModelError, OptionError
from .schema import Config

Strategy: TypeAlias = Literal["greedy", "sample", "beam", "diverse_beam", "sample_and_rank"]


class DecodingConfig(Config):
    """Options of the search for replies. An illegal value raises `OptionError` and is named."""

    error: ClassVar[type[DialogueModelError]] = OptionError

    strategy: Strategy = "sample_and_rank"
    """greedy: the likeliest token each time. sample: draw each token. beam: the likeliest sequences.
    diverse_beam: groups of beams that avoid each other. sample_and_rank: draw many, keep the best."""
    num_return: Annotated[int, Field(ge=1, le=1000)] = 1
    """Replies to return, best first; at most the number of beams or samples."""
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 48
    """Longest reply in tokens, without the end token."""
    min_tokens: Annotated[int, Field(ge=0)] = 1
    """Shortest reply in tokens, without the end token; 0 allows an empty reply."""
    temperature: Annotated[float, Field(ge=0.0, le=100.0)] = 0.88
    """Flattens (above 1) or sharpens (below 1) the distribution; 0 is greedy."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Draw from the k likeliest tokens; 0 for all."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draw from the smallest set of tokens with this total probability; 1 for all."""
    min_p: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Drop tokens less likely than this share of the likeliest one's probability; 0 for none."""
    typical_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draw from the most typical tokens with this total probability (arXiv 2202.00666); 1 for all."""
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100.0)] = 1.0
    """Divides positive and multiplies negative scores of tokens already used; 1 for none."""
    no_repeat_ngram: Annotated[int, Field(ge=0)] = 0
    """No run of this many tokens appears twice in a reply; 0 for no limit."""
    penalize_prompt: bool = True
    """Whether penalty and n-gram rule also count the prompt's tokens (GPT only)."""
    banned_ids: list[Annotated[int, Field(ge=0)]] = []
    """Token ids that a reply never contains, besides the special ones."""
    num_samples: Annotated[int, Field(ge=1, le=1000)] = 20
    """Independent samples that sample_and_rank draws before it picks."""
    num_beams: Annotated[int, Field(ge=1, le=1000)] = 10
    """Width of beam and diverse_beam."""
    num_beam_groups: Annotated[int, Field(ge=1)] = 1
    """Groups of diverse_beam; must divide num_beams."""
    diversity_penalty: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.5
    """Taken from a token's score for each earlier group that chose it (arXiv 1610.02424)."""
    length_penalty: Annotated[float, Field(ge=-10.0, le=10.0)] = 1.0
    """Beam score is log P / tokens ** this; 0 for the sum."""
    length_counts_prompt: bool = False
    """Whether the beam's tokens are those of prompt and reply instead of reply and end token, as in the
    original demo (on the side where the reply is written, so an encoder-decoder's prompt is one token)."""
    mmi_weight: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Weight of log P(context | reply) when a reverse model reranks (arXiv 1911.00536)."""
    max_turn_overlap: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Drop a reply that shares a common subsequence longer than this part of an earlier turn, and at least
    4 tokens long (cross-turn rule, arXiv 2001.09977); 1 keeps all."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Makes sampling repeatable on any batch size; none for a new one each time."""

    @model_validator(mode="after")
    def _options_fit_together(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError("the option min_tokens must not exceed max_tokens")
        limit = {
            "beam": self.num_beams,
            "diverse_beam": self.num_beams,
            "sample_and_rank": self.num_samples,
            "greedy": 1,
        }.get(self.strategy)
        if limit is not None and self.num_return > limit:
            raise ValueError(
                f"the option num_return must be at most {limit} with strategy {self.strategy}"
            )
        if self.num_beams % self.num_beam_groups:
            raise ValueError("the option num_beam_groups must divide num_beams")
        return self


_DEMO: dict[str, Any] = {
    "min_tokens": 8,
    "max_tokens": 48,
    "repetition_penalty": 1.3,
    "no_repeat_ngram": 3,
}

PRESETS: dict[str, DecodingConfig] = {
    "greedy": DecodingConfig(strategy="greedy"),
    "sample": DecodingConfig(strategy="sample", temperature=1.0),
    "top_p": DecodingConfig(strategy="sample", temperature=1.0, top_p=0.8),
    "top_k": DecodingConfig(strategy="sample", temperature=1.0, top_k=40),
    "beam": DecodingConfig(strategy="beam"),
    "diverse_beam": DecodingConfig(strategy="diverse_beam", num_beam_groups=5),
    "sample_and_rank": DecodingConfig(strategy="sample_and_rank"),
    "demo_top_p": DecodingConfig(
        strategy="sample", top_p=0.8, temperature=1.0, num_return=10, **_DEMO
    ),
    "demo_beam": DecodingConfig(
        strategy="beam", num_beams=10, num_return=10, length_counts_prompt=True, **_DEMO
    ),
    "meena_paper": DecodingConfig(strategy="sample_and_rank", num_samples=20, temperature=0.88),
    "meena_paper_top_k": DecodingConfig(
        strategy="sample_and_rank", num_samples=20, temperature=1.0, top_k=40
    ),
}
"""Starting points by name: the plain strategies, the original demo's two settings (`demo_*`), and the
Meena paper's first and later sample-and-rank (`meena_paper*`)."""
