"""The kernels that choose among scores against plain sorting in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dialogue_generation_models.decoding.logits import (
    all_logp,
    keep_min_p,
    keep_top_k,
    largest,
    token_logp,
)
from dialogue_generation_models.decoding.sampling import draw_best_first
from dialogue_generation_models.inference import native
from dialogue_generation_models.inference.native import Chooser, find_kernels

VOCABULARIES = [1, 2, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1_000, 9_001]
KINDS = ["random", "ties", "all equal", "mostly banned", "one allowed", "zeros of both signs"]
ROUNDING = 2e-6
"""Of a cumulative probability in float32."""


@pytest.fixture(scope="module")
def chooser() -> Chooser:
    kernels = find_kernels()
    if kernels is None:
        pytest.skip(f"no kernels: {native.why_missing()}")
    return kernels.chooser


def scores_of(kind: str, seed: int, rows: int, vocabulary: int, spread: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, vocabulary, generator=generator) * spread
    if kind == "ties":
        return scores.round()
    if kind == "all equal":
        return torch.full_like(scores, -1.5)
    if kind == "zeros of both signs":
        return scores.sign() * 0.0
    chosen = torch.randint(vocabulary, (rows, 1), generator=generator)
    if kind == "mostly banned":
        banned = torch.rand(rows, vocabulary, generator=generator) < 0.95
        return scores.masked_fill(banned.scatter(1, chosen, False), -math.inf)
    if kind == "one allowed":
        return torch.full_like(scores, -math.inf).scatter(1, chosen, scores)
    return scores


def sorted_scores(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Best first, ties by the lower id."""
    found = scores.sort(dim=1, descending=True, stable=True)
    return found.values, found.indices


@settings(deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**31),
    vocabulary=st.sampled_from(VOCABULARIES),
    count=st.sampled_from([1, 2, 20, 512, 9_001]),
)
def test_the_best(chooser: Chooser, kind: str, seed: int, vocabulary: int, count: int) -> None:
    scores = scores_of(kind, seed, 3, vocabulary)
    count = min(count, vocabulary)
    top, ids = chooser.best(scores, count)
    values, places = sorted_scores(scores)
    assert torch.equal(top, values[:, :count])
    assert torch.equal(ids, places[:, :count])


@settings(deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**31),
    vocabulary=st.sampled_from(VOCABULARIES),
    spread=st.sampled_from([0.01, 3.0, 1e4]),
)
def test_log_total(chooser: Chooser, kind: str, seed: int, vocabulary: int, spread: float) -> None:
    scores = scores_of(kind, seed, 3, vocabulary, spread)
    expected = scores.double().logsumexp(dim=1).float()
    torch.testing.assert_close(chooser.log_total(scores), expected, rtol=1e-6, atol=4e-6)


@pytest.mark.parametrize("limits", [{}, {"top_p": 0.9}, {"top_k": 3}, {"min_p": 0.01}])
def test_no_number_is_never_drawn_and_weighs_nothing(
    chooser: Chooser, limits: dict[str, float]
) -> None:
    nan = float("nan")
    scores = torch.tensor([[nan, 9.0, 1.0, 0.0, -5.0, nan]]).expand(1000, -1)
    numbers = torch.arange(1000, dtype=torch.float64) / 1000
    tokens = chooser.draw(scores, numbers, **limits)  # type: ignore[arg-type]
    share = torch.tensor([9.0, 1.0, 0.0, -5.0]).softmax(0)[0]
    assert (tokens == 1).float().mean() >= share - 0.001


def test_log_total_of_what_is_no_number(chooser: Chooser) -> None:
    scores = torch.zeros(3, 40)
    scores[0] = -math.inf
    scores[1, 33] = math.nan
    scores[2, 5] = math.inf
    found = chooser.log_total(scores).tolist()
    assert found[0] == -math.inf
    assert math.isnan(found[1])
    assert found[2] == math.inf


def kept_by(scores: Tensor, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Falling scores, float64; what the limits rule out becomes -inf."""
    if top_k:
        scores = keep_top_k(scores, top_k)
    if top_p < 1.0:
        mass = scores.softmax(dim=1).cumsum(dim=1)
        place = (mass < top_p - 1e-12).sum(dim=1, keepdim=True).clamp(max=scores.shape[1] - 1)
        scores = scores.masked_fill(scores < scores.gather(1, place), -math.inf)
    return keep_min_p(scores, min_p)


@settings(deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**31),
    vocabulary=st.sampled_from(VOCABULARIES),
    spread=st.sampled_from([0.1, 1.0, 3.0, 8.0]),
    temperature=st.sampled_from([1e-9, 0.5, 1.0, 1.7, 100.0]),
    top_k=st.sampled_from([0, 1, 40, 700, 20_000]),
    top_p=st.sampled_from([1e-320, 0.1, 0.8, 0.99, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_draws(
    chooser: Chooser,
    kind: str,
    seed: int,
    vocabulary: int,
    spread: float,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
) -> None:
    scores = scores_of(kind, seed, 8, vocabulary, spread)
    numbers = torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    numbers[:2] = torch.tensor([0.0, 1 - 2**-53])
    limits = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    tokens = chooser.draw(scores, numbers, **limits)  # type: ignore[arg-type]
    assert (scores.gather(1, tokens[:, None]) > -math.inf).all()

    values, ids = sorted_scores(scores)
    cooled = (values.double() - values[:, :1]) / temperature
    place = (ids == tokens[:, None]).long().argmax(dim=1, keepdim=True)
    # A number, or a limit, that falls as close to an edge as rounding may take it may go either way.
    fits = torch.zeros(8, dtype=torch.bool)
    for off in (-ROUNDING, 0.0, ROUNDING):
        p = min(max(top_p + off, 0.0), 1.0) if top_p < 1.0 else 1.0
        share = min(min_p * (1 + off), 1.0)
        mass = kept_by(cooled, top_k, p, share).softmax(dim=1).cumsum(dim=1)
        lower = (mass - kept_by(cooled, top_k, p, share).softmax(dim=1)).gather(1, place)[:, 0]
        upper = mass.gather(1, place)[:, 0]
        fits |= (lower - ROUNDING <= numbers) & (numbers <= upper + ROUNDING)
    assert fits.all()


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.sampled_from([0.5, 3.0]))
def test_a_row_gets_the_same_alone_and_among_others(
    chooser: Chooser, seed: int, spread: float
) -> None:
    scores = scores_of("random", seed, 7, 3_000, spread)
    numbers = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    tokens, totals = chooser.draw(scores, numbers, top_p=0.9), chooser.log_total(scores)
    top, ids = chooser.best(scores, 30)
    for row in range(7):
        own = slice(row, row + 1)
        assert torch.equal(chooser.draw(scores[own], numbers[own], top_p=0.9), tokens[own])
        assert torch.equal(chooser.log_total(scores[own]), totals[own])
        assert torch.equal(chooser.best(scores[own], 30)[0], top[own])
        assert torch.equal(chooser.best(scores[own], 30)[1], ids[own])


@pytest.mark.parametrize("limits", [{}, {"top_p": 0.8}, {"top_k": 40}, {"min_p": 0.02}])
def test_draws_are_those_of_torch(
    chooser: Chooser, limits: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = scores_of("random", 1, 200, 5_000)
    numbers = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ids = numbers.mul(5_000).long()
    compiled = draw_best_first(scores, numbers, temperature=0.9, **limits)  # type: ignore[arg-type]
    logp, every, best = token_logp(scores, ids), all_logp(scores), largest(scores, 20)
    for module in ("logits", "sampling"):
        path = f"dialogue_generation_models.decoding.{module}.find_chooser"
        monkeypatch.setattr(path, lambda _: None)
    plain = draw_best_first(scores, numbers, temperature=0.9, **limits)  # type: ignore[arg-type]
    assert (compiled != plain).sum() <= 1  # a number may fall on an edge
    torch.testing.assert_close(token_logp(scores, ids), logp, rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(all_logp(scores), every, rtol=1e-6, atol=4e-6)
    assert all(map(torch.equal, largest(scores, 20), best))


class TestRefusals:
    """No call with wrong parts reaches the compiled code, which would read or write outside of them."""

    @pytest.mark.parametrize(
        "scores",
        [
            torch.zeros(5),
            torch.zeros(2, 3, 4),
            torch.zeros(2, 0),
            torch.zeros(2, 5).double(),
            torch.zeros(1, 1).expand(1, 2**24 + 1),
        ],
    )
    def test_scores(self, chooser: Chooser, scores: Tensor) -> None:
        numbers = torch.zeros(len(scores), dtype=torch.float64)
        with pytest.raises(ValueError, match="scores must be"):
            chooser.best(scores, 1)
        with pytest.raises(ValueError, match="scores must be"):
            chooser.log_total(scores)
        with pytest.raises(ValueError, match="scores must be"):
            chooser.draw(scores, numbers)

    @pytest.mark.parametrize("count", [-1, 0, 6])
    def test_counts(self, chooser: Chooser, count: int) -> None:
        with pytest.raises(ValueError, match="count must be from 1 to 5"):
            chooser.best(torch.zeros(2, 5), count)

    @pytest.mark.parametrize(
        "numbers", [torch.zeros(2), torch.zeros(1).double(), torch.zeros(2, 1).double()]
    )
    def test_numbers(self, chooser: Chooser, numbers: Tensor) -> None:
        with pytest.raises(ValueError, match="numbers must be"):
            chooser.draw(torch.zeros(2, 5), numbers)

    @pytest.mark.parametrize(
        "limits",
        [
            {"temperature": 0.0},
            {"temperature": math.nan},
            {"top_k": -1},
            {"top_p": 1.1},
            {"top_p": math.nan},
            {"min_p": -0.1},
            {"min_p": 2.0},
        ],
    )
    def test_limits(self, chooser: Chooser, limits: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="out of its range"):
            chooser.draw(torch.zeros(1, 5), torch.zeros(1).double(), **limits)  # type: ignore[arg-type]

    def test_odd_layouts_and_what_is_no_number_are_read_within_bounds(
        self, chooser: Chooser
    ) -> None:
        wide = scores_of("random", 3, 4, 602)
        assert torch.equal(chooser.best(wide[:, ::2], 9)[1], sorted_scores(wide[:, ::2])[1][:, :9])
        numbers = torch.rand(8, dtype=torch.float64)
        assert chooser.draw(wide, numbers[::2]).shape == (4,)
        assert chooser.best(wide[:0], 9)[0].shape == (0, 9)
        for value in (math.nan, -math.inf):
            nothing = torch.full((4, 300), value)
            assert chooser.draw(nothing, numbers[:4], top_p=0.8).tolist() == [0] * 4
            top, ids = chooser.best(nothing, 3)
            assert (top == -math.inf).all()
            assert ids.tolist() == [[0, 1, 2]] * 4
