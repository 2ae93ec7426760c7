"""The page on preparing data: its commands run, its settings are read."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.config.preparation import ExecutorConfig, PreparationConfig
from dialogue_generation_models.data.stored import PreparedDataset

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "preparing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, flags=re.DOTALL)
EXPORT = "나래 님과 카카오톡 대화\n저장한 날짜 : 2022-11-03 10:44:52\n\n" + "".join(
    f"--------------- 2020년 6월 {day}일 일요일 ---------------\n"
    f"[나래] [오전 9:01] {'오늘 저녁에 같이 걸을까' if day % 2 else '내일 영화 보러 가자'} {day}\n"
    f"[가람] [오전 9:02] {'좋아 강변으로 가자' if day % 3 else '미안 오늘은 바빠'} {day}\n"
    for day in range(1, 20)
)


def test_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PROJECT / "examples" / "talk.jsonl", tmp_path)
    Path("KakaoTalkChats.txt").write_text(EXPORT, encoding="utf-8")
    settings = next(text for kind, text in BLOCKS if kind == "toml")
    Path("prep.toml").write_text(settings, encoding="utf-8")
    lines = [line for kind, text in BLOCKS if not kind for line in text.splitlines()]
    commands = [line for line in lines if not line.startswith("python benchmarks/")]
    assert len(commands) == 6
    speaker = ""
    for command in commands:
        if "review both" in command:
            sample = Path("both-review.csv")
            labelled = sample.read_text(encoding="utf-8-sig").replace(",,", ",n,")
            sample.write_text(labelled, encoding="utf-8-sig")
        # Name models and near-copies are tested elsewhere; without them the page is tested in seconds.
        quick = [
            "--set",
            "scrub.name_models=false",
            "--set",
            "dedup.near=false",
            "--set",
            "parts=2",
        ]
        words = shlex.split(command.replace("ID", speaker))[1:]
        assert main([*words, *(quick if words[0] == "prepare" else [])]) == 0, command
        found = re.search(r"speaker-\w+", capsys.readouterr().out)
        speaker = found[0] if found else speaker
    assert speaker
    assert PreparedDataset(tmp_path / "both").manifest["forgotten"][0]["speaker"] == speaker


def test_the_settings_are_read() -> None:
    first, executor, _ = [tomllib.loads(text) for kind, text in BLOCKS if kind == "toml"]
    assert PreparationConfig(**first).sources[1].repeat == 2
    assert ExecutorConfig(**executor["executor"]).workers == 64


def test_the_figures_are_those_of_the_code() -> None:
    config = PreparationConfig()
    assert f"`parts` ({config.parts})" in PAGE
    assert f"Of a reply {config.dedup.keep_replies} are learnt" in PAGE
    assert f"from {config.dedup.near_letters} letters on" in " ".join(PAGE.split())


def test_the_files_are_those_of_a_data_set() -> None:
    listed = re.findall(r"^\| `([\w.]+)` \|", PAGE, flags=re.MULTILINE)
    assert listed == [
        "tokenizer.model",
        "manifest.json",
        "report.html",
        "speakers.json",
        "speakers.key",
    ]
