"""`dgm generate`: formats of input, resuming, refusals before anything is written."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from dialogue_generation_models.chat import Chatbot, Reply
from dialogue_generation_models.cli.main import main

SECRET = "비밀이야기"
TEXTS = [
    "안녕하세요",
    "오늘 뭐 먹을까?",
    "最近映画とかみた?",
    "아 진짜 힘들다",
    "그래 내일 보자",
    "hi",
]


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    path = tmp_path / "contexts.jsonl"
    lines: list[dict[str, Any]] = [
        {"id": str(i), "context": [*TEXTS[: i % 3], text]} for i, text in enumerate(TEXTS)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return path


class Run:
    """`dgm generate` with one model and one input."""

    def __init__(self, model: Path, source: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._arguments = ["--model", str(model), "-i", str(source)]
        self._capfd = capfd

    def __call__(self, output: Path | str, *options: str) -> int:
        code = main(["generate", *self._arguments, "-o", str(output), *options])
        self.shown, self.errors = self._capfd.readouterr()
        return code


@pytest.fixture
def run(tiny_folder: Path, contexts: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(tiny_folder, contexts, capfd)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_line_is_answered_in_order(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "replies.jsonl"
    assert run(output, "--candidates", "3") == 0
    assert (run.shown, run.errors) == ("", f"Wrote 6 lines to {output}.\n")
    lines = read(output)
    assert [line["id"] for line in lines] == [str(i) for i in range(6)]
    for line in lines:
        assert list(line) == ["id", "replies"]
        assert len(line["replies"]) == 3
        assert all(list(reply) == ["text", "score", "tokens"] for reply in line["replies"])
        scores = [reply["score"] for reply in line["replies"]]
        assert scores == sorted(scores, reverse=True)


def test_batch_size_and_place_change_nothing_and_the_seed_does(run: Run, tmp_path: Path) -> None:
    outputs = [tmp_path / f"{i}.jsonl" for i in range(4)]
    assert run(outputs[0], "--batch-size", "1") == 0
    assert run(outputs[1], "--batch-size", "4") == 0
    assert run("-") == 0
    outputs[2].write_text(run.shown, encoding="utf-8")
    assert run(outputs[3], "--seed", "7") == 0
    texts = [[line["replies"][0]["text"] for line in read(output)] for output in outputs]
    assert texts[0] == texts[1] == texts[2]
    assert texts[3] != texts[0]


def stop_after(monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    """Let Ctrl+C come after so many lines."""
    answer = Chatbot.reply_each

    def interrupted(
        self: Chatbot, histories: Iterable[Any], **options: Any
    ) -> Iterator[list[Reply]]:
        yield from islice(answer(self, histories, **options), lines)
        raise KeyboardInterrupt

    monkeypatch.setattr(Chatbot, "reply_each", interrupted)


def test_an_interrupted_run_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole.jsonl", tmp_path / "replies.jsonl"
    partial = tmp_path / "replies.jsonl.partial"
    options = ("--candidates", "2", "--batch-size", "2")
    assert run(whole, *options) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        assert run(output, *options) == 130
    assert "Stopped after line 4 of 6" in run.errors
    assert not output.exists()
    assert len(read(partial)) == 4
    # A crash may leave half a line.
    content = partial.read_bytes()
    partial.write_bytes(content[: content.rfind(b"{")] + b'{"id": "3", "rep')
    assert run(output, *options) == 0
    assert "Going on after line 3 of 6" in run.errors
    for found, expected in zip(read(output), read(whole), strict=True):
        assert found["id"] == expected["id"]
        for reply, other in zip(found["replies"], expected["replies"], strict=True):
            # In float32 the last digit depends on how many are answered at once.
            assert reply == {**other, "score": pytest.approx(other["score"], abs=2e-6)}
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("change", ["options", "input", "model"])
def test_another_run_does_not_go_on_with_the_remains(
    change: str,
    run: Run,
    tmp_path: Path,
    contexts: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "replies.jsonl"
    partial = tmp_path / "replies.jsonl.partial"
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert run(output, "--batch-size", "2") == 130
    before = partial.read_bytes()
    if change == "input":
        with contexts.open("a", encoding="utf-8") as file:
            file.write('{"context": ["x"]}\n')
    if change == "model":
        config = tiny_folder / "config.json"
        config.write_text(config.read_text() + "\n")
    options = ("--seed", "1") if change == "options" else ()
    assert run(output, *options) == 1
    assert "other input, options or model" in run.errors
    assert run.errors.count("\n") == 1
    assert partial.read_bytes() == before
    assert not output.exists()
    assert run(output, *options, "--overwrite") == 0
    assert len(read(output)) == 6 + (change == "input")


def test_an_existing_file_is_kept_unless_told_otherwise(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "replies.jsonl"
    output.write_text("mine")
    assert run(output) == 1
    assert "exists already" in run.errors
    assert output.read_text() == "mine"
    assert run(output, "--overwrite") == 0
    assert len(read(output)) == 6


def test_all_input_formats(tiny_folder: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines: list[dict[str, Any]] = [
        {"id": "t", "turns": [{"speaker": "A", "text": "안녕"}, {"speaker": "B", "text": "뭐해?"}]},
        {"messages": [{"role": "user", "content": "안녕"}, {"role": "bot", "content": "뭐해?"}]},
        {"context": ["안녕", "뭐해?"], "id": "c"},
        {"context": "안녕"},
    ]
    text = "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    source.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert main(["generate", "-m", str(tiny_folder), "-i", str(source), "-o", str(output)]) == 0
    found = read(output)
    assert [line["id"] for line in found] == ["t", "3", "c", "7"]
    assert found[0]["replies"] == found[1]["replies"] == found[2]["replies"] != found[3]["replies"]


def test_standard_input_to_standard_output(
    tiny_folder: Path,
    contexts: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(contexts.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["generate", "-m", str(tiny_folder), "-i", "-", "-o", "-"]) == 0
    shown, errors = capfd.readouterr()
    assert len(shown.splitlines()) == 6
    assert errors == ""


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "{}",
        '{"turns": []}',
        '{"turns": [{"speaker": "A"}]}',
        '{"context": []}',
        '{"context": [1]}',
        f'{{"context": ["{SECRET}"], "id": 1}}',
        f'{{"context": ["{SECRET}"], "id": "\\ud800"}}',
        f'{{"context": ["{SECRET}", " "]}}',
        f'{{"context": ["{SECRET}\\ud800"]}}',
        f'{{"context": ["{SECRET * 100}"]}}',
    ],
)
def test_bad_lines_are_named_before_anything_is_written(
    line: str, run: Run, contexts: Path, tmp_path: Path
) -> None:
    with contexts.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    before = sorted(tmp_path.iterdir())
    assert run(tmp_path / "replies.jsonl") == 1
    assert "contexts.jsonl, line 7" in run.errors
    assert run.errors.count("\n") == 1
    assert SECRET not in run.errors
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("output", "options", "code", "words"),
    [
        ("no/replies.jsonl", [], 1, "does not exist"),
        (".", [], 1, "is a folder"),
        ("replies.jsonl.zst", [], 1, "plain JSON Lines"),
        ("replies.jsonl", ["--strategy", "loud"], 2, "Unknown strategy"),
        ("replies.jsonl", ["-s", "greedy", "-n", "2"], 2, "greedy"),
    ],
)
def test_refusals(
    output: str, options: list[str], code: int, words: str, run: Run, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    assert run(tmp_path / output, *options) == code
    assert words in run.errors
    assert run.errors.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_input_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("\n\n")
    output = tmp_path / "out.jsonl"
    assert main(["generate", "-m", str(tiny_folder), "-i", str(source), "-o", str(output)]) == 1
    assert not output.exists()
