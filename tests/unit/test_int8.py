"""Models in 8 bits, with the kernels and without: near the full model, and each row by itself."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import CONFIGS, V, full_forward, sequences

from dialogue_generation_models.errors import OptionError
from dialogue_generation_models.inference import cache, int8, native
from dialogue_generation_models.inference.attention import Shared, attend_shared
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.int8 import Int8Linear, pack_int8, quantize_rows
from dialogue_generation_models.inference.native import AttentionRows, PackedNorm
from dialogue_generation_models.inference.precision import pick_precision
from dialogue_generation_models.models import build_model

KERNELS = native.find_kernels()
needs_kernels = pytest.mark.skipif(KERNELS is None, reason=f"no kernels: {native.why_missing()}")
WAYS = [
    pytest.param("torch", id="torch"),
    pytest.param("kernels", id="kernels", marks=needs_kernels),
]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute; the kernels are hidden for the first."""
    if request.param == "torch":
        monkeypatch.setattr(int8, "find_kernels", lambda: None)
        monkeypatch.setattr(cache, "find_kernels", lambda: None)
    return str(request.param)


def expected_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The 8-bit product in whole numbers of 64 bits."""
    rounded, scale = quantize_rows(x)
    rounded_weight, weight_scale = quantize_rows(weight)
    sums = rounded.long() @ rounded_weight.long().t()
    return sums.float() * (scale * weight_scale.t()) + bias


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [(1, 4, 16), (1, 37, 50), (2, 768, 64), (7, 130, 65), (20, 64, 200), (61, 33, 1), (0, 8, 8)],
)
@pytest.mark.parametrize("gelu", [False, True])
def test_products_are_those_of_whole_numbers(
    way: str, rows: int, inputs: int, outputs: int, gelu: bool
) -> None:
    x, weight, bias = torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    expected = expected_product(x, weight, bias)
    if gelu:
        expected = F.gelu(expected, approximate="tanh")
    found = Int8Linear(weight, bias, gelu=gelu)(x)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@settings(deadline=None)
@given(rows=st.integers(1, 30), place=st.integers(0, 29), seed=st.integers(0, 1000))
def test_a_row_is_computed_by_itself(rows: int, place: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = Int8Linear(torch.randn(70, 45, generator=generator), None)
    x = torch.randn(rows, 45, generator=generator) * 10
    place %= rows
    assert torch.equal(layer(x)[place], layer(x[place : place + 1])[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_so_in_its_row_alone(way: str, bad: float) -> None:
    x = torch.randn(3, 40)
    x[1, 7] = bad
    found = Int8Linear(torch.randn(20, 40), None)(x)
    assert not found[1].isfinite().any()
    assert found[[0, 2]].isfinite().all()


def test_zeros_give_the_bias(way: str) -> None:
    bias = torch.randn(20)
    assert torch.equal(Int8Linear(torch.randn(20, 40), bias)(torch.zeros(2, 40))[1], bias)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_packed_model_stays_near_the_full_one(way: str, name: str) -> None:
    torch.manual_seed(3)
    model = build_model(CONFIGS[name]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    packed = pack_int8(copy.deepcopy(model))
    [prompt], reply = sequences(1, 15, 15), [7, 8, 9]
    full = full_forward(model, prompt, reply).log_softmax(dim=1)
    short = full_forward(packed, prompt, reply).log_softmax(dim=1)
    assert not torch.equal(full, short)
    assert (full.exp() * (full - short)).sum(dim=1).mean() < 0.01  # nats
    session, logits = TorchEngine(packed).prefill([prompt], 3)
    steps = torch.cat([logits, *(session.step(torch.tensor([token])) for token in reply)])
    torch.testing.assert_close(steps.log_softmax(dim=1), short, atol=0.1, rtol=0.05)


def test_a_packed_model_keeps_the_plain_layers_that_it_should(way: str) -> None:
    model = pack_int8(build_model(CONFIGS["Evolved Transformer"]))
    kinds = {type(module) for module in model.modules()}
    assert torch.nn.Linear not in kinds
    assert torch.nn.Conv1d in kinds
    assert not model.training


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    rows=st.lists(st.integers(0, 3), min_size=1, max_size=9),
    on_left=st.booleans(),
    place=st.integers(-1, 5),
)
@pytest.mark.parametrize("width", [16, 48, 64, 128])
def test_shared_attention_is_attention_over_both_parts(
    width: int, lengths: list[int], rows: list[int], on_left: bool, place: int
) -> None:
    prompts = torch.tensor([row % len(lengths) for row in rows])
    heads, columns = 3, max(lengths)
    mask = torch.zeros(len(lengths), columns, dtype=torch.bool)
    for prompt, length in enumerate(lengths):
        mask[prompt, columns - length if on_left else 0 : columns if on_left else length] = True
    keys, values = torch.randn(2, len(lengths), heads, columns, width)
    query, key, value = torch.randn(3, len(rows), heads, 1, width)
    tail_keys, tail_values = torch.randn(2, len(rows), heads, 6, width)
    shared = Shared.of(mask).reorder(prompts)
    all_keys, all_values, seen = keys[prompts], values[prompts], mask[prompts]
    new, tail = None, None
    if place >= 0:
        new, tail = (key, value), (tail_keys, tail_values)
        all_keys = torch.cat([all_keys, tail_keys[:, :, :place], key], dim=2)
        all_values = torch.cat([all_values, tail_values[:, :, :place], value], dim=2)
        seen = torch.cat([seen, seen.new_ones(len(rows), place + 1)], dim=1)
    expected = F.scaled_dot_product_attention(
        query, all_keys, all_values, attn_mask=seen[:, None, None]
    )
    found = attend_shared(query, (keys, values), shared, new, tail, place)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    if KERNELS is not None:
        table = AttentionRows.of((keys, values), shared.spans, prompts, tail)
        places = np.full(len(rows), place) if new else None
        found = KERNELS.attend(query, table, new, places)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    if place >= 0:
        assert torch.equal(tail_keys[:, :, place], key[:, :, 0])


@needs_kernels
def test_no_kernel_depends_on_the_number_of_threads() -> None:
    assert KERNELS is not None
    layer = Int8Linear(torch.randn(300, 90), torch.randn(300), gelu=True)
    x, added = torch.randn(2, 23, 90)
    weight, bias = torch.randn(2, 90)
    norm = PackedNorm(weight, bias, 1e-5)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            found.append((layer(x), KERNELS.add_norm(x, added, norm)))
    finally:
        torch.set_num_threads(threads)
    assert all(
        torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True)
    )
    expected = F.layer_norm(x + added, (90,), weight, bias, 1e-5)
    torch.testing.assert_close(found[0][1], expected, atol=1e-5, rtol=1e-5)


def test_the_kernels_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGM_NATIVE", "0")
    assert native._load.__wrapped__() == "switched off by DGM_NATIVE=0"


@needs_kernels
def test_without_a_compiler_there_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert native._load.__wrapped__() == "not compiled: there is no C compiler"


@needs_kernels
def test_an_old_library_is_left_alone_and_a_new_one_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = native._build()
    before = path.stat().st_mtime_ns
    assert native._build() == path
    assert path.stat().st_mtime_ns == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_precisions() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert pick_precision("auto", gpu) == "bfloat16"
    assert pick_precision("auto", cpu) == ("float32" if KERNELS is None else "int8")
    assert pick_precision("float32", cpu) == "float32"
    with pytest.raises(OptionError, match="int8 is for processors"):
        pick_precision("int8", gpu)
    with pytest.raises(OptionError, match="choose one of auto, float32, bfloat16, int8"):
        pick_precision("int4", cpu)


def test_replies_in_8_bits_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    model = pack_int8(build_model(CONFIGS["post-norm GPT"]))
    prompts = sequences(5, 2, 12)
    engine = TorchEngine(model)
    _, together = engine.prefill(prompts, 2)
    for row, prompt in enumerate(prompts):
        _, alone = engine.prefill([prompt], 2)
        torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=1e-4)
    assert together.shape == (5, V)
