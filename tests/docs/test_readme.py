"""The README's commands run, its Python runs, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [
        line.partition("#")[0].strip() for block in blocks("bash") for line in block.split("\n")
    ]
    return [line for line in lines if line]


def test_the_readme_shows_the_commands_that_this_test_knows() -> None:
    kinds = {command.split()[0] for command in commands()}
    assert kinds == {"make", "pip", "dgm", "echo"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make")])
def test_make_targets_exist(command: str) -> None:
    subprocess.run([*shlex.split(command), "-n"], cwd=PROJECT, check=True, capture_output=True)


def test_the_commands_run(tmp_path: Path) -> None:
    """Runs all commands one after the other, as a reader would."""
    shutil.copytree(PROJECT / "examples", tmp_path / "examples")
    programs = tmp_path / "bin"
    programs.mkdir()
    dgm = programs / "dgm"
    dgm.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dialogue_generation_models "$@"\n')
    dgm.chmod(0o755)
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    outputs = {}
    for command in (c for c in commands() if c.startswith(("dgm", "echo"))):
        result = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            timeout=200,
            check=False,
        )
        assert result.returncode == 0, (command, result.stderr.decode())
        outputs[command] = result.stdout.decode()
    reply = next(output for command, output in outputs.items() if command.startswith("echo"))
    assert len(reply.splitlines()) == 1
    run = tmp_path / "runs" / "first-bot"
    for name in ("first-bot/README.md", "evaluation.json", "replies.jsonl"):
        assert (run / name).is_file()
    answered, asked = (
        path.read_text(encoding="utf-8").count("\n")
        for path in (run / "replies.jsonl", tmp_path / "examples" / "talk.jsonl")
    )
    assert answered == asked
    scrubbed = (tmp_path / "scrubbed.jsonl").read_text(encoding="utf-8")
    assert "<PHONE>" in scrubbed
    assert "다솜" not in scrubbed
    assert (tmp_path / "my-set" / "report.html").is_file()


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(code, {})
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_links_lead_to_files() -> None:
    pages = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
