"""Continuous batching: the same replies as alone, in order, within bounds, and nothing left behind."""

from __future__ import annotations

import gc
import math
import random
import threading
from concurrent.futures import CancelledError
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_decoding_generate import PROMPT, TINY, never_ends, noise, options

from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.config.model import (
    EvolvedTransformerConfig,
    GPTConfig,
    MeenaConfig,
    ModelConfig,
)
from dialogue_generation_models.decoding.generate import Candidate, generate
from dialogue_generation_models.decoding.scheduler import Limits, Request, Scheduler
from dialogue_generation_models.decoding.worker import Worker
from dialogue_generation_models.errors import (
    BusyError,
    CheckpointError,
    InputTextError,
    OptionError,
)
from dialogue_generation_models.inference import cache, int8, native
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.fake import FakeEngine
from dialogue_generation_models.inference.int8 import pack_int8
from dialogue_generation_models.models import build_model

GREEDY = DecodingConfig(strategy="greedy", max_tokens=6)


def scheduler(engine: FakeEngine | None = None, **limits: int) -> Scheduler:
    return Scheduler(engine or FakeEngine(noise()), TINY, Limits(**limits))


def alone(prompt: list[int], chosen: DecodingConfig) -> list[Candidate]:
    return generate(FakeEngine(noise()), TINY, [prompt], chosen)[0]


# -- any traffic --------------------------------------------------------------------------------------

requests = st.builds(
    lambda strategy, tokens, seed, words, penalty: (
        [2, *words, 4],
        options(strategy, max_tokens=tokens, seed=seed, repetition_penalty=penalty),
    ),
    st.sampled_from(["greedy", "sample", "beam", "diverse_beam", "sample_and_rank"]),
    st.integers(1, 9),
    st.integers(0, 3),
    st.lists(st.integers(5, 11), max_size=6),
    st.sampled_from([1.0, 1.3]),
)
events = st.lists(
    st.tuples(st.just("submit"), requests)
    | st.tuples(st.just("cancel"), st.integers(0, 20))
    | st.tuples(st.just("step"), st.integers(1, 4)),
    max_size=25,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=events, max_rows=st.integers(6, 15), max_read=st.integers(1, 20))
def test_any_traffic_is_answered_in_order_within_bounds_and_as_if_alone(
    events: list[tuple[str, Any]], max_rows: int, max_read: int
) -> None:
    engine = FakeEngine(noise())
    busy = scheduler(
        engine, max_rows=max_rows, max_read_tokens=max_read, max_waiting=3, max_cached_tokens=90
    )
    taken: list[Request] = []
    cancelled: set[Request] = set()
    for kind, what in [*events, ("step", 10_000)]:
        if kind == "submit":
            waited = busy.waiting
            try:
                taken.append(busy.submit(*what))
            except BusyError:
                assert waited == 3
        elif kind == "cancel" and what < len(taken):
            if not taken[what].future.done():
                cancelled.add(taken[what])
            busy.cancel(taken[what])
        elif kind == "step":
            for _ in range(what):
                if busy.is_idle:
                    break
                queue = [r for r in taken if not has_begun(r) and not r.future.cancelled()]
                busy.step()
                fresh = [request for request in queue if has_begun(request)]
                assert fresh == queue[: len(fresh)]
                read = [len(request.prompt) for request in fresh]
                assert sum(read) <= max_read or len(read) == 1
                assert busy.rows <= max_rows
                assert busy.cached_tokens <= 90
    assert busy.is_idle
    assert all(rows <= max_rows for rows in engine.steps)
    for request in taken:
        if request in cancelled:
            with pytest.raises(CancelledError):
                request.future.result(0)
        else:
            assert request.future.result(0) == alone(list(request.prompt), request.options)
    gc.collect()
    assert not engine.sessions


def has_begun(request: Request) -> bool:
    return request.future.running() or (request.future.done() and not request.future.cancelled())


# -- joining and leaving ------------------------------------------------------------------------------


def test_rows_that_end_leave_and_others_take_their_place() -> None:
    engine = FakeEngine(never_ends)
    busy = scheduler(engine, max_rows=3)
    lengths = [2, 5, 3, 4, 2]
    answered = [
        busy.submit(PROMPT, GREEDY.replace(max_tokens=length, min_tokens=length))
        for length in lengths
    ]
    busy.run_until_idle()
    assert [len(r.future.result(0)[0].ids) for r in answered] == lengths
    assert engine.prefills == [1] * 5
    assert max(engine.steps) == 3
    assert sum(engine.steps) == sum(length - 1 for length in lengths)
    assert len(engine.steps) < sum(sorted(lengths)[-2:])  # two batches of 3 and 2 would need 4 + 3


def test_a_prompt_of_many_candidates_is_read_once_and_takes_their_rows() -> None:
    engine = FakeEngine(never_ends)
    busy = scheduler(engine, max_rows=20)
    busy.submit(PROMPT, options("sample", num_return=15, min_tokens=12))
    busy.submit(PROMPT, options("sample", num_return=6, min_tokens=12))
    busy.step()
    assert (engine.prefills, engine.steps) == ([1], [15])
    assert (busy.running, busy.waiting, busy.rows) == (1, 1, 15)
    busy.run_until_idle()
    assert set(engine.steps) == {15, 6}


def test_a_big_request_is_not_overtaken() -> None:
    busy = scheduler(FakeEngine(never_ends), max_rows=4)
    busy.submit(PROMPT, GREEDY)
    big = busy.submit(PROMPT, options("sample", num_return=4, min_tokens=3, max_tokens=3))
    small = busy.submit(PROMPT, GREEDY.replace(max_tokens=2))
    while not big.future.done():
        assert not small.future.done()
        busy.step()
    busy.run_until_idle()
    assert len(small.future.result(0)[0].ids) == 2


def test_new_requests_are_read_a_few_at_a_time_while_the_others_go_on() -> None:
    engine = FakeEngine(never_ends)
    busy = scheduler(engine, max_read_tokens=13)
    first = busy.submit(PROMPT, GREEDY.replace(max_tokens=12))
    busy.step()
    for _ in range(5):
        busy.submit(PROMPT, GREEDY.replace(max_tokens=12))  # of 6 tokens: two fit
    for prefills in (3, 5, 6):
        steps = len(engine.steps)
        busy.step()
        assert len(engine.prefills) == prefills
        assert len(engine.steps) == steps + 1
    assert not first.future.done()


# -- leaving early ------------------------------------------------------------------------------------


def test_a_cancelled_request_leaves_before_the_next_step() -> None:
    engine = FakeEngine(never_ends)
    busy = scheduler(engine)
    kept = busy.submit(PROMPT, options("sample", num_return=2, min_tokens=12))
    gone = busy.submit(PROMPT, options("sample", num_return=3, min_tokens=12))
    never = busy.submit(PROMPT, GREEDY)
    busy.cancel(never)
    busy.step()
    assert engine.steps == [5]
    busy.cancel(gone)
    busy.step()
    assert engine.steps == [5, 2]
    gc.collect()
    assert len(engine.sessions) == 1
    for request in (gone, never):
        with pytest.raises(CancelledError):
            request.future.result(0)
    busy.run_until_idle()
    busy.cancel(kept)  # too late, and so without effect
    assert len(kept.future.result(0)) == 2


def test_closing_cancels_everything() -> None:
    busy = scheduler(max_rows=1)
    started, waiting = busy.submit(PROMPT, GREEDY), busy.submit(PROMPT, GREEDY)
    busy.step()
    busy.close()
    assert busy.is_idle
    for request in (started, waiting):
        with pytest.raises(CancelledError):
            request.future.result(0)
    with pytest.raises(RuntimeError, match="closed"):
        busy.submit(PROMPT, GREEDY)


# -- refusals and errors ------------------------------------------------------------------------------


def test_refusals() -> None:
    busy = scheduler(max_rows=4, max_waiting=2, max_cached_tokens=40)
    with pytest.raises(OptionError, match="5 rows"):
        busy.submit(PROMPT, options("sample", num_return=5, max_tokens=2))
    with pytest.raises(OptionError, match="54 cached tokens"):
        busy.submit(PROMPT, options("sample", num_return=4, max_tokens=12))
    with pytest.raises(OptionError, match="banned_ids"):
        busy.submit(PROMPT, GREEDY.replace(banned_ids=[99]))
    with pytest.raises(InputTextError, match="empty"):
        busy.submit([], GREEDY)
    assert busy.is_idle
    for _ in range(2):
        busy.submit(PROMPT, GREEDY)
    with pytest.raises(BusyError, match="2 requests wait already; try again later"):
        busy.submit(PROMPT, GREEDY)
    busy.step()
    busy.submit(PROMPT, GREEDY)
    busy.run_until_idle()


def test_logits_that_are_no_numbers_end_their_own_request() -> None:
    def broken(tokens: tuple[int, ...]) -> list[float]:
        if 11 in tokens[:2] and len(tokens) > 4:
            return [math.nan] * 12
        return noise()(tokens)

    busy = scheduler(FakeEngine(broken))
    prompts = [[2, 5, 4], [11, 4], PROMPT]
    chosen = options("sample", min_tokens=6)
    good, bad, other = [busy.submit(prompt, chosen) for prompt in prompts]
    busy.run_until_idle()
    with pytest.raises(CheckpointError, match="not a number"):
        bad.future.result(0)
    assert good.future.result(0) == alone(prompts[0], chosen)
    assert other.future.result(0) == alone(PROMPT, chosen)


def test_an_error_of_the_engine_ends_what_runs_and_the_next_request_is_answered() -> None:
    class Failing(FakeEngine):
        is_broken = False

        def step_together(self, *args: Any) -> torch.Tensor:
            if self.is_broken:
                raise MemoryError
            return super().step_together(*args)

    engine = Failing(noise())
    busy = scheduler(engine, max_rows=1)
    lost, next_one = busy.submit(PROMPT, GREEDY), busy.submit(PROMPT, GREEDY)
    engine.is_broken = True
    busy.step()
    engine.is_broken = False
    busy.run_until_idle()
    with pytest.raises(MemoryError):
        lost.future.result(0)
    assert next_one.future.result(0) == alone(PROMPT, GREEDY)


# -- streaming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["greedy", "sample", "sample_and_rank"])
def test_tokens_are_heard_as_soon_as_they_are_chosen(strategy: str) -> None:
    heard: dict[int, list[int]] = {}
    busy = scheduler()
    request = busy.submit(
        PROMPT,
        options(strategy, min_tokens=3),
        lambda number, token: heard.setdefault(number, []).append(token),
    )
    busy.step()
    assert {len(tokens) for tokens in heard.values()} == {2}
    busy.run_until_idle()
    found = [candidate.ids for candidate in request.future.result(0)]
    assert all(ids in heard.values() for ids in found)
    assert len(heard) == {"greedy": 1, "sample": 3, "sample_and_rank": 6}[strategy]


def test_a_listener_that_fails_ends_its_own_request() -> None:
    def fail(number: int, token: int) -> None:
        raise ConnectionError

    busy = scheduler()
    lost, kept = busy.submit(PROMPT, GREEDY, fail), busy.submit(PROMPT, GREEDY)
    busy.run_until_idle()
    with pytest.raises(ConnectionError):
        lost.future.result(0)
    assert kept.future.result(0) == alone(PROMPT, GREEDY)


# -- in a thread --------------------------------------------------------------------------------------


def test_a_worker_answers_many_threads() -> None:
    chosen = options("sample_and_rank")
    prompts = [[2, 5 + i % 7, 5 + i // 7, 4] for i in range(20)]
    found: dict[int, list[Candidate]] = {}
    with Worker(scheduler(max_rows=13)) as worker:

        def ask(number: int) -> None:
            found[number] = worker.submit(prompts[number], chosen).future.result(60)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {i: alone(prompt, chosen) for i, prompt in enumerate(prompts)}


def test_a_closed_worker_leaves_nobody_waiting() -> None:
    begun = threading.Event()
    with Worker(scheduler(FakeEngine(never_ends), max_rows=1)) as worker:
        long = GREEDY.replace(max_tokens=15)
        requests = [worker.submit(PROMPT, long, lambda *_: begun.set()) for _ in range(50)]
        assert begun.wait(60)
        worker.cancel(requests[-1])
        with pytest.raises(CancelledError):
            requests[-1].future.result(60)
    assert all(request.future.done() for request in requests)
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(PROMPT, GREEDY)


# -- real models --------------------------------------------------------------------------------------

V = 60
SIDE = {"vocab_size": V, "n_ctx": 48, "n_embd": 64}
MODELS: dict[str, ModelConfig] = {
    "GPT": GPTConfig(n_layer=2, n_head=4, n_inner=96, **SIDE),
    "Meena": MeenaConfig(
        n_encoder_ctx=24,
        n_encoder_layer=1,
        n_encoder_head=4,
        n_encoder_inner=96,
        n_decoder_layer=2,
        n_decoder_head=4,
        n_decoder_inner=96,
        **SIDE,
    ),
    "Evolved Transformer": EvolvedTransformerConfig(
        n_encoder_ctx=24, n_encoder_layer=1, n_decoder_layer=1, n_head=4, n_inner=96, **SIDE
    ),
}
MIXED = [
    options("sample_and_rank", num_samples=7, min_tokens=4),
    options("greedy", repetition_penalty=1.3),
    options("sample", top_p=0.8, repetition_penalty=1.3, no_repeat_ngram=3),
    options("beam", no_repeat_ngram=2),
    options("sample", top_k=5, num_return=2, seed=4),
    options("diverse_beam"),
    options("sample_and_rank", num_samples=20, temperature=0.88, max_tokens=20),
    options("sample", typical_p=0.9, num_return=1, min_tokens=9),
]


@pytest.mark.parametrize("precision", ["float32", "int8", "int8 without kernels"])
@pytest.mark.parametrize("name", MODELS)
def test_a_request_among_others_gets_the_replies_that_it_gets_alone(
    name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "int8" and native.find_kernels() is None:
        pytest.skip(f"no kernels: {native.why_missing()}")
    if precision != "int8":
        monkeypatch.setattr(int8, "find_kernels", lambda: None)
        monkeypatch.setattr(cache, "find_kernels", lambda: None)
    torch.manual_seed(1)
    model = build_model(MODELS[name]).eval()
    torch.nn.init.normal_(model.token_embedding.weight, std=0.4)
    engine = TorchEngine(model if precision == "float32" else pack_int8(model))
    source = random.Random(0)
    prompts = [
        [*(source.randrange(5, V) for _ in range(source.randrange(1, 20))), 4] for _ in MIXED
    ]
    for order in (range(8), [5, 2, 7, 0, 3, 6, 1, 4]):
        busy = Scheduler(engine, model.config, Limits(max_rows=40, max_read_tokens=20))
        answered = {}
        for place in order:
            answered[place] = busy.submit(prompts[place], MIXED[place])
            for _ in range(source.randrange(3)):
                busy.step()
        busy.run_until_idle()
        for place, request in answered.items():
            [expected] = generate(engine, model.config, [prompts[place]], MIXED[place])
            found = request.future.result(0)
            assert [c.ids for c in found] == [c.ids for c in expected]
            if precision == "int8":
                assert found == expected  # to the last bit
            else:
                scores = [c.score for c in expected]
                assert [c.score for c in found] == pytest.approx(scores, abs=1e-4)


def test_sessions_of_another_engine_are_refused() -> None:
    model = build_model(MODELS["GPT"]).eval()
    engine, other = TorchEngine(model), TorchEngine(model)
    session, _ = engine.prefill([[5, 4]], 2)
    with pytest.raises(ValueError, match="sessions of this engine"):
        other.step_together([session], torch.tensor([5]))
    with pytest.raises(ValueError, match="one token for each"):
        engine.step_together([session], torch.tensor([5, 6]))
    with pytest.raises(ValueError, match="sessions of this engine"):
        engine.step_together([session, session], torch.tensor([5, 6]))


def test_prompts_before_one_that_is_refused_are_answered_first() -> None:
    answers = scheduler().answer_each([PROMPT, PROMPT, [], PROMPT], GREEDY)
    assert [next(answers), next(answers)] == 2 * [alone(PROMPT, GREEDY)]
    with pytest.raises(InputTextError):
        next(answers)


def test_prompts_wait_for_requests_of_others_that_fill_the_queue() -> None:
    busy = scheduler(max_waiting=2, max_rows=1)
    others = [busy.submit(PROMPT, GREEDY) for _ in range(2)]
    answers = busy.answer_each([PROMPT], GREEDY)
    assert list(answers) == [alone(PROMPT, GREEDY)]
    assert all(other.future.done() for other in others)
