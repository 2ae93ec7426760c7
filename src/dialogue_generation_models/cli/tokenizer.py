"""`dgm tokenizer train`: a tokenizer from your own texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def tokenizer() -> None:
    """Train a tokenizer on your texts."""


@app.command()
def train(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT", help="Texts or dialogues: .jsonl, .jsonl.zst, or .txt by lines."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")
    ],
    vocab_size: Annotated[
        int,
        typer.Option(
            "--vocab-size",
            "-n",
            min=300,
            max=1_000_000,
            help="Pieces in all, with 5 special ids and 256 bytes.",
        ),
    ] = 8192,
    character_coverage: Annotated[
        float,
        typer.Option(
            min=0.9,
            max=1.0,
            help="Share of the texts' characters that get a piece of their own; the rest become bytes.",
        ),
    ] = 0.9995,
    max_lines: Annotated[
        int | None,
        typer.Option(
            min=1, help="Texts taken from each input.  [default: all]", show_default=False
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Worker threads.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a SentencePiece tokenizer (unigram, byte fallback) and write DIR/tokenizer.model.

    DIR/tokenizer.json records the settings.
    """
    from ..checkpoint.folder import TOKENIZER, check_replaceable, replacing_folder, to_json
    from ..tokenizer.train import train_tokenizer

    settings_file = "tokenizer.json"
    files = {TOKENIZER, settings_file}
    check_replaceable(output, files)
    trained = train_tokenizer(
        _read(inputs, max_lines),
        vocab_size,
        character_coverage=character_coverage,
        threads=threads,
    )
    settings = {
        "vocab_size": trained.vocab_size,
        "character_coverage": character_coverage,
        "max_lines": max_lines,
        "inputs": [path.name for path in inputs],
    }
    with replacing_folder(output, files) as folder:
        (folder / TOKENIZER).write_bytes(trained.to_bytes())
        (folder / settings_file).write_bytes(to_json(settings))
    if as_json:
        print(json.dumps({"path": str(output / TOKENIZER), **settings}, ensure_ascii=False))
    else:
        print(f"Wrote {output / TOKENIZER} ({trained.vocab_size:,} pieces).")


def _read(inputs: Sequence[Path], max_lines: int | None) -> Iterator[str]:
    from ..data.importers.jsonl import read_texts

    for path in inputs:
        yield from islice(read_texts(path), max_lines)
