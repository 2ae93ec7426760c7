"""The pages on chat, generate and Python say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dialogue_generation_models as dgm
from dialogue_generation_models.chat import MAX_TURN_CHARACTERS, Chatbot
from dialogue_generation_models.cli.conversation import Conversation
from dialogue_generation_models.cli.terminal import TerminalView

DOCS = Path(__file__).parents[2] / "docs"


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_chat_page_lists_the_commands(tiny_folder: Path) -> None:
    conversation = Conversation(dgm.load(str(tiny_folder)), TerminalView(), {})
    listed = re.findall(r"^\| `(/\w+)", read("chat.md"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(conversation.commands)
    assert f"{MAX_TURN_CHARACTERS:,}" in " ".join(read("chat.md").split())


def test_the_python_page_runs(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = dgm.load
    monkeypatch.setattr(dgm, "load", lambda name: load(str(tiny_folder)), raising=False)
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", read("python.md"), flags=re.DOTALL):
        exec(compile(code, "python.md", "exec"), names)
    assert capsys.readouterr().out.count("\n") >= 10
    assert len(names["replies"]) == 10  # type: ignore[arg-type]


def test_the_python_page_names_what_there_is() -> None:
    used = set(re.findall(r"\bbot\.(\w+)", read("python.md")))
    assert used <= {*dir(Chatbot), "model", "tokenizer", "decoding", "precision"}
    assert set(re.findall(r"\bdgm\.(\w+)", read("python.md"))) <= set(dgm.__all__)
