"""The page on exporting: its commands and its code run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "exporting.md").read_text(encoding="utf-8")


def test_the_commands_and_the_code_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("ctranslate2")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "code")
    )
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.chdir(tmp_path)
    for language, block in re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL):
        if language == "bash":
            for command in block.splitlines():
                assert main(shlex.split(command)[1:]) == 0
        else:
            exec(compile(block, "exporting.md", "exec"), {})
