"""The engines that `decode.py` measures, one file each; a file is imported only when it is asked for.

Each has `prepare(setup, precision) -> Run`, and raises `ImportError` or `Skipped` where it cannot run.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import torch

from .workload import Run, Setup, Skipped, Work

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


class EngineProcess:
    """An engine in a process of its own: threads and libraries of one would slow down the others.

    Raises:
        Skipped: it cannot run here.
    """

    def __init__(self, engine: str, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(engine, setup, other), daemon=True)
        self._process.start()
        if reason := self._pipe.recv():
            raise Skipped(reason)

    def time(self, work: Work) -> float:
        """Do the work; return tokens per second."""
        self._pipe.send(work)
        speed: float = self._pipe.recv()
        return speed


def _serve(engine: str, setup: Setup, pipe: Connection) -> None:
    torch.set_num_threads(setup.threads)
    try:
        run = prepare(engine, setup)
    except ImportError as error:
        pipe.send(f"not installed ({error.name})")
        return
    except Skipped as reason:
        pipe.send(str(reason))
        return
    pipe.send("")
    with suppress(EOFError):  # the benchmark is over
        while True:
            work = pipe.recv()
            start = time.perf_counter()
            tokens = run(work)
            pipe.send(tokens / (time.perf_counter() - start))
