"""The training loop: one for every architecture, objective and device.

It knows batches, a model that gives logits where it is asked, and optimizers. What differs between
architectures is in the batches' inputs; what a person sees is in the view.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.training import Recipe, StageConfig
from ..data.dataset import IGNORED, Batch, Batches
from ..errors import TrainingError
from .checkpointing import Progress, load_checkpoint, save_checkpoint
from .optimizer import build_optimizers, learning_rate

_SCORED_STEP = 128


@dataclass(frozen=True)
class Stage:
    """A part of the training: its schedule and its batches."""

    config: StageConfig
    batches: Batches


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step did."""

    stage: StageConfig
    progress: Progress
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float


class View(Protocol):
    """Shows a run to a person, or writes it down."""

    def step(self, report: StepReport) -> None:
        """Show one step."""
        ...

    def validation(self, progress: Progress, loss: float, is_best: bool) -> None:
        """Show a validation loss, in nats a token."""
        ...


def train(
    model: nn.Module,
    stages: Sequence[Stage],
    validation: Sequence[Batch],
    recipe: Recipe,
    *,
    checkpoint: Path,
    on_best: Callable[[Progress], None],
    view: View,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train through all stages, going on from `checkpoint` if it exists.

    Args:
        model: on its device; left with the last step's weights.
        stages: what to learn, in order.
        validation: batches that are never learnt from.
        recipe: schedule, precision and seed.
        checkpoint: file that is replaced at every validation, and when the run stops.
        on_best: called when the validation loss of the last stage is lower than ever.
        view: shown every step and validation.
        is_stopping: asked after every step; if so, a checkpoint is written there.

    Raises:
        KeyboardInterrupt: the run was to stop, and did.
        TrainingError: the loss is no longer finite; the checkpoint is intact.
    """
    optimizers = build_optimizers(model, recipe)
    torch.manual_seed(recipe.seed)
    progress = load_checkpoint(checkpoint, model, optimizers) if checkpoint.exists() else Progress()
    for index in range(progress.stage, len(stages)):
        stage = stages[index]
        if index > progress.stage:
            progress.stage, progress.step = index, 0
        while progress.step < stage.config.steps:
            view.step(train_step(model, optimizers, stage, recipe, progress))
            is_last = progress.step == stage.config.steps
            is_due = is_last or progress.step % recipe.validation_every == 0
            if is_due:
                loss = validate(model, validation, recipe)
                is_best = index == len(stages) - 1 and loss < progress.best_loss
                if is_best:
                    progress.best_loss, progress.best_step = loss, progress.total_steps
                    on_best(progress)
                view.validation(progress, loss, is_best)
            stops = is_stopping()
            if is_due or stops:
                save_checkpoint(checkpoint, model, optimizers, progress)
            if stops:
                raise KeyboardInterrupt
    return progress


def train_step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    stage: Stage,
    recipe: Recipe,
    progress: Progress,
) -> StepReport:
    """Learn from one batch and advance `progress`."""
    started = time.perf_counter()
    rate = learning_rate(stage.config, progress.step)
    for group in chain.from_iterable(optimizer.param_groups for optimizer in optimizers):
        group["lr"] = rate
    batch = stage.batches.batch(progress.step)
    loss, tokens = summed_loss(model.train(), batch, recipe)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    # A batch may hold nothing but turns that are not learnt.
    (loss / max(1, tokens)).backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), recipe.max_gradient_norm))
    mean_loss = float(loss.detach()) / max(1, tokens)
    if not math.isfinite(mean_loss) or not math.isfinite(norm):
        raise TrainingError(
            f"The loss is no longer finite at step {progress.total_steps + 1}; "
            "lower the learning rate and start again from the last checkpoint."
        )
    for optimizer in optimizers:
        optimizer.step()
    seconds = time.perf_counter() - started
    progress.step += 1
    progress.total_steps += 1
    progress.tokens += tokens
    progress.seconds += seconds
    return StepReport(stage.config, progress, mean_loss, rate, norm, tokens, seconds)


@torch.inference_mode()
def validate(model: nn.Module, batches: Sequence[Batch], recipe: Recipe) -> float:
    """Return the mean loss over the labelled tokens of all batches, in nats."""
    model.eval()
    results = [summed_loss(model, batch, recipe) for batch in batches]
    return sum(float(loss) for loss, _ in results) / sum(tokens for _, tokens in results)


def summed_loss(model: nn.Module, batch: Batch, recipe: Recipe) -> tuple[Tensor, int]:
    """Return the summed cross-entropy of the labelled tokens, and how many they are."""
    device = next(model.parameters()).device
    inputs = {name: torch.from_numpy(ids).to(device) for name, ids in batch.inputs.items()}
    labels = torch.from_numpy(batch.labels).to(device)
    is_labelled = labels != IGNORED  # [B, T]
    is_scored = _fill_up(is_labelled)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = model(**inputs, logits_at=is_scored)  # [N, V]
    loss = F.cross_entropy(logits.float(), labels[is_scored], ignore_index=IGNORED, reduction="sum")
    return loss, int(is_labelled.sum())


def _fill_up(is_labelled: Tensor) -> Tensor:
    """Mark a few unlabelled places too, so that the number of marks is a multiple of `_SCORED_STEP`.

    Processors compile a kernel for each new shape and keep it: with a shape of its own for every batch,
    a run on a CPU grew by gigabytes and took twice as long.
    """
    missing = -int(is_labelled.sum()) % _SCORED_STEP
    spare = (~is_labelled).flatten().nonzero()[:missing, 0]
    filled = is_labelled.flatten().clone()
    filled[spare] = True
    return filled.view_as(is_labelled)
