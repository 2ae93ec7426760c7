"""The functions on logits against plain, slow versions of themselves."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.decoding.logits import (
    NO_TOKEN,
    allow_end_,
    ban_repeated_ngrams_,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    penalize_repetition_,
    scale_temperature,
    token_logp,
)
from dialogue_generation_models.decoding.rules import build_rules


def kept(logits: Tensor) -> list[set[int]]:
    return [set((row > -math.inf).nonzero().flatten().tolist()) for row in logits]


@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.8, 0.999])
def test_top_p_is_the_smallest_set_however_large(spread: float, p: float) -> None:
    logits = torch.randn(3, 5000) * spread
    probabilities = logits.double().softmax(dim=1)
    for row, ids in enumerate(kept(keep_top_p(logits, p))):
        inside = probabilities[row, sorted(ids)].sum().item()
        least = probabilities[row, sorted(ids)].min().item()
        outside = probabilities[row, sorted(set(range(5000)) - ids)]
        assert inside >= p - 1e-5
        assert inside - least < p + 1e-5
        assert outside.max() <= least


def test_top_p_of_one_row_does_not_depend_on_the_others() -> None:
    flat, peaked = torch.randn(1, 5000) * 0.01, torch.randn(1, 5000) * 8
    both = keep_top_p(torch.cat([flat, peaked]), 0.9)
    assert torch.equal(both[:1], keep_top_p(flat, 0.9))
    assert torch.equal(both[1:], keep_top_p(peaked, 0.9))


def test_ties_at_the_edge_are_all_kept() -> None:
    logits = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0]])
    assert kept(keep_top_k(logits, 2)) == [{0, 2, 4}]
    assert kept(keep_top_p(logits, 0.3)) == [{0, 2, 4}]
    assert kept(keep_min_p(logits, 1.0)) == [{0, 2, 4}]
    assert kept(keep_typical(torch.zeros(1, 5), 0.2)) == [{0, 1, 2, 3, 4}]


def test_filters_keep_what_is_left_when_most_is_ruled_out() -> None:
    logits = torch.full((1, 600), -math.inf)
    logits[0, 7] = -3.0
    for filtered in (
        keep_top_k(logits, 5),
        keep_top_p(logits, 0.999),
        keep_min_p(logits, 0.5),
        keep_typical(logits, 0.5),
        scale_temperature(logits, 0.3),
    ):
        assert kept(filtered) == [{7}]
        assert not filtered.isnan().any()


def test_top_k_larger_than_the_vocabulary_keeps_all() -> None:
    logits = torch.randn(2, 10)
    assert torch.equal(keep_top_k(logits, 10**9), logits)


@pytest.mark.parametrize("temperature", [5e-324, 1e-45, 1e-9, 1.0, 100.0])
def test_no_temperature_makes_nan(temperature: float) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.5, -math.inf]])
    probabilities = scale_temperature(logits, temperature).softmax(dim=1)
    assert not probabilities.isnan().any()
    assert probabilities.sum().item() == pytest.approx(1.0)
    assert probabilities[0, 3] == 0.0


def test_penalty_counts_each_used_token_once_and_no_padding() -> None:
    scores = torch.tensor([[2.0, -2.0, 1.0, -1.0]]).repeat(2, 1)
    history = torch.tensor([[0, 0, 1], [NO_TOKEN, NO_TOKEN, 3]])
    unchanged = penalize_repetition_(scores.clone(), history[:, :0], 2.0)
    assert torch.equal(unchanged, scores)
    penalized = penalize_repetition_(scores, history, 2.0)
    assert penalized.tolist() == [[1.0, -4.0, 1.0, -1.0], [2.0, -2.0, 1.0, -2.0]]


@given(
    rows=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=4),
    size=st.integers(1, 5),
)
def test_ngram_rule_bans_exactly_what_would_repeat(rows: list[list[int]], size: int) -> None:
    width = max(map(len, rows))
    history = torch.tensor([[NO_TOKEN] * (width - len(row)) + row for row in rows])
    allowed = kept(ban_repeated_ngrams_(torch.zeros(len(rows), 4), history, size))
    for row, ids in zip(rows, allowed, strict=True):
        seen = {tuple(row[i : i + size]) for i in range(len(row) - size + 1)}
        begun = row[len(row) - size + 1 :] if len(row) >= size - 1 else None
        repeats = {token for token in range(4) if begun is not None and (*begun, token) in seen}
        assert ids == set(range(4)) - repeats


def test_rules_and_filters_leave_their_input_alone() -> None:
    config = GPTConfig(vocab_size=300, n_embd=8, n_layer=1, n_head=1, n_inner=8)
    options = DecodingConfig(repetition_penalty=1.3, no_repeat_ngram=1, min_tokens=2)
    logits = torch.randn(2, 300)
    before = logits.clone()
    history = torch.randint(0, 300, (2, 9))
    ruled = build_rules(options, config)(logits, history, 0)
    assert not torch.equal(ruled, logits)
    keep_top_p(logits, 0.5)
    keep_typical(logits, 0.5)
    scale_temperature(logits, 0.5)
    assert torch.equal(logits, before)


def test_only_a_row_without_tokens_may_end_out_of_turn() -> None:
    unruled = torch.randn(2, 5)
    scores = unruled.clone()
    scores[:, 3] = -math.inf
    scores[1] = -math.inf
    before = scores.clone()
    freed = allow_end_(scores, unruled, 3)
    assert torch.equal(freed[0], before[0])
    assert kept(freed)[1] == {3}
    assert freed[1, 3] == unruled[1, 3]


def test_token_logp() -> None:
    logits = torch.randn(4, 9)
    ids = torch.tensor([0, 8, 3, 3])
    expected = logits.softmax(dim=1)[torch.arange(4), ids].log()
    torch.testing.assert_close(token_logp(logits, ids), expected)
