"""The `dgm` command itself: quick help, exit codes, one-sentence errors, any locale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dialogue_generation_models.cli import models as models_command
from dialogue_generation_models.cli.main import COMMANDS, main


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run `dgm` in a process of its own, with nothing in the environment but these variables."""
    program = "import sys; from dialogue_generation_models.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.run(
        command, env=kept | variables, capture_output=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["models", "list"], ["models", "show", "gpt2"]]
)
def test_light_commands_import_neither_torch_nor_sentencepiece(arguments: list[str]) -> None:
    program = (
        "import sys; from dialogue_generation_models.cli.main import main\n"
        f"code = main({arguments!r})\n"
        "heavy = {'torch', 'numpy', 'sentencepiece', 'safetensors', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0
    assert result.stderr.strip() == "[]"


def test_help_lists_every_command_in_the_tables_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, (_, help_line) in COMMANDS.items():
        assert f"{name} {help_line}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_can_be_imported_and_has_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: dgm {name}" in capsys.readouterr().out


def test_short_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("dgm 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["models", "nonsense"],
        ["models", "show"],
        ["models", "list", "--nonsense"],
        ["tokenizer", "train", "x.txt"],
        ["tokenizer", "train", "x.txt", "-o", "x", "--vocab-size", "many"],
        ["convert", "x.pth", "-o", "x"],
    ],
)
def test_bad_usage_is_exit_code_2(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["modells"]) == 2
    assert "'models'" in capsys.readouterr().err


def test_bad_input_is_one_sentence_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "gpt-mini-kr"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dgm: ")
    assert captured.err.count("\n") == 1


def test_ctrl_c_is_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(models_command, "list_models", interrupt)
    assert main(["models", "list"]) == 130
    assert capsys.readouterr().err == ""


def test_a_refusal_of_the_system_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    too_long = str(tmp_path / ("x" * 300))
    assert main(["convert", too_long, "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("dgm: Cannot use")
    assert error.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(models_command, "list_models", fail)
    with pytest.raises(ZeroDivisionError):
        main(["models", "list"])


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}], ids=str)
def test_no_home_and_an_ascii_terminal_will_do(variables: dict[str, str]) -> None:
    result = run("models", "show", "모델", **variables)
    assert result.returncode == 1
    assert "모델" in result.stderr.decode("utf-8")


@pytest.mark.skipif(os.name != "posix", reason="pipes break so on POSIX")
def test_a_reader_who_leaves_early_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = "import sys; from dialogue_generation_models.cli.main import main; sys.exit(main())"
    for arguments in (["models", "list", "--json"], ["--version"]):
        result = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
        assert result.stderr == b""
        assert result.returncode == 1
    os.close(writer)
