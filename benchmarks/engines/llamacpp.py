"""llama.cpp, where a build of its source is at hand; PyPI and this package bring none."""

from __future__ import annotations

import shutil

from .workload import Run, Setup, Skipped


def prepare(setup: Setup, precision: str) -> Run:
    if shutil.which("llama-batched-bench") is None:
        raise Skipped("no build on the PATH (llama-batched-bench)")
    raise Skipped(
        "found, but not driven from here: it has no post-norm GPT and no Meena; measure a stock GPT-2 "
        "of the same size with `llama-batched-bench -npp 40 -ntg 32 -npl 1,10,20`"
    )
