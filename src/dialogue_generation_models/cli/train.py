"""`dgm train`: train the model that a recipe describes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DeviceOption, ThreadsOption
from .progress import show_progress, show_stages

if TYPE_CHECKING:
    from ..training.estimate import Estimate

app = typer.Typer(add_completion=False)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a TOML file.", metavar="RECIPE.toml")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field, e.g. stages.0.steps=100."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the run.  [default: runs/NAME]"),
    ] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it will take (size, memory, time), and stop."),
    ] = False,
) -> None:
    """Train a model and leave it, with its card, in RUN/NAME.

    A run that was stopped goes on where it stopped when the same command is given again.
    """
    import torch
    from rich.console import Console

    from ..checkpoint.folder import check_replaceable, pick_device
    from ..config.io import apply_overrides, configure, read_config_file
    from ..config.training import Recipe
    from ..training.estimate import estimate
    from ..training.export import export
    from ..training.processes import start_processes
    from ..training.run import run

    def read() -> Recipe:
        return configure(
            lambda table: Recipe(**table),
            read_config_file(recipe),
            lambda table: apply_overrides(table, overrides or []),
        )

    if threads:
        torch.set_num_threads(threads)
    console = Console()
    with start_processes(pick_device(device)) as processes:
        config = read()
        if dry_run:
            if processes.is_main:
                show_estimate(estimate(config, processes.device))
            return
        folder = output or Path("runs") / config.name
        check_replaceable(folder / config.name)  # where the model will be
        with _explaining_stop(folder, is_main=processes.is_main):
            run(config, folder, processes=processes, console=console, watch=show_stages)
    if not processes.is_main:
        return
    console.print("Measuring the best model ...")
    with _explaining_stop(folder), show_progress() as track:
        path = export(config, folder, command=_command(recipe, overrides or []), track=track)
    console.print(f"Done: {path}\nTalk to it: dgm chat --model {path}", highlight=False)


def _command(recipe: Path, overrides: Sequence[str]) -> str:
    """Return the command for the card, without whole paths, which tell of people."""
    from ..training.corpus import told_path

    words = [told_path(recipe.as_posix(), ".")]
    for name, _, value in (override.partition("=") for override in overrides):
        if name.strip() != "data_root":  # where the data lie says nothing of what is learnt
            words += ["--set", f"{name}={told_path(value, '.')}"]
    return f"dgm train {shlex.join(words)}"


@contextmanager
def _explaining_stop(folder: Path, *, is_main: bool = True) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if is_main:
            print(
                f"Stopped. The same command goes on where it stopped, in {folder}.",
                file=sys.stderr,
            )
        raise


def show_estimate(found: Estimate) -> None:
    """Print what a training will take, a line each."""
    from ..training.view import describe_time

    memory = found.memory
    print(f"Parameters: {found.parameters:,}")
    for stage in found.stages:
        print(
            f"Stage {stage.name}: {stage.steps:,} steps, {stage.positions:,} tokens a step, of which "
            f"{stage.learnt:,.0f} are learnt"
            + (f"; {stage.epochs:.2f} epochs of its data" if stage.epochs is not None else "")
        )
    print(
        f"Memory: about {memory.total / 1e9:.2f} GB (weights {memory.weights / 1e9:.2f}, gradients "
        f"{memory.gradients / 1e9:.2f}, optimizer {memory.optimizer / 1e9:.2f}, activations "
        f"{memory.activations / 1e9:.2f}), and what the program itself takes"
    )
    print(f"Time: about {describe_time(found.seconds)} without validations ({found.basis})")
    if found.missing_data is not None:
        print(f"The data were not read, so batches are taken to be full. {found.missing_data}")
    print("Nothing was written.")
