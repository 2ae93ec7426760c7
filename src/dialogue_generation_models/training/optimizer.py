"""AdamW and the learning rate's course."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..config.training import Recipe, StageConfig


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Make AdamW that decays matrices and embeddings, but no biases and norms."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(recipe.beta1, recipe.beta2), fused=True)


def learning_rate(stage: StageConfig, step: int) -> float:
    """Return the rate of a stage's step: linear warm-up, then half a cosine down to `final_rate`."""
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    falling_steps = (stage.schedule_steps or stage.steps) - stage.warmup_steps
    progress = min(1.0, (step - stage.warmup_steps) / max(1, falling_steps))
    falling = 0.5 * (1.0 + math.cos(math.pi * progress))
    return stage.learning_rate * (stage.final_rate + (1.0 - stage.final_rate) * falling)
