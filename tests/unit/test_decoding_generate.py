"""Searches from end to end, on the tiny models and on an engine that follows a script."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialogue_generation_models.config.decoding import PRESETS, DecodingConfig
from dialogue_generation_models.config.model import GPTConfig, MeenaConfig
from dialogue_generation_models.decoding.generate import Candidate, generate, stream
from dialogue_generation_models.errors import CheckpointError, InputTextError, OptionError
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.fake import FakeEngine, NextLogits
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena

EOS = 3
WORDS = range(5, 12)
TINY = GPTConfig(vocab_size=12, n_ctx=24, n_embd=4, n_layer=1, n_head=1, n_inner=4)
TINY_MEENA = MeenaConfig(
    vocab_size=12,
    n_ctx=20,
    n_encoder_ctx=10,
    n_embd=4,
    n_encoder_layer=1,
    n_encoder_head=1,
    n_encoder_inner=4,
    n_decoder_layer=1,
    n_decoder_head=1,
    n_decoder_inner=4,
)
PROMPT = [2, 5, 6, 7, 8, 4]
STRATEGIES = ["greedy", "sample", "beam", "diverse_beam", "sample_and_rank"]


def noise(spread: float = 2.0) -> NextLogits:
    """A model whose logits are a random function of the tokens so far."""

    def next_logits(tokens: tuple[int, ...]) -> list[float]:
        source = random.Random(repr(tokens))
        return [source.gauss(0, spread) for _ in range(12)]

    return next_logits


def never_ends(tokens: tuple[int, ...]) -> list[float]:
    return [-50.0 if token == EOS else float(token % 5) for token in range(12)]


def options(strategy: str, **changes: Any) -> DecodingConfig:
    many: dict[str, Any] = {
        "greedy": {},
        "sample": {"num_return": 3},
        "beam": {"num_beams": 4, "num_return": 3},
        "diverse_beam": {"num_beams": 4, "num_beam_groups": 2, "num_return": 3},
        "sample_and_rank": {"num_samples": 6, "num_return": 3},
    }[strategy]
    return DecodingConfig(**{"strategy": strategy, "max_tokens": 12, "seed": 1, **many, **changes})


def tiny_prompts(model: GPT | Meena, count: int) -> list[list[int]]:
    source = random.Random(0)
    opening = [2] if isinstance(model, GPT) else []
    return [
        [*opening, *(source.randrange(5, 300) for _ in range(source.randrange(1, 20))), 4]
        for _ in range(count)
    ]


# -- the same replies whatever else is in the batch -------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ["tiny_gpt", "tiny_meena"])
def test_a_batch_of_eight_equals_eight_batches_of_one(
    kind: str, strategy: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(kind)
    engine, prompts = TorchEngine(model), tiny_prompts(model, 8)
    chosen = options(strategy, temperature=1.0, repetition_penalty=1.3, no_repeat_ngram=2)
    together = generate(engine, model.config, prompts, chosen)
    for prompt, found in zip(prompts, together, strict=True):
        [alone] = generate(engine, model.config, [prompt], chosen)
        assert [c.ids for c in found] == [c.ids for c in alone]
        assert [c.score for c in found] == pytest.approx([c.score for c in alone], abs=1e-4)


def test_seeds() -> None:
    def ids(seed: int | None, count: int = 3) -> list[list[int]]:
        chosen = options("sample", seed=seed, num_return=count)
        return sorted(c.ids for c in generate(FakeEngine(noise()), TINY, [PROMPT], chosen)[0])

    assert ids(1) == ids(1) != ids(2)
    assert ids(None) != ids(None)
    few, more = ids(1), ids(1, count=6)
    assert all(reply in more for reply in few)


def test_without_a_seed_equal_prompts_get_different_replies() -> None:
    chosen = options("sample", seed=None, num_return=1)
    found = generate(FakeEngine(noise(0.1)), TINY, [PROMPT] * 4, chosen)
    assert len({tuple(candidates[0].ids) for candidates in found}) > 1


# -- what a candidate says ---------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_logp_is_that_of_the_unmodified_model(strategy: str) -> None:
    next_logits = noise()
    chosen = options(
        strategy, repetition_penalty=1.5, no_repeat_ngram=2, temperature=0.7, top_p=0.9
    )
    for candidate in generate(FakeEngine(next_logits), TINY, [PROMPT], chosen)[0]:
        tokens = [*candidate.ids, EOS] if candidate.finish_reason == "end" else candidate.ids
        logp = 0.0
        for place, token in enumerate(tokens):
            logits = torch.tensor(next_logits((*PROMPT, *tokens[:place])))
            logp += logits.log_softmax(dim=0)[token].item()
        assert candidate.logp == pytest.approx(logp, abs=1e-4)
        assert EOS not in candidate.ids
        if "beam" not in strategy:
            assert candidate.score == pytest.approx(logp / len(tokens), abs=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_candidates_come_best_first(strategy: str) -> None:
    found = generate(FakeEngine(noise()), TINY, [PROMPT], options(strategy))[0]
    scores = [candidate.score for candidate in found]
    assert scores == sorted(scores, reverse=True)


def test_sample_and_rank_returns_the_best_of_its_samples() -> None:
    ranked = generate(
        FakeEngine(noise()), TINY, [PROMPT], options("sample_and_rank", num_samples=20)
    )[0]
    samples = generate(FakeEngine(noise()), TINY, [PROMPT], options("sample", num_return=20))[0]
    distinct = {tuple(c.ids): c.score for c in samples}
    best = sorted(distinct.values(), reverse=True)[:3]
    assert [c.score for c in ranked] == pytest.approx(best)


def test_sampling_at_temperature_0_is_greedy() -> None:
    [[greedy]] = generate(FakeEngine(noise()), TINY, [PROMPT], options("greedy"))
    for strategy in ("sample", "sample_and_rank"):
        for temperature in (0.0, 1e-9):
            chosen = options(strategy, temperature=temperature, num_return=1)
            assert generate(FakeEngine(noise()), TINY, [PROMPT], chosen)[0][0].ids == greedy.ids


# -- the engine's work -------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["sample", "sample_and_rank", "beam"])
def test_a_prompt_is_read_once_and_finished_rows_leave(strategy: str) -> None:
    engine = FakeEngine(noise())
    found = generate(engine, TINY, [PROMPT, [2, 9, 4]], options(strategy, num_return=1))
    assert engine.prefills == [2]
    if strategy != "beam":
        samples = 6 if strategy == "sample_and_rank" else 1
        assert engine.steps[0] <= 2 * samples
        assert engine.steps == sorted(engine.steps, reverse=True)
        assert engine.steps[-1] < engine.steps[0]
    assert all(found)


def test_no_step_is_asked_for_after_the_last_token() -> None:
    engine = FakeEngine(never_ends)
    [[reply]] = generate(engine, TINY, [PROMPT], options("greedy", max_tokens=5))
    assert len(reply.ids) == 5
    assert reply.finish_reason == "length"
    assert len(engine.steps) == 4


def test_no_prompts_no_work() -> None:
    engine = FakeEngine(noise())
    assert generate(engine, TINY, [], options("greedy")) == []
    assert engine.prefills == []


# -- limits and rules --------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_replies_are_cut_to_the_model_s_positions(strategy: str) -> None:
    long, short = [2, *[5] * 20, 4], [2, 5, 4]
    chosen = options(strategy, max_tokens=100_000, num_return=1)
    found = generate(FakeEngine(never_ends), TINY, [long, short], chosen)
    assert [len(candidates[0].ids) for candidates in found] == [24 - 22 + 1, 24 - 3 + 1]
    found = generate(FakeEngine(never_ends), TINY_MEENA, [[5, 4]], chosen)
    assert len(found[0][0].ids) == 20 - 10


@pytest.mark.parametrize("kind", ["tiny_gpt", "tiny_meena"])
def test_the_longest_reply_fits_a_real_model(kind: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    prompts = [[5] * 30, [5] * 3]
    chosen = options("greedy", max_tokens=100_000, min_tokens=100)
    found = generate(TorchEngine(model), model.config, prompts, chosen)
    expected = [64 - 30 + 1, 64 - 3 + 1] if isinstance(model, GPT) else [32, 32]
    assert [len(candidates[0].ids) for candidates in found] == expected


@pytest.mark.parametrize("config", [TINY, TINY_MEENA])
def test_a_prompt_must_fit(config: GPTConfig | MeenaConfig) -> None:
    with pytest.raises(InputTextError, match="25 tokens"):
        generate(FakeEngine(noise()), config, [[5] * 25], options("greedy"))
    with pytest.raises(InputTextError, match="empty"):
        generate(FakeEngine(noise()), config, [[]], options("greedy"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_special_and_banned_tokens_never_appear(strategy: str) -> None:
    chosen = options(strategy, banned_ids=[5, 6, 7], temperature=3.0)
    for candidate in generate(FakeEngine(noise()), TINY, [PROMPT], chosen)[0]:
        assert set(candidate.ids) <= {8, 9, 10, 11}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_shortest_reply(strategy: str) -> None:
    def wants_to_end(tokens: tuple[int, ...]) -> list[float]:
        return [9.0 if token == EOS else 0.0 for token in range(12)]

    for least in (0, 1, 4):
        chosen = options(strategy, min_tokens=least, num_return=1)
        [[reply]] = generate(FakeEngine(wants_to_end), TINY, [PROMPT], chosen)
        assert len(reply.ids) == least


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_reply_ends_where_the_rules_leave_no_token(strategy: str) -> None:
    chosen = options(
        strategy, min_tokens=12, no_repeat_ngram=1, penalize_prompt=False, banned_ids=[8, 9, 10]
    )
    found = generate(FakeEngine(never_ends), TINY, [PROMPT], chosen)[0]
    for candidate in found:
        assert sorted(candidate.ids) == [5, 6, 7, 11]
        assert candidate.finish_reason == "end"
    [[silent], *_] = generate(
        FakeEngine(never_ends),
        TINY,
        [PROMPT],
        options(strategy, banned_ids=[EOS, *WORDS], num_return=1),
    )
    assert silent.ids == []


def test_the_prompt_counts_as_used_only_if_asked() -> None:
    chosen = options("greedy", no_repeat_ngram=1)
    [[reply]] = generate(FakeEngine(never_ends), TINY, [PROMPT], chosen)
    assert set(reply.ids) == {9, 10, 11}
    [[reply]] = generate(
        FakeEngine(never_ends), TINY, [PROMPT], chosen.replace(penalize_prompt=False)
    )
    assert set(reply.ids) == set(WORDS)


def test_nan_is_one_sentence() -> None:
    def broken(tokens: tuple[int, ...]) -> list[float]:
        return [math.nan if token == 7 else 0.0 for token in range(12)]

    for strategy in STRATEGIES:
        with pytest.raises(CheckpointError, match="not a number"):
            generate(FakeEngine(broken), TINY, [PROMPT], options(strategy))


# -- streaming ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_stream_says_what_generate_finds(strategy: str) -> None:
    chosen = options(strategy, num_return=1)
    [[reply]] = generate(FakeEngine(noise()), TINY, [PROMPT], chosen)
    assert list(stream(FakeEngine(noise()), TINY, PROMPT, chosen)) == reply.ids
    several = chosen if strategy == "greedy" else chosen.replace(num_return=3)
    assert list(stream(FakeEngine(noise()), TINY, PROMPT, several)) == reply.ids


def test_a_stream_computes_no_token_before_it_is_asked() -> None:
    engine = FakeEngine(never_ends)
    tokens = stream(engine, TINY, PROMPT, options("sample", num_return=1))
    for n in range(3):
        next(tokens)
        assert len(engine.steps) == n
    tokens.close()  # type: ignore[attr-defined]
    assert len(engine.steps) == 2


def test_a_paused_stream_leaves_gradients_on(tiny_gpt: GPT) -> None:
    tokens = stream(TorchEngine(tiny_gpt), tiny_gpt.config, [2, 9, 4], options("greedy"))
    next(tokens)
    assert not torch.is_inference_mode_enabled()
    assert tiny_gpt(torch.tensor([[2, 9, 4]])).requires_grad


# -- options -----------------------------------------------------------------------------------------


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


legal_options = some(
    strategy=st.sampled_from(STRATEGIES),
    num_return=st.just(1) | st.integers(1, 4),
    max_tokens=st.integers(1, 12) | st.just(100_000),
    min_tokens=st.integers(0, 12),
    temperature=st.sampled_from([0.0, 5e-324, 1e-9, 1.0, 100.0]) | st.floats(0, 100),
    top_k=st.sampled_from([0, 1, 5, 10**18]),
    top_p=st.floats(0, 1, exclude_min=True),
    min_p=st.floats(0, 1),
    typical_p=st.floats(0, 1, exclude_min=True),
    repetition_penalty=st.floats(0.01, 100),
    no_repeat_ngram=st.integers(0, 4) | st.just(10**9),
    penalize_prompt=st.booleans(),
    banned_ids=st.lists(st.integers(0, 11), max_size=12),
    num_samples=st.integers(1, 5),
    num_beams=st.sampled_from([1, 2, 4, 20]),
    num_beam_groups=st.sampled_from([1, 2, 4]),
    diversity_penalty=st.floats(0, 1000),
    length_penalty=st.floats(-10, 10),
    length_counts_prompt=st.booleans(),
    max_turn_overlap=st.floats(0, 1, exclude_min=True),
    seed=st.integers(0, 2**63 - 1),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=legal_options, spread=st.sampled_from([0.0, 1.0, 200.0]))
def test_every_legal_option_gives_an_ordinary_reply(changes: dict[str, Any], spread: float) -> None:
    try:
        chosen = DecodingConfig(**changes)
    except OptionError:
        return  # options that do not fit together; refused by name, see below
    for config in (TINY, TINY_MEENA):
        found = generate(FakeEngine(noise(spread)), config, [PROMPT, [2, 11, 4]], chosen)
        for candidates in found:
            assert 1 <= len(candidates) <= chosen.num_return
            for candidate in candidates:
                check_ordinary(candidate, chosen)


def check_ordinary(candidate: Candidate, chosen: DecodingConfig) -> None:
    assert math.isfinite(candidate.logp)
    assert math.isfinite(candidate.score)
    assert candidate.logp <= 0
    assert set(candidate.ids) <= set(WORDS) - set(chosen.banned_ids)
    assert len(candidate.ids) <= chosen.max_tokens
    if size := chosen.no_repeat_ngram:
        grams = [tuple(candidate.ids[i : i + size]) for i in range(len(candidate.ids) - size + 1)]
        assert len(grams) == len(set(grams))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strategy", "best"),
        ("num_return", 0),
        ("max_tokens", 0),
        ("max_tokens", 10**12),
        ("min_tokens", -1),
        ("min_tokens", 49),
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "1"),
        ("temperature", None),
        ("temperature", True),
        ("top_k", -1),
        ("top_k", 0.5),
        ("top_p", 0.0),
        ("top_p", 1.0001),
        ("min_p", -0.1),
        ("typical_p", 0.0),
        ("repetition_penalty", 0.0),
        ("no_repeat_ngram", -1),
        ("banned_ids", [-1]),
        ("num_samples", 0),
        ("num_beams", 0),
        ("num_beam_groups", 3),
        ("diversity_penalty", -1.0),
        ("length_penalty", math.nan),
        ("mmi_weight", 2.0),
        ("max_turn_overlap", 0.0),
        ("seed", -1),
        ("seed", 2**63),
        ("tempreature", 1.0),
    ],
)
def test_illegal_options_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=name):
        DecodingConfig(**{name: value})


@pytest.mark.parametrize("strategy", ["greedy", "beam", "diverse_beam", "sample_and_rank"])
def test_more_replies_than_are_searched_for_are_refused(strategy: str) -> None:
    with pytest.raises(OptionError, match="num_return"):
        DecodingConfig(strategy=strategy, num_return=21)


def test_a_banned_id_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(OptionError, match="banned_ids"):
        generate(FakeEngine(noise()), TINY, [PROMPT], options("greedy", banned_ids=[12]))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_run(name: str, tiny_gpt: GPT) -> None:
    preset = PRESETS[name].replace(seed=0)
    [found] = generate(TorchEngine(tiny_gpt), tiny_gpt.config, [[2, 9, 10, 4]], preset)
    assert len(found) == preset.num_return
