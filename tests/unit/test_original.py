"""Released .pth files: read both ways, refused when wrong, and never run."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dialogue_generation_models.checkpoint.convert import convert_original
from dialogue_generation_models.checkpoint.original import (
    from_original,
    load_original,
    read_pth,
    to_original,
)
from dialogue_generation_models.config.model import EvolvedTransformerConfig, GPTConfig, MeenaConfig
from dialogue_generation_models.errors import CheckpointError
from dialogue_generation_models.models import build_model
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.models.meena import Meena

Weights = dict[str, Tensor]


@pytest.fixture(params=["gpt", "meena"])
def model(request: pytest.FixtureRequest, tiny_gpt: GPT, tiny_meena: Meena) -> GPT | Meena:
    """Both published architectures in turn."""
    chosen = tiny_gpt if request.param == "gpt" else tiny_meena
    # Biases start at zero and would hide a wrong mapping.
    for parameter in chosen.parameters():
        torch.nn.init.normal_(parameter)
    return chosen


@pytest.fixture
def original(model: GPT | Meena) -> Weights:
    """The model's weights as they were released."""
    return {k: v.clone() for k, v in to_original(model.state_dict(), model.config).items()}


def refuse(path: Path, config: GPTConfig | MeenaConfig, named: str = "model") -> None:
    with pytest.raises(CheckpointError, match=named) as caught:
        load_original(path, config)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_weights_go_out_and_come_back(
    model: GPT | Meena, original: Weights, tmp_path: Path, is_zip: bool
) -> None:
    path = tmp_path / "model.pth"
    torch.save(original, path, _use_new_zipfile_serialization=is_zip)
    loaded = load_original(path, model.config)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_released_gpt_keys_and_shapes(tiny_gpt: GPT) -> None:
    tensors = to_original(tiny_gpt.state_dict(), tiny_gpt.config)
    assert tensors["transformer.h.1.attn.c_attn.weight"].shape == (32, 96)
    assert tensors["transformer.h.1.mlp.c_fc.weight"].shape == (32, 64)
    assert torch.equal(tensors["lm_head.weight"], tensors["transformer.wte.weight"])
    # two embeddings, the head, and twelve tensors a layer
    assert len(tensors) == 3 + 2 * 12


def test_released_meena_keys(tiny_meena: Meena) -> None:
    tensors = to_original(tiny_meena.state_dict(), tiny_meena.config)
    state = tiny_meena.state_dict()
    for ours, theirs in {
        "decoder.1.norm_2.bias": "decoder.layers.1.encoder_attn_layer_norm.bias",
        "decoder.1.norm_3.bias": "decoder.layers.1.final_layer_norm.bias",
        "decoder.0.cross_attention.output.weight": "decoder.layers.0.encoder_attn.out_proj.weight",
        "encoder.0.norm_2.weight": "encoder.layers.0.final_layer_norm.weight",
        "encoder.0.feed_forward.down.weight": "encoder.layers.0.fc2.weight",
        "token_embedding.weight": "decoder.embed_tokens.weight",
    }.items():
        assert torch.equal(tensors[f"model.{theirs}"], state[ours])


def test_the_causal_buffer_is_ignored(tiny_gpt: GPT) -> None:
    tensors = to_original(tiny_gpt.state_dict(), tiny_gpt.config)
    tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
    assert from_original(tensors, tiny_gpt.config).keys() == tiny_gpt.state_dict().keys()


def test_half_precision_is_widened(model: GPT | Meena, original: Weights, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({name: tensor.half() for name, tensor in original.items()}, path)
    weights = load_original(path, model.config).state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


def drop(tensors: Weights) -> None:
    del tensors[max(name for name in tensors if ".1." in name)]


def add(tensors: Weights) -> None:
    tensors["transformer.ln_f.weight"] = torch.ones(32)


def reshape(tensors: Weights) -> None:
    name = max(name for name in tensors if ".1." in name)
    tensors[name] = tensors[name][:-1].clone()


def poison(tensors: Weights) -> None:
    tensors[max(name for name in tensors if ".1." in name)][0] = float("nan")


def overflow(tensors: Weights) -> None:
    tensors[max(name for name in tensors if ".1." in name)][0] = float("inf")


def untie(tensors: Weights) -> None:
    for name in ("lm_head.weight", "model.decoder.embed_tokens.weight"):
        if name in tensors:
            tensors[name] = tensors[name] + 1


def make_whole(tensors: Weights) -> None:
    name = max(name for name in tensors if ".1." in name)
    tensors[name] = tensors[name].long()


def make_double(tensors: Weights) -> None:
    for name in tensors:
        tensors[name] = tensors[name].double()


@pytest.mark.parametrize(
    "change",
    [drop, add, reshape, poison, overflow, untie, make_whole, make_double],
    ids=lambda change: str(change.__name__),
)
def test_wrong_weights_are_refused_by_name(
    model: GPT | Meena, original: Weights, tmp_path: Path, change: Callable[[Weights], None]
) -> None:
    change(original)
    path = tmp_path / "model.pth"
    torch.save(original, path)
    refuse(path, model.config, r"\.(weight|bias)|float64")


def test_another_architectures_file_is_refused(
    tiny_gpt: GPT, tiny_meena: Meena, tmp_path: Path
) -> None:
    for model, other in ((tiny_gpt, tiny_meena), (tiny_meena, tiny_gpt)):
        path = tmp_path / "model.pth"
        torch.save(to_original(model.state_dict(), model.config), path)
        refuse(path, other.config, "configuration")
    torch.save({"encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(2, 2)}, path)
    refuse(path, tiny_meena.config, "another architecture")
    refuse(path, tiny_gpt.config)


def test_a_pre_norm_file_needs_a_pre_norm_configuration(tiny_gpt: GPT, tmp_path: Path) -> None:
    config = tiny_gpt.config.replace(norm="pre")
    pre = build_model(config)
    path = tmp_path / "model.pth"
    torch.save(to_original(pre.state_dict(), config), path)
    refuse(path, tiny_gpt.config, "ln_f")
    loaded = load_original(path, config).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in pre.state_dict().items())


def test_a_configuration_of_a_thousand_times_as_many_layers_is_refused(
    model: GPT | Meena, original: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "model.pth"
    torch.save(original, path)
    layers = "n_layer" if isinstance(model, GPT) else "n_decoder_layer"
    refuse(path, model.config.replace(**{layers: 10**9}))


def test_the_papers_meena_has_no_released_form() -> None:
    config = EvolvedTransformerConfig(
        vocab_size=20, n_embd=16, n_encoder_layer=1, n_decoder_layer=1, n_head=2, n_inner=32
    )
    with pytest.raises(CheckpointError, match="evolved_transformer"):
        to_original({}, config)
    with pytest.raises(CheckpointError, match="evolved_transformer"):
        from_original({}, config)


class Payload:
    """Runs a shell command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, tiny_gpt: GPT) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "model.pth"
    for is_zip in (True, False):
        torch.save(
            {"transformer.wte.weight": Payload(marker)}, path, _use_new_zipfile_serialization=is_zip
        )
        refuse(path, tiny_gpt.config, "nothing was run")
    path.write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    refuse(path, tiny_gpt.config, "nothing was run")
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        torch.zeros(2),
        {"model": {"a": torch.zeros(2)}, "step": 3},
        {3: torch.zeros(2)},
        {"transformer.wte.weight": "text"},
        {},
    ],
    ids=lambda content: type(content).__name__,
)
def test_files_without_a_plain_state_dict_are_refused(
    tmp_path: Path, tiny_gpt: GPT, content: object
) -> None:
    path = tmp_path / "model.pth"
    torch.save(content, path)
    refuse(path, tiny_gpt.config)


@pytest.mark.parametrize(
    "store",
    [
        lambda weight: weight.to_sparse(),
        lambda weight: weight.to("meta"),
        lambda weight: weight.to(torch.float8_e4m3fn),
    ],
    ids=["sparse", "without memory", "float8"],
)
def test_weights_of_odd_kinds_are_refused(
    tmp_path: Path, tiny_gpt: GPT, store: Callable[[Tensor], Tensor]
) -> None:
    original = to_original(tiny_gpt.state_dict(), tiny_gpt.config)
    name = "transformer.h.0.mlp.c_fc.weight"
    path = tmp_path / "model.pth"
    torch.save({**original, name: store(original[name])}, path)
    refuse(path, tiny_gpt.config, "c_fc")


def test_damaged_files_are_refused(tmp_path: Path, tiny_gpt: GPT) -> None:
    path = tmp_path / "model.pth"
    tensors = to_original(tiny_gpt.state_dict(), tiny_gpt.config)
    for is_zip in (True, False):
        torch.save(tensors, path, _use_new_zipfile_serialization=is_zip)
        whole = path.read_bytes()
        for size in (0, 1, 10, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            refuse(path, tiny_gpt.config)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    refuse(path, tiny_gpt.config)
    for missing in (tmp_path, tmp_path / "none.pth", tmp_path / ("x" * 300)):
        with pytest.raises(CheckpointError, match="no weight file"):
            read_pth(missing)


def test_nothing_is_written_when_anything_is_wrong(
    tmp_path: Path, model: GPT | Meena, original: Weights
) -> None:
    config = tmp_path / "config.json"
    config.write_text(model.config.model_dump_json())
    weights = tmp_path / "model.pth"
    poison(original)
    torch.save(original, weights)
    before = set(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="NaN"):
        convert_original(weights, config, None, tmp_path / "out")
    assert set(tmp_path.iterdir()) == before
