"""Several processes through accelerate: each with a copy of the model (DDP) or a shard of it (FSDP).

- The one file that knows accelerate. Which of the two, how many processes and on which machines is what
  `accelerate launch` was told; `torchrun` starts copies.
- Shards are torch's `fully_shard`, called here, because accelerate keeps its own call of it from processors
  without a GPU. The launcher's settings of FSDP hold.
- Precision stays the recipe's: autocast in the loop, whatever the launcher says of it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from ..errors import MissingExtraError
from .blocks import blocks_of

if TYPE_CHECKING:
    from accelerate import Accelerator


_FAILED, _CODE = "dgm/failed", "dgm/exit-code"
_SECONDS_FOR_OTHERS = 5.0  # to notice a failure
_PATIENCE = timedelta(days=1)
"""While the main process prepares data; one that fails is noticed at once."""


class AcceleratedProcesses:
    """The processes of a launch.

    Raises:
        MissingExtraError: accelerate is not installed.
    """

    def __init__(self, *, on_cpu: bool) -> None:
        self._accelerator = _accelerator(on_cpu)
        self.index = self._accelerator.process_index
        self.count = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device
        self.is_main = self.index == 0
        self._store = _meeting_place()
        self.is_sharded = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"

    def prepare(self, model: nn.Module) -> nn.Module:
        """Copy the model to this process's device, or shard it: a block a shard, and one of the rest."""
        if self.is_sharded:
            return _shard(model, self.device)
        return cast(nn.Module, self._accelerator.prepare(model))

    def collecting(self, model: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Keep gradients here until the last part of a step."""
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(is_last)
        elif isinstance(model, DistributedDataParallel) and not is_last:
            return model.no_sync()
        return nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' values."""
        return cast(Tensor, self._accelerator.reduce(values.to(self.device), reduction="sum"))

    def whole(self, tensor: Tensor) -> Tensor:
        """Put a sharded tensor together, on the CPU."""
        complete = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return complete.detach().cpu()

    def share(self, whole: Tensor, like: Tensor) -> Tensor:
        """Shard a tensor as `like` is; every process has read the whole, so nothing is sent."""
        if not isinstance(like, DTensor) or whole.shape != like.shape:
            return whole
        placed = whole.to(like.device)
        return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)

    def wait(self) -> None:
        """Go on when all have come here."""
        self._accelerator.wait_for_everyone()

    def end(self) -> None:
        """Leave the others."""
        self._accelerator.end_training()

    def tell_failure(self, code: int) -> bool:
        """Leave the others, who will end with the same exit code; say whether this process failed first."""
        if self._store is None:
            self.end()
            return True
        is_first = False
        with suppress(RuntimeError):  # whoever keeps the notes has failed before, and is gone
            is_first = self._store.add(_FAILED, 1) == 1
            if is_first:
                self._store.set(_CODE, str(code))
                _outlive_others()
        self.end()  # what the others wait for breaks off, and they look up why
        deadline = time.monotonic() + _SECONDS_FOR_OTHERS
        with suppress(RuntimeError):
            # This process may be the one that keeps the notes.
            while (
                is_first
                and self._store.add(_FAILED, 0) < self.count
                and time.monotonic() < deadline
            ):
                time.sleep(0.05)
        return is_first

    def failure_elsewhere(self) -> int | None:
        """Return the exit code of another process that failed, if one did."""
        try:
            if self._store is None or not self._store.check([_CODE]):
                return None
            code = int(self._store.get(_CODE))
            self._store.add(_FAILED, 1)
        except RuntimeError:  # its keeper is gone
            return None
        return code


class TensorBoard:
    """A run's numbers as TensorBoard shows them, through accelerate's tracker.

    Raises:
        MissingExtraError: accelerate or tensorboard is not installed.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        """Write to `folder`; what an earlier run wrote of `first_step` and later is not shown again."""
        try:
            from accelerate import PartialState
            from accelerate.tracking import TensorBoardTracker

            PartialState()  # the tracker asks whether this is the main process
            self._tracker = TensorBoardTracker(
                folder.name, logging_dir=str(folder.parent), purge_step=first_step
            )
            self._tracker.start()
        except ImportError as error:
            missing = "accelerate" if "accelerate" in str(error) else "tensorboard"
            raise MissingExtraError(missing, "train") from None

    def log(self, record: dict[str, Any]) -> None:
        """Take a line of the log."""
        numbers = {name: value for name, value in record.items() if type(value) in (int, float)}
        self._tracker.log(numbers, step=numbers.pop("step"))

    def finish(self) -> None:
        """Write out what is left."""
        self._tracker.finish()


def _outlive_others() -> None:
    """Let this process come to its end: launchers end the rest, by SIGTERM, as soon as one of them is gone."""
    with suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _meeting_place() -> Any:
    """Return where the launched processes leave each other notes, which needs no connection between them."""
    if not torch.distributed.is_initialized():
        return None
    return torch.distributed.distributed_c10d._get_default_store()


def _accelerator(on_cpu: bool) -> Accelerator:
    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ImportError:
        raise MissingExtraError("accelerate", "train") from None
    patience = InitProcessGroupKwargs(timeout=_PATIENCE)
    return Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[patience])


def _shard(model: nn.Module, device: torch.device) -> nn.Module:
    from accelerate import FullyShardedDataParallelPlugin
    from torch.distributed.device_mesh import init_device_mesh

    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for part in (*blocks_of(model), model):
        fully_shard(
            part,
            mesh=mesh,
            reshard_after_forward=bool(plugin.reshard_after_forward),
            offload_policy=plugin.cpu_offload or OffloadPolicy(),
        )
    return model
