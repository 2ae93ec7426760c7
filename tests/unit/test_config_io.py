"""Configuration files, overrides, and the keys of the released files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dialogue_generation_models.config.finetuning import FinetuningConfig
from dialogue_generation_models.config.io import (
    apply_overrides,
    configure,
    model_config_from_dict,
    model_config_from_original,
    read_config_file,
    read_model_config,
)
from dialogue_generation_models.config.model import GPTConfig, MeenaConfig
from dialogue_generation_models.config.registry import list_models
from dialogue_generation_models.errors import (
    ConfigError,
    DialogueModelError,
    MissingExtraError,
    OptionError,
)

GPT: dict[str, Any] = {
    "vocab_size": 32000,
    "n_positions": 256,
    "n_ctxt": 256,
    "n_embd": 768,
    "n_inner": 3072,
    "n_layer": 12,
    "n_head": 12,
    "pad_token_id": 0,
    "unk_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "sept_token_id": 4,
}
MEENA: dict[str, Any] = {
    "vocab_size": 32000,
    "max_position_embeddings": 256,
    "max_encoder_length": 128,
    "d_model": 768,
    "encoder_ffn_dim": 3072,
    "encoder_layers": 2,
    "encoder_attention_heads": 12,
    "decoder_ffn_dim": 3072,
    "decoder_layers": 12,
    "decoder_attention_heads": 12,
    "sept_token_id": 9,
}


def test_released_gpt_keys() -> None:
    config = model_config_from_original(GPT)
    assert isinstance(config, GPTConfig)
    assert (config.n_ctx, config.n_layer, config.norm, config.sept_id) == (256, 12, "post", 4)


@pytest.mark.parametrize("kept", ["n_positions", "n_ctxt", "n_ctx"])
def test_any_spelling_of_the_context_length_will_do(kept: str) -> None:
    data = {k: v for k, v in GPT.items() if k not in ("n_positions", "n_ctxt")} | {kept: 64}
    config = model_config_from_original(data)
    assert isinstance(config, GPTConfig)
    assert config.n_ctx == 64


def test_spellings_that_disagree_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_ctx"):
        model_config_from_original(GPT | {"n_ctx": 128})


def test_released_meena_keys() -> None:
    config = model_config_from_original(MEENA)
    assert isinstance(config, MeenaConfig)
    assert (config.n_encoder_layer, config.n_decoder_layer, config.n_encoder_ctx) == (2, 12, 128)
    assert config.sept_id == 9


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (GPT | {"activation": "relu"}, "activation"),
        ({k: v for k, v in GPT.items() if k != "n_layer"}, "n_layer"),
        (GPT | {"n_head": 7}, "7 heads"),
        (GPT | {"n_layer": "12"}, "n_layer"),
        (GPT | {"n_layer": True}, "n_layer"),
        (GPT | {"n_embd": 0}, "n_embd"),
        (GPT | {"eos_token_id": 32000}, "32000"),
        (MEENA | {"max_encoder_length": 256}, "n_encoder_ctx"),
        ({}, "missing"),
    ],
)
def test_a_wrong_released_configuration_is_named(data: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        model_config_from_original(data)


def test_every_named_shape_survives_json() -> None:
    for entry in list_models():
        data = json.loads(json.dumps(entry.config.model_dump(mode="json")))
        assert model_config_from_dict(data) == entry.config


@pytest.mark.parametrize("kind", [None, "lstm", [], 3])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    with pytest.raises(ConfigError, match="kind"):
        model_config_from_dict({"kind": kind})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "table"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"kind": "gpt", "dropout": NaN}', "NaN"),
        (b"[" * 100_000, "JSON"),
        (b'{"kind": "gpt", "n_embd": ' + b"9" * 5000 + b"}", "JSON"),
        (b'{"kind": "gpt", "self": 1}', "self|missing"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=named) as caught:
        read_model_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(ConfigError, match="no configuration file"):
            read_config_file(path)


def test_toml_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('\ufeffname = "가"\n[model]\nn_layer = 2\n', encoding="utf-8")
    assert read_config_file(path) == {"name": "가", "model": {"n_layer": 2}}
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(ConfigError, match="TOML"):
        read_config_file(path)


def test_overrides_are_toml_or_else_text() -> None:
    data = {"a": {"b": 1, "kept": True}}
    overrides = ["a.b=2", "a.c=hello there", "x.y=[1, 2]", "s = '1'", "f=1e-3", "e=", "u=a=b"]
    assert apply_overrides(data, overrides) == {
        "a": {"b": 2, "kept": True, "c": "hello there"},
        "x": {"y": [1, 2]},
        "s": "1",
        "f": 0.001,
        "e": "",
        "u": "a=b",
    }
    assert data == {"a": {"b": 1, "kept": True}}


def test_overrides_reach_into_lists() -> None:
    data = {"stages": [{"steps": 1}, {"steps": 2}], "turns": [["a"], ["b"]]}
    changed = apply_overrides(data, ["stages.1.steps=9", "turns.0.0=c", "turns.1=[]"])
    assert changed == {"stages": [{"steps": 1}, {"steps": 9}], "turns": [["c"], []]}
    assert data["stages"][1] == {"steps": 2}


def test_an_override_sets_one_value_only() -> None:
    assert apply_overrides({}, ["a=1\nb = 2"]) == {"a": "1\nb = 2"}


def test_an_override_too_deep_for_toml_is_text() -> None:
    assert apply_overrides({}, ["a=" + "[" * 5000]) == {"a": "[" * 5000}


@pytest.mark.parametrize(
    "override",
    [
        "",
        "a",
        "=1",
        "a..b=1",
        ".a=1",
        "a.b.c=1",
        "l.2=1",
        "l.-1=1",
        "l.x.y=1",
        "l." + "9" * 5000 + "=1",
    ],
    ids=lambda override: override[:9],
)
def test_impossible_overrides_are_refused(override: str) -> None:
    with pytest.raises(OptionError, match="--set"):
        apply_overrides({"a": {"b": 1}, "l": [1, 2]}, [override])


@pytest.mark.parametrize(("written", "meant"), [("epoch", "epochs"), ("steps", "max_steps")])
def test_an_unknown_field_is_told_with_those_that_may_be_meant(written: str, meant: str) -> None:
    with pytest.raises(OptionError, match=f"'{written}'; remove it, or choose from {meant}"):
        FinetuningConfig(**{written: 3})


def test_an_unknown_field_that_is_like_none_is_told_with_all() -> None:
    with pytest.raises(OptionError) as caught:
        FinetuningConfig(zzz=3)
    assert all(name in str(caught.value) for name in FinetuningConfig.model_fields)


@pytest.mark.parametrize(
    ("table", "overrides", "error"),
    [
        ({}, ["epochs=0"], OptionError),
        ({}, ["lora.rank=0"], OptionError),
        ({"lora": {"rank": 0}}, [], ConfigError),
        ({"lora": {"rank": 0}}, ["epochs=2"], ConfigError),
        ({"lora": {"rank": 0}}, ["epochs.x=2"], ConfigError),
        ({"lora": {"rank": 0}}, ["lora.rank=4"], None),
        ({"lora": {"rank": 4}}, ["lora.rank=0"], OptionError),
    ],
)
def test_what_is_wrong_is_the_files_or_the_command_lines_fault(
    table: dict[str, Any], overrides: list[str], error: type[Exception] | None
) -> None:
    def make() -> LearningConfig:
        return configure(
            lambda fields: LearningConfig(**fields),
            table,
            lambda fields: apply_overrides(fields, overrides),
        )

    if error is None:
        assert make().lora is not None
    else:
        with pytest.raises(error) as refused:
            make()
        assert type(refused.value) is error


class LearningConfig(FinetuningConfig):
    """Of a file, and not of options alone."""

    error: ClassVar[type[DialogueModelError]] = ConfigError


def test_a_missing_package_is_told_with_what_brings_it() -> None:
    for error, told in (
        (MissingExtraError("peft", "train"), 'pip install "dialogue-generation-models[train]"'),
        (MissingExtraError("ray", None), "pip install ray"),
    ):
        assert str(error).endswith(told)
        assert str(copy.copy(error)) == str(error)
