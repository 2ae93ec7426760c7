"""The pre-norm GPT against transformers' GPT-2 with the same random weights, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dialogue_generation_models.checkpoint.gpt_layout import HEAD, PREFIX
from dialogue_generation_models.checkpoint.huggingface import (
    from_huggingface,
    load_huggingface_folder,
    save_huggingface_folder,
    to_huggingface,
)
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.errors import CheckpointError, DialogueModelError
from dialogue_generation_models.models.gpt import GPT

transformers = pytest.importorskip("transformers")

V, T = 97, 20
SMALL = GPTConfig(
    vocab_size=V,
    n_ctx=32,
    n_embd=24,
    n_layer=3,
    n_head=4,
    n_inner=60,
    norm="pre",
    dropout=0.2,
    attention_dropout=0.05,
)


def randomize(model: torch.nn.Module) -> None:
    """Give every weight, norms and biases too, a value that a mistake would change."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)


@pytest.fixture
def theirs() -> Any:
    config = transformers.GPT2Config(
        vocab_size=V,
        n_positions=32,
        n_embd=24,
        n_layer=3,
        n_head=4,
        n_inner=60,
        bos_token_id=V - 1,
        eos_token_id=V - 1,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    randomize(model)
    return model


@pytest.fixture
def ours() -> GPT:
    model = GPT(SMALL).eval()
    randomize(model)
    return model


@pytest.fixture
def checkpoint(ours: GPT) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return to_huggingface(ours)


def assert_same_logits(ours: GPT, theirs: Any) -> None:
    ids = torch.randint(V, (3, T))
    with torch.inference_mode():
        expected = theirs(ids).logits
        assert expected.std() > 0.5  # the comparison is not between two rows of zeros
        torch.testing.assert_close(ours(ids), expected, rtol=0, atol=1e-4)


def test_their_folder_loads_here_with_the_same_logits(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    ours = load_huggingface_folder(tmp_path)
    assert_same_logits(ours, theirs)
    config = ours.config
    special = {config.pad_id, config.unk_id, config.bos_id, config.eos_id, config.sept_id}
    assert special == {V - 1}
    assert config.never_in_reply_ids == []
    assert not ours.training


def test_left_padded_batches_are_the_same_as_with_their_attention_mask(theirs: Any) -> None:
    config, state = from_huggingface(theirs.state_dict(), theirs.config.to_dict())
    ours = GPT(config).eval()
    ours.load_state_dict(state)
    ids = torch.randint(V, (2, T))
    mask = torch.ones_like(ids)
    mask[1, :6] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        expected = theirs(ids, attention_mask=mask, position_ids=positions).logits
        logits = ours(ids, segment_ids=mask)
    torch.testing.assert_close(logits[mask == 1], expected[mask == 1], rtol=0, atol=1e-4)


def test_our_folder_loads_in_transformers_with_the_same_logits(ours: GPT, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    save_huggingface_folder(ours, folder)
    loaded, info = transformers.GPT2LMHeadModel.from_pretrained(
        folder, local_files_only=True, output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same_logits(ours, loaded.eval())
    assert loaded.config.eos_token_id == SMALL.eos_id
    assert [file.name for file in tmp_path.iterdir()] == ["exported"]


def test_a_folder_comes_back_as_it_was_saved(ours: GPT, tmp_path: Path) -> None:
    save_huggingface_folder(ours, tmp_path / "exported")
    back = load_huggingface_folder(tmp_path / "exported")
    assert back.config == ours.config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_keys_without_prefix_buffers_and_half_precision_are_read(
    ours: GPT, checkpoint: tuple[dict[str, Tensor], dict[str, Any]], tmp_path: Path
) -> None:
    tensors, config_json = checkpoint
    bare = {key.removeprefix(PREFIX): tensor.half() for key, tensor in tensors.items()}
    for layer in range(SMALL.n_layer):
        bare[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32).tril()
        bare[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    bare[HEAD] = bare["wte.weight"].clone()
    save_file(bare, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config_json))
    back = load_huggingface_folder(tmp_path)
    for name, tensor in ours.state_dict().items():
        loaded = back.state_dict()[name]
        assert loaded.dtype == torch.float32
        assert torch.equal(loaded, tensor.half().float()), name


def test_original_gpt2_configuration_gives_the_end_of_text_for_every_special_id(
    checkpoint: tuple[dict[str, Tensor], dict[str, Any]],
) -> None:
    tensors, config_json = checkpoint
    sizes = {key: config_json[key] for key in ("n_positions", "n_embd", "n_layer", "n_head")}
    wide = torch.zeros(50257, 24)
    config, _ = from_huggingface(
        {**tensors, "transformer.wte.weight": wide},
        {**sizes, "vocab_size": 50257, "n_inner": 60},
    )
    ids = (config.pad_id, config.unk_id, config.bos_id, config.eos_id, config.sept_id)
    assert ids == (50256,) * 5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation_function", "relu"),
        ("activation_function", "gelu"),
        ("layer_norm_epsilon", 1e-6),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("tie_word_embeddings", False),
        ("model_type", "gptj"),
        ("n_embd", None),
        ("n_layer", "3"),
    ],
)
def test_a_configuration_that_gpt_does_not_compute_is_refused_by_name(
    checkpoint: tuple[dict[str, Tensor], dict[str, Any]], key: str, value: object
) -> None:
    tensors, config_json = checkpoint
    with pytest.raises(CheckpointError, match=f"'{key}'"):
        from_huggingface(tensors, {**config_json, key: value})


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("transformer.ln_f.bias", None, "'ln_f.bias' is missing"),
        ("transformer.h.3.ln_1.bias", torch.zeros(24), "'h.3.ln_1.bias' is not part of"),
        ("transformer.h.1.mlp.c_fc.weight", torch.zeros(60, 24), r"\[60, 24\].*\[24, 60\]"),
        ("transformer.h.0.ln_2.weight", torch.full((24,), torch.nan), "NaN"),
        ("transformer.h.0.ln_2.weight", torch.zeros(24, dtype=torch.int64), "int64"),
        ("lm_head.weight", torch.zeros(V, 24), "tied head"),
        ("wte.weight", torch.zeros(V, 24), "both with and without"),
    ],
)
def test_wrong_weights_are_refused_by_name(
    checkpoint: tuple[dict[str, Tensor], dict[str, Any]],
    key: str,
    tensor: Tensor | None,
    message: str,
) -> None:
    tensors, config_json = checkpoint
    if tensor is None:
        del tensors[key]
    else:
        tensors[key] = tensor
    with pytest.raises(CheckpointError, match=message) as refusal:
        from_huggingface(tensors, config_json)
    assert refusal.value.exit_code == 1


def test_more_layers_than_the_file_has_are_refused_at_once(
    checkpoint: tuple[dict[str, Tensor], dict[str, Any]],
) -> None:
    tensors, config_json = checkpoint
    with pytest.raises(CheckpointError, match=r"'h\.3\.ln_1\.weight' is missing"):
        from_huggingface(tensors, {**config_json, "n_layer": 10**12})


def test_a_post_norm_model_is_not_exported(tmp_path: Path) -> None:
    model = GPT(SMALL.replace(norm="post"))
    with pytest.raises(CheckpointError, match="post-norm"):
        save_huggingface_folder(model, tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_export_is_replaced_but_no_folder_with_other_files(
    ours: GPT, tmp_path: Path
) -> None:
    folder = tmp_path / "exported"
    save_huggingface_folder(GPT(SMALL), folder)
    save_huggingface_folder(ours, folder)
    weight = load_huggingface_folder(folder).token_embedding.weight
    assert torch.equal(weight, ours.token_embedding.weight)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"1 other file"):
        save_huggingface_folder(GPT(SMALL), folder)
    assert torch.equal(load_huggingface_folder(folder).token_embedding.weight, weight)


def test_damaged_folders_are_refused_in_one_sentence(ours: GPT, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    save_huggingface_folder(ours, folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, text = weights.read_bytes(), config.read_text()
    damages = [
        (weights, whole[: len(whole) // 2]),
        (weights, b""),
        (weights, b"\x80\x02}q\x00."),
        (config, text[:40].encode()),
        (config, b"[]"),
        (config, b"\xff\xfe"),
        (config, text.replace('"n_head": 4', '"n_head": 5').encode()),
    ]
    for file, content in damages:
        weights.write_bytes(whole)
        config.write_text(text)
        file.write_bytes(content)
        with pytest.raises(DialogueModelError) as refusal:
            load_huggingface_folder(folder)
        assert "\n" not in str(refusal.value)
        assert refusal.value.exit_code == 1
    for file in (config, weights):
        file.unlink()
        with pytest.raises(DialogueModelError, match=file.name):
            load_huggingface_folder(folder)
