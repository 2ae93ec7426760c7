"""Checkpoints: everything a run needs to go on, each in one safetensors file that appears whole.

- Weights and the optimizers' state are tensors; the counters are JSON in the file's header, beside a hash of
  the tensors by which a flipped bit is found. Nothing is pickled.
- There is no random state to keep: each step's randomness comes from the seed and the step's number, the
  position in the data is the stage and the step, and so is the learning rate's.
- A file is written beside its place, flushed to the disk, and renamed; the folder is flushed; only then do
  older ones go. Whatever stops this in between, the newest file that bears the name is a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..checkpoint.tensors import TensorFile, read_tensors, write_tensors
from ..errors import CheckpointError, TrainingError
from ..files import PARTIAL, replacing
from .processes import OneProcess, Processes

BEST = "best.safetensors"
_PATTERN = "checkpoint-*.safetensors"


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
    validations_since_best: int = 0
    """How many validations came after it."""

    def advance(self, tokens: int, seconds: float) -> None:
        """Count a step."""
        self.step += 1
        self.total_steps += 1
        self.tokens += tokens
        self.seconds += seconds

    def forget_best(self) -> None:
        """Count validations as if the next one were the first."""
        self.best_loss, self.best_step, self.validations_since_best = float("inf"), 0, 0


class Checkpoints:
    """The checkpoints of a run's folder: the newest few, and the weights that validated best."""

    def __init__(self, folder: Path, *, keep: int = 2, processes: Processes | None = None) -> None:
        """Look after a folder.

        Args:
            folder: the run's; it exists.
            keep: checkpoints to keep, the newest; 1 or more.
            processes: that train the model; all call each method, and the main one writes.
        """
        self._folder = folder
        self._keep = keep
        self._processes = processes or OneProcess()

    def newest(self) -> Path | None:
        """Return the file that a run goes on from, if there is one."""
        return max(self._folder.glob(_PATTERN), default=None)

    def progress(self) -> Progress:
        """Return how far the newest checkpoint has come.

        Raises:
            TrainingError: it is damaged.
        """
        path = self.newest()
        return Progress() if path is None else read_progress(path)

    def load(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> Progress:
        """Bring model and optimizers to where the newest checkpoint was written; without one, do nothing.

        Raises:
            TrainingError: it is damaged or belongs to another model.
        """
        path = self.newest()
        if path is None:
            return Progress()
        return load_checkpoint(path, model, optimizers, self._processes)

    def save(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], progress: Progress
    ) -> None:
        """Write a checkpoint, and remove those that are older than the newest `keep`.

        Raises:
            TrainingError: the disk refuses; the checkpoint before is intact.
        """
        path = self._folder / f"checkpoint-{progress.total_steps:08d}.safetensors"
        save_checkpoint(path, model, optimizers, progress, self._processes)
        if self._processes.is_main:
            self._tidy()

    def save_best(self, model: nn.Module, progress: Progress) -> None:
        """Write the weights alone, in the place of the best before.

        Raises:
            TrainingError: the disk refuses; those before are intact.
        """
        _write(self._folder / BEST, model.state_dict().items(), progress, self._processes)

    def check_best(self, progress: Progress, *, is_over: bool) -> None:
        """Look for the best weights that a run tells of; if they are lost, later ones take their place.

        Raises:
            TrainingError: they are lost, and no later ones will come.
        """
        if progress.best_step == 0:
            return
        try:
            TensorFile(self._folder / BEST)
        except CheckpointError:
            if is_over:
                raise TrainingError(
                    f"The training in {self._folder} is over, and its best weights ({BEST}) are missing or "
                    f"damaged; put them back, or remove {_PATTERN} there and train again by the same command."
                ) from None
            progress.forget_best()

    def _tidy(self) -> None:
        """Remove older checkpoints, and what writers that were killed left behind."""
        old = sorted(self._folder.glob(_PATTERN))[: -self._keep]
        left_behind = self._folder.glob(f"*.safetensors*{PARTIAL}")
        try:
            for path in [*old, *left_behind]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise TrainingError(
                f"Cannot remove {path}: {error.strerror}; the newest checkpoint is intact."
            ) from None


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    progress: Progress,
    processes: Processes | None = None,
) -> None:
    """Write a checkpoint; a crash at any moment leaves the old file or the new one. All processes call it.

    Raises:
        TrainingError: the disk refuses; the file before is intact.
    """
    processes = processes or OneProcess()
    optimizer_states = (
        (f"optimizer/{number}/{index}/{name}", tensor)
        for number, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, tensor in state.items()
    )
    weights = ((f"model/{name}", tensor) for name, tensor in model.state_dict().items())
    _write(path, chain(weights, optimizer_states), progress, processes)


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    processes: Processes | None = None,
) -> Progress:
    """Bring model and optimizers back to where the checkpoint was written. All processes call it.

    Raises:
        TrainingError: the file is damaged or belongs to another model.
    """
    processes = processes or OneProcess()
    progress = read_progress(path)
    try:
        tensors = read_tensors(path)
        own = model.state_dict()
        weights = _take(tensors, "model/")
        model.load_state_dict({n: processes.share(t, own[n]) for n, t in weights.items()})
        for number, optimizer in enumerate(optimizers):
            _load_optimizer(optimizer, _take(tensors, f"optimizer/{number}/"), processes)
    except (CheckpointError, KeyError, TypeError, ValueError, RuntimeError):
        raise _damaged(path) from None
    return progress


def read_progress(path: Path) -> Progress:
    """Return how far a run had come when it wrote a file.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return Progress(**json.loads(file.metadata()["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise _damaged(path) from None


def _put(path: Path, tensors: dict[str, Tensor], progress: Progress) -> None:
    """Write a file beside `path`, flush it to disk, and put it in its place."""
    try:
        with replacing(path) as partial:
            write_tensors(partial, tensors, progress=json.dumps(asdict(progress)))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"Cannot write {path}: {reason}; the checkpoint before is intact, "
            "and the same command goes on from it."
        ) from None


def _write(
    path: Path, named: Iterable[tuple[str, Tensor]], progress: Progress, processes: Processes
) -> None:
    tensors = {}
    for name, tensor in named:
        whole = processes.whole(tensor)  # the others have a part of it
        if processes.is_main:
            tensors[name] = whole
    if processes.is_main:
        _put(path, tensors, progress)
    processes.wait()


def _load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], processes: Processes
) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        shared = processes.share(tensor, parameters[int(index)])
        state.setdefault(int(index), {})[key] = shared
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _take(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _damaged(path: Path) -> TrainingError:
    return TrainingError(
        f"The checkpoint {path} is damaged or of another model; "
        "remove it to go on from the one before, or anew."
    )
