"""The table in docs/models.md is the registry."""

from __future__ import annotations

import re
from pathlib import Path

from dialogue_generation_models.config.registry import list_models

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_table_is_the_registry() -> None:
    rows = re.findall(r"^\| `(\S+)` \| (\w+) \| ([\d,]+) \| (\w+) \|$", PAGE, flags=re.MULTILINE)
    assert rows == [
        (entry.name, entry.language, f"{entry.parameters:,}", entry.weights)
        for entry in list_models()
    ]
