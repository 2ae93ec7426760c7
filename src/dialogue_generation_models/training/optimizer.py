"""The optimizers and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import torch
from torch import nn

from ..config.training import Recipe, StageConfig


def build_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Make what steps a model: AdamW, Adafactor, or Muon for the layers' matrices and AdamW for the rest.

    Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) makes each matrix's step orthogonal. Its
    steps are as large as AdamW's (Liu et al. 2025, arXiv 2502.16982, section 2.2), so one rate serves both.
    Adafactor (Shazeer and Stern 2018, arXiv 1804.04235) steps in proportion to a weight's size; its rate in
    step t of the run is at most 1/sqrt(t), whatever the schedule says (section 8 there).
    """
    inside = layer_matrices(model) if recipe.optimizer == "muon" else []
    taken = {id(p) for p in inside}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adafactor":
        return [torch.optim.Adafactor(groups, lr=0.0)]
    betas = (recipe.beta1, recipe.beta2)
    adamw = torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)
    if not inside:
        return [adamw]
    muon = torch.optim.Muon(
        inside, lr=0.0, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [adamw, muon]


def learning_rate(stage: StageConfig, step: int) -> float:
    """Return the rate of a stage's step, counted from 0.

    After a linear warm-up the highest rate is held, and falls then. The Meena paper's course is
    `inverse_sqrt` with a rate of 0.01, no warm-up and 10,000 steps held (arXiv 2001.09977, section 3.3).
    """
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    falls_from = stage.warmup_steps + stage.hold_steps
    if stage.schedule == "inverse_sqrt":
        return stage.learning_rate * math.sqrt(max(1, falls_from) / max(step + 1, falls_from, 1))
    falling_steps = (stage.schedule_steps or stage.steps) - falls_from
    progress = min(1.0, max(0, step - falls_from) / max(1, falling_steps))
    falling = 0.5 * (1.0 + math.cos(math.pi * progress))
    return stage.learning_rate * (stage.final_rate + (1.0 - stage.final_rate) * falling)


def set_rate(optimizers: Sequence[torch.optim.Optimizer], stage: StageConfig, step: int) -> float:
    """Give all optimizers the rate of a stage's step, and return it."""
    rate = learning_rate(stage, step)
    for group in chain.from_iterable(optimizer.param_groups for optimizer in optimizers):
        group["lr"] = rate
    return rate


def layer_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of linear layers that are no embedding; a head tied to one is an embedding."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    weights = [p for module in linear for name, p in module.named_parameters() if name == "weight"]
    return [w for w in weights if w.requires_grad and id(w) not in embeddings]
