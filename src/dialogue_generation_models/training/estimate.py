"""What a training will take, before it is begun: parameters, tokens, memory, time. Nothing is written.

- Weights, gradients and the optimizer's state are counted; activations are those that a forward pass over a
  model without numbers (`FakeTensorMode`) would keep for its gradient. What else a process needs (the program,
  workspaces, fragmentation) is not in the sum.
- Time is that of a few real steps on this device, where one is short enough; else the run's arithmetic, 6
  operations a parameter and token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), at a stated rate.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..config.model import EncoderDecoderConfig
from ..config.training import Recipe
from ..data.dataset import Batch
from ..errors import DataError, TokenizerError
from ..models import build_model
from .blocks import recompute_activations
from .checkpointing import Progress
from .corpus import Corpus
from .loop import Stage, train_step
from .optimizer import build_optimizers, layer_matrices

STATED_RATE = 400e12
"""Operations a second of the estimate without a measurement: about 40 % of an H200's peak in bfloat16."""
_MOST_PROBED = 4e12  # operations of a step that is still tried: some ten seconds on two cores
_PROBED_STEPS = 3
_SAMPLED_BATCHES = 8
_FLOAT = 4  # bytes; weights, gradients and optimizers are float32


@dataclass(frozen=True)
class StageEstimate:
    """What a stage will see."""

    name: str
    steps: int
    positions: int
    """Tokens that a step reads, padding included; the longest of a few batches."""
    learnt: float
    """Tokens that a step learns, on average over a few batches."""
    epochs: float | None
    """How often the stage sees its data; None if the data are not there."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the device."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """The sum; a process takes more."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Estimate:
    """What a training will take on one device."""

    parameters: int
    stages: list[StageEstimate]
    memory: Memory
    seconds: float
    """Of all steps, without validations."""
    basis: str
    """Where the time comes from."""
    missing_data: str | None
    """Why the data could not be read; the batches are then taken to be full."""


def estimate(recipe: Recipe, device: torch.device) -> Estimate:
    """Say what a recipe's training will take on a device.

    Raises:
        MissingExtraError: a package that reads the data is not installed.
    """
    stages, missing = _stages(recipe)
    batches = [[stage.batches.batch(n) for n in range(_sampled(stage))] for stage in stages]
    with torch.device("meta"):
        empty = build_model(recipe.model)
    parameters = sum(p.numel() for p in empty.parameters())
    rows = [
        StageEstimate(
            name=stage.config.name,
            steps=stage.config.steps,
            positions=max(map(_positions, made)),
            learnt=float(np.mean([batch.tokens for batch in made])),
            epochs=None if missing else stage.config.steps / stage.batches.batches_per_epoch,
        )
        for stage, made in zip(stages, batches, strict=True)
    ]
    largest = max((batch for made in batches for batch in made), key=_positions)
    memory = Memory(
        weights=_FLOAT * parameters,
        gradients=_FLOAT * parameters,
        optimizer=optimizer_bytes(empty, recipe),
        activations=activation_bytes(recipe, largest.part(0, recipe.accumulate), device),
    )
    work = 6.0 * parameters * sum(row.steps * row.positions for row in rows)
    if 6.0 * parameters * _positions(largest) <= _MOST_PROBED or device.type == "cuda":
        seconds, basis = _probe(recipe, stages, device)
    else:
        seconds = work / STATED_RATE
        basis = (
            f"not measured, for a step here would take too long: {work:.1e} operations at "
            f"{STATED_RATE / 1e12:.0f} TFLOP/s, about 40 % of an H200's peak"
        )
    return Estimate(parameters, rows, memory, seconds, basis, missing)


def optimizer_bytes(model: nn.Module, recipe: Recipe) -> int:
    """Return the size of the optimizer's state for a model, which may be without numbers."""
    sizes = [(p.numel(), p.shape) for p in model.parameters()]
    if recipe.optimizer == "adafactor":  # a mean of squares for each row and each column
        kept = (n if len(shape) < 2 else n // shape[-1] + n // shape[-2] for n, shape in sizes)
        return _FLOAT * sum(kept)
    total = sum(n for n, _ in sizes)
    inside = sum(p.numel() for p in layer_matrices(model)) if recipe.optimizer == "muon" else 0
    return _FLOAT * (2 * (total - inside) + inside)


def activation_bytes(recipe: Recipe, batch: Batch, device: torch.device) -> int:
    """Return the bytes that a batch's forward pass keeps for the gradient, and those of its loss."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    is_half = recipe.precision == "bfloat16"
    with FakeTensorMode(), torch.device(device):
        model = build_model(recipe.model).train()
        if recipe.activation_checkpointing:
            recompute_activations(model)
        inputs = {n: torch.zeros(ids.shape, dtype=torch.long) for n, ids in batch.inputs.items()}
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast(device.type, torch.bfloat16, enabled=is_half),
        ):
            logits = model(**inputs)  # keeps the graph, and with it what was noted
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    # Logits in the model's precision, as float32, their log-softmax and its gradient.
    of_loss = batch.tokens * logits.shape[-1] * ((2 if is_half else 0) + 3 * _FLOAT)
    return sum(size for place, size in kept.items() if place not in own) + int(of_loss)


def _stages(recipe: Recipe) -> tuple[list[Stage], str | None]:
    """Make the recipe's batches as training does; without its data, batches that are full."""
    try:
        corpus = Corpus(recipe)
        tokenizer = corpus.train_tokenizer()
        held_out = corpus.held_out()
        return [corpus.stage(stage, tokenizer, held_out) for stage in recipe.stages], None
    except (DataError, TokenizerError) as error:
        full = [Stage(stage, _FullBatches(recipe, stage.batch_size)) for stage in recipe.stages]
        return full, str(error)


class _FullBatches:
    """Batches of the greatest length, every token of a reply learnt: what is expected without the data."""

    batches_per_epoch = 1

    def __init__(self, recipe: Recipe, rows: int) -> None:
        model = recipe.model
        reply = model.n_ctx
        names = ["input_ids", "segment_ids"]
        lengths = [reply, reply]
        if isinstance(model, EncoderDecoderConfig):
            reply = model.n_ctx - model.n_encoder_ctx
            names, lengths = ["context_ids", "reply_ids"], [model.n_encoder_ctx, reply]
        ones = {n: np.ones((rows, t), np.int64) for n, t in zip(names, lengths, strict=True)}
        self._batch = Batch(ones, np.ones((rows, reply), np.int64))

    def batch(self, number: int) -> Batch:
        return self._batch


def _probe(recipe: Recipe, stages: Sequence[Stage], device: torch.device) -> tuple[float, str]:
    """Time a few steps of each stage with a fresh model; the first warms up."""
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model).to(device)
    if recipe.activation_checkpointing:
        recompute_activations(model)
    optimizers = build_optimizers(model, recipe)
    total = 0.0
    for stage in stages:
        times = []
        progress = Progress()
        for _ in range(_PROBED_STEPS):
            started = time.perf_counter()
            train_step(model, optimizers, stage, recipe, progress)
            times.append(time.perf_counter() - started)
        total += stage.config.steps * float(np.median(times[1:]))
    left_out = ", not compiled" if recipe.compile else ""
    return total, f"{_PROBED_STEPS - 1} steps of each stage measured on this device{left_out}"


def _positions(batch: Batch) -> int:
    """Count the places of a batch's inputs; a packed row's ids and segments are one."""
    if "input_ids" in batch.inputs:
        return int(batch.inputs["input_ids"].size)
    return sum(int(ids.size) for ids in batch.inputs.values())


def _sampled(stage: Stage) -> int:
    return min(stage.batches.batches_per_epoch, _SAMPLED_BATCHES)
