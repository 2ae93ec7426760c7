"""Ranking: duplicates, the cross-turn rule, and a reverse model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.decoding.rank import (
    ReverseModel,
    common_subsequence,
    rank,
    split_turns,
)
from dialogue_generation_models.decoding.search import Candidate
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena

CONFIG = GPTConfig(vocab_size=50, n_ctx=24, n_embd=4, n_layer=1, n_head=1, n_inner=4)
TURN = [11, 12, 13, 14, 15, 16]
PROMPT = [2, 30, 31, 4, *TURN, 4]


def candidate(ids: list[int], score: float) -> Candidate:
    return Candidate(ids, score * (len(ids) + 1), score, "end")


def ranked(candidates: Sequence[Candidate], **options: object) -> list[list[int]]:
    chosen = DecodingConfig(**{"num_return": 10, **options})
    return [c.ids for c in rank(candidates, PROMPT, chosen, CONFIG)]


@given(
    st.lists(st.integers(0, 3), max_size=8),
    st.lists(st.integers(0, 3), max_size=8),
)
def test_common_subsequence(first: list[int], second: list[int]) -> None:
    def parts(ids: list[int]) -> set[tuple[int, ...]]:
        return {part for n in range(len(ids) + 1) for part in combinations(ids, n)}

    longest = max(len(part) for part in parts(first) & parts(second))
    assert common_subsequence(first, second) == longest


def test_best_first_and_no_more_than_asked() -> None:
    found = [candidate([5], -3.0), candidate([6], -1.0), candidate([7], -2.0)]
    assert ranked(found) == [[6], [7], [5]]
    assert ranked(found, num_return=2) == [[6], [7]]


def test_equal_replies_are_merged_except_independent_samples() -> None:
    found = [candidate([5], -1.0), candidate([5], -1.0), candidate([6], -2.0)]
    assert ranked(found) == [[5], [6]]
    assert ranked(found, strategy="sample") == [[5], [5], [6]]


def test_replies_that_repeat_a_turn_are_dropped() -> None:
    copy, part, free = [*TURN, 40], [11, 12, 40, 13, 14], [40, 41, 42, 43, 44]
    found = [candidate(copy, -1.0), candidate(part, -2.0), candidate(free, -3.0)]
    assert ranked(found) == [copy, part, free]
    assert ranked(found, max_turn_overlap=0.9) == [part, free]
    assert ranked(found, max_turn_overlap=0.5) == [free]


def test_the_best_stay_if_all_repeat() -> None:
    found = [candidate([*TURN, 40], -2.0), candidate([*TURN, 41], -1.0)]
    assert ranked(found, max_turn_overlap=0.5) == [[*TURN, 41], [*TURN, 40]]


def test_a_short_turn_may_be_returned() -> None:
    found = [candidate([30, 31], -1.0), candidate([40], -2.0)]
    assert ranked(found, max_turn_overlap=0.1) == [[30, 31], [40]]


def test_split_turns() -> None:
    assert split_turns(PROMPT, CONFIG) == [[30, 31], TURN]
    assert split_turns([30, 4, 31, 4], CONFIG) == [[30], [31]]
    assert split_turns([2], CONFIG) == []


def test_a_reverse_model_weighs_in() -> None:
    sources: list[list[int]] = []

    def reverse(source: Sequence[int], replies: Sequence[Sequence[int]]) -> list[float]:
        sources.append(list(source))
        return [-float(reply[0]) for reply in replies]

    found = [candidate([7], -1.0), candidate([5], -2.0)]
    for weight, expected in ((0.0, [7, 5]), (0.2, [7, 5]), (0.5, [5, 7]), (1.0, [5, 7])):
        chosen = DecodingConfig(mmi_weight=weight, num_return=2)
        best = rank(found, PROMPT, chosen, CONFIG, reverse)
        assert [c.ids[0] for c in best] == expected
        scores = [(1 - weight) * found[c.ids[0] == 5].score - weight * c.ids[0] for c in best]
        assert [c.score for c in best] == pytest.approx(scores)
    assert sources == [TURN] * 3


@pytest.mark.parametrize("kind", ["tiny_gpt", "tiny_meena"])
def test_a_reverse_model_reads_the_reply_and_scores_the_turn(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model: GPT | Meena = request.getfixturevalue(kind)
    scores = ReverseModel(model)(TURN, [[20, 21], [22]])
    for reply, score in zip(([20, 21], [22]), scores, strict=True):
        target = torch.tensor([*TURN, 3])
        if isinstance(model, GPT):
            logits = model(torch.tensor([[2, *reply, 4, *TURN]]))[0, len(reply) + 1 :]
        else:
            logits = model(torch.tensor([[*reply, 4]]), torch.tensor([[2, *TURN]]))[0]
        expected = logits.log_softmax(dim=1)[torch.arange(7), target].mean().item()
        assert score == pytest.approx(expected, abs=1e-4)
