"""The optimizers and the learning rate's course."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..config.training import Recipe, StageConfig


def build_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Make what steps a model: AdamW alone, or Muon for the layers' matrices and AdamW for the rest.

    Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) makes each matrix's step orthogonal. Its
    steps are as large as AdamW's (Liu et al. 2025, arXiv 2502.16982, section 2.2), so one rate serves both.
    """
    inside = _layer_matrices(model) if recipe.optimizer == "muon" else []
    taken = {id(p) for p in inside}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (recipe.beta1, recipe.beta2)
    adamw = torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)
    if not inside:
        return [adamw]
    muon = torch.optim.Muon(
        inside, lr=0.0, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [adamw, muon]


def learning_rate(stage: StageConfig, step: int) -> float:
    """Return the rate of a stage's step: linear warm-up, then half a cosine down to `final_rate`."""
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    falling_steps = (stage.schedule_steps or stage.steps) - stage.warmup_steps
    progress = min(1.0, (step - stage.warmup_steps) / max(1, falling_steps))
    falling = 0.5 * (1.0 + math.cos(math.pi * progress))
    return stage.learning_rate * (stage.final_rate + (1.0 - stage.final_rate) * falling)


def _layer_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of linear layers that are no embedding; a head tied to one is an embedding."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    weights = [p for module in linear for name, p in module.named_parameters() if name == "weight"]
    return [w for w in weights if w.requires_grad and id(w) not in embeddings]
