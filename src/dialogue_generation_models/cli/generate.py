"""`dgm generate`: replies to every dialogue of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .contexts import Context, check_contexts, read_contexts
from .options import (
    DeviceOption,
    MaxTokensOption,
    ModelOption,
    PrecisionOption,
    SetOption,
    StrategyOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    gather,
)
from .progress import show_count
from .replies_file import RepliesFile, check_output, fingerprint, format_line

if TYPE_CHECKING:
    from ..chat import Chatbot

app = typer.Typer(add_completion=False)


@app.command()
def generate(
    source: Annotated[
        str,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help="Dialogue lines (.jsonl, .jsonl.zst) whose last turn is answered; - for standard input.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File for the replies; - for standard output."
        ),
    ],
    model: ModelOption = "gpt-mini-ko",
    strategy: StrategyOption = None,
    candidates: Annotated[
        int, typer.Option("--candidates", "-n", help="Replies to each dialogue, best first.", min=1)
    ] = 1,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other replies.", min=0)] = 0,
    set_: SetOption = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            "-b",
            help="Dialogues answered at once, with all their candidates.",
            min=1,
        ),
    ] = 8,
    precision: PrecisionOption = "auto",
    device: DeviceOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
    ] = False,
) -> None:
    """Answer every dialogue of a file.

    Each input line holds a dialogue: "turns" (speaker and text), "messages" (role and content) or
    "context" (a list of texts). Each output line holds its id and the replies with score and tokens.
    An interrupted run goes on where it stopped when the same command is given again.
    """
    options = gather(
        set_,
        strategy=strategy,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        max_tokens=max_tokens,
    )
    settings: dict[str, Any] = {**options, "candidates": candidates, "seed": seed}
    if output != "-":
        check_output(Path(output), overwrite=overwrite)
    contexts = read_contexts(source)

    from ..chat import load

    bot = load(model, precision=precision, device=device)
    check_contexts(bot, contexts, settings)
    if output == "-":
        for line in answer_all(bot, contexts, settings, batch_size):
            print(line, flush=True)
        return
    run = _fingerprint(model, contexts, bot.settle(**settings), precision)
    with RepliesFile(Path(output), run, overwrite=overwrite) as file:
        lines = answer_all(bot, contexts, settings, batch_size, start=file.done)
        _write(file, lines, len(contexts))
    print(f"Wrote {len(contexts)} lines to {output}.", file=sys.stderr)


def answer_all(
    bot: Chatbot,
    contexts: Sequence[Context],
    settings: dict[str, Any],
    batch_size: int,
    start: int = 0,
) -> Iterator[str]:
    """Yield the output line of each context from number `start` on."""
    left = contexts[start:]
    dialogues = (context.dialogue for context in left)
    answers = bot.reply_each(dialogues, at_once=batch_size, **settings)
    for context, replies in zip(left, answers, strict=True):
        yield format_line(context.id, replies)


def _fingerprint(model: str, contexts: Sequence[Context], decoding: object, precision: str) -> str:
    from ..checkpoint.folder import find_folder

    folder = find_folder(model)
    names = ("config.json", "model.safetensors", "tokenizer.model")
    parts = [decoding, precision, *((c.id, c.dialogue.turns) for c in contexts)]
    return fingerprint(parts, [folder / name for name in names])


def _write(file: RepliesFile, lines: Iterable[str], total: int) -> None:
    """Move lines into the file, and show how far it is."""
    if file.done:
        print(f"Going on after line {file.done} of {total}.", file=sys.stderr)
    try:
        for line in show_count(lines, total, file.done):
            file.append(line)
    except KeyboardInterrupt:
        print(
            f"Stopped after line {file.done} of {total}; the same command goes on from there.",
            file=sys.stderr,
        )
        raise
    file.finish()
