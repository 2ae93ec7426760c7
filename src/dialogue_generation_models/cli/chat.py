"""`dgm chat`: talk with a model in the terminal, or answer the lines of a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DialogueModelError, InputTextError
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

if TYPE_CHECKING:
    from ..chat import Chatbot

app = typer.Typer(add_completion=False)
_LANGUAGES = {"ko": "Korean", "ja": "Japanese", "en": "English"}


@app.command()
def chat(
    model: ModelOption = "gpt-mini-ko",
    strategy: StrategyOption = None,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Makes the conversation repeatable.", min=0)
    ] = None,
    set_: SetOption = None,
    precision: PrecisionOption = "auto",
    device: DeviceOption = None,
) -> None:
    """Talk with a model. On a terminal, /help lists the commands and Ctrl+D leaves.

    In a pipe each line of input is a message of one dialogue, and each line of output its reply.
    """
    options = gather(
        set_,
        strategy=strategy,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        max_tokens=max_tokens,
    )
    if sys.stdin.isatty() and sys.stdout.isatty():
        _talk(model, options, seed, {"precision": precision, "device": device})
        return
    from ..chat import load

    bot = load(model, precision=precision, device=device)
    raise typer.Exit(answer_lines(bot, sys.stdin, options, seed))


def _talk(model: str, options: dict[str, Any], seed: int | None, loading: dict[str, Any]) -> None:
    from .terminal import TerminalView

    with TerminalView() as view:
        with view.busy(f"Loading {model} …"):
            from ..chat import load
            from .conversation import Conversation

            bot = load(model, **loading)
            conversation = Conversation(bot, view, options, seed, describe_model(bot.name))
        view.complete(conversation.commands)
        conversation.run()


def describe_model(name: str) -> list[str]:
    """Return what is worth saying about a model besides its name: its language, if it is known."""
    from ..config.registry import get_entry

    try:
        return [_LANGUAGES[get_entry(name).language]]
    except DialogueModelError:
        return []


def answer_lines(
    bot: Chatbot, lines: Iterable[str], options: dict[str, Any], seed: int | None
) -> int:
    """Print one line for each line: its reply, or nothing where there is nothing to answer.

    All lines are one dialogue. A line that the model cannot take is named on the error stream.

    Returns:
        The exit code: 1 if a line was refused.
    """
    from ..dialogue import is_blank
    from .terminal import printable

    turns: list[str] = []
    code = 0
    bot.settle(**options)
    for number, line in enumerate(lines, start=1):
        # Bytes that are not UTF-8 arrive as half surrogates; they become U+FFFD.
        message = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
        text = ""
        if not is_blank(message):
            turn_seed = None if seed is None else (seed + number) % 2**63
            try:
                text = bot.reply([*turns, message], candidates=1, seed=turn_seed, **options)[0].text
                turns += [message, text]
            except InputTextError as error:
                print(f"dgm: line {number}: {error}", file=sys.stderr)
                code = 1
        print(printable(text).strip(), flush=True)
    return code
