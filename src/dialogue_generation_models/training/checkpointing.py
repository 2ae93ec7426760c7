"""Checkpoints: everything a run needs to go on, in one safetensors file that is replaced atomically.

Weights, the optimizers' state and the random state are tensors; the counters are JSON in the file's header.
Nothing is pickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import TrainingError


@dataclass
class Progress:
    """How far a run has come."""

    stage: int = 0
    """Index of the stage that is being trained."""
    step: int = 0
    """Steps done in that stage."""
    total_steps: int = 0
    """Steps done in all stages."""
    tokens: int = 0
    """Tokens learnt (labelled) so far."""
    seconds: float = 0.0
    """Time spent in training steps."""
    best_loss: float = float("inf")
    """Lowest validation loss so far, in nats a token."""
    best_step: int = 0
    """`total_steps` at that moment."""


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    progress: Progress,
) -> None:
    """Write a checkpoint; a crash at any moment leaves the old one or the new one."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            place = f"optimizer/{number}/{index}"
            tensors |= {f"{place}/{name}": tensor for name, tensor in state.items()}
    tensors["random"] = torch.get_rng_state()
    write_tensors(path, tensors, {"progress": json.dumps(asdict(progress))})


def load_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> Progress:
    """Bring model, optimizers and random state back to where the checkpoint was written.

    Raises:
        TrainingError: the file is damaged or belongs to another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        weights = _take(tensors, "model/")
        model.load_state_dict(weights)
        for number, optimizer in enumerate(optimizers):
            _load_optimizer(optimizer, _take(tensors, f"optimizer/{number}/"))
        torch.set_rng_state(tensors["random"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError):
        raise TrainingError(
            f"The checkpoint {path} is damaged or of another model; remove it to start anew."
        ) from None
    return progress


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file beside `path`, flush it to disk, and put it in its place."""
    partial = path.with_name(path.name + ".partial")
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, partial, metadata)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(
            f"Cannot write {path}: {error}; the checkpoint before is intact."
        ) from None


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
