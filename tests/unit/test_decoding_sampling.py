"""Draws: the right frequencies, and the same ones for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.decoding.logits import keep_min_p, keep_top_k, keep_top_p, largest
from dialogue_generation_models.decoding.sampling import (
    BEST,
    WIDER,
    draw,
    draw_best_first,
    draw_from_best,
    row_keys,
    uniforms,
)

PROMPT = [2, 9, 8, 4]


def chi_square(counts: torch.Tensor, probabilities: torch.Tensor) -> float:
    """How far counts lie from their expectation, in standard deviations of the statistic."""
    expected = probabilities * counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    freedom = len(counts) - 1
    return (statistic - freedom) / math.sqrt(2 * freedom)


def test_draws_have_the_frequencies_of_the_distribution() -> None:
    logits = torch.randn(1, 50) * 1.5
    numbers = torch.cat([uniforms(row_keys(7, PROMPT, 1000), step) for step in range(100)])
    tokens = draw(logits.expand(len(numbers), -1), numbers)
    counts = tokens.bincount(minlength=50).double()
    assert abs(chi_square(counts, logits[0].double().softmax(dim=0))) < 4


@pytest.mark.parametrize("axis", ["steps", "samples", "prompts", "seeds"])
def test_numbers_are_uniform_along_every_axis(axis: str) -> None:
    n = 20_000
    if axis == "steps":
        key = row_keys(0, PROMPT, 1)
        numbers = torch.cat([uniforms(key, step) for step in range(n)])
    elif axis == "samples":
        numbers = uniforms(row_keys(0, PROMPT, n), 0)
    elif axis == "prompts":
        numbers = torch.cat([uniforms(row_keys(0, [2, i, 4], 1), 0) for i in range(n)])
    else:
        numbers = torch.cat([uniforms(row_keys(i, PROMPT, 1), 0) for i in range(n)])
    counts = (numbers * 20).long().bincount(minlength=20).double()
    assert abs(chi_square(counts, torch.full((20,), 0.05).double())) < 4
    neighbours = torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))[0, 1].item()
    assert abs(neighbours) < 4 / math.sqrt(n)


def test_a_row_keeps_its_numbers_in_any_batch() -> None:
    many = row_keys(3, PROMPT, 40)
    assert np.array_equal(row_keys(3, PROMPT, 5), many[:5])
    assert torch.equal(uniforms(many[[7, 2]], 6), uniforms(many, 6)[[7, 2]])


def test_without_a_seed_every_call_differs() -> None:
    assert not np.array_equal(row_keys(None, PROMPT, 4), row_keys(None, PROMPT, 4))


@given(
    number=st.floats(0, 1, exclude_max=True),
    allowed=st.sets(st.integers(0, 30), min_size=1),
    spread=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_a_token_that_is_ruled_out_is_never_drawn(
    number: float, allowed: set[int], spread: float
) -> None:
    logits = torch.full((1, 31), -math.inf)
    for token in allowed:
        logits[0, token] = spread * math.sin(token)
    for value in (number, 0.0, 1 - 2**-53):
        assert draw(logits, torch.tensor([value], dtype=torch.float64)).item() in allowed


@given(
    seed=st.integers(0, 2**31),
    vocabulary=st.sampled_from([1, 7, 255, 300, 9_000]),
    count=st.sampled_from([1, 5, 256]),
)
def test_the_largest_are_those_of_a_full_search(seed: int, vocabulary: int, count: int) -> None:
    logits = torch.randn(3, vocabulary, generator=torch.Generator().manual_seed(seed))
    top, ids = largest(logits, count)
    expected = logits.topk(min(count, vocabulary), dim=1)
    assert torch.equal(top, expected.values)
    assert torch.equal(ids, expected.indices)


@given(
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 0.5, 3.0, 8.0]),
    top_k=st.sampled_from([0, 1, 40, BEST - 1]),
    top_p=st.sampled_from([0.3, 0.8, 0.99, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.5]),
)
def test_an_early_draw_is_one_of_the_tokens_that_the_limits_keep(
    seed: int, spread: float, top_k: int, top_p: float, min_p: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(40, 6_000, generator=generator) * spread
    logits[0, 17:] = -math.inf
    likely = keep_top_k(logits, top_k) if top_k else logits
    if top_p < 1.0:  # a hair more, as the two ways round differently
        likely = keep_top_p(likely, top_p + 1e-5)
    kept = keep_min_p(likely, min_p)
    numbers = torch.rand(40, dtype=torch.float64, generator=generator)
    numbers[:3] = torch.tensor([0.0, 1 - 2**-53, 0.5])
    tokens, is_known = draw_from_best(logits, numbers, top_k=top_k, top_p=top_p, min_p=min_p)
    chosen = kept.gather(1, tokens[:, None])[:, 0]
    assert (chosen[is_known] > -math.inf).all()
    count = (kept > -math.inf).sum(dim=1)
    assert is_known[count < BEST].all()
    if top_k or top_p < 1.0 or min_p > 0.0:
        assert not is_known[count > BEST + 1].any()


@pytest.mark.parametrize("limits", [{}, {"top_p": 0.8}, {"top_k": 9}, {"min_p": 0.1, "top_p": 0.9}])
def test_early_draws_have_the_frequencies_of_what_is_kept(limits: dict[str, float]) -> None:
    logits = torch.randn(1, 5_000, generator=torch.Generator().manual_seed(1)) * 4
    kept = keep_top_k(logits, int(limits.get("top_k", 5_000)))
    kept = keep_min_p(keep_top_p(kept, limits.get("top_p", 1.0)), limits.get("min_p", 0.0))
    numbers = torch.cat([uniforms(row_keys(7, PROMPT, 1000), step) for step in range(40)])
    tokens, is_known = draw_from_best(logits.expand(len(numbers), -1), numbers, **limits)  # type: ignore[arg-type]
    tokens[~is_known] = draw(logits, numbers.new_zeros(1))  # some token, counted among the rest
    probabilities = kept[0].double().softmax(dim=0)
    often = probabilities.topk(8).indices
    counts = tokens.bincount(minlength=5_000)[often].double()
    expected = torch.cat([probabilities[often], 1 - probabilities[often].sum().reshape(1)])
    observed = torch.cat([counts, len(numbers) - counts.sum().reshape(1)])
    keep = expected > 1e-9
    assert abs(chi_square(observed[keep], expected[keep])) < 4


def test_banned_first_tokens_leave_the_draw_a_draw() -> None:
    logits = torch.randn(1, 9000).repeat(64, 1)
    logits[:, :5] = -torch.inf
    numbers = torch.linspace(0, 0.99, 64)
    tokens, _ = draw_from_best(logits, numbers, top_p=0.02)
    assert len(set(tokens.tolist())) > 5


@pytest.mark.parametrize("limits", [{}, {"temperature": 2.0}, {"top_p": 0.99}, {"top_k": 8_000}])
def test_draws_from_far_below_the_best_have_their_frequencies_too(limits: dict[str, float]) -> None:
    vocabulary = 2 * WIDER
    logits = torch.linspace(-0.1, 0.1, vocabulary)[None]  # hardly better from one to the next
    numbers = torch.linspace(0, 1, 4_001, dtype=torch.float64)[:-1]
    tokens = torch.cat(
        [
            draw_best_first(logits.expand(len(some), -1), some, **limits)  # type: ignore[arg-type]
            for some in numbers.split(500)
        ]
    )
    kept = keep_top_k(logits / limits.get("temperature", 1.0), int(limits.get("top_k", vocabulary)))
    expected = keep_top_p(kept, limits.get("top_p", 1.0))[0].double().softmax(dim=0)
    parts = [part.sum().item() for part in expected.split(1024)]
    found = tokens.bincount(minlength=vocabulary).double().split(1024)
    assert [part.sum().item() / len(tokens) for part in found] == pytest.approx(parts, abs=1e-3)
