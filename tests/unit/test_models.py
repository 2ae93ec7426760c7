"""All architectures alike: each fast path against its slow twin, counts, gradients, precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from dialogue_generation_models.config.model import (
    EvolvedTransformerConfig,
    GPTConfig,
    MeenaConfig,
    ModelConfig,
)
from dialogue_generation_models.config.registry import get_entry, list_models
from dialogue_generation_models.models import build_model
from dialogue_generation_models.models.cache import Cache
from dialogue_generation_models.models.gpt import GPT

if TYPE_CHECKING:
    from dialogue_generation_models.models import EncoderDecoder, Model

V = 61
GPT_POST = GPTConfig(vocab_size=V, n_ctx=32, n_embd=24, n_layer=2, n_head=4, n_inner=48)
MEENA = MeenaConfig(
    vocab_size=V,
    n_ctx=48,
    n_encoder_ctx=24,
    n_embd=24,
    n_encoder_layer=2,
    n_encoder_head=4,
    n_encoder_inner=48,
    n_decoder_layer=2,
    n_decoder_head=2,
    n_decoder_inner=40,
)
EVOLVED = EvolvedTransformerConfig(
    vocab_size=V,
    n_ctx=48,
    n_encoder_ctx=24,
    n_embd=24,
    n_encoder_layer=2,
    n_decoder_layer=2,
    n_head=4,
    n_inner=48,
)
CONFIGS: dict[str, ModelConfig] = {
    "gpt-post": GPT_POST,
    "gpt-pre": GPT_POST.replace(norm="pre"),
    "meena": MEENA,
    "evolved-transformer": EVOLVED,
}
ENCODER_DECODERS = ["meena", "evolved-transformer"]
close = torch.testing.assert_close


def make(name: str, **changes: object) -> Model:
    """A small model whose weights are large enough that a mistake shows in its logits."""
    model = build_model(CONFIGS[name].replace(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def tokens(rows: int, length: int) -> Tensor:
    return torch.randint(5, V, (rows, length))


def scorer(model: Model, rows: int) -> Callable[..., Tensor]:
    """Score ids with any architecture; encoder-decoders read one fixed context a row."""
    if isinstance(model, GPT):
        return model
    memory, mask = model.encode(tokens(rows, 9))

    def score(ids: Tensor, cache: Cache | None = None) -> Tensor:
        is_later = cache is not None and cache.length > 0
        return model.decode(ids, None if is_later else memory, mask, cache=cache)

    return score


@pytest.fixture(params=list(CONFIGS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ENCODER_DECODERS)
def encoder_decoder(request: pytest.FixtureRequest) -> EncoderDecoder:
    model = make(str(request.param))
    assert not isinstance(model, GPT)
    return model


# Step by step


@pytest.mark.parametrize("chunks", [[20], [1] * 20, [7, 1, 1, 5, 6], [1, 12, 7]])
@torch.inference_mode()
def test_decoding_with_a_cache_equals_the_full_forward(name: str, chunks: list[int]) -> None:
    model = make(name)
    score = scorer(model, rows=3)
    ids = tokens(3, 20)
    cache = Cache(capacity=24)
    stepwise = torch.cat([score(part, cache=cache) for part in ids.split(chunks, dim=1)], dim=1)
    full = score(ids)
    assert full.std() > 0.1
    close(stepwise, full, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_reordered_rows_go_on_like_the_rows_they_came_from(name: str) -> None:
    model = make(name)
    rows = torch.tensor([2, 0, 2, 1, 2])
    torch.manual_seed(1)
    score = scorer(model, rows=3)
    ids, later = tokens(3, 8), tokens(5, 6)
    cache = Cache(capacity=14)
    score(ids, cache=cache)
    cache.reorder(rows)
    if not isinstance(model, GPT):
        memory_mask = torch.ones(5, 9, dtype=torch.bool)
        stepwise = model.decode(later, None, memory_mask, cache=cache)
        torch.manual_seed(1)
        memory, _ = model.encode(tokens(3, 9)[rows])
        full = model.decode(torch.cat([ids[rows], later], dim=1), memory, memory_mask)
    else:
        stepwise = model(later, cache=cache)
        full = model(torch.cat([ids[rows], later], dim=1))
    close(stepwise, full[:, 8:], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_later_tokens_change_no_earlier_logits(name: str) -> None:
    score = scorer(make(name), rows=2)
    ids = tokens(2, 16)
    changed = ids.clone()
    changed[:, 10:] = tokens(2, 6)
    before, after = score(ids), score(changed)
    close(before[:, :10], after[:, :10], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, 10:], after[:, 10:], atol=1e-2)


@torch.inference_mode()
def test_every_earlier_token_changes_the_last_logits(name: str) -> None:
    score = scorer(make(name), rows=1)
    ids = tokens(1, 12)
    last = score(ids)[:, -1]
    for column in range(12):
        changed = ids.clone()
        changed[0, column] = 5 + (changed[0, column] - 4) % (V - 5)
        assert not torch.allclose(score(changed)[:, -1], last, atol=1e-4), column


# Batches, padding, packing


LENGTHS = [5, 12, 1, 9, 3, 12, 7, 2]


def pad(rows: Sequence[Tensor], side: str) -> tuple[Tensor, Tensor]:
    """Rectangle of ids and its mask; padding has a token's id, which must not matter."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), 7)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, row_ids in enumerate(rows):
        start = width - len(row_ids) if side == "left" else 0
        ids[row, start : start + len(row_ids)] = row_ids
        mask[row, start : start + len(row_ids)] = True
    return ids, mask


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("gpt", ["gpt-post", "gpt-pre"])
@torch.inference_mode()
def test_a_gpt_batch_of_eight_equals_eight_batches_of_one(gpt: str, side: str) -> None:
    model = make(gpt)
    rows = [tokens(1, length)[0] for length in LENGTHS]
    ids, mask = pad(rows, side)
    together = model(ids, segment_ids=mask.long())
    assert together.isfinite().all()
    for row, row_ids in enumerate(rows):
        close(together[row][mask[row]], model(row_ids[None])[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@torch.inference_mode()
def test_a_batch_of_eight_contexts_equals_eight_of_one(
    encoder_decoder: EncoderDecoder, side: str
) -> None:
    contexts = [tokens(1, length)[0] for length in LENGTHS]
    replies = tokens(8, 6)
    ids, mask = pad(contexts, side)
    together = encoder_decoder(ids, replies, context_mask=mask)
    by_default = encoder_decoder(ids.masked_fill(~mask, 0), replies)
    close(by_default, together)
    for row, context in enumerate(contexts):
        alone = encoder_decoder(context[None], replies[row : row + 1])[0]
        close(together[row], alone, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_padding_behind_a_reply_changes_nothing(encoder_decoder: EncoderDecoder) -> None:
    context, reply = tokens(2, 9), tokens(2, 6)
    padded = F.pad(reply, (0, 5))
    alone = encoder_decoder(context, reply)
    close(encoder_decoder(context, padded)[:, :6], alone, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_left_padded_prompts_decode_like_unpadded_ones() -> None:
    model = make("gpt-post")
    rows = [tokens(1, length)[0] for length in (3, 10, 6)]
    later = tokens(3, 4)
    ids, mask = pad(rows, "left")
    cache = Cache(capacity=14)
    model(ids, segment_ids=mask.long(), cache=cache)
    steps = torch.cat([model(later[:, i : i + 1], cache=cache) for i in range(4)], dim=1)
    for row, row_ids in enumerate(rows):
        alone = model(torch.cat([row_ids, later[row]])[None])[0, -4:]
        close(steps[row], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("gpt", ["gpt-post", "gpt-pre"])
@torch.inference_mode()
def test_packed_segments_equal_separate_rows(gpt: str) -> None:
    model = make(gpt)
    parts = [tokens(1, length) for length in (6, 1, 9, 4)]
    segment_ids = torch.cat([torch.full_like(part, i + 1) for i, part in enumerate(parts)], dim=1)
    packed = model(
        F.pad(torch.cat(parts, dim=1), (0, 3), value=9), segment_ids=F.pad(segment_ids, (0, 3))
    )
    separate = torch.cat([model(part) for part in parts], dim=1)
    close(packed[:, :20], separate, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_given_positions_are_used() -> None:
    model = make("gpt-pre")
    ids = tokens(2, 8)
    close(model(ids, position_ids=torch.arange(8).expand(2, 8)), model(ids))
    assert not torch.allclose(model(ids, position_ids=torch.arange(8, 16).expand(2, 8)), model(ids))


@torch.inference_mode()
def test_logits_at_marked_places_are_the_same(name: str) -> None:
    model = make(name)
    ids = tokens(2, 10)
    at = torch.rand(2, 10) < 0.4
    inputs = (ids,) if isinstance(model, GPT) else (tokens(2, 7), ids)
    chosen = model(*inputs, logits_at=at)
    assert chosen.shape == (int(at.sum()), V)
    close(chosen, model(*inputs)[at], rtol=0, atol=1e-5)


# Training


def forward(model: Model, rows: int = 3) -> Tensor:
    ids = tokens(rows, 12)
    return model(ids) if isinstance(model, GPT) else model(tokens(rows, 11), ids)


def test_gradients_flow_to_every_parameter(name: str) -> None:
    model = make(name, dropout=0.1).train()
    logits = forward(model)
    F.cross_entropy(logits.flatten(0, 1), tokens(3, 12).flatten()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        # A bias on all keys moves all scores of a row alike, which softmax does not see.
        assert key.endswith(".key.bias") or parameter.grad.abs().max() > 1e-7, key


def test_gradients_of_single_samples_are_those_of_batches_of_one(name: str) -> None:
    model = make(name)
    parameters = dict(model.named_parameters())
    ids, context, targets = tokens(3, 6), tokens(3, 5), tokens(3, 6)

    def loss(weights: dict[str, Tensor], *sample: Tensor) -> Tensor:
        one_context, one_ids, target = (part[None] for part in sample)
        inputs = (one_ids,) if isinstance(model, GPT) else (one_context, one_ids)
        logits = torch.func.functional_call(model, weights, inputs)
        return F.cross_entropy(logits[0], target[0])

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0, 0))
    with sdpa_kernel(SDPBackend.MATH):  # the one that vmap knows
        gradients = per_sample(parameters, context, ids, targets)
    for row in range(3):
        model.zero_grad()
        loss(parameters, context[row], ids[row], targets[row]).backward()
        for key, parameter in parameters.items():
            close(gradients[key][row], parameter.grad, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.parametrize("option", ["dropout", "attention_dropout"])
def test_dropout_acts_in_training_only(name: str, option: str) -> None:
    model, plain = make(name, **{option: 0.5}), make(name)
    plain.load_state_dict(model.state_dict())

    def seeded(each: Model) -> Tensor:
        torch.manual_seed(2)
        return forward(each)

    close(seeded(model), seeded(plain))
    model.train()
    assert not torch.allclose(seeded(model), seeded(plain), atol=1e-2)


@torch.inference_mode()
def test_fresh_models_find_all_tokens_about_equally_likely(name: str) -> None:
    model = build_model(CONFIGS[name].replace(vocab_size=2000, n_embd=192)).eval()
    targets = torch.randint(5, 2000, (3, 12))
    loss = F.cross_entropy(forward(model).flatten(0, 1), targets.flatten())
    assert float(loss) == pytest.approx(math.log(2000), abs=0.3)


# Precision


@torch.inference_mode()
def test_bfloat16_roughly_agrees_with_float32(name: str) -> None:
    model = make(name)
    torch.manual_seed(3)
    exact = forward(model)
    torch.manual_seed(3)
    rough = forward(model.bfloat16())
    assert exact.dtype == torch.float32
    assert rough.dtype == torch.bfloat16
    error = (rough.float() - exact).square().mean().sqrt()
    assert 0 < error < 0.05 * exact.std()


@torch.inference_mode()
def test_bfloat16_decodes_step_by_step(name: str) -> None:
    model = make(name).bfloat16()
    score = scorer(model, rows=2)
    ids = tokens(2, 10)
    cache = Cache(capacity=10)
    stepwise = torch.cat([score(part, cache=cache) for part in ids.split(1, dim=1)], dim=1)
    full = score(ids)
    assert (stepwise - full).float().square().mean().sqrt() < 0.05 * full.float().std()


# Sizes


COUNTS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "GPT-base-trained-on-dialogue-data-only-KR": 109_827_072,
    "GPT-large-trained-on-dialogue-and-wiki-KR": 335_339_520,
    "Meena-base-trained-on-dialogue-data-JP": 152_369_664,
    "Meena-large-trained-on-filtered-dialogue-data-KR": 461_342_720,
}


def count(config: ModelConfig) -> int:
    with torch.device("meta"):
        model = build_model(config)
    assert all(parameter.is_meta for parameter in model.parameters())
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("preset", COUNTS)
def test_presets_have_their_known_number_of_parameters(preset: str) -> None:
    assert count(get_entry(preset).config) == COUNTS[preset]


def test_the_registry_states_the_number_of_parameters() -> None:
    counts: dict[str, int] = {}
    for entry in list_models():
        shape = entry.config.model_dump_json()
        counts[shape] = counts.get(shape) or count(entry.config)
        assert entry.parameters == counts[shape], entry.name


def test_the_papers_meena_has_2_6_billion_parameters() -> None:
    assert count(get_entry("meena-paper").config) == pytest.approx(2.6e9, rel=0.03)


def test_a_base_configuration_makes_no_model() -> None:
    with pytest.raises(TypeError, match="ModelConfig"):
        build_model(ModelConfig(vocab_size=10, n_embd=4))


@pytest.mark.parametrize("name", ["gpt-post", "meena", "evolved-transformer"])
def test_positions_begin_half_as_loud_as_tokens(name: str) -> None:
    config = CONFIGS[name].replace(n_embd=96)
    model = build_model(config)
    tokens = model.token_embedding.weight * model.embedding_scale
    loudness = model.position_embedding.weight.std().item()
    assert loudness == pytest.approx(tokens.std().item() / 2, rel=0.1)
