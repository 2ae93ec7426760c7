"""`dgm models`: what is known by name."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from ..config.registry import ModelEntry, get_entry, list_models

app = typer.Typer(add_completion=False, no_args_is_help=True)

_LANGUAGES = {"ko": "Korean", "ja": "Japanese", "en": "English"}
_WEIGHTS = {
    "bundled": "in this package",
    "train": "not published; train them",
    "convert": "published elsewhere; convert a transformers folder with dgm convert",
    "withdrawn": "withdrawn by their publisher in 2021; convert your own copy with dgm convert",
}
_JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def models() -> None:
    """List the models that are known by name, or show one."""


@app.command("list")
def list_(as_json: _JsonOption = False) -> None:
    """List all named models."""
    entries = list_models()
    if as_json:
        _print_json([_describe(entry) for entry in entries])
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("Model", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Weights", no_wrap=True)
    for entry in entries:
        style = "bold" if entry.weights == "bundled" else None
        size = _short(entry.parameters)
        table.add_row(entry.name, entry.language, size, entry.weights, style=style)
    _print_table(table)
    print("\n`dgm models show NAME` tells more about one.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The model's name or the stem of its released file.")],
    as_json: _JsonOption = False,
) -> None:
    """Show what is known about one model."""
    entry = get_entry(name)
    if as_json:
        _print_json(_describe(entry))
        return
    rows = {
        "Name": entry.name,
        "Language": _LANGUAGES[entry.language],
        "Size": f"{entry.size}, {entry.parameters:,} parameters",
        "Trained on": entry.corpus,
        "Licence": entry.licence,
        "Weights": _WEIGHTS[entry.weights],
        "Released file": entry.file,
        "Recipe": entry.recipe,
        "Shape": _shape(entry),
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows.items():
        if text is not None:
            table.add_row(label, text)
    _print_table(table)


def _describe(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "file": entry.file,
        "language": entry.language,
        "size": entry.size,
        "parameters": entry.parameters,
        "corpus": entry.corpus,
        "licence": entry.licence,
        "weights": entry.weights,
        "recipe": entry.recipe,
        "config": entry.config.model_dump(mode="json"),
    }


def _shape(entry: ModelEntry) -> str:
    fields = entry.config.model_dump(mode="json")
    return ", ".join(
        f"{name} {value}" for name, value in fields.items() if not name.endswith("_id")
    )


def _short(count: int) -> str:
    """13_890_816 → `14 M`."""
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


def _print_table(table: Table) -> None:
    # Lines in a pipe are for programs and files, which have no width.
    console = Console(highlight=False) if sys.stdout.isatty() else Console(width=500)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))
