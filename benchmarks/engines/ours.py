"""This package, in one of its precisions."""

from __future__ import annotations

import torch

from dialogue_generation_models.decoding.generate import generate
from dialogue_generation_models.inference.engine import Engine, TorchEngine
from dialogue_generation_models.inference.int8 import pack_int8

from .workload import Run, Setup, Work, decoding


def prepare(setup: Setup, precision: str) -> Run:
    model = setup.build()
    if precision == "int8":
        pack_int8(model)
    elif precision == "bf16":
        model.to(torch.bfloat16)
    return run_with(TorchEngine(model), setup)


def run_with(engine: Engine, setup: Setup) -> Run:
    """Our search and our sampler over any engine."""

    def run(work: Work) -> int:
        found = generate(engine, setup.config, work.contexts, decoding(work))
        return sum(len(reply.ids) for of_context in found for reply in of_context)

    return run
