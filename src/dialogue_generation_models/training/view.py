"""What a person sees of a run: a progress bar on a terminal, plain lines elsewhere, and a JSON Lines log."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..config.training import Recipe
from ..errors import TrainingError
from ..files import write_whole
from .checkpointing import Progress as RunProgress
from .loop import Stage, StepReport

_SECONDS_BETWEEN_LINES = 30.0
_STEPS_BETWEEN_LOGS = 10
_MEMORY = 0.95  # of the running averages


class Tracker(Protocol):
    """Also takes a run's numbers."""

    def log(self, record: dict[str, Any]) -> None:
        """Take a line of the log that has a `step`."""
        ...

    def finish(self) -> None:
        """Write out what is left."""
        ...


class RunView:
    """Shows loss, speed and time left; use it as a context manager."""

    def __init__(
        self,
        recipe: Recipe,
        log: Path,
        console: Console,
        done: RunProgress | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        """Go on with a log.

        Args:
            recipe: what is trained.
            log: file to append to; what it says of steps after `done` is taken out, for these are
                trained again.
            console: where the bar and the lines go.
            done: the progress that the run goes on from.
            tracker: also told every number.
        """
        self._steps = sum(stage.steps for stage in recipe.stages)
        self._console = console
        self._log = log
        self._tracker = tracker
        self._loss: float | None = None
        self._speed: float | None = None
        self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        done = done or RunProgress()
        self._task = self._bar.add_task(
            "training", total=self._steps, completed=done.total_steps, figures=""
        )
        cut_log(log, done.total_steps)

    def __enter__(self) -> RunView:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._tracker is not None:
            self._tracker.finish()

    def start(self, **facts: object) -> None:
        """Write down what the run is about to use."""
        self._write(**facts)

    def plan(self, stages: Sequence[Stage]) -> None:
        """Show how much of the data each stage will see."""
        for stage in stages:
            steps, epochs = stage.config.steps, stage.config.steps / stage.batches.batches_per_epoch
            self._console.print(f"{stage.config.name}: {steps} steps, {epochs:.2f} epochs")

    def step(self, report: StepReport) -> None:
        """Show one step."""
        progress = report.progress
        self._loss = _average(self._loss, report.loss)
        self._speed = _average(self._speed, report.tokens / report.seconds)
        figures = f"loss {self._loss:.3f} · {self._speed:,.0f} tokens/s"
        memory = used_memory()
        if memory is not None:
            figures += f" · {memory / 1e9:.1f} GB"
        self._bar.update(
            self._task,
            completed=progress.total_steps,
            description=report.stage.name,
            figures=figures,
        )
        if progress.total_steps % _STEPS_BETWEEN_LOGS == 0 or progress.total_steps == self._steps:
            self._write(
                step=progress.total_steps,
                stage=report.stage.name,
                loss=round(report.loss, 5),
                learning_rate=report.learning_rate,
                gradient_norm=round(report.gradient_norm, 4),
                tokens=progress.tokens,
                tokens_per_second=round(self._speed, 1),
                seconds=round(progress.seconds, 1),
                memory=memory,
            )
        is_due = time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES
        if not self._console.is_terminal and is_due:
            self._last_line = time.monotonic()
            left = progress.seconds / progress.total_steps * (self._steps - progress.total_steps)
            self._console.print(
                f"{report.stage.name}: step {progress.total_steps} of {self._steps}, {figures}, "
                f"{describe_time(left)} left"
            )

    def validation(self, progress: RunProgress, loss: float, is_best: bool) -> None:
        """Show a validation loss."""
        perplexity = math.exp(min(loss, 50.0))
        note = ", the best so far" if is_best else ""
        self._console.print(
            f"step {progress.total_steps}: validation perplexity {perplexity:.2f}{note}"
        )
        self._write(step=progress.total_steps, validation_loss=round(loss, 5), is_best=is_best)

    def _write(self, **record: Any) -> None:
        if self._tracker is not None and "step" in record:
            self._tracker.log(record)
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
                if "validation_loss" in record:  # a checkpoint follows
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise TrainingError(
                f"Cannot write {self._log}: {error.strerror}; the last checkpoint is intact, "
                "and the same command goes on from it."
            ) from None


class SilentView:
    """Shows nothing: the view of the processes beside the main one."""

    def plan(self, stages: Sequence[Stage]) -> None:
        """Show nothing."""

    def step(self, report: StepReport) -> None:
        """Show nothing."""

    def validation(self, progress: RunProgress, loss: float, is_best: bool) -> None:
        """Show nothing."""


def used_memory() -> int | None:
    """Return the bytes in use: the most that tensors took of a GPU, else what the process takes.

    None where the system does not say.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated()
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def describe_time(seconds: float) -> str:
    """Say a duration in the unit that fits it."""
    for unit, length in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a log, if there is one; half lines, as a power cut leaves them, are left out."""
    if not path.exists():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                yield record


def cut_log(path: Path, last_step: int) -> None:
    """Take out of a log what it says of steps after `last_step`.

    Raises:
        TrainingError: the disk refuses; the log is as it was.
    """
    if not path.exists():
        return
    kept = (record for record in read_log(path) if record.get("step", 0) <= last_step)
    try:
        write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))
    except OSError as error:
        raise TrainingError(f"Cannot write {path}: {error.strerror}; it is as it was.") from None


def _average(before: float | None, now: float) -> float:
    return now if before is None else _MEMORY * before + (1 - _MEMORY) * now
