"""The numbers and the code in docs/architectures.md are true."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from dialogue_generation_models.config.model import GPTConfig, MeenaConfig, ModelConfig
from dialogue_generation_models.config.registry import list_models
from dialogue_generation_models.models import build_model

PAGE = (Path(__file__).parents[2] / "docs" / "architectures.md").read_text(encoding="utf-8")


def cells(config: ModelConfig) -> list[str]:
    """What the page's table must say of a shape: layers, width, heads, inner, vocabulary, positions."""
    numbers = config.model_dump()
    if isinstance(config, GPTConfig):
        layers = str(numbers["n_layer"])
    else:
        layers = f"{numbers['n_encoder_layer']} + {numbers['n_decoder_layer']}"
    side = "decoder_" if isinstance(config, MeenaConfig) else ""
    sizes = ("n_embd", f"n_{side}head", f"n_{side}inner", "vocab_size", "n_ctx")
    return [layers, *(f"{numbers[size]:,}" for size in sizes)]


def test_the_table_has_every_shape_and_its_number_of_parameters() -> None:
    rows = re.findall(r"^\| (.+) \|$", PAGE, flags=re.MULTILINE)
    written = {tuple(cell.strip() for cell in row.split("|")[1:]) for row in rows}
    with torch.device("meta"):
        for shape in {entry.config.model_dump_json(): entry for entry in list_models()}.values():
            count = sum(weight.numel() for weight in build_model(shape.config).parameters())
            assert (*cells(shape.config), f"{count:,}") in written, shape.name


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert tuple(names["logits"].shape) == (2, 6, 8192)  # type: ignore[attr-defined]
    assert torch.allclose(names["step"], names["logits"][:, :1], atol=1e-5)  # type: ignore[index]
