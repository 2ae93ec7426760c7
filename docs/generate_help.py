"""Write docs/help.md: the help page of every command. Run `make docs` after changing a command."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

PAGE = Path(__file__).with_name("help.md")
SUBCOMMANDS = {
    "models": ["list", "show"],
    "tokenizer": ["train"],
    "data": ["speakers", "forget", "review"],
}


def render() -> str:
    """Return the page."""
    from dialogue_generation_models.cli.main import COMMANDS

    calls: list[list[str]] = [[]]
    for name in COMMANDS:
        calls.append([name])
        calls += [[name, subcommand] for subcommand in SUBCOMMANDS.get(name, [])]
    parts = ["# Help pages\n\nMade by `make docs`; what `--help` prints.\n"]
    for call in calls:
        title = " ".join(["dgm", *call])
        parts.append(f"## {title}\n\n```\n{_help(call)}\n```\n")
    return "\n".join(parts)


def _help(call: list[str]) -> str:
    from dialogue_generation_models.cli.main import main

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        main([*call, "--help"])
    lines = (line.rstrip() for line in output.getvalue().strip().splitlines())
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    PAGE.write_text(render(), encoding="utf-8")
