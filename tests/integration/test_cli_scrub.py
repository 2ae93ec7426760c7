"""`dgm scrub` as a program: files in, files out, counts, errors, nothing told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

ROOM = {
    "id": "kakaotalk-fedcba9876543210",
    "source": "kakaotalk",
    "title": "철수, 민지",
    "messages": [
        {"at": "2020-11-03T11:29:00", "speaker": "김철수", "text": "민지야 010-1234-5678", "n": 1},
        {"at": None, "speaker": "박민지", "text": "철수야 고마워"},
    ],
    "extra": {"kept": True},
}
TALK = {
    "id": "t1",
    "turns": [{"speaker": "A", "text": "박서준 씨 계세요?"}, {"speaker": "B", "text": "네"}],
    "meta": {"licence": "x"},
}
API = {
    "messages": [
        {"role": "user", "content": "a@example.com"},
        {"role": "assistant", "content": "네"},
    ]
}
SECRETS = ("철수", "민지", "서준", "1234", "example")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dialogue_generation_models", "scrub", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120
    )


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text(
        "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8"
    )
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "chats.jsonl", ROOM, TALK, API)


def test_names_and_numbers_go_and_the_rest_stays(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "scrubbed.jsonl"
    result = run("-i", source, "-o", output, "--no-name-models")
    assert result.returncode == 0, result.stderr
    room, talk, api = read(output)
    written = output.read_text(encoding="utf-8")
    assert not any(secret in written for secret in SECRETS)
    assert room["extra"] == {"kept": True}
    assert (room["id"], room["source"]) == (ROOM["id"], "kakaotalk")
    assert [set(message) for message in room["messages"]] == [
        {"at", "speaker", "text", "n"},
        {"at", "speaker", "text"},
    ]
    assert room["messages"][0]["text"].endswith("야 <PHONE>")
    assert (talk["id"], talk["meta"], talk["turns"][1]) == (
        "t1",
        {"licence": "x"},
        TALK["turns"][1],
    )
    assert api["messages"][0] == {"role": "user", "content": "<EMAIL>"}
    assert "phone" in result.stderr
    assert not any(secret in result.stderr + result.stdout for secret in SECRETS)
    again = tmp_path / "again.jsonl"
    assert run("-i", output, "-o", again, "--no-name-models").returncode == 0
    assert again.read_bytes() == output.read_bytes()


def test_with_name_models_as_json(source: Path, tmp_path: Path) -> None:
    result = run("-i", source, "-o", tmp_path / "o.jsonl", "--json", "--mode", "placeholder")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["counts"] == {"name": 3, "phone": 1, "email": 1}
    assert (told["messages"], told["touched"], told["dropped"]) == (6, 4, 0)
    assert read(tmp_path / "o.jsonl")[0]["messages"][1]["text"] == "<NAME>야 고마워"


def test_drop_and_keep(source: Path, tmp_path: Path) -> None:
    options = ("--mode", "drop", "--no-name-models", "--keep", "email")
    assert run("-i", source, "-o", tmp_path / "o.jsonl", *options).returncode == 0
    room, talk, api = read(tmp_path / "o.jsonl")
    assert [room["messages"], len(talk["turns"]), api["messages"]] == [[], 1, API["messages"]]


def test_compressed_input(source: Path, tmp_path: Path) -> None:
    packed = tmp_path / "chats.jsonl.zst"
    packed.write_bytes(zstandard.compress(source.read_bytes()))
    for name, given in (("a", source), ("b", packed)):
        assert run("-i", given, "-o", tmp_path / name, "--no-name-models").returncode == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("content", "options", "code", "message"),
    [
        (None, [], 1, "no such file"),
        ("", [], 1, "holds no lines"),
        ("{", [], 1, "line 1 is not valid JSON"),
        ('{"id": "비밀", "text": "비밀"}\n', [], 1, "line 1 is no dialogue"),
        ('{"messages": [{"speaker": "비밀"}]}\n', [], 1, "line 1: each message needs"),
        ('{"turns": []}\n', ["--mode", "burn"], 2, "There is no mode"),
        ('{"turns": [{"speaker": "A", "text": "x"}]}\n', ["--keep", "fax"], 2, "no kind 'fax'"),
    ],
)
def test_errors(
    content: str | None, options: list[str], code: int, message: str, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    if content is not None:
        source.write_text(content, encoding="utf-8")
    result = run("-i", source, "-o", tmp_path / "out.jsonl", "--no-name-models", *options)
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert "비밀" not in result.stderr
    assert "Traceback" not in result.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"in.jsonl"}


def test_an_output_is_not_replaced_unasked(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    output.write_text("mine")
    assert run("-i", source, "-o", output, "--no-name-models").returncode != 0
    assert output.read_text() == "mine"
    assert run("-i", source, "-o", output, "--no-name-models", "--overwrite").returncode == 0
    before = source.read_bytes()
    assert run("-i", source, "-o", source, "--no-name-models", "--overwrite").returncode == 2
    assert source.read_bytes() == before


def test_a_missing_package_is_one_sentence(source: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['kiwipiepy'] = None\n"
        "from dialogue_generation_models.cli.main import main\n"
        f"sys.exit(main(['scrub', '-i', {str(source)!r}, '-o', {str(tmp_path / 'o.jsonl')!r}]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 2
    assert "kiwipiepy" in result.stderr
    assert "dialogue-generation-models[data]" in result.stderr
    assert not (tmp_path / "o.jsonl").exists()


def test_the_id_of_a_dialogue_tells_nobody(tmp_path: Path) -> None:
    named = {**TALK, "id": "김철수와 010-1234-5678"}
    shared = {"conversations": [{"from": "human", "value": "a@example.com"}], "id": "g1"}
    emptied = {"turns": [{"speaker": "A", "text": "010-1234-5678"}]}
    source = write(tmp_path / "talk.jsonl", named, TALK, shared, emptied)
    output = tmp_path / "scrubbed.jsonl"
    result = run("-i", source, "-o", output, "--no-name-models", "--mode", "drop")
    assert result.returncode == 0, result.stderr
    assert [line.get("id") for line in read(output)] == ["dialogue-000001", "t1"]
    result = run("-i", source, "-o", output, "--no-name-models", "--overwrite")
    assert read(output)[2]["conversations"] == [{"from": "human", "value": "<EMAIL>"}]
