"""The kernels in C against plain torch, and what happens where they cannot be compiled."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dialogue_generation_models.inference import native
from dialogue_generation_models.inference.int8 import quantize_rows
from dialogue_generation_models.inference.native import AttentionRows, Kernels, PackedWeight, pack

ROWS = [1, 2, 3, 12, 13, 17, 300]
SIZES = [(1, 1), (17, 33), (768, 100), (100, 768)]  # inputs, outputs
SPANS = [[0, 37], [5, 37], [0, 20], [36, 37]]
PROMPTS = [0, 0, 3, 1, 0, 2, 1, 0, 0, 2, 0]


@pytest.fixture
def kernels() -> Kernels:
    found = native.find_kernels()
    if found is None:
        pytest.skip(f"no kernels: {native.why_missing()}")
    return found


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Looks for the library anew, in an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native._load.cache_clear()
    native.find_kernels.cache_clear()
    yield tmp_path
    native._load.cache_clear()
    native.find_kernels.cache_clear()


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def packed(weight: Tensor) -> PackedWeight:
    rounded, scale = quantize_rows(weight)
    return pack(rounded, scale[:, 0])


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_products_are_whole_numbers(kernels: Kernels, rows: int, inputs: int, outputs: int) -> None:
    x, weight, bias = random(rows, inputs), random(outputs, inputs), random(outputs)
    largest = x.abs().amax(dim=1, keepdim=True)
    rounded = (x * (torch.tensor(127.0) / largest)).round()
    of_weight, scale = quantize_rows(weight)
    sums = (rounded.double() @ of_weight.double().t()).float()  # exact in double precision
    expected = sums * (largest / 127 * scale.t())
    found = kernels.linear(x, packed(weight), None, gelu=False)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    found = kernels.linear(x, packed(weight), bias, gelu=True)
    expected = F.gelu(expected + bias, approximate="tanh")
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-5)


def test_a_row_depends_neither_on_others_nor_on_threads(kernels: Kernels) -> None:
    x, weight, bias = random(61, 300), packed(random(1000, 300)), random(1000)
    expected = kernels.linear(x, weight, bias, gelu=True)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            for size in (1, 5, 14, 27, 61):
                parts = [kernels.linear(part, weight, bias, gelu=True) for part in x.split(size)]
                assert torch.equal(torch.cat(parts), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("gelu", [False, True])
def test_what_is_not_finite_stays_so_in_its_row_alone(
    kernels: Kernels, bad: float, gelu: bool
) -> None:
    x, weight = random(14, 50), packed(random(40, 50))
    expected = kernels.linear(x, weight, None, gelu=gelu)
    x[3, 7] = bad
    found = kernels.linear(x, weight, None, gelu=gelu)
    assert found[3].isnan().all()
    assert torch.equal(found[:3], expected[:3])
    assert torch.equal(found[4:], expected[4:])


@pytest.mark.parametrize("value", [0.0, 1e-42])
def test_rows_of_next_to_nothing_give_the_bias(kernels: Kernels, value: float) -> None:
    bias = random(40)
    found = kernels.linear(torch.full((2, 50), value), packed(random(40, 50)), bias, gelu=False)
    torch.testing.assert_close(found, bias.expand(2, -1))


def attend_alone(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One row's attention: [H, 1, D] over [H, S, D]."""
    return F.scaled_dot_product_attention(query[None], keys[None], values[None])[0]


@pytest.mark.parametrize("width", [16, 48, 64, 128])
@pytest.mark.parametrize("place", [0, 7])
def test_attention(kernels: Kernels, width: int, place: int) -> None:
    keys, values = random(4, 3, 37, width), random(4, 3, width, 37).mT.contiguous()
    tail = random(11, 3, 9, width), random(11, 3, width, 9).mT.contiguous()
    fused = random(11, 1, 3, 3, width).permute(2, 0, 3, 1, 4)  # as one projection makes them
    query, key, value = fused
    wanted = [part.clone() for part in tail]
    for part, column in zip(wanted, (key, value), strict=True):
        part[:, :, place] = column[:, :, 0]
    spans, prompts = torch.tensor(SPANS).t().contiguous(), torch.tensor(PROMPTS)
    rows = AttentionRows.of((keys, values), spans, prompts, tail)
    found = kernels.attend(query, rows, (key, value), np.full(11, place))
    assert all(map(torch.equal, tail, wanted))
    for row, prompt in enumerate(PROMPTS):
        first, last = SPANS[prompt]
        seen = [
            torch.cat([shared[prompt, :, first:last], own[row, :, : place + 1]], dim=1)
            for shared, own in zip((keys, values), wanted, strict=True)
        ]
        torch.testing.assert_close(
            found[row], attend_alone(query[row], *seen), rtol=1e-5, atol=1e-5
        )


def test_attention_to_prompts_alone(kernels: Kernels) -> None:
    keys, values, query = (
        random(4, 3, 37, 64),
        random(4, 3, 64, 37).mT.contiguous(),
        random(11, 3, 1, 64),
    )
    spans = torch.tensor(SPANS).t().contiguous()
    rows = AttentionRows.of((keys, values), spans, torch.tensor(PROMPTS))
    found = kernels.attend(query, rows)
    for row, prompt in enumerate(PROMPTS):
        first, last = SPANS[prompt]
        seen = keys[prompt, :, first:last], values[prompt, :, first:last]
        torch.testing.assert_close(
            found[row], attend_alone(query[row], *seen), rtol=1e-5, atol=1e-5
        )
        # Neither the other rows nor the padding change a bit.
        own_keys, own_values = (part.contiguous()[None] for part in seen)
        span = torch.tensor([[0], [last - first]])
        alone = AttentionRows.of((own_keys, own_values), span, torch.tensor([0]))
        again = kernels.attend(query[[row]], alone)
        assert torch.equal(again[0], found[row])


@pytest.mark.parametrize("width", [1, 17, 768])
@pytest.mark.parametrize("rows", [0, 1, 60])
def test_add_norm(kernels: Kernels, rows: int, width: int) -> None:
    x, added = random(rows, width), random(width, rows).t()
    weight, bias = random(width), random(width) + 1
    for term in (None, added):
        summed = x if term is None else x + term
        expected = F.layer_norm(summed, (width,), weight, bias, 1e-5)
        found = kernels.add_norm(x, term, weight, bias, 1e-5)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


class TestLibrary:
    def test_can_be_switched_off(self, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DGM_NATIVE", "0")
        assert native.find_kernels() is None
        assert native.why_missing() == "switched off by DGM_NATIVE=0"
        assert not list(fresh.iterdir())

    def test_another_processor(self, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
        assert native.find_kernels() is None
        assert native.why_missing()
        assert not list(fresh.iterdir())

    def test_no_compiler(
        self, kernels: Kernels, fresh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(fresh))
        assert native.find_kernels() is None
        assert "no C compiler" in native.why_missing()

    def test_a_compiler_that_fails(
        self, kernels: Kernels, fresh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = fresh / "cc"
        broken.write_text("#!/bin/sh\nexit 1\n")
        broken.chmod(0o755)
        monkeypatch.setenv("PATH", f"{fresh}:/usr/bin:/bin")
        assert native.find_kernels() is None
        assert native.why_missing().startswith("not compiled")
        assert not list((fresh / "dgm").iterdir())

    def test_a_cache_that_cannot_be_made(
        self, kernels: Kernels, fresh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (fresh / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(fresh / "file"))
        assert native.find_kernels() is None

    def test_several_may_compile_at_once(self, kernels: Kernels, fresh: Path) -> None:
        code = (
            "from dialogue_generation_models.inference import native as n; print(n.why_missing())"
        )
        command = [sys.executable, "-c", code]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        assert [process.communicate()[0] for process in started] == ["\n"] * 3
        assert len(list((fresh / "dgm").iterdir())) == 1

    def test_importing_compiles_nothing(self, fresh: Path) -> None:
        code = "import dialogue_generation_models.inference.native"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert not list(fresh.iterdir())
