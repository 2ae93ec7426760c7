"""`dgm tokenizer train`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

TEXTS = [
    "안녕하세요 반갑습니다",
    "오늘 뭐 먹을까?",
    "저녁에 영화 볼래? 재밌는 거 있대 ㅋㅋㅋ",
    "아 진짜 힘들다 ㅠㅠ 좀 쉬고 싶어",
    "그래 그럼 내일 보자!",
    "最近映画とかみた?",
    "うん、面白かったよ!",
    "そうなんだ、私もみようかな...",
] * 20


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """The same few lines as text, text lines and dialogue lines."""
    (tmp_path / "a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS]
    (tmp_path / "b.jsonl").write_text("\n".join(lines), encoding="utf-8")
    turns = [{"speaker": "AB"[i % 2], "text": text} for i, text in enumerate(TEXTS)]
    (tmp_path / "c.jsonl").write_text(json.dumps({"turns": turns}), encoding="utf-8")
    return [str(tmp_path / name) for name in ("a.txt", "b.jsonl", "c.jsonl")]


def test_a_tokenizer_from_all_kinds_of_input(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["tokenizer", "train", *inputs, "-o", str(out), "--vocab-size", "334"]) == 0
    assert "334 pieces" in capsys.readouterr().out
    tokenizer = Tokenizer.from_file(out / "tokenizer.model")
    assert tokenizer.vocab_size == 334
    assert tokenizer.decode(tokenizer.encode("오늘 영화 볼래? 🙂")) == "오늘 영화 볼래? 🙂"
    settings = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))
    assert settings["vocab_size"] == 334
    assert settings["inputs"] == ["a.txt", "b.jsonl", "c.jsonl"]


def test_the_result_for_programs_and_training_anew(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for size in (332, 334):
        command = ["tokenizer", "train", *inputs, "-o", str(out), "-n", str(size), "--json"]
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["vocab_size"] == size
    assert Tokenizer.from_file(out / "tokenizer.model").vocab_size == 334


def test_only_so_many_lines_are_read(inputs: list[str], tmp_path: Path) -> None:
    with Path(inputs[1]).open("a", encoding="utf-8") as file:
        file.write("\nthis line is not JSON")
    command = ["tokenizer", "train", inputs[1], "-n", "334"]
    assert main([*command, "-o", str(tmp_path / "x")]) == 1
    assert not (tmp_path / "x").exists()
    assert main([*command, "-o", str(tmp_path / "y"), "--max-lines", str(len(TEXTS))]) == 0


@pytest.mark.parametrize("size", ["300", "50000"])
def test_an_impossible_size_is_one_sentence(
    inputs: list[str], tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tokenizer", "train", inputs[0], "-o", str(tmp_path / "x"), "--vocab-size", size]
    code = main(command)
    captured = capsys.readouterr()
    assert code == 1
    assert captured.err.startswith("dgm: ")
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_other_peoples_folders_are_left_alone(inputs: list[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert main(["tokenizer", "train", *inputs, "-o", str(tmp_path), "-n", "334"]) == 1
    assert sorted(tmp_path.iterdir()) == before
