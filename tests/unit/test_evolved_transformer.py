"""The Evolved Transformer's cells against a slow reference that follows the paper line by line."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dialogue_generation_models.config.model import EvolvedTransformerConfig
from dialogue_generation_models.errors import ConfigError
from dialogue_generation_models.models.cache import Cache
from dialogue_generation_models.models.evolved_transformer import (
    CausalSeparableConvolution,
    EvolvedTransformer,
    SeparableConvolution,
    add_narrow,
)

C, S, T = 16, 13, 15
CONFIG = EvolvedTransformerConfig(
    vocab_size=41,
    n_ctx=48,
    n_encoder_ctx=24,
    n_embd=C,
    n_encoder_layer=1,
    n_decoder_layer=1,
    n_head=2,
    n_inner=40,
)
close = torch.testing.assert_close


class Reference:
    """Both cells for one sequence without padding, [length, C], written with loops and matrices."""

    def __init__(self, model: EvolvedTransformer) -> None:
        self.weights = model.state_dict()

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        spread = (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, name: str, x: Tensor, memory: Tensor, heads: int, causal: bool) -> Tensor:
        query, key, value = (
            self.linear(f"{name}.{part}", source)
            for part, source in (("query", x), ("key", memory), ("value", memory))
        )
        width = C // heads
        mixed = torch.zeros_like(query)
        for head in range(heads):
            columns = slice(head * width, (head + 1) * width)
            for i in range(len(x)):
                seen = slice(0, i + 1 if causal else len(memory))
                scores = key[seen, columns] @ query[i, columns] / width**0.5
                mixed[i, columns] = torch.softmax(scores, 0) @ value[seen, columns]
        return self.linear(f"{name}.output", mixed)

    def separable(self, name: str, x: Tensor, before: int) -> Tensor:
        """Tap k of the kernel sees the token `before - k` places earlier."""
        kernel = self.weights[f"{name}.depthwise.weight"][:, 0]  # [C_in, width]
        mixed = torch.zeros_like(x)
        for i in range(len(x)):
            for k in range(kernel.shape[1]):
                if 0 <= i - before + k < len(x):
                    mixed[i] += kernel[:, k] * x[i - before + k]
        return self.linear(f"{name}.pointwise", mixed)

    def convolution_3x1(self, name: str, x: Tensor) -> Tensor:
        kernel, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        rows = [
            sum(kernel[:, :, k] @ x[i - 1 + k] for k in range(3) if 0 <= i - 1 + k < len(x)) + bias
            for i in range(len(x))
        ]
        return torch.stack(rows)

    def encoder_cell(self, x: Tensor) -> Tensor:
        n = "encoder.0"
        y = self.norm(f"{n}.norm_1", x)
        x = x + self.linear(f"{n}.value", y) * torch.sigmoid(self.linear(f"{n}.gate", y))
        y = self.norm(f"{n}.norm_2", x)
        wide = self.linear(f"{n}.branches.dense", y).clamp(min=0)
        narrow = self.convolution_3x1(f"{n}.branches.convolution", y).clamp(min=0)
        assert (wide.shape[1], narrow.shape[1]) == (4 * C, C // 2)
        wide[:, : C // 2] += narrow
        y = self.separable(f"{n}.branches.separable", self.norm(f"{n}.branches.norm", wide), 4)
        x = torch.cat([x[:, : C // 2] + y, x[:, C // 2 :]], dim=1)
        y = self.norm(f"{n}.norm_3", x)
        x = x + self.attention(f"{n}.attention", y, y, heads=2, causal=False)
        y = self.linear(f"{n}.up", self.norm(f"{n}.norm_4", x)).clamp(min=0)
        return x + self.linear(f"{n}.down", y)

    def decoder_cell(self, x: Tensor, memory: Tensor) -> Tensor:
        n = "decoder.0"
        y = self.norm(f"{n}.norm_1", x)
        left = self.attention(f"{n}.attention_1", y, y, heads=4, causal=True)
        right = self.attention(f"{n}.cross_attention_1", y, memory, heads=2, causal=False)
        x = x + left + right
        y = self.norm(f"{n}.norm_2", x)
        wide = self.separable(f"{n}.branches.wide", y, 10).clamp(min=0)
        narrow = self.separable(f"{n}.branches.narrow", y, 6)
        assert (wide.shape[1], narrow.shape[1]) == (2 * C, C // 2)
        wide[:, : C // 2] += narrow
        x = x + self.separable(f"{n}.branches.last", self.norm(f"{n}.branches.norm", wide), 6)
        y = self.norm(f"{n}.norm_3", x)
        x = x + self.attention(f"{n}.attention_2", y, y, heads=2, causal=True)
        y = self.norm(f"{n}.norm_4", x)
        x = x + self.attention(f"{n}.cross_attention_2", y, memory, heads=2, causal=False)
        y = self.linear(f"{n}.up", self.norm(f"{n}.norm_5", x))
        y = y * torch.sigmoid(y)
        return x + self.linear(f"{n}.down", self.norm(f"{n}.inner_norm", y))

    def logits(self, context_ids: Tensor, reply_ids: Tensor) -> Tensor:
        tokens, positions = (
            self.weights[f"{kind}_embedding.weight"] for kind in ("token", "position")
        )
        x = tokens[context_ids] * C**0.5 + positions[: len(context_ids)]
        memory = self.norm("encoder_norm", self.encoder_cell(x))
        x = tokens[reply_ids] * C**0.5 + positions[24 : 24 + len(reply_ids)]
        return self.norm("decoder_norm", self.decoder_cell(x, memory)) @ tokens.T


@pytest.fixture
def model() -> EvolvedTransformer:
    model = EvolvedTransformer(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


@torch.inference_mode()
def test_the_cells_compute_what_the_reference_computes(model: EvolvedTransformer) -> None:
    context_ids, reply_ids = torch.randint(5, 41, (S,)), torch.randint(5, 41, (T,))
    expected = Reference(model).logits(context_ids, reply_ids)
    assert expected.std() > 0.5
    close(model(context_ids[None], reply_ids[None])[0], expected, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_a_convolution_reaches_half_its_width_to_each_side() -> None:
    convolution = SeparableConvolution(4, 6, 9)
    x = torch.randn(1, 20, 4)
    changed = x.clone()
    changed[0, 10] += 1
    moved = (convolution(x) != convolution(changed)).any(2)[0]
    assert moved.nonzero().flatten().tolist() == list(range(6, 15))


@torch.inference_mode()
def test_a_causal_convolution_reaches_forward_only() -> None:
    convolution = CausalSeparableConvolution(4, 6, 7)
    x = torch.randn(1, 20, 4)
    changed = x.clone()
    changed[0, 10] += 1
    moved = (convolution(x) != convolution(changed)).any(2)[0]
    assert moved.nonzero().flatten().tolist() == list(range(10, 17))


@pytest.mark.parametrize("chunks", [[1] * 9, [4, 5], [9], [1, 8], [8, 1]])
@torch.inference_mode()
def test_a_causal_convolution_goes_on_from_the_cache(chunks: list[int]) -> None:
    convolution = CausalSeparableConvolution(4, 6, 7)
    x = torch.randn(2, 9, 4)
    cache = Cache(capacity=9)
    steps = [convolution(part, cache) for part in x.split(chunks, dim=1)]
    close(torch.cat(steps, dim=1), convolution(x))


@torch.inference_mode()
def test_holes_in_a_context_are_zeros_to_the_convolutions(model: EvolvedTransformer) -> None:
    """What stands in masked places never shows, whether outside or between the kept tokens."""
    ids = torch.randint(5, 41, (1, S))
    reply_ids = torch.randint(5, 41, (1, T))
    mask = torch.ones(1, S, dtype=torch.bool)
    mask[0, [0, 1, 6, S - 1]] = False
    logits = model(ids, reply_ids, context_mask=mask)
    changed = torch.where(mask, ids, torch.randint(5, 41, (1, S)))
    close(model(changed, reply_ids, context_mask=mask), logits)
    assert not torch.allclose(model(ids, reply_ids), logits, atol=1e-2)


def test_a_narrow_branch_is_added_to_the_first_channels() -> None:
    wide, narrow = torch.ones(1, 2, 5), torch.full((1, 2, 2), 10.0)
    assert add_narrow(wide, narrow)[0, 0].tolist() == [11, 11, 1, 1, 1]


def test_one_embedding_serves_both_sides_and_the_head(model: EvolvedTransformer) -> None:
    shapes = [tuple(weight.shape) for weight in model.parameters()]
    assert sum(41 in shape for shape in shapes) == 1


@pytest.mark.parametrize(("n_head", "expected"), [(2, 4), (6, 12), (8, 16), (12, 16), (32, 32)])
def test_the_first_attention_doubles_its_heads_up_to_16(n_head: int, expected: int) -> None:
    config = CONFIG.replace(n_embd=96, n_head=n_head)
    with torch.device("meta"):
        cell = EvolvedTransformer(config).decoder[0]
    assert cell.attention_1.n_head == expected
    assert cell.attention_2.n_head == n_head


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_embd": 15, "n_head": 3}, "n_embd must be even"),
        ({"n_embd": 20, "n_head": 10}, "multiple of 16 heads"),
        ({"n_encoder_ctx": 48}, "n_encoder_ctx must be smaller"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CONFIG.replace(**changes)
