"""`dgm evaluate` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dialogue_generation_models.checkpoint.folder import save_folder
from dialogue_generation_models.cli.main import main
from dialogue_generation_models.config.decoding import DecodingConfig
from dialogue_generation_models.models.gpt import GPT
from dialogue_generation_models.tokenizer.tokenizer import Tokenizer

SECRET = "비밀이야기"


@pytest.fixture
def model_folder(tiny_gpt: GPT, tiny_tokenizer: Tokenizer, tmp_path: Path) -> Path:
    folder = tmp_path / "tiny-model"
    decoding = DecodingConfig(strategy="sample", max_tokens=5)
    save_folder(folder, tiny_gpt, tiny_tokenizer, decoding, card="A card.")
    return folder


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.jsonl"
    lines = [
        {
            "id": f"talk-{i}",
            "turns": [
                {"speaker": "A", "text": f"{SECRET} 뭐 먹을까 {i}?"},
                {"speaker": "B", "text": f"{SECRET} 쉬고 싶어 {i}"},
            ],
        }
        for i in range(60)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def command(model: Path | str, data: Path, output: Path) -> list[str]:
    return ["evaluate", "--model", str(model), "--data", str(data), "-o", str(output)]


def test_figures_are_printed_and_written(model_folder: Path, talk: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    program = "import sys; from dialogue_generation_models.cli.main import main; sys.exit(main())"
    options = ["--held-out", "50", "--ranked", "2", "--generated", "2", "--contexts", str(talk)]
    done = subprocess.run(
        [sys.executable, "-c", program, *command(model_folder, talk, output), *options],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "perplexity per token" in done.stdout
    assert "trigram's perplexity per token" in done.stdout
    assert "recall@1 of 20" in done.stdout
    assert "measuring perplexity (" in done.stderr  # plain lines, as this is no terminal
    assert "\x1b" not in done.stdout + done.stderr
    assert [path.name for path in output.iterdir()] == ["evaluation.json"]
    record = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))
    assert record["model"] == "tiny-model"
    assert record["data"] == ["talk.jsonl"]
    assert len(record["samples"]) == 60
    assert str(tmp_path) not in json.dumps(record)


def test_json_is_what_is_written(
    model_folder: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--limit", "20", "--ranked", "0", "--generated", "0", "--json"]
    assert main([*command(model_folder, talk, tmp_path), *options]) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert json.loads(printed)["exchanges"] == 20


def test_bad_data_is_one_sentence_without_chat_text(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f'{{"turns": ["{SECRET}"]}}\n', encoding="utf-8")
    assert main(command(model_folder, path, tmp_path / "out")) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "bad.jsonl, line 1" in printed.err
    assert SECRET not in printed.err + printed.out
    assert not (tmp_path / "out").exists()


def test_missing_data_and_missing_model(
    model_folder: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(model_folder, tmp_path / "none.jsonl", tmp_path / "out")) == 1
    assert "none.jsonl" in capsys.readouterr().err
    assert main(command("no-such-model", talk, tmp_path / "out")) == 1
    assert "no-such-model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_recipe_says_what_is_evaluated(
    model_folder: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"""
        name = "tiny"
        language = "ko"
        license = "MIT"
        data_root = {json.dumps(str(talk.parent))}
        validation_percent = 30.0
        sample_contexts = [["안녕"]]
        tokenizer = {{ sources = ["talk.jsonl"] }}
        model = {{ kind = "gpt", vocab_size = 362, n_embd = 4, n_layer = 1, n_head = 1, n_inner = 4 }}

        [[stages]]
        name = "talk"
        objective = "dialogue"
        sources = [{{ path = "talk.jsonl", license = "MIT" }}]
        steps = 1
        batch_size = 1
        learning_rate = 1.0
        """,
        encoding="utf-8",
    )
    arguments = ["--model", str(model_folder), "--recipe", str(recipe), "-o", str(tmp_path)]
    assert main(["evaluate", *arguments, "--ranked", "0", "--generated", "0", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert 5 < record["exchanges"] < 35
    assert record["trigram"]["tokens"] == record["perplexity"]["tokens"]
    assert [sample["context"] for sample in record["samples"]] == [["안녕"]]


def test_wrong_usage(
    model_folder: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(model_folder, talk, tmp_path / "out")
    assert main([*arguments, "--train", str(talk), "--held-out", "5"]) == 2
    assert "not both" in capsys.readouterr().err
    assert main([*arguments, "--recipe", str(talk)]) == 2
    assert "--recipe alone" in capsys.readouterr().err
    assert main([*arguments, "--limit", "-1"]) == 2
    assert "--limit" in capsys.readouterr().err
    taken = tmp_path / "taken"
    taken.write_text("")
    assert main(command(model_folder, talk, taken)) == 2
    assert "taken" in capsys.readouterr().err
