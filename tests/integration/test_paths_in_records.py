"""A run and its model folder tell nothing of whole paths, which tell of people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main
from dialogue_generation_models.training.corpus import told_path
from training_material import GPT, run_recipe, write_talk

pytestmark = pytest.mark.usefixtures("empty_pictures")


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Train on two files of one name, all by whole paths."""
    home = tmp_path / "alice"
    home.mkdir()
    files = [str(write_talk(home / part) / "talk.jsonl") for part in ("one", "two")]
    recipe = run_recipe(home, GPT)
    sources = [{"path": path, "license": "CC0-1.0"} for path in files]
    stage = {**recipe.stages[0].model_dump(), "sources": sources}
    recipe = recipe.replace(
        stages=[stage], tokenizer={"sources": files}, data_root=str(home / "one")
    )
    path = home / "tiny.json"
    path.write_text(recipe.model_dump_json(exclude_none=True), encoding="utf-8")
    return ["train", str(path), "-o", str(home / "run"), "--device", "cpu"]


def test_no_file_of_a_run_or_its_model_tells_where_it_was_made(
    command: list[str], tmp_path: Path
) -> None:
    files = [str(tmp_path / "alice" / part / "talk.jsonl") for part in ("one", "two")]
    changes = [
        f"data_root={tmp_path / 'alice' / 'one'}",
        "seed=3",
        f"stages.0.sources.0.path={files[0]}",
    ]
    assert main([*command, *(word for change in changes for word in ("--set", change))]) == 0
    run = tmp_path / "alice" / "run"
    for path in run.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"alice" not in content, path
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    assert recipe["tokenizer"]["sources"] == ["talk.jsonl", "talk.jsonl"]
    card = (run / "tiny" / "README.md").read_text(encoding="utf-8")
    assert "\ndgm train tiny.json --set seed=3 --set stages.0.sources.0.path=talk.jsonl\n" in card


def test_of_two_files_of_one_name_the_changed_one_is_noticed(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    with (tmp_path / "alice" / "two" / "talk.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert main(command) == 1
    assert "changed since the run began (talk.jsonl)" in capsys.readouterr().err


def test_of_a_path_stays_what_the_user_called_it(tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    assert told_path("ko/talk.jsonl", root) == "ko/talk.jsonl"
    assert told_path(str(tmp_path / "data" / "ko" / "talk.jsonl"), root) == "ko/talk.jsonl"
    assert told_path(str(tmp_path / "other" / "talk.jsonl"), root) == "talk.jsonl"
