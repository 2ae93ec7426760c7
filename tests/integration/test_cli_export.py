"""`dgm export`: a whole folder or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialogue_generation_models.cli.main import main


def export(model: Path, output: Path, *more: str, to: str = "huggingface") -> int:
    return main(["export", "--model", str(model), "--format", to, "-o", str(output), *more])


def test_a_folder_and_its_card(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "새 폴더" / "모델"
    assert export(tiny_folder, output) == 0
    assert str(output) in capsys.readouterr().out
    card = (output / "README.md").read_text(encoding="utf-8")
    assert card.startswith("A card.\n\n## Use\n")
    assert [path.name for path in output.parent.iterdir()] == ["모델"]


def test_json_lists_the_files(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    output.mkdir()  # an empty folder is as good as none
    assert export(tiny_folder, output, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == str(output)
    assert result["files"] == sorted(path.name for path in output.iterdir())


def test_what_is_there_stays(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert export(tiny_folder, output) == 0
    capsys.readouterr()
    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    assert export(tiny_folder, output) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"dgm: The folder {output} holds ")
    assert error.count("\n") == 1
    assert {path.name: path.stat().st_mtime_ns for path in output.iterdir()} == before


@pytest.mark.parametrize(
    ("model", "to", "code"),
    [("no-such-model", "huggingface", 1), ("tiny", "gguf", 2)],
)
def test_wrong_words_are_refused(
    model: str, to: str, code: int, tiny_folder: Path, tmp_path: Path
) -> None:
    path = tiny_folder if model == "tiny" else Path(model)
    assert export(path, tmp_path / "out", to=to) == code
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_leaves_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    weights = tiny_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert export(tiny_folder, tmp_path / "out") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
