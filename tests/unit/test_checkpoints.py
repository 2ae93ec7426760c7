"""Checkpoints: whatever stops a save, a whole one is there to go on from."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from dialogue_generation_models.checkpoint import tensors as tensors_module
from dialogue_generation_models.errors import TrainingError
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.checkpointing import Checkpoints, Progress
from dialogue_generation_models.training.optimizer import build_optimizers
from training_material import GPT, Recorder, make_recipe, run_loop

RECIPE = make_recipe(GPT)


class Killed(BaseException):
    """The process ends here: nothing handles it."""


class Fault:
    """Lets a number of file operations pass, and then stops whatever comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, passes: int) -> None:
        self.error, self.left, self.is_hit = error, passes, False
        for place, name in (
            (tensors_module, "save_file"),
            (os, "fsync"),
            (os, "replace"),
            (Path, "unlink"),
        ):
            monkeypatch.setattr(place, name, self.wrap(getattr(place, name)))

    def wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if self.is_hit and isinstance(self.error, Killed):
                raise self.error
            self.left -= 1
            if self.left >= 0 or self.is_hit:
                return operation(*arguments, **options)
            self.is_hit = True
            if operation is safetensors.torch.save_file:
                arguments[1].write_bytes(b"half a file")
            raise self.error

        return wrapped


def make_state(value: float) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    """A model whose weights are all `value`, and its optimizer after a step with the rate 0."""
    model = build_model(RECIPE.model)
    optimizers = build_optimizers(model, RECIPE)
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)
            weight.grad = torch.ones_like(weight)
    for optimizer in optimizers:
        optimizer.step()
    return model, optimizers


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(*make_state(float(step)), Progress(total_steps=step))


def loaded_step(folder: Path) -> int:
    """Load the newest checkpoint; its weights must be those of its step."""
    model, optimizers = make_state(0.0)
    progress = Checkpoints(folder).load(model, optimizers)
    assert all((weight == progress.total_steps).all() for weight in model.state_dict().values())
    assert optimizers[0].state_dict()["state"]
    return progress.total_steps


@pytest.mark.parametrize(
    "error", [Killed(), OSError(errno.ENOSPC, "No space left on device")], ids=["killed", "full"]
)
@pytest.mark.parametrize("passes", range(7))
def test_a_save_that_stops_anywhere_leaves_a_checkpoint_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, passes: int
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 1)
    with monkeypatch.context() as patch:
        fault = Fault(patch, error, passes)
        with nullcontext() if passes == 6 else pytest.raises((Killed, TrainingError)):
            save(checkpoints, 2)
    # Clearing, write, file, name, folder, and the older one's removal.
    assert fault.is_hit == (passes < 6)
    assert loaded_step(tmp_path) == (1 if passes < 4 else 2)
    save(checkpoints, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000003.safetensors"]


def test_what_a_killed_writer_left_goes_with_the_next_checkpoint(tmp_path: Path) -> None:
    # A process that is killed outright cannot tidy up after itself.
    for name in ("checkpoint-00000001.safetensors", "best.safetensors"):
        (tmp_path / f"{name}.partial").write_bytes(b"half")
    save(Checkpoints(tmp_path), 2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002.safetensors"]


def test_the_newest_few_stay_and_the_best(tmp_path: Path) -> None:
    recipe = make_recipe(GPT, (60,), keep_checkpoints=3)
    run_loop(recipe, tmp_path, Recorder())
    names = sorted(path.name for path in tmp_path.iterdir())
    steps = [f"checkpoint-000000{step}.safetensors" for step in (40, 50, 60)]
    assert names == ["best.safetensors", *steps]


def test_a_damaged_checkpoint_is_named_and_the_one_before_serves_when_it_is_removed(
    tmp_path: Path,
) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    save(checkpoints, 2)
    newest = checkpoints.newest()
    assert newest is not None
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.raises(TrainingError, match=r"00000002\.safetensors is damaged.*remove it"):
        checkpoints.load(*make_state(0.0))
    newest.unlink()
    assert loaded_step(tmp_path) == 1


def test_the_best_weights_replace_those_before_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    model, _ = make_state(1.0)
    checkpoints.save_best(model, Progress(total_steps=1))
    before = (tmp_path / "best.safetensors").read_bytes()
    Fault(monkeypatch, OSError(errno.ENOSPC, "No space left on device"), 1)
    with pytest.raises(TrainingError, match=r"No space left on device; .* intact"):
        checkpoints.save_best(model, Progress(total_steps=2))
    assert (tmp_path / "best.safetensors").read_bytes() == before
