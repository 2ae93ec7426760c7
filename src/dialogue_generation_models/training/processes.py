"""The processes that train one model together: what the loop asks of them, and the case of one alone.

Every process makes the same batches and learns from its share of each; gradients, losses and the wish to
stop are put together. What a process must do with all others is said where it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from ..errors import DialogueModelError


class Processes(Protocol):
    """One of the processes that train a model, and its ways to the others."""

    index: int
    """Of this process; 0 writes the files and talks to the person."""
    count: int
    """How many there are."""
    device: torch.device
    """Where this one computes."""
    is_sharded: bool
    """Whether each holds a shard of the model and of the optimizer's state, instead of a copy."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and talks to the person."""
        ...

    def prepare(self, model: nn.Module) -> nn.Module:
        """Place a model; return what to call instead, whose gradients are the means over all processes."""
        ...

    def collecting(self, model: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Surround a backward pass; gradients go to the other processes after the `is_last` of a step."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' values. All must call it."""
        ...

    def whole(self, tensor: Tensor) -> Tensor:
        """Return a sharded tensor in one piece, on the CPU. All must call it."""
        ...

    def share(self, whole: Tensor, like: Tensor) -> Tensor:
        """Return this process's part of a tensor, sharded and placed as `like` is."""
        ...

    def wait(self) -> None:
        """Go on when all have come here."""
        ...


class OneProcess:
    """A process without others: nothing is shared, and nothing is waited for."""

    index = 0
    count = 1
    is_main = True
    is_sharded = False

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def prepare(self, model: nn.Module) -> nn.Module:
        """Place the model."""
        return model.to(self.device)

    def collecting(self, model: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def whole(self, tensor: Tensor) -> Tensor:
        """Bring a tensor to the CPU."""
        return tensor.detach().cpu()

    def share(self, whole: Tensor, like: Tensor) -> Tensor:
        """Return the tensor; whoever loads it places it."""
        return whole

    def wait(self) -> None:
        """Do nothing."""


@contextmanager
def start_processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that `accelerate launch` or `torchrun` started; without them, be alone.

    Args:
        device: where to compute when alone; among several, each CUDA process has a GPU of its own.

    What a user can mend is raised by the process that met it first; the others leave with its exit code,
    so that one sentence is said once.

    Raises:
        MissingExtraError: there are several processes, and accelerate is not installed.
        SystemExit: another process failed.
    """
    if "LOCAL_RANK" not in os.environ:
        yield OneProcess(device)
        return
    from .accelerated import AcceleratedProcesses

    processes = AcceleratedProcesses(on_cpu=device.type == "cpu")
    try:
        yield processes
        processes.end()
    except (DialogueModelError, OSError) as error:
        code = getattr(error, "exit_code", 1)
        if not processes.tell_failure(code):
            raise SystemExit(code) from None
        raise
    except RuntimeError:
        # The connection to a process that failed breaks off.
        code = processes.failure_elsewhere()
        if code is None:
            raise
        raise SystemExit(code) from None
    except BaseException:
        processes.end()
        raise
