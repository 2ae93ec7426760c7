"""The named models: names, shapes and parameter counts as published."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dialogue_generation_models.config.io import read_config_file
from dialogue_generation_models.config.registry import ModelEntry, get_entry, list_models
from dialogue_generation_models.config.training import Recipe
from dialogue_generation_models.errors import ModelNotFoundError
from dialogue_generation_models.models import build_model

PUBLISHED = {
    "GPT-base-trained-on-dialogue-data-only-KR": "base_gpt_trained_on_dialogue_data_kr",
    "GPT-large-trained-on-dialogue-data-only-KR": "large_gpt_trained_on_dialogue_data_kr",
    "GPT-base-trained-on-dialogue-and-wiki-KR": "base_gpt_trained_on_wiki_and_dialogue_data_kr",
    "GPT-large-trained-on-dialogue-and-wiki-KR": "large_gpt_trained_on_wiki_and_dialogue_data_kr",
    "Meena-base-trained-on-filtered-dialogue-data-KR": "base_meena_trained_on_filtered_data_kr",
    "Meena-large-trained-on-filtered-dialogue-data-KR": "large_meena_trained_on_filtered_data_kr",
    "Meena-base-trained-on-no-filtered-dialogue-data-KR": (
        "base_meena_trained_on_non_filtered_data_kr"
    ),
    "Meena-large-trained-on-no-filtered-dialogue-data-KR": (
        "large_meena_trained_on_non_filtered_data_kr"
    ),
    "Meena-base-trained-on-dialogue-data-JP": "base_meena_trained_on_filtered_data_jp",
}


@pytest.mark.parametrize(("name", "stem"), PUBLISHED.items())
def test_published_models_answer_to_both_spellings_in_any_case(name: str, stem: str) -> None:
    entry = get_entry(name)
    assert entry.name == name
    assert entry.file == f"{stem}.pth"
    assert entry.weights == "withdrawn"
    assert entry.config.vocab_size == 32_000
    for spelling in (name.upper(), name.lower(), stem, stem.upper(), f" {stem}.pth "):
        assert get_entry(spelling) is entry


def test_the_published_shapes() -> None:
    gpt = get_entry("GPT-large-trained-on-dialogue-and-wiki-KR").config.model_dump()
    assert (gpt["kind"], gpt["norm"], gpt["n_ctx"]) == ("gpt", "post", 256)
    assert (gpt["n_layer"], gpt["n_embd"], gpt["n_head"], gpt["n_inner"]) == (24, 1024, 16, 4096)
    meena = get_entry("Meena-base-trained-on-dialogue-data-JP").config.model_dump()
    assert (meena["kind"], meena["n_ctx"], meena["n_encoder_ctx"]) == ("meena", 256, 128)
    assert (meena["n_encoder_layer"], meena["n_decoder_layer"]) == (2, 12)
    assert (meena["n_embd"], meena["n_decoder_head"], meena["n_decoder_inner"]) == (768, 12, 3072)


def test_languages_follow_the_names() -> None:
    languages = {entry.name: entry.language for entry in list_models()}
    assert languages["Meena-base-trained-on-dialogue-data-JP"] == "ja"
    assert languages["gpt-mini-ko"] == "ko"
    assert languages["gpt2"] == "en"
    assert all(languages[name] == "ko" for name in PUBLISHED if name.endswith("KR"))


@pytest.mark.parametrize("entry", list_models(), ids=lambda entry: str(entry.name))
def test_declared_parameters_are_the_models_own(entry: ModelEntry) -> None:
    with torch.device("meta"):
        model = build_model(entry.config)
    assert sum(parameter.numel() for parameter in model.parameters()) == entry.parameters


def test_no_two_models_share_a_spelling() -> None:
    spellings = [spelling for entry in list_models() for spelling in entry.spellings]
    assert len(spellings) == len(set(spellings))
    assert len(list_models()) == 18


@pytest.mark.parametrize(
    ("name", "hint"), [("gpt-mini-kr", "gpt-mini-ko"), ("gpt3", "gpt2"), ("zzz", "dgm models list")]
)
def test_an_unknown_name_is_answered_with_near_ones(name: str, hint: str) -> None:
    with pytest.raises(ModelNotFoundError, match=hint):
        get_entry(name)


@pytest.mark.parametrize(
    "entry", [entry for entry in list_models() if entry.recipe], ids=lambda entry: str(entry.name)
)
def test_recipes_exist_and_agree_with_what_is_said(entry: ModelEntry) -> None:
    assert entry.recipe is not None
    recipe = Recipe(**read_config_file(Path(__file__).parents[2] / entry.recipe))
    assert recipe.language == entry.language
    assert (recipe.name, recipe.license) == (entry.name, entry.licence)
    no_dropout = {"dropout": 0.0, "attention_dropout": 0.0}
    assert recipe.model.replace(**no_dropout) == entry.config
