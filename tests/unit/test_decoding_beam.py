"""Beams against a search of everything, and against a plain version of diverse beam search."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import product

import pytest
import torch

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.inference.fake import FakeEngine

CONFIG = GPTConfig(vocab_size=9, n_ctx=24, n_embd=4, n_layer=1, n_head=1, n_inner=4)
EOS = 3
WORDS = [5, 6, 7, 8]
PROMPT = (2, 5, 4)
LENGTH = 4


def next_logp(tokens: tuple[int, ...]) -> list[float]:
    source = random.Random(repr(tokens))
    logits = torch.tensor([source.gauss(0, 2) for _ in range(9)])
    logp: list[float] = logits.log_softmax(dim=0).tolist()
    return logp


def total(tokens: tuple[int, ...]) -> float:
    return sum(next_logp((*PROMPT, *tokens[:i]))[token] for i, token in enumerate(tokens))


def options(**changes: object) -> DecodingConfig:
    return DecodingConfig(**{"strategy": "beam", "max_tokens": LENGTH, "min_tokens": 0, **changes})


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("counts_prompt", [False, True])
def test_a_beam_wide_enough_finds_the_best_of_all_replies(
    length_penalty: float, counts_prompt: bool
) -> None:
    worth: dict[tuple[int, ...], float] = {}
    for n in range(LENGTH + 1):
        for words in product(WORDS, repeat=n):
            tokens = words if n == LENGTH else (*words, EOS)
            length = len(PROMPT) + n if counts_prompt else len(tokens)
            worth[words] = total(tokens) / length**length_penalty
    best = sorted(worth, key=lambda words: -worth[words])[:20]
    chosen = options(
        num_beams=600,
        num_return=20,
        length_penalty=length_penalty,
        length_counts_prompt=counts_prompt,
    )
    found = generate(FakeEngine(next_logp), CONFIG, [PROMPT], chosen)[0]
    assert [tuple(candidate.ids) for candidate in found] == best
    assert [c.score for c in found] == pytest.approx([worth[w] for w in best], abs=1e-4)


def test_a_beam_of_one_is_greedy() -> None:
    [[beam]] = generate(FakeEngine(next_logp), CONFIG, [PROMPT], options(num_beams=1))
    [[greedy]] = generate(FakeEngine(next_logp), CONFIG, [PROMPT], options(strategy="greedy"))
    assert beam.ids == greedy.ids


def test_one_group_is_plain_beam_search() -> None:
    plain, diverse = (
        generate(
            FakeEngine(next_logp),
            CONFIG,
            [PROMPT],
            options(strategy=strategy, num_beams=4, num_return=4, diversity_penalty=3.0),
        )
        for strategy in ("beam", "diverse_beam")
    )
    assert plain == diverse


def diverse_reference(width: int, groups: int, penalty: float) -> list[list[tuple[int, ...]]]:
    """Diverse beams of replies that never end: Vijayakumar et al. 2018, algorithm 1."""
    live: list[list[tuple[int, ...]]] = [[()] for _ in range(groups)]
    for _ in range(LENGTH):
        chosen: Counter[int] = Counter()
        for group in range(groups):
            ways = [(*words, token) for words in live[group] for token in WORDS]
            ways.sort(key=lambda words: penalty * chosen[words[-1]] - total(words))
            live[group] = ways[:width]
            chosen.update(words[-1] for words in live[group])
    return live


@pytest.mark.parametrize("penalty", [0.0, 0.5, 100.0])
def test_diverse_beams_follow_the_paper(penalty: float) -> None:
    found = generate(
        FakeEngine(next_logp),
        CONFIG,
        [PROMPT],
        options(
            strategy="diverse_beam",
            num_beams=6,
            num_beam_groups=3,
            num_return=6,
            diversity_penalty=penalty,
            min_tokens=LENGTH,
        ),
    )[0]
    expected = {words for group in diverse_reference(2, 3, penalty) for words in group}
    assert {tuple(candidate.ids) for candidate in found} == expected
    assert [c.score for c in found] == pytest.approx([c.logp / LENGTH for c in found])


def test_a_beam_stops_once_no_live_reply_can_win() -> None:
    def ends_soon(tokens: tuple[int, ...]) -> list[float]:
        return [5.0 if token == EOS else -5.0 - token for token in range(9)]

    engine = FakeEngine(ends_soon)
    chosen = options(num_beams=2, num_return=2, max_tokens=20)
    found = generate(engine, CONFIG, [PROMPT], chosen)[0]
    assert [candidate.finish_reason for candidate in found] == ["end", "end"]
    assert len(engine.steps) < 4


def test_the_rules_lower_scores_but_not_logp() -> None:
    chosen = options(num_beams=4, repetition_penalty=2.0)
    [[found]] = generate(FakeEngine(next_logp), CONFIG, [PROMPT], chosen)
    tokens = (*found.ids, EOS) if found.finish_reason == "end" else tuple(found.ids)
    assert found.logp == pytest.approx(total(tokens), abs=1e-4)
    assert math.isfinite(found.score)
    penalized = total_with_penalty(tokens, 2.0) / len(tokens)
    assert found.score == pytest.approx(penalized, abs=1e-4)


def total_with_penalty(tokens: tuple[int, ...], penalty: float) -> float:
    summed = 0.0
    for place, token in enumerate(tokens):
        before = (*PROMPT, *tokens[:place])
        summed += next_logp(before)[token] * (penalty if token in before else 1.0)
    return summed
