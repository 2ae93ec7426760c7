"""The engine against one full forward pass, for every architecture."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from dialogue_generation_models.config.model import (
    EvolvedTransformerConfig,
    GPTConfig,
    MeenaConfig,
    ModelConfig,
)
from dialogue_generation_models.errors import InputTextError
from dialogue_generation_models.inference.engine import TorchEngine
from dialogue_generation_models.inference.scoring import score_replies
from dialogue_generation_models.models import build_model
from dialogue_generation_models.models.gpt import GPT

if TYPE_CHECKING:
    from dialogue_generation_models.models import Model

V = 60
GPT_SHAPE = {"vocab_size": V, "n_embd": 32, "n_ctx": 40, "n_layer": 2, "n_head": 4, "n_inner": 64}
CONFIGS: dict[str, ModelConfig] = {
    "post-norm GPT": GPTConfig(norm="post", **GPT_SHAPE),
    "pre-norm GPT": GPTConfig(norm="pre", **GPT_SHAPE),
    "Meena": MeenaConfig(
        vocab_size=V,
        n_ctx=40,
        n_encoder_ctx=20,
        n_embd=32,
        n_encoder_layer=1,
        n_encoder_head=4,
        n_encoder_inner=64,
        n_decoder_layer=2,
        n_decoder_head=4,
        n_decoder_inner=64,
    ),
    "Evolved Transformer": EvolvedTransformerConfig(
        vocab_size=V,
        n_ctx=40,
        n_encoder_ctx=20,
        n_embd=32,
        n_encoder_layer=1,
        n_decoder_layer=2,
        n_head=4,
        n_inner=64,
    ),
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Model:
    """Each architecture with weights large enough that its logits differ clearly."""
    torch.manual_seed(1)
    model = build_model(CONFIGS[request.param]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def sequences(count: int, shortest: int, longest: int) -> list[list[int]]:
    source = random.Random(count)
    return [
        [source.randrange(5, V) for _ in range(source.randint(shortest, longest))]
        for _ in range(count)
    ]


def full_forward(model: Model, prompt: list[int], reply: list[int]) -> Tensor:
    """Logits after the prompt and after each token of the reply, [len(reply) + 1, V]."""
    with torch.no_grad():
        if isinstance(model, GPT):
            logits: Tensor = model(torch.tensor([[*prompt, *reply]]))[0, len(prompt) - 1 :]
        else:
            logits = model(torch.tensor([prompt]), torch.tensor([[2, *reply]]))[0]
    return logits


def test_step_by_step_equals_the_full_forward_in_a_batch_of_any_lengths(model: Model) -> None:
    prompts = sequences(8, 1, 19)
    replies = [reply[:6] for reply in sequences(8, 6, 6)]
    session, logits = TorchEngine(model).prefill(prompts, 6)
    columns = [logits, *(session.step(torch.tensor(ids)) for ids in zip(*replies, strict=True))]
    stepped = torch.stack(columns, dim=1)  # [8, 7, V]
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        expected = full_forward(model, prompt, reply)
        torch.testing.assert_close(stepped[row], expected, atol=2e-5, rtol=1e-4)


def test_reorder_repeats_and_drops_rows(model: Model) -> None:
    prompts = sequences(3, 2, 9)
    session, _ = TorchEngine(model).prefill(prompts, 4)
    session.step(torch.tensor([10, 11, 12]))
    session.reorder(torch.tensor([2, 0, 0, 2]))
    logits = session.step(torch.tensor([20, 21, 22, 23]))
    session.reorder(torch.tensor([1]))
    last = session.step(torch.tensor([30]))
    rows = [(2, [12, 20]), (0, [10, 21]), (0, [10, 22]), (2, [12, 23])]
    for row, (prompt, reply) in enumerate(rows):
        expected = full_forward(model, prompts[prompt], reply)[-1]
        torch.testing.assert_close(logits[row], expected, atol=2e-5, rtol=1e-4)
    expected = full_forward(model, prompts[0], [10, 21, 30])[-1]
    torch.testing.assert_close(last[0], expected, atol=2e-5, rtol=1e-4)


def test_sessions_do_not_disturb_each_other(model: Model) -> None:
    engine = TorchEngine(model)
    first, _ = engine.prefill([[5, 6, 7]], 3)
    second, _ = engine.prefill([[9, 10], [11]], 3)
    first.step(torch.tensor([20]))
    second.step(torch.tensor([21, 22]))
    logits = first.step(torch.tensor([23]))
    expected = full_forward(model, [5, 6, 7], [20, 23])[-1]
    torch.testing.assert_close(logits[0], expected, atol=2e-5, rtol=1e-4)


def test_scores_of_replies_equal_the_full_forward(model: Model) -> None:
    prompts = sequences(6, 1, 19)
    replies = [*sequences(5, 1, 20), []]
    scores = score_replies(model, prompts, replies)
    assert [len(score) for score in scores] == [len(reply) for reply in replies]
    for prompt, reply, score in zip(prompts, replies, scores, strict=True):
        assert score.dtype == torch.float32
        logp = full_forward(model, prompt, reply[:-1])[: len(reply)].log_softmax(dim=1)
        expected = logp[torch.arange(len(reply)), torch.tensor(reply, dtype=torch.long)]
        torch.testing.assert_close(score, expected, atol=2e-5, rtol=1e-4)


def test_scores_have_the_limits_of_the_model(model: Model) -> None:
    assert score_replies(model, [], []) == []
    longest = 21 if isinstance(model, GPT) else 20
    [score] = score_replies(model, [[5] * 20], [[6] * longest])
    assert len(score) == longest
    with pytest.raises(InputTextError, match="shorten"):
        score_replies(model, [[5] * 20], [[6] * (longest + 1)])
    with pytest.raises(InputTextError, match="empty"):
        score_replies(model, [[]], [[6]])
