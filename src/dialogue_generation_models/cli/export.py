"""`dgm export`: a model folder becomes a folder of another engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..export import Format
from .options import ModelOption

app = typer.Typer(add_completion=False)


@app.command()
def export(
    model: ModelOption,
    to: Annotated[
        Format,
        typer.Option(
            "--format", "-f", help="For transformers, onnxruntime and its kin, or CTranslate2."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="The folder to write; absent or empty."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a model for another engine, with float32 weights and the same outputs.

    What a format cannot hold exactly is refused, and nothing is written. onnx and ctranslate2 need
    the extra "export".
    """
    from ..export.formats import export as write

    written = write(model, to, output)
    if as_json:
        print(json.dumps({"path": str(output), "files": written.files}, ensure_ascii=False))
        return
    print(f"Wrote {output}: {', '.join(written.files)}.")
    print(f"How it is used: {output / 'README.md'}")
