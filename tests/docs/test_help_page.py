"""The page of help texts is what the commands print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_help_page_is_up_to_date() -> None:
    program = "import generate_help as g; print(g.render(), end='')"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=DOCS,
        env={**os.environ, "COLUMNS": "100", "PYTHONUTF8": "1"},
        capture_output=True,
        check=True,
        timeout=120,
    )
    page = (DOCS / "help.md").read_text(encoding="utf-8")
    assert result.stdout.decode() == page, "run `make docs`"
