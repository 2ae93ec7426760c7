"""The page on training: its settings are read and its defaults are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dialogue_generation_models.config.io import apply_overrides
from dialogue_generation_models.config.training import Recipe, StageConfig
from training_material import make_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
SETTINGS = sorted(
    {
        setting
        for setting in re.findall(r"`(\w+ = (?:\"\w+\"|[\w.]+))`", PAGE)
        if not setting.startswith("objective")
    }
)


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_are_read(setting: str) -> None:
    name, _, value = setting.partition(" = ")
    assert name in Recipe.model_fields or name in StageConfig.model_fields
    place = name if name in Recipe.model_fields else f"stages.0.{name}"
    given = make_recipe().model_dump(mode="json")
    changed: Any = Recipe(**apply_overrides(given, [f"{place}={value}"]))
    for part in place.split("."):
        changed = changed[int(part)] if part.isdigit() else getattr(changed, part)
    assert str(changed).lower() == value.strip('"')


def test_settings_and_their_defaults_are_those_of_recipes() -> None:
    assert len(SETTINGS) >= 12
    assert "(`keep_checkpoints`, 2 by default)" in PAGE
    assert Recipe.model_fields["keep_checkpoints"].default == 2
    assert StageConfig.model_fields["schedule"].default == "cosine"
