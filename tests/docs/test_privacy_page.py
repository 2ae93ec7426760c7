"""The page on personal data says what the code does."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.config.privacy import ScrubMode
from dialogue_generation_models.data.privacy.finding import Kind

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")


def test_it_lists_the_modes_and_the_kinds() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted([*get_args(ScrubMode), *get_args(Kind)])


def test_its_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    messages = [{"at": None, "speaker": "김철수", "text": "박서준 과장님 010-1234-5678"}]
    Path("chats.jsonl").write_text(json.dumps({"id": "r", "messages": messages}), encoding="utf-8")
    (command,) = re.findall(r"^```\n(dgm .*)\n```", PAGE, flags=re.MULTILINE)
    assert main(shlex.split(command)[1:]) == 0
    written = Path("scrubbed.jsonl").read_text(encoding="utf-8")
    assert "<PHONE>" in written
    assert not re.search("철수|서준|1234", written)
