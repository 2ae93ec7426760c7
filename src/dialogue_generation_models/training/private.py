"""Training with differential privacy (DP-SGD, Abadi et al. 2016, arXiv 1607.00133); opacus reckons ε.

The unit is a dialogue: what a model says is nearly as likely had any one dialogue not been there.

- A step draws each dialogue by itself with the same probability (Poisson), and of each drawn one a stretch
  (GPT) or a reply with its context (encoder-decoders). Packed rows would mix dialogues, so a row holds one.
- The gradient of each dialogue is clipped, noise is added to their sum, and the sum is divided by the expected
  number of dialogues: the real one is not public.
- Draws and noise come from the system's randomness, never from the recipe's seed, which a card tells. So a
  resumed private run is no copy of a straight one, but as private.
- The guarantee is about the training part. Held-out dialogues decide which weights are kept.
"""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..config.model import EncoderDecoderConfig, GPTConfig
from ..config.training import PrivacyConfig, Recipe, StageConfig
from ..data.dataset import (
    IGNORED,
    Batch,
    Sample,
    TokenizedDialogue,
    collate_pairs,
    cut_stretches,
    fill_rows,
    lay_out,
)
from ..errors import MissingExtraError, TrainingError
from .checkpointing import Progress
from .loop import Stage, StepReport
from .optimizer import set_rate
from .processes import Processes

_ROWS_AT_ONCE = 8  # each has a gradient as large as the model


class PrivateBatches:
    """Batches in which each row is of one dialogue, drawn anew each time that one is asked for."""

    def __init__(
        self,
        dialogues: Sequence[TokenizedDialogue],
        model: GPTConfig | EncoderDecoderConfig,
        batch_size: int,
        max_context_turns: int,
    ) -> None:
        """Take the dialogues of a stage.

        Args:
            dialogues: each a unit of privacy, and there once.
            model: decides how a row looks.
            batch_size: dialogues in a batch on average.
            max_context_turns: turns that an encoder-decoder sees before a reply, at most.
        """
        self._dialogues = dialogues
        self._model = model
        self._most_turns = max_context_turns
        self.rate = min(1.0, batch_size / len(dialogues))
        self.batches_per_epoch = math.ceil(1 / self.rate)

    def batch(self, number: int) -> Batch:
        """Return a fresh batch; its number decides nothing, and it may have no row."""
        draw = np.random.default_rng()  # of the system's randomness
        chosen = np.flatnonzero(draw.random(len(self._dialogues)) < self.rate)
        dialogues = [self._dialogues[int(i)] for i in chosen]
        if isinstance(self._model, EncoderDecoderConfig):
            return self._pairs(dialogues, draw)
        return self._rows([_stretch(d, self._model, draw) for d in dialogues], self._model)

    def _rows(self, samples: list[Sample], model: GPTConfig) -> Batch:
        input_ids, labels, segment_ids = fill_rows([[sample] for sample in samples], model)
        inputs = {
            "input_ids": input_ids.astype(np.int64),
            "segment_ids": segment_ids.astype(np.int64),
        }
        return Batch(inputs, labels.astype(np.int64))

    def _pairs(self, dialogues: list[TokenizedDialogue], draw: np.random.Generator) -> Batch:
        assert isinstance(self._model, EncoderDecoderConfig)
        pairs = []
        for dialogue in dialogues:
            reply = int(draw.choice(np.flatnonzero(dialogue.is_reply)))
            first = max(0, reply - int(draw.integers(1, self._most_turns + 1)))
            pairs.append((dialogue.turns[first:reply], dialogue.turns[reply]))
        return collate_pairs(pairs, self._model)


def _stretch(dialogue: TokenizedDialogue, model: GPTConfig, draw: np.random.Generator) -> Sample:
    """Lay out one of a dialogue's stretches that have something to learn."""
    lengths = [len(turn) for turn in dialogue.turns]
    plans = [
        plan
        for plan in cut_stretches(lengths, model.n_ctx)
        if any(dialogue.is_reply[plan[1] : plan[2]])
    ]
    if not plans:
        return Sample([model.bos_id], [IGNORED])
    return lay_out(dialogue, *plans[int(draw.integers(len(plans)))], model)


def private_stage(
    dialogues: Sequence[TokenizedDialogue], config: StageConfig, recipe: Recipe
) -> Stage:
    """Make a stage that learns with the recipe's privacy.

    Args:
        dialogues: each there once.
        config: its `batch_size` counts dialogues, on average.
        recipe: with `privacy`.
    """
    assert recipe.privacy is not None, "the caller has looked"
    batches = PrivateBatches(dialogues, recipe.model, config.batch_size, recipe.max_context_turns)
    return Stage(config, batches, PrivateStep(recipe.privacy, batches.rate, config.steps))


class PrivateStep:
    """What takes the place of the loop's step."""

    def __init__(self, privacy: PrivacyConfig, sample_rate: float, steps: int) -> None:
        self._clip = privacy.clip
        self._noise = functools.partial(noise_multiplier, privacy, sample_rate, steps)
        self._multiplier: float | None = None
        self._generators: dict[torch.device, torch.Generator] = {}

    def __call__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        stage: Stage,
        recipe: Recipe,
        progress: Progress,
        processes: Processes,
    ) -> StepReport:
        """Learn from one batch and advance `progress`."""
        if self._multiplier is None:
            self._multiplier = self._noise()
        deviation = self._multiplier * self._clip
        started = time.perf_counter()
        rate = set_rate(optimizers, stage.config, progress.step)
        batch = stage.batches.batch(progress.step)
        total, losses = clipped_sum(model.train(), batch, self._clip, recipe.precision)
        squares = 0.0
        for name, parameter in model.named_parameters():
            if name in total:
                noise = torch.empty_like(total[name]).normal_(
                    std=deviation, generator=self._generator(parameter.device)
                )
                parameter.grad = (total[name] + noise) / stage.config.batch_size
                squares += float(parameter.grad.square().sum())
        if not math.isfinite(squares):
            raise TrainingError(
                f"The gradient is no longer finite at step {progress.total_steps + 1}; "
                "lower the learning rate and start again from the last checkpoint."
            )
        for optimizer in optimizers:
            optimizer.step()
        seconds = time.perf_counter() - started
        progress.advance(batch.tokens, seconds)
        mean = float(losses.mean()) if len(losses) else 0.0
        return StepReport(
            stage.config, progress, mean, rate, math.sqrt(squares), batch.tokens, seconds
        )

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device)
            self._generators[device].seed()  # of the system's randomness
        return self._generators[device]


def clipped_sum(
    model: nn.Module, batch: Batch, clip: float, precision: str = "float32"
) -> tuple[dict[str, Tensor], Tensor]:
    """Clip each row's gradient to a length, and add them up.

    Returns:
        The sum by the names of the weights that learn, and each row's loss, [B].
    """
    learning = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(weight) for name, weight in learning.items()}
    losses = []
    for start in range(0, len(batch.labels), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        part = Batch({n: ids[rows] for n, ids in batch.inputs.items()}, batch.labels[rows])
        gradients, loss = row_gradients(model, learning, part, precision)
        lengths = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
        factors = (clip / lengths.clamp(min=1e-12)).clamp(max=1.0)  # [B]
        for name, gradient in gradients.items():
            total[name] += torch.tensordot(factors, gradient, dims=1)
        losses.append(loss)
    return total, torch.cat(losses) if losses else torch.zeros(0)


def row_gradients(
    model: nn.Module, learning: dict[str, Tensor], batch: Batch, precision: str = "float32"
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of each row's mean loss, [B, ...] a weight, and the losses, [B].

    The head is tied to the embedding: both uses of its weight are one here, which hooks on layers would miss.
    """
    device = next(iter(learning.values())).device
    fixed = {n: p.detach() for n, p in model.named_parameters() if n not in learning}

    def row_loss(weights: dict[str, Tensor], inputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        row = {name: ids[None] for name, ids in inputs.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = functional_call(model, {**fixed, **weights}, kwargs=row)[0]  # [T, V]
        summed = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
        return summed / (labels != IGNORED).sum().clamp(min=1)

    inputs = {name: torch.from_numpy(ids).to(device) for name, ids in batch.inputs.items()}
    labels = torch.from_numpy(batch.labels).to(device)
    each: Callable[..., Any] = vmap(
        grad_and_value(row_loss), in_dims=(None, 0, 0), randomness="different"
    )
    with sdpa_kernel(SDPBackend.MATH):  # the fast attentions cannot be vectorised
        gradients, losses = each(learning, inputs, labels)
    return gradients, losses.detach()


def noise_multiplier(privacy: PrivacyConfig, sample_rate: float, steps: int) -> float:
    """Return the noise, in clips, with which so many steps spend the ε that is wanted.

    Raises:
        MissingExtraError: opacus is not installed.
        TrainingError: no noise is enough.
    """
    try:
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError:
        raise MissingExtraError("opacus", "train") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of noises that it tries on its way
            found = get_noise_multiplier(
                target_epsilon=privacy.epsilon,
                target_delta=privacy.delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant="rdp",
            )
        return float(found)
    except ValueError:
        raise TrainingError(
            f"No noise keeps {steps} steps within epsilon {privacy.epsilon}; allow more, or fewer steps."
        ) from None


def spent_epsilon(noise: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return the ε that so many steps spent (Rényi accountant).

    Raises:
        MissingExtraError: opacus is not installed.
    """
    try:
        from opacus.accountants import RDPAccountant
    except ImportError:
        raise MissingExtraError("opacus", "train") from None
    if not steps:
        return 0.0
    accountant = RDPAccountant()
    accountant.history = [(noise, sample_rate, steps)]
    return float(accountant.get_epsilon(delta))


def describe_privacy(recipe: Recipe, dialogues: int, steps: int) -> tuple[float, str]:
    """Return the ε that a finished training spent, and a sentence about it.

    Args:
        recipe: what was run.
        dialogues: that it learnt from.
        steps: that it took; fewer than the recipe's if it ended early.
    """
    privacy, stage = recipe.privacy, recipe.stages[0]
    assert privacy is not None, "the caller has looked"
    rate = min(1.0, stage.batch_size / dialogues)
    noise = noise_multiplier(privacy, rate, stage.steps)
    epsilon = spent_epsilon(noise, rate, steps, privacy.delta)
    return epsilon, (
        f"It was trained with differential privacy (DP-SGD): epsilon {epsilon:.2f} at delta "
        f"{privacy.delta:g} for each of the {dialogues:,} dialogues that it learnt, with noise of "
        f"{noise:.2f} times the clipped length {privacy.clip:g}. The promise is for a dialogue, not for "
        "all that a person said, and not for the held-out dialogues, which decided on the kept weights."
    )
