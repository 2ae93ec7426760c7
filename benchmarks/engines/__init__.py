"""The engines that `decode.py` measures, one file each; a file is imported only when it is asked for.

Each has `prepare(setup, precision) -> Run`, and raises `ImportError` or `Skipped` where it cannot run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from .workload import Run, Setup

ENGINES: dict[str, tuple[str, str]] = {
    "ours-fp32": ("ours", "fp32"),
    "ours-bf16": ("ours", "bf16"),
    "ours-int8": ("ours", "int8"),
    "transformers-fp32": ("huggingface", "fp32"),
    "transformers-bf16": ("huggingface", "bf16"),
    "ctranslate2-int8": ("ct2", "int8"),
    "onnxruntime-int8": ("ort", "int8"),
    "openvino-int8": ("ov", "int8"),
    "llama.cpp-q8": ("llamacpp", "q8_0"),
    "llama.cpp-q4": ("llamacpp", "q4_0"),
}
"""Name → (module here, precision)."""


def prepare(engine: str, setup: Setup) -> Run:
    """Make an engine ready."""
    module, precision = ENGINES[engine]
    make: Callable[[Setup, str], Run] = importlib.import_module(f".{module}", __package__).prepare
    return make(setup, precision)
