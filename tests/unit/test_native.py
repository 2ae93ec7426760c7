"""The kernels in C against plain torch, and what happens where they cannot be compiled."""

from __future__ import annotations

import os
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
from dialogue_generation_models.inference.native import (
    AttentionRows,
    Kernels,
    PackedLayer,
    PackedLayers,
    PackedLinear,
    PackedNorm,
    PackedSublayer,
    PackedWeight,
    StackedRows,
    pack,
)

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
    found = kernels.linear(x, PackedLinear(packed(weight), None))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    found = kernels.linear(x, PackedLinear(packed(weight), bias, gelu=True))
    expected = F.gelu(expected + bias, approximate="tanh")
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-5)


def test_a_row_depends_neither_on_others_nor_on_threads(kernels: Kernels) -> None:
    x = random(61, 300)
    layer = PackedLinear(packed(random(1000, 300)), random(1000), gelu=True)
    expected = kernels.linear(x, layer)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            for size in (1, 5, 14, 27, 61):
                parts = [kernels.linear(part, layer) for part in x.split(size)]
                assert torch.equal(torch.cat(parts), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("gelu", [False, True])
def test_what_is_not_finite_stays_so_in_its_row_alone(
    kernels: Kernels, bad: float, gelu: bool
) -> None:
    x, layer = random(14, 50), PackedLinear(packed(random(40, 50)), None, gelu=gelu)
    expected = kernels.linear(x, layer)
    x[3, 7] = bad
    found = kernels.linear(x, layer)
    assert found[3].isnan().all()
    assert torch.equal(found[:3], expected[:3])
    assert torch.equal(found[4:], expected[4:])


@pytest.mark.parametrize("value", [0.0, 1e-42])
def test_rows_of_next_to_nothing_give_the_bias(kernels: Kernels, value: float) -> None:
    bias = random(40)
    layer = PackedLinear(packed(random(40, 50)), bias)
    found = kernels.linear(torch.full((2, 50), value), layer)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("part", ["query", "key", "value"])
def test_what_is_no_number_stays_so_in_its_row_alone(
    kernels: Kernels, dtype: torch.dtype, part: str
) -> None:
    shared, tail = (
        (random(count, 3, columns, 48).to(dtype), random(count, 3, columns, 48).to(dtype))
        for count, columns in ((4, 37), (11, 9))
    )
    spans, prompts = torch.tensor(SPANS).t().contiguous(), torch.tensor(PROMPTS)
    rows = AttentionRows.of(shared, spans, prompts, tail)
    heads = {name: random(11, 3, 1, 48) for name in ("query", "key", "value")}
    heads[part][5] = float("nan")
    for place in (0, 1):  # and what was kept stays so, too
        new = heads["key"], heads["value"]
        found = kernels.attend(heads["query"], rows, new, np.full(11, place))
        assert found[5].isnan().all()
        assert found[[row for row in range(11) if row != 5]].isfinite().all()
        if part != "query":
            heads[part] = random(11, 3, 1, 48)


@pytest.mark.parametrize("place", [0, 7])
def test_attention_to_numbers_of_16_bits_is_that_to_the_same_numbers_of_32(
    kernels: Kernels, place: int
) -> None:
    shared, tail = (
        (random(count, 3, columns, 48).half(), random(count, 3, 48, columns).mT.half().contiguous())
        for count, columns in ((4, 37), (11, 9))
    )
    wide_shared, wide_tail = (tuple(x.float() for x in pair) for pair in (shared, tail))
    query, key, value = random(11, 1, 3, 3, 48).permute(2, 0, 3, 1, 4)
    key, value = key.contiguous(), value.contiguous()
    key[3, 1, 0, 5], value[4, 0, 0, 7] = 1e6, -1e6  # beyond 16 bits
    key_as_kept, value_as_kept = (x.clamp(-65504, 65504).half().float() for x in (key, value))
    spans, prompts = torch.tensor(SPANS).t().contiguous(), torch.tensor(PROMPTS)
    places = np.full(11, place)
    rows = AttentionRows.of(shared, spans, prompts, tail)
    found = kernels.attend(query.contiguous(), rows, (key, value), places)
    wide = AttentionRows.of(wide_shared, spans, prompts, wide_tail)
    new = (key_as_kept, value_as_kept)
    assert torch.equal(found, kernels.attend(query.contiguous(), wide, new, places))
    assert all(torch.equal(x.float(), y) for x, y in zip(tail, wide_tail, strict=True))


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
        found = kernels.add_norm(x, term, PackedNorm(weight, bias, 1e-5))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


def decoder_layer(width: int) -> tuple[PackedSublayer, PackedSublayer, PackedSublayer]:
    """Attention, attention to an encoder's output, and feed-forward twice as wide inside."""

    def product(outputs: int, inputs: int, *, gelu: bool = False) -> PackedLinear:
        return PackedLinear(packed(random(outputs, inputs) / 8), random(outputs), gelu=gelu)

    def norm() -> PackedNorm:
        return PackedNorm(random(width) + 1, random(width), 1e-5)

    return (
        PackedSublayer(product(3 * width, width), product(width, width), norm()),
        PackedSublayer(product(width, width), product(width, width), norm()),
        PackedSublayer(product(2 * width, width, gelu=True), product(width, 2 * width), norm()),
    )


@pytest.mark.parametrize("width", [48, 192])  # in heads of 16 and 64; 192 is what tiles take
@pytest.mark.parametrize("has_cross", [False, True])
def test_a_step_is_its_kernels_one_after_another(
    kernels: Kernels, width: int, has_cross: bool
) -> None:
    layers, rows, again, memory = [], [], [], []
    spans, prompts = torch.tensor(SPANS).t().contiguous(), torch.tensor(PROMPTS)
    for _ in range(3):
        layers.append(decoder_layer(width))
        shared, fixed, tail = (
            (random(count, 3, columns, width // 3), random(count, 3, columns, width // 3))
            for count, columns in ((4, 37), (4, 37), (11, 9))
        )
        rows.append(AttentionRows.of(shared, spans, prompts, tail))
        copied = tail[0].clone(), tail[1].clone()
        again.append(AttentionRows.of(shared, spans, prompts, copied))
        memory.append(AttentionRows.of(fixed, spans, prompts))
    packed_layers = PackedLayers(
        [PackedLayer(own, cross if has_cross else None, ff, 3) for own, cross, ff in layers]
    )
    x, places = random(11, width), np.arange(11) % 9
    seen = StackedRows(memory) if has_cross else None
    found = kernels.step(x, packed_layers, StackedRows(rows), places, seen)

    def heads(made: Tensor) -> Tensor:
        return made.view(11, 1, 3, width // 3).transpose(1, 2)  # [R, H, 1, D]

    for (attention, cross, inside), own, fixed_rows in zip(layers, again, memory, strict=True):
        query, key, value = map(heads, kernels.linear(x, attention.first).split(width, dim=1))
        mixed = kernels.attend(query, own, (key, value), places).view(11, width)
        x = kernels.add_norm(x, kernels.linear(mixed, attention.second), attention.norm)
        if has_cross:
            mixed = kernels.attend(heads(kernels.linear(x, cross.first)), fixed_rows).view(
                11, width
            )
            x = kernels.add_norm(x, kernels.linear(mixed, cross.second), cross.norm)
        wide = kernels.linear(x, inside.first)
        x = kernels.add_norm(x, kernels.linear(wide, inside.second), inside.norm)
    assert torch.equal(found, x)
    for one, other in zip(rows, again, strict=True):
        assert all(map(torch.equal, one.owners, other.owners))


@pytest.mark.parametrize("rows", [2, 3, 16, 17, 20, 33, 64, 300])
@pytest.mark.parametrize("size", [(64, 32), (128, 50), (768, 100), (3072, 96)])
def test_tiles_give_the_same_bits(
    kernels: Kernels, rows: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernels.with_tiles:
        pytest.skip("the processor has no AMX")
    inputs, outputs = size
    x = random(rows, inputs)
    x[rows // 2, 3] = float("nan")
    layer = PackedLinear(packed(random(outputs, inputs)), random(outputs), gelu=True)
    found = kernels.linear(x, layer)
    monkeypatch.setattr(kernels, "with_tiles", False)
    assert torch.equal(found.nan_to_num(9.0), kernels.linear(x, layer).nan_to_num(9.0))


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

    def test_on_a_processor_of_2013_everything_works_through_torch(self, tiny_folder: Path) -> None:
        code = """if True:
            import sys, dialogue_generation_models as dgm
            from dialogue_generation_models.inference.native import why_missing
            assert why_missing() == "the processor has no AVX-512", why_missing()
            for precision in ("auto", "int8"):
                bot = dgm.load(sys.argv[1], precision=precision)
                print(bot.precision, len(bot.reply(["hi"], candidates=3, seed=0, min_tokens=2)))
        """
        no_avx512 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
        environment = {**os.environ, **no_avx512, "DGM_NATIVE": "1"}
        command = [sys.executable, "-c", code, str(tiny_folder)]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert found.stdout.splitlines() == ["float32 3", "int8 3"]

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


class TestRefusals:
    """No call with wrong parts reaches the compiled code, which would read or write outside of them."""

    def rows(self, **changes: object) -> AttentionRows:
        parts: dict[str, object] = {
            "shared": (random(2, 3, 7, 16), random(2, 3, 7, 16)),
            "spans": torch.tensor([[0, 1], [7, 5]]),
            "prompts": torch.tensor([0, 1, 1]),
            "tail": (random(3, 3, 4, 16), random(3, 3, 4, 16)),
        }
        return AttentionRows.of(**{**parts, **changes})  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "changes",
        [
            {"shared": (random(2, 3, 7, 16), random(2, 3, 6, 16))},
            {"shared": (random(2, 3, 7, 16), random(2, 3, 7, 16).double())},
            {"shared": (random(2, 3, 7, 16), random(2, 3, 16, 7).mT)},
            {"shared": (random(3, 7, 16), random(3, 7, 16))},
            {"shared": (random(2, 3, 7, 8), random(2, 3, 7, 8)), "tail": None},
            {"shared": (random(2, 3, 7, 272), random(2, 3, 7, 272)), "tail": None},
            {"spans": torch.tensor([[0, 1], [8, 5]])},
            {"spans": torch.tensor([[0, -1], [7, 5]])},
            {"spans": torch.tensor([[0, 6], [7, 5]])},
            {"spans": torch.tensor([[0], [7]])},
            {"spans": torch.tensor([[0, 1], [7, 5]], dtype=torch.int32)},
            {"prompts": torch.tensor([0, 1, 2])},
            {"prompts": torch.tensor([0, -1, 1])},
            {"prompts": torch.tensor([0, 1])},
            {"tail": (random(3, 3, 4, 16), random(3, 3, 5, 16))},
            {"tail": (random(3, 2, 4, 16), random(3, 2, 4, 16))},
        ],
    )
    def test_rows(self, changes: dict[str, object]) -> None:
        self.rows()
        with pytest.raises(ValueError, match=r"must|outside|not one"):
            self.rows(**changes)

    def test_rows_of_different_layers(self) -> None:
        other = AttentionRows.of(
            (random(1, 2, 7, 16), random(1, 2, 7, 16)),
            torch.tensor([[0], [7]]),
            torch.tensor([0]),
        )
        with pytest.raises(ValueError, match="joined"):
            AttentionRows.join([self.rows(), other])

    def test_attention(self, kernels: Kernels) -> None:
        rows, query = self.rows(), random(3, 3, 1, 16)
        new, places = (query, query), np.array([0, 3, 1])
        kernels.attend(query, rows, new, places)
        for wrong in (np.array([0, 4, 1]), np.array([0, -1, 1]), np.array([0, 1]), places * 1.0):
            with pytest.raises(ValueError, match="place"):
                kernels.attend(query, rows, new, wrong)
        with pytest.raises(ValueError, match="places"):
            kernels.attend(query, rows, new)
        with pytest.raises(ValueError, match="places"):
            kernels.attend(query, rows, None, places)
        with pytest.raises(ValueError, match="outside"):  # there is no tail to put them in
            kernels.attend(query, self.rows(tail=None), new, places)
        for shape in ((2, 3, 1, 16), (3, 2, 1, 16), (3, 3, 2, 16), (3, 3, 1, 32)):
            with pytest.raises(ValueError, match="float32"):
                kernels.attend(random(*shape), rows, new, places)
            with pytest.raises(ValueError, match="float32"):
                kernels.attend(query, rows, (query, random(*shape)), places)
        with pytest.raises(ValueError, match="float32"):
            kernels.attend(query.half(), rows)

    def test_products(self, kernels: Kernels) -> None:
        weight = packed(random(40, 50))
        for x in (random(2, 49), random(50), random(2, 50).double()):
            with pytest.raises(ValueError, match="x must be"):
                kernels.linear(x, PackedLinear(weight, None))
        for bias in (random(39), random(40).double(), random(80)[::2]):
            with pytest.raises(ValueError, match="bias must be"):
                PackedLinear(weight, bias)
        for blocks in (weight.blocks[:1], weight.blocks[:, :-1], weight.blocks.view(torch.int8)):
            with pytest.raises(ValueError, match="blocks must be"):
                PackedWeight(blocks, weight.scale, 50)
        with pytest.raises(ValueError, match="scale must be"):
            PackedWeight(weight.blocks, weight.scale.double(), 50)

    def test_norms(self, kernels: Kernels) -> None:
        x, weight = random(2, 50), random(50)
        norm = PackedNorm(weight, weight, 1e-5)
        for given, added in [(x, random(2, 49)), (x.double(), x), (random(2, 49), None)]:
            with pytest.raises(ValueError, match="must be"):
                kernels.add_norm(given, added, norm)
        for scale, bias in [(weight, random(51)), (weight.double(), weight)]:
            with pytest.raises(ValueError, match="must be"):
                PackedNorm(scale, bias, 1e-5)

    def test_layers(self) -> None:
        attention, _, inside = decoder_layer(48)
        with pytest.raises(ValueError, match="5 heads"):
            PackedLayer(attention, None, inside, 5)
        with pytest.raises(ValueError, match="12 heads"):  # of 4 numbers, not 16
            PackedLayer(attention, None, inside, 12)
        for parts in [(inside, None, inside), (attention, attention, inside)]:
            with pytest.raises(ValueError, match="a sublayer of the sizes"):
                PackedLayer(*parts, 3)

    def test_steps(self, kernels: Kernels) -> None:
        rows, places = self.rows(), np.array([0, 3, 1])
        attention, cross, inside = decoder_layer(48)
        one = PackedLayer(attention, None, inside, 3)
        plain = PackedLayers([one])
        looking = PackedLayers([PackedLayer(attention, cross, inside, 3)])
        x, own, memory = random(3, 48), StackedRows([rows]), StackedRows([self.rows(tail=None)])
        with pytest.raises(ValueError, match="encoder"):
            kernels.step(x, looking, own, places)
        with pytest.raises(ValueError, match="encoder"):
            kernels.step(x, plain, own, places, memory)
        with pytest.raises(ValueError, match="x must be"):
            kernels.step(random(2, 48), plain, own, places)
        with pytest.raises(ValueError, match="place"):
            kernels.step(x, plain, own, places + 3)
        with pytest.raises(ValueError, match="another model"):
            kernels.step(x, PackedLayers([PackedLayer(attention, None, inside, 1)]), own, places)
        with pytest.raises(ValueError, match="all layers"):
            kernels.step(x, PackedLayers([one, one]), own, places)
        fewer = StackedRows([self.rows(tail=None, prompts=torch.tensor([0, 1]))])
        with pytest.raises(ValueError, match="the same rows"):
            kernels.step(x, looking, own, places, fewer)
        with pytest.raises(ValueError, match="different layers"):
            StackedRows([rows, *fewer.layers])
        with pytest.raises(ValueError, match="tails"):
            StackedRows([rows, self.rows(tail=None)])
        with pytest.raises(ValueError, match="shapes"):
            PackedLayers([one, *looking.layers])

    def test_keys_of_another_type(self) -> None:
        keys = random(1, 2, 7, 16).bfloat16()
        with pytest.raises(ValueError, match="float32 or float16"):
            AttentionRows.of((keys, keys), torch.tensor([[0], [7]]), torch.tensor([0]))

    def test_reordered_rows(self) -> None:
        with pytest.raises(ValueError, match="among 3"):
            self.rows().reorder(np.array([0, 3]), self.rows().owners[2:])  # type: ignore[arg-type]
        for rows in (self.rows(), AttentionRows.join([self.rows(tail=None)] * 2)):
            with pytest.raises(ValueError, match="with their tails"):
                rows.reorder(np.array([0, 1]))
