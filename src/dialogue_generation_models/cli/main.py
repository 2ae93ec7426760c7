"""The entry point of `dgm`: picks a command, and turns errors into one sentence and an exit code.

A command is one file beside this one with a module-level `app = typer.Typer(add_completion=False)`,
and one line in `COMMANDS`. Its module is imported only when the command is chosen, so `dgm --help`
waits neither for torch nor for anything else that is heavy.

Exit codes: 0 done, 1 bad input, 2 bad usage, 130 stopped with Ctrl+C, or, while data are prepared or a
model is trained, by SIGTERM.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import DialogueModelError

COMMANDS: dict[str, tuple[str, str]] = {
    "chat": ("chat", "Talk with a model in the terminal."),
    "generate": ("generate", "Answer every dialogue of a file."),
    "import": ("import_", "Turn the exports of messengers into chat lines."),
    "scrub": ("scrub", "Take personal data out of chats."),
    "prepare": ("prepare", "Turn chats and corpora into a data set to train on."),
    "data": ("data", "Look into a data set, or remove a person from it."),
    "train": ("train", "Train the model that a recipe describes."),
    "finetune": ("finetune", "Let a model learn from your chats."),
    "tokenizer": ("tokenizer", "Train a tokenizer on your texts."),
    "evaluate": ("evaluate", "Measure a model on dialogues."),
    "models": ("models", "List the models that are known by name, or show one."),
    "convert": ("convert", "Turn a released .pth file into a model folder."),
    "export": ("export", "Write a model for another engine."),
}
"""Command → (module in this package, one-line help), in the order of the help page."""


class LazyGroup(TyperGroup):
    """Lists all commands from the table alone; imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # What the help page and completion need: a name and a line of help.
        self.commands = {name: TyperCommand(name, help=row[1]) for name, row in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that `args` begin with, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None or command is None:
            return name, command, rest
        module = importlib.import_module(f".{COMMANDS[name][0]}", __package__)
        command = typer.main.get_command(module.app)
        _set_markup(command, self.rich_markup_mode)
        return name, command, rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `dgm` with these arguments (by default the process's own); return the exit code."""
    _use_utf8()
    # Threads that wait for each other by spinning take turns with whatever else the machine does, and a step
    # then takes twenty times as long. libgomp reads this when torch brings it, which is later.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader left; whatever is still buffered must not raise again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        _build_app()(args=arguments, prog_name="dgm")
    except DialogueModelError as error:
        print(f"dgm: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        # What no command foresaw: a name that is too long, a full disk, a folder that may not be written.
        place = f" {error.filename}" if error.filename else ""
        print(
            f"dgm: Cannot use{place}: {(error.strerror or 'unknown reason').lower()}.",
            file=sys.stderr,
        )
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from .. import __version__

        print(f"dgm {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            help="Print the version and leave.",
        ),
    ] = False,
) -> None:
    """Small open-domain dialogue models in Korean and Japanese."""


def _build_app() -> Any:
    app = typer.Typer(
        cls=LazyGroup,
        no_args_is_help=True,
        # Boxes and colours are for people; a file or a pipe gets plain text.
        rich_markup_mode="markdown" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    return typer.main.get_command(app)


def _set_markup(command: Any, mode: Any) -> None:
    command.rich_markup_mode = mode
    for child in getattr(command, "commands", {}).values():
        _set_markup(child, mode)


def _use_utf8() -> None:
    """Speak UTF-8 whatever the locale says: Korean and Japanese must survive `LC_ALL=C` and Windows."""
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)
