"""The training loop: one for every architecture, objective, device and number of processes.

- It knows batches, a model that gives logits where it is asked, and optimizers. What differs between
  architectures is in the batches' inputs; what a person sees is in the view.
- A step's batch is cut by rows: each process learns from its share, in `accumulate` parts. The summed loss of
  each part is divided by the labelled tokens of the whole batch, so the cutting does not change what is learnt.
- A step's randomness (dropout) comes from the seed, the step and the process alone, so a run can go on from
  any step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..config.training import Recipe, StageConfig
from ..data.dataset import IGNORED, Batch, Batches
from ..errors import TrainingError
from .blocks import compile_blocks, recompute_activations
from .checkpointing import Checkpoints, Progress
from .loss import summed_cross_entropy
from .optimizer import build_optimizers, set_rate
from .prefetch import prefetched
from .processes import OneProcess, Processes

_SCORED_STEP = 128


@dataclass(frozen=True)
class Stage:
    """A part of the training: its schedule and its batches."""

    config: StageConfig
    batches: Batches
    take_step: TakeStep | None = None
    """What learns from a batch in the place of `train_step`, with the same arguments."""


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


class TakeStep(Protocol):
    """Learns from one batch and advances `progress`."""

    def __call__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        stage: Stage,
        recipe: Recipe,
        progress: Progress,
        processes: Processes,
    ) -> StepReport:
        """Learn from one batch."""
        ...


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
    checkpoints: Checkpoints,
    view: View,
    is_stopping: Callable[[], bool] = lambda: False,
    processes: Processes | None = None,
) -> Progress:
    """Train through all stages, going on from the newest checkpoint if there is one.

    Args:
        model: left with the last step's weights.
        stages: what to learn, in order.
        validation: batches that are never learnt from.
        recipe: schedule, precision and seed.
        checkpoints: written at every validation, and when the run stops; the best weights whenever the
            validation loss of the last stage is lower than ever.
        view: shown every step and validation.
        is_stopping: asked after every step; if so, a checkpoint is written there.
        processes: that train together; this one alone by default, where the model is.

    Raises:
        KeyboardInterrupt: the run was to stop, and did.
        TrainingError: the loss is no longer finite, data cannot be read or a checkpoint cannot be written (the
            last checkpoint is intact); or the best weights of a finished training are lost.
    """
    processes = processes or _alone(model)
    if recipe.activation_checkpointing:
        recompute_activations(model)
    if recipe.compile:
        compile_blocks(model)
    learner = processes.prepare(model)
    optimizers = build_optimizers(model, recipe)
    progress = checkpoints.load(model, optimizers)
    checkpoints.check_best(progress, is_over=_is_over(progress, stages, recipe))
    for index in range(progress.stage, len(stages)):
        if index > progress.stage:
            progress.stage, progress.step = index, 0
        is_last_stage = index == len(stages) - 1
        config = stages[index].config
        with prefetched(stages[index].batches) as batches:
            stage = Stage(config, batches)
            take_step = stages[index].take_step or train_step
            while progress.step < config.steps and not _has_waited(progress, recipe):
                view.step(take_step(learner, optimizers, stage, recipe, progress, processes))
                is_done = progress.step == config.steps
                is_due = is_done or progress.step % recipe.validation_every == 0
                if is_due:
                    loss = validate(learner, validation, recipe, processes)
                    is_best = is_last_stage and _note_loss(progress, loss)
                    if is_best:
                        checkpoints.save_best(model, progress)
                    view.validation(progress, loss, is_best)
                stops = bool(processes.sum(torch.tensor(float(is_stopping()))))
                if is_due or stops:
                    checkpoints.save(model, optimizers, progress)
                if stops:
                    raise KeyboardInterrupt
    return progress


def train_step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    stage: Stage,
    recipe: Recipe,
    progress: Progress,
    processes: Processes | None = None,
) -> StepReport:
    """Learn from one batch and advance `progress`."""
    processes = processes or _alone(model)
    started = time.perf_counter()
    rate = set_rate(optimizers, stage.config, progress.step)
    batch = _next_batch(stage, progress)
    _seed(recipe.seed, progress.total_steps, processes)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    summed = _backward(model.train(), batch, recipe, processes)
    clipped = nn.utils.clip_grad_norm_(model.parameters(), recipe.max_gradient_norm)
    norm = float(processes.whole(clipped))
    mean_loss = float(processes.sum(summed)) / max(1, batch.tokens)
    if not math.isfinite(mean_loss) or not math.isfinite(norm):
        raise TrainingError(
            f"The loss is no longer finite at step {progress.total_steps + 1}; "
            "lower the learning rate and start again from the last checkpoint."
        )
    for optimizer in optimizers:
        optimizer.step()
    seconds = time.perf_counter() - started
    progress.advance(batch.tokens, seconds)
    return StepReport(stage.config, progress, mean_loss, rate, norm, batch.tokens, seconds)


@torch.no_grad()
def validate(
    model: nn.Module,
    batches: Sequence[Batch],
    recipe: Recipe,
    processes: Processes | None = None,
) -> float:
    """Return the mean loss over the labelled tokens of all batches, in nats."""
    processes = processes or _alone(model)
    model.eval()
    shares = (batch.part(processes.index, processes.count) for batch in batches)
    losses = [summed_loss(model, share, recipe)[0] for share in shares]
    total = float(processes.sum(torch.stack(losses).double().sum()))
    return total / sum(batch.tokens for batch in batches)


def summed_loss(model: nn.Module, batch: Batch, recipe: Recipe) -> tuple[Tensor, int]:
    """Return the summed cross-entropy of the labelled tokens, and how many they are."""
    device = next(model.parameters()).device
    inputs = {name: torch.from_numpy(ids).to(device) for name, ids in batch.inputs.items()}
    is_scored = _scored_places(batch.labels)  # [B, T]
    labels = torch.from_numpy(batch.labels[is_scored]).to(device)  # [N]
    logits_at = torch.from_numpy(is_scored).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = model(**inputs, logits_at=logits_at)  # [N, V]
    return summed_cross_entropy(logits, labels), batch.tokens


def _backward(model: nn.Module, batch: Batch, recipe: Recipe, processes: Processes) -> Tensor:
    """Add up the gradients of this process's share, part by part; return its summed loss."""
    # A batch may hold nothing but turns that are not learnt. Gradients become means over the processes.
    divisor = max(1, batch.tokens) / processes.count
    first = processes.index * recipe.accumulate
    losses = []
    for number in range(recipe.accumulate):
        part = batch.part(first + number, processes.count * recipe.accumulate)
        with processes.collecting(model, is_last=number == recipe.accumulate - 1):
            loss, _ = summed_loss(model, part, recipe)
            (loss / divisor).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def _alone(model: nn.Module) -> OneProcess:
    return OneProcess(next(model.parameters()).device)


def _next_batch(stage: Stage, progress: Progress) -> Batch:
    try:
        return stage.batches.batch(progress.step)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"The data of stage '{stage.config.name}' cannot be read at step {progress.step + 1} "
            f"({reason}); put it back, and the same command goes on from the last checkpoint."
        ) from None


def _seed(seed: int, step: int, processes: Processes) -> None:
    """Set the random state of a step; `torch.manual_seed` asks every kind of device, and takes long."""
    mixed = np.random.SeedSequence([seed, step, processes.index]).generate_state(1, np.uint64)
    torch.default_generator.manual_seed(int(mixed[0]))
    if processes.device.type == "cuda":
        torch.cuda.manual_seed(int(mixed[0]))


def _note_loss(progress: Progress, loss: float) -> bool:
    """Write down a validation loss; say whether it is the best so far."""
    if loss < progress.best_loss:
        progress.best_loss, progress.best_step = loss, progress.total_steps
        progress.validations_since_best = 0
        return True
    progress.validations_since_best += 1
    return False


def _has_waited(progress: Progress, recipe: Recipe) -> bool:
    """Say whether the best loss is so old that the run is to end early."""
    return recipe.patience is not None and progress.validations_since_best >= recipe.patience


def _is_over(progress: Progress, stages: Sequence[Stage], recipe: Recipe) -> bool:
    is_last_stage = progress.stage == len(stages) - 1
    is_done = is_last_stage and progress.step >= stages[-1].config.steps
    return is_done or (is_last_stage and _has_waited(progress, recipe))


def _scored_places(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Mark the labelled places of [B, T], and a few more, so that their number is a multiple of `_SCORED_STEP`.

    Processors compile a kernel for each new shape and keep it: with a shape of its own for every batch,
    a run on a CPU grew by gigabytes and took twice as long.
    """
    marks: npt.NDArray[np.bool_] = (labels != IGNORED).ravel()
    missing = -int(marks.sum()) % _SCORED_STEP
    marks[np.flatnonzero(~marks)[:missing]] = True
    return marks.reshape(labels.shape)
