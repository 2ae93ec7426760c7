"""The page on importing: its commands run, and its formats are those that are read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.data.chats import read_chats
from dialogue_generation_models.data.importers.account import CLASSES, MOST_NUMBERS
from dialogue_generation_models.data.importers.sniff import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "importing.md").read_text(encoding="utf-8")
EXPORTS = {
    "KakaoTalkChats.txt": "방 카카오톡 대화\n저장한 날짜 : 2020년 11월 3일 오전 11:29\n\n\n"
    "2020년 11월 2일 오후 12:05, 미루 : 안녕\n",
    "[LINE] Chat.txt": "[LINE] 部屋のトーク履歴\n\n2026/01/06(火)\n10:00\t葵\tやあ\n",
    "corpus.jsonl": '{"turns": [{"speaker": "A", "text": "안녕"}]}\n',
    "pairs.tsv": "안녕\t응\n",
    "answers.csv": "Q,A\n안녕,응\n",
}


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in EXPORTS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        _, *arguments = shlex.split(command)
        assert main(arguments) == 0
        output = Path(arguments[arguments.index("-o") + 1])
        assert all(chat.messages for chat in read_chats(output))


def test_the_tables_list_what_there_is() -> None:
    assert re.findall(r"^\| [^|]+ \| `(\w+)` \|", PAGE, flags=re.MULTILINE) == list(FORMATS)
    classes = PAGE.split("| class | |")[1].split("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", classes, flags=re.MULTILINE) == list(CLASSES)
    assert f"the first {MOST_NUMBERS:,} of each file" in PAGE
