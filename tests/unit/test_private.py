"""DP-SGD: each row's gradient is its own, clipped and noised, and what is spent is reckoned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dialogue_generation_models.config.model import AnyModelConfig, GPTConfig, MeenaConfig
from dialogue_generation_models.config.training import LoRAConfig, PrivacyConfig
from dialogue_generation_models.data.dataset import IGNORED, Batch, TokenizedDialogue
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.private import (
    PrivateBatches,
    clipped_sum,
    noise_multiplier,
    row_gradients,
    spent_epsilon,
)

SIZES: dict[str, Any] = {"vocab_size": 40, "n_embd": 16}
GPT = GPTConfig(**SIZES, n_ctx=24, n_layer=2, n_head=2, n_inner=32)
MEENA = MeenaConfig(
    **SIZES,
    n_ctx=48,
    n_encoder_ctx=24,
    n_encoder_layer=1,
    n_encoder_head=2,
    n_encoder_inner=32,
    n_decoder_layer=1,
    n_decoder_head=2,
    n_decoder_inner=32,
)
EACH = pytest.mark.parametrize("config", [GPT, MEENA], ids=["gpt", "meena"])
# Dialogue n says 5 + n and is answered with 25 + n, at different lengths.
DIALOGUES = [
    TokenizedDialogue(([5 + n] * (1 + n % 3), [25 + n] * (1 + n % 4), [9]), (False, True, False))
    for n in range(12)
]


def whole_batch(config: AnyModelConfig) -> Batch:
    return PrivateBatches(DIALOGUES, config, len(DIALOGUES), 7).batch(0)


def gradient_of_one(model: nn.Module, batch: Batch, row: int) -> dict[str, Tensor]:
    """The gradient of one row alone, by usual means."""
    inputs = {name: torch.from_numpy(ids[row : row + 1]) for name, ids in batch.inputs.items()}
    model.zero_grad()
    logits = model(**inputs)[0]
    F.cross_entropy(logits, torch.from_numpy(batch.labels[row]), ignore_index=IGNORED).backward()
    found = model.named_parameters()
    return {name: p.grad.clone() for name, p in found if p.grad is not None}


def learning(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


@EACH
def test_gradients_are_those_of_batches_of_one_and_the_tied_head_counts(
    config: AnyModelConfig,
) -> None:
    model = build_model(config).eval()
    batch = whole_batch(config)
    gradients, losses = row_gradients(model, learning(model), batch)
    assert len(losses) == len(DIALOGUES)
    for row in range(len(DIALOGUES)):
        expected = gradient_of_one(model, batch, row)
        assert expected.keys() == gradients.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(gradients[name][row], gradient, rtol=1e-4, atol=1e-6)
    # Through the head, a token that nobody said or heard has a gradient too.
    assert gradients["token_embedding.weight"][:, 39].abs().sum(dim=1).min() > 0


@EACH
def test_each_row_is_clipped_by_itself(config: AnyModelConfig) -> None:
    model = build_model(config).eval()
    batch = whole_batch(config)
    clip = 0.5
    expected: dict[str, Tensor] = {}
    lengths = []
    for row in range(len(DIALOGUES)):
        one = gradient_of_one(model, batch, row)
        length = float(torch.stack([g.norm() for g in one.values()]).norm())
        lengths.append(length)
        for name, gradient in one.items():
            share = gradient * min(1.0, clip / length)
            expected[name] = expected.get(name, torch.zeros_like(share)) + share
    assert max(lengths) > clip
    total, _ = clipped_sum(model, batch, clip)
    for name, value in expected.items():
        torch.testing.assert_close(total[name], value, rtol=1e-4, atol=1e-6)


def test_adapters_alone_have_gradients() -> None:
    pytest.importorskip("peft")
    from dialogue_generation_models.training.lora import attach

    model = attach(build_model(GPT), LoRAConfig(rank=2)).eval()
    total, _ = clipped_sum(model, whole_batch(GPT), 1.0)
    assert total.keys() == learning(model).keys()
    assert all(".lora_" in name for name in total)
    assert sum(float(value.abs().sum()) for value in total.values()) > 0


@EACH
def test_a_row_is_of_one_dialogue_and_rows_are_drawn_anew(config: AnyModelConfig) -> None:
    batches = PrivateBatches(DIALOGUES, config, 3, 7)
    assert batches.rate == 0.25
    drawn = [batches.batch(0) for _ in range(300)]
    sizes = [len(batch.labels) for batch in drawn]
    assert 2.5 < np.mean(sizes) < 3.5
    assert len(set(sizes)) > 4
    for batch in drawn:
        for row in batch.labels:
            replies = set(row[row != IGNORED].tolist()) - {config.eos_id}
            assert len(replies) == 1
    empty = Batch({n: ids[:0] for n, ids in drawn[0].inputs.items()}, drawn[0].labels[:0])
    total, losses = clipped_sum(build_model(config), empty, 1.0)
    assert len(losses) == 0
    assert not any(value.any() for value in total.values())


def test_the_noise_spends_what_was_asked_for_and_fewer_steps_spend_less() -> None:
    pytest.importorskip("opacus")
    privacy = PrivacyConfig(epsilon=4.0)
    noise = noise_multiplier(privacy, 0.1, 50)
    spent = spent_epsilon(noise, 0.1, 50, privacy.delta)
    assert 3.8 < spent <= 4.0
    assert spent_epsilon(noise, 0.1, 25, privacy.delta) < spent
    assert noise_multiplier(PrivacyConfig(epsilon=1.0), 0.1, 50) > 2 * noise
