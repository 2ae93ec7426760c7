"""Draws: the right frequencies, and the same ones for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.decoding.sampling import draw, row_keys, uniforms

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
