"""`dgm models`."""

from __future__ import annotations

import json

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.config.io import model_config_from_dict
from dialogue_generation_models.config.registry import list_models


def test_the_list_names_every_model_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first_words = [line.split()[0] for line in lines if line]
    for entry in list_models():
        assert entry.name in first_words
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith(" ") for line in lines)


def test_the_list_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [entry.name for entry in list_models()]
    for row, entry in zip(rows, list_models(), strict=True):
        assert model_config_from_dict(row["config"]) == entry.config


def test_one_model_by_either_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "LARGE_meena_trained_on_filtered_data_kr"]) == 0
    text = capsys.readouterr().out
    for fact in (
        "Meena-large-trained-on-filtered-dialogue-data-KR",
        "Korean",
        "461,342,720",
        "withdrawn",
        "dgm convert",
        "large_meena_trained_on_filtered_data_kr.pth",
        "n_decoder_layer 24",
    ):
        assert fact in text


def test_one_model_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "gpt2-xl", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["parameters"] == 1_557_611_200
    assert row["file"] is None
    assert row["config"]["norm"] == "pre"
