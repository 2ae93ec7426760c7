"""Adapters: they alone learn, merging keeps what a model says, and unmerging brings the base back."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dialogue_generation_models.config.model import (
    AnyModelConfig,
    EvolvedTransformerConfig,
    GPTConfig,
    MeenaConfig,
)
from dialogue_generation_models.config.training import LoRAConfig
from dialogue_generation_models.errors import CheckpointError, ConfigError
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training import lora

pytest.importorskip("peft")

SIZES: dict[str, Any] = {"vocab_size": 40, "n_embd": 16}
PAIRED: dict[str, Any] = {**SIZES, "n_ctx": 24, "n_encoder_ctx": 12}
CONFIGS: list[AnyModelConfig] = [
    GPTConfig(**SIZES, n_ctx=16, n_layer=2, n_head=2, n_inner=32),
    MeenaConfig(
        **PAIRED,
        n_encoder_layer=1,
        n_encoder_head=2,
        n_encoder_inner=32,
        n_decoder_layer=1,
        n_decoder_head=2,
        n_decoder_inner=32,
    ),
    EvolvedTransformerConfig(**PAIRED, n_encoder_layer=1, n_decoder_layer=1, n_head=2, n_inner=32),
]
EACH = pytest.mark.parametrize("config", CONFIGS, ids=[config.kind for config in CONFIGS])
SETTINGS = LoRAConfig(rank=3, alpha=6.0)


def answer(model: nn.Module) -> Tensor:
    ids = torch.arange(5, 15)[None]
    is_gpt = type(model).__name__ == "GPT"
    with torch.no_grad():
        return model(ids) if is_gpt else model(ids, ids)


def trained(config: AnyModelConfig) -> tuple[nn.Module, nn.Module]:
    """A base, and a copy of it whose adapters took a few steps."""
    base = build_model(config).eval()
    model = lora.attach(copy.deepcopy(base), SETTINGS)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    ids = torch.arange(5, 15)[None]
    for _ in range(3):
        logits = model(ids) if config.kind == "gpt" else model(ids, ids)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits[0], ids[0]).backward()
        optimizer.step()
    return base, model.eval()


@EACH
def test_adapters_alone_learn(config: AnyModelConfig) -> None:
    base, model = trained(config)
    kept = base.state_dict()
    weights = model.state_dict()
    adapters = [name for name in weights if ".lora_" in name]
    linear = [name for name, module in base.named_modules() if type(module) is nn.Linear]
    assert len(adapters) == 2 * len(linear) > 10
    for name in weights.keys() - set(adapters):
        assert torch.equal(weights[name], kept[name.replace(".base_layer", "")]), name
    assert all(weights[name].any() for name in adapters)


@EACH
def test_a_fresh_adapter_changes_nothing(config: AnyModelConfig) -> None:
    base = build_model(config).eval()
    expected = answer(base)
    assert torch.equal(answer(lora.attach(base, SETTINGS).eval()), expected)


@EACH
def test_merged_weights_say_what_the_adapter_said(config: AnyModelConfig) -> None:
    base, model = trained(config)
    expected = answer(model)
    assert (expected - answer(base)).abs().max() > 0.05
    merged = lora.merge(model)
    torch.testing.assert_close(answer(merged), expected, rtol=0, atol=1e-5)
    # A plain model again: the same layers under the same names, and the head still tied.
    assert {name: type(m) for name, m in merged.named_modules()} == {
        name: type(m) for name, m in base.named_modules()
    }
    assert merged.state_dict().keys() == base.state_dict().keys()
    assert torch.equal(merged.token_embedding.weight, base.token_embedding.weight)
    assert merged.head._embedding[0] is merged.token_embedding


@EACH
def test_a_saved_adapter_is_applied_again_and_taken_off_again(
    config: AnyModelConfig, tmp_path: Path
) -> None:
    base, model = trained(config)
    lora.save_adapter(model, SETTINGS, tmp_path / "adapter", "base")
    expected = answer(model)
    applied = lora.load_adapter(copy.deepcopy(base), tmp_path / "adapter")
    assert torch.equal(answer(applied.eval()), expected)
    unmerged = lora.unmerge(lora.merge(model), tmp_path / "adapter")
    for name, weight in base.state_dict().items():
        torch.testing.assert_close(unmerged.state_dict()[name], weight, rtol=0, atol=1e-6)


def test_peft_itself_reads_a_saved_adapter(tmp_path: Path) -> None:
    from peft import PeftModel

    base, model = trained(CONFIGS[0])
    lora.save_adapter(model, SETTINGS, tmp_path, "base")
    read = PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path))
    assert torch.equal(answer(read.get_base_model().eval()), answer(model))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    _, model = trained(CONFIGS[0])
    lora.save_adapter(model, SETTINGS, tmp_path, "base")
    with pytest.raises(CheckpointError, match="no adapter of such a model"):
        lora.load_adapter(build_model(CONFIGS[1]), tmp_path)
    with pytest.raises(ConfigError, match="no configuration file"):
        lora.load_adapter(build_model(CONFIGS[0]), tmp_path / "absent")


def test_an_adapter_that_is_not_finite_is_not_merged() -> None:
    _, model = trained(CONFIGS[0])
    next(p for p in model.parameters() if p.requires_grad).data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="NaN"):
        lora.merge(model)
