"""Decoding against transformers: the same searches token for token, the same filters."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dialogue_generation_models.checkpoint.huggingface import to_huggingface
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.decoding import logits as ours
from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.decoding.rules import build_pick
from dialogue_generation_models.decoding.sampling import row_keys
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.models.gpt import GPT

transformers = pytest.importorskip("transformers")
processors = pytest.importorskip("transformers.generation.logits_process")

V = 80
EOS = 3
CONFIG = GPTConfig(vocab_size=V, n_ctx=48, n_embd=32, n_layer=2, n_head=4, n_inner=64, norm="pre")
RESERVED = CONFIG.never_in_reply_ids
PROMPTS = [[2, 10, 11, 4], [2, 30, 31, 32, 33, 34, 35, 4], [2, 50, 4]]


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = GPT(CONFIG)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
            # Lift the end token's logit by 1, so that some replies end and some do not.
            bias = model.final_norm.bias
            model.token_embedding.weight[EOS] += bias / bias.square().sum()
    return TorchEngine(model)


@pytest.fixture(scope="module")
def theirs(engine: TorchEngine) -> Any:
    assert isinstance(engine.model, GPT)
    state, config = to_huggingface(engine.model)
    config.pop("architectures")
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**config)).eval()
    missing, surplus = model.load_state_dict(state, strict=False)
    assert missing in ([], ["lm_head.weight"])
    assert surplus == []
    model.tie_weights()
    return model


def their_replies(model: Any, prompt: list[int], **options: Any) -> list[list[int]]:
    output = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        suppress_tokens=RESERVED,
        max_new_tokens=20,
        **options,
    )
    replies = output[:, len(prompt) :].tolist()
    return [ids[: ids.index(EOS)] if EOS in ids else ids for ids in replies]


RULES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
    ({"no_repeat_ngram": 2}, {"no_repeat_ngram_size": 2}),
    (
        {"repetition_penalty": 1.2, "no_repeat_ngram": 3, "min_tokens": 6},
        {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "min_new_tokens": 6},
    ),
]


@pytest.mark.parametrize(("our_rules", "their_rules"), RULES)
def test_greedy_token_for_token(
    engine: TorchEngine, theirs: Any, our_rules: dict[str, Any], their_rules: dict[str, Any]
) -> None:
    options = DecodingConfig(
        **{"strategy": "greedy", "max_tokens": 20, "min_tokens": 0, **our_rules}
    )
    found = generate(engine, CONFIG, PROMPTS, options)
    for prompt, [candidate] in zip(PROMPTS, found, strict=True):
        assert [candidate.ids] == their_replies(theirs, prompt, **their_rules)


@pytest.mark.parametrize(("our_rules", "their_rules"), RULES)
@pytest.mark.parametrize(("width", "length_penalty"), [(2, 1.0), (5, 0.0), (5, 2.0), (10, 1.0)])
def test_beams_token_for_token(
    engine: TorchEngine,
    theirs: Any,
    our_rules: dict[str, Any],
    their_rules: dict[str, Any],
    width: int,
    length_penalty: float,
) -> None:
    options = DecodingConfig(
        **{
            "strategy": "beam",
            "num_beams": width,
            "num_return": width,
            "length_penalty": length_penalty,
            "max_tokens": 20,
            "min_tokens": 0,
            **our_rules,
        }
    )
    found = generate(engine, CONFIG, PROMPTS, options)
    for prompt, candidates in zip(PROMPTS, found, strict=True):
        assert [candidate.ids for candidate in candidates] == their_replies(
            theirs,
            prompt,
            num_beams=width,
            num_return_sequences=width,
            length_penalty=length_penalty,
            **their_rules,
        )


def test_the_comparison_sees_replies_that_end_and_replies_that_do_not(
    engine: TorchEngine,
) -> None:
    options = DecodingConfig(strategy="beam", num_beams=10, num_return=10, max_tokens=20)
    found = generate(engine, CONFIG, PROMPTS, options)
    assert {c.finish_reason for candidates in found for c in candidates} == {"end", "length"}


# -- filters -----------------------------------------------------------------------------------------


def random_logits(seed: int, spread: float) -> Tensor:
    """Rows without ties and with the odd banned token."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 700, generator=generator) * spread
    banned = torch.rand(3, 700, generator=generator) < 0.05
    return logits.masked_fill(banned, -math.inf)


def assert_same(mine: Tensor, other: Tensor, *, on_the_edge: int = 0) -> None:
    """Same support and probabilities; so many tokens may differ that rounding puts on the edge."""
    differs = (mine > -math.inf) != (other > -math.inf)
    assert differs.sum() <= on_the_edge
    if not differs.any():
        torch.testing.assert_close(mine.softmax(dim=1), other.softmax(dim=1), atol=1e-6, rtol=1e-4)


seeds = st.integers(0, 2**31)
spreads = st.sampled_from([0.1, 1.0, 3.0, 6.0])
shares = st.floats(0.001, 0.999)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, spread=spreads, k=st.integers(1, 800))
def test_top_k(seed: int, spread: float, k: int) -> None:
    logits = random_logits(seed, spread)
    assert_same(ours.keep_top_k(logits, k), processors.TopKLogitsWarper(k)(None, logits))


@settings(deadline=None, max_examples=40)
@given(seed=seeds, spread=spreads, p=shares)
def test_top_p(seed: int, spread: float, p: float) -> None:
    logits = random_logits(seed, spread)
    assert_same(
        ours.keep_top_p(logits, p), processors.TopPLogitsWarper(p)(None, logits), on_the_edge=1
    )


@settings(deadline=None, max_examples=40)
@given(seed=seeds, spread=spreads, share=shares)
def test_min_p(seed: int, spread: float, share: float) -> None:
    logits = random_logits(seed, spread)
    expected = processors.MinPLogitsWarper(share)(None, logits)
    assert_same(ours.keep_min_p(logits, share), expected, on_the_edge=1)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, spread=spreads, p=shares)
def test_typical(seed: int, spread: float, p: float) -> None:
    logits = random_logits(seed, spread)
    expected = processors.TypicalLogitsWarper(p)(None, logits)
    assert_same(ours.keep_typical(logits, p), expected, on_the_edge=1)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, spread=spreads, temperature=st.floats(0.01, 10))
def test_temperature(seed: int, spread: float, temperature: float) -> None:
    logits = random_logits(seed, spread)
    expected = processors.TemperatureLogitsWarper(temperature)(None, logits)
    assert_same(ours.scale_temperature(logits, temperature), expected)


histories = st.integers(1, 12).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 9), min_size=width, max_size=width), min_size=3, max_size=3
    )
)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, history=histories, penalty=st.floats(0.5, 3))
def test_repetition_penalty(seed: int, history: list[list[int]], penalty: float) -> None:
    logits, ids = random_logits(seed, 2.0), torch.tensor(history)
    expected = processors.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
    assert torch.equal(ours.penalize_repetition_(logits.clone(), ids, penalty), expected)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, history=histories, size=st.integers(1, 4))
def test_ngram_rule(seed: int, history: list[list[int]], size: int) -> None:
    logits, ids = random_logits(seed, 2.0), torch.tensor(history)
    expected = processors.NoRepeatNGramLogitsProcessor(size)(ids, logits)
    assert torch.equal(ours.ban_repeated_ngrams_(logits.clone(), ids, size), expected)


def test_sampled_frequencies_are_those_of_their_chain_of_filters() -> None:
    logits = random_logits(0, 2.0)[:1, :200]
    expected = logits
    for warper in (
        processors.TemperatureLogitsWarper(1.3),
        processors.TopKLogitsWarper(60),
        processors.TopPLogitsWarper(0.9),
        processors.MinPLogitsWarper(0.02),
        processors.TypicalLogitsWarper(0.95),
    ):
        expected = warper(None, expected)
    probabilities = expected.double().softmax(dim=1)[0]
    pick = build_pick(
        DecodingConfig(
            strategy="sample", temperature=1.3, top_k=60, top_p=0.9, min_p=0.02, typical_p=0.95
        )
    )
    keys = row_keys(5, [2, 4], 500)
    draws = torch.cat([pick(logits.expand(500, -1), keys, step) for step in range(100)])
    counts = draws.bincount(minlength=200).double()
    allowed = probabilities > 0
    assert counts[~allowed].sum() == 0
    wanted = probabilities[allowed] * len(draws)
    statistic = ((counts[allowed] - wanted) ** 2 / wanted).sum().item()
    freedom = int(allowed.sum()) - 1
    assert freedom > 10
    assert abs(statistic - freedom) < 4 * math.sqrt(2 * freedom)
