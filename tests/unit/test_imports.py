"""Every module imports with the core dependencies alone, and the stated versions agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]

IMPORT_ALL = """
import importlib, pkgutil, sys
for extra in (
    "transformers", "zstandard", "hypothesis", "accelerate", "kiwipiepy", "sudachipy",
    "datatrove", "loguru", "matplotlib", "jinja2", "ctranslate2", "peft", "opacus",
    "onnx", "onnxscript", "onnxruntime",
):
    sys.modules[extra] = None  # importing it fails
import dialogue_generation_models as package
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
"""


def test_every_module_imports_with_the_core_alone() -> None:
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr


def test_lowest_versions_are_those_of_the_package() -> None:
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    allowed = dict(re.findall(r'"([a-z0-9-]+)>=([\d.]+)', pyproject))
    lines = (PROJECT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert len(pinned) >= 10
    for package, version in pinned.items():
        floor = allowed[package].split(".")
        assert version.split(".")[: len(floor)] == floor, package


def test_the_tested_version_of_torch_is_allowed_and_stated() -> None:
    constraints = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    assert "torch==2.13.0\n" in constraints
    assert "torch 2.13.0" in (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
