"""`dgm train`: train the model that a recipe describes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import DeviceOption
from .progress import show_progress

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
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0 for all.")] = 0,
) -> None:
    """Train a model and leave it, with its card, in RUN/NAME.

    A run that was stopped goes on where it stopped when the same command is given again.
    """
    import torch
    from rich.console import Console

    from ..checkpoint.folder import pick_device
    from ..config.io import apply_overrides, read_config_file
    from ..config.training import Recipe
    from ..training.export import export
    from ..training.processes import start_processes
    from ..training.run import run

    config = Recipe(**apply_overrides(read_config_file(recipe), overrides or []))
    folder = output or Path("runs") / config.name
    if threads:
        torch.set_num_threads(threads)
    console = Console()
    try:
        with start_processes(pick_device(device)) as processes:
            run(config, folder, processes=processes, console=console)
            is_main = processes.is_main
        if not is_main:
            return
        console.print("Measuring the best model ...")
        with show_progress() as track:
            path = export(config, folder, command=f"dgm train {recipe.as_posix()}", track=track)
    except KeyboardInterrupt:
        print(
            f"Stopped. The same command goes on where it stopped, in {folder}.",
            file=sys.stderr,
        )
        raise
    console.print(f"Done: {path}\nTalk to it: dgm chat --model {path}", highlight=False)
