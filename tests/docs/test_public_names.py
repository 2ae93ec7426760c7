"""The public names are pinned: adding one is a decision, losing one breaks users."""

from __future__ import annotations

import subprocess
import sys

import dialogue_generation_models as dgm

PUBLIC_NAMES = [
    "PRESETS",
    "Chatbot",
    "DecodingConfig",
    "Dialogue",
    "DialogueModelError",
    "Reply",
    "Turn",
    "__version__",
    "list_models",
    "load",
]


def test_public_names_are_pinned_and_exist() -> None:
    assert dgm.__all__ == PUBLIC_NAMES
    assert dir(dgm) == sorted(PUBLIC_NAMES)
    for name in PUBLIC_NAMES:
        assert getattr(dgm, name) is not None


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, dialogue_generation_models as dgm; dgm.Dialogue; "
        "sys.exit(bool({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
