"""`dgm convert`: a released `.pth`, or a GPT-2 folder of `transformers`, becomes a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..config.registry import Language
from ..errors import UsageError

app = typer.Typer(add_completion=False)


@app.command()
def convert(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="ORIGINAL", help="A released .pth file, or a GPT-2 folder of transformers."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The model folder to write.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The JSON file that came with the .pth file, which needs it.",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            "-t",
            metavar="FILE",
            help="The SentencePiece .model file; without it the model speaks ids only.",
        ),
    ] = None,
    language: Annotated[
        Language | None,
        typer.Option(
            "--language",
            "-l",
            help="What the model speaks, for the model card.  [default: ko; en for a folder]",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model folder that is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn a released .pth file into a model folder that every other command takes.

    Nothing in the file is ever run. A file that is damaged, or that belongs to another
    configuration, is refused, and nothing is written.
    """
    if not overwrite and output.is_dir() and any(output.iterdir()):
        raise UsageError(f"{output} is not empty; choose another folder or add --overwrite.")
    from ..checkpoint.convert import convert_huggingface, convert_original

    if weights.is_dir():
        model = convert_huggingface(weights, tokenizer, output, language=language or "en")
    elif config is None:
        raise UsageError("A .pth file needs its configuration; give it with --config FILE.")
    else:
        model = convert_original(weights, config, tokenizer, output, language=language or "ko")
    count = sum(parameter.numel() for parameter in model.parameters())
    if as_json:
        result = {"path": str(output), "parameters": count, "has_tokenizer": tokenizer is not None}
        print(json.dumps(result, ensure_ascii=False))
        return
    print(f"Wrote {output} ({count:,} parameters).")
    if tokenizer is None:
        print("It has no tokenizer: it takes and gives ids only.")
    else:
        print(f"Talk to it: dgm chat --model {output}")
