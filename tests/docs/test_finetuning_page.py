"""The page on fine-tuning: its commands run, its figures are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.config.finetuning import FinetuningConfig
from dialogue_generation_models.training.planning import LEAST_HELD_OUT, LEAST_LEARNT

PAGE = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("dgm finetune")
]


def test_the_options_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training itself is tested elsewhere; here each command reaches its inputs, which are not there."""
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        assert main(command) == 1, command
    assert list(tmp_path.iterdir()) == []


def test_the_figures_are_those_of_the_code() -> None:
    assert f"{LEAST_LEARNT} replies to learn and {LEAST_HELD_OUT} held out" in PAGE
    assert f"up to {FinetuningConfig().epochs:g} readings" in PAGE
