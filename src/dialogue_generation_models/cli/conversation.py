"""What happens in `dgm chat`: messages, replies and slash commands. How it looks is the view's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ..chat import Chatbot, Reply
from ..config.decoding import PRESETS, DecodingConfig
from ..dialogue import Dialogue, Turn, is_blank
from ..errors import DialogueModelError, InputTextError
from .dialogue_file import save_dialogue

_HELP = (
    ("/status", "model, strategy and the speed of the last reply"),
    ("/candidates [N]", "replies to the last message, ranked (10 unless you say how many)"),
    ("/retry", "draw another reply to the last message"),
    ("/undo", "take back the last message and its reply"),
    ("/new", "begin a new dialogue"),
    ("/save FILE", "write the dialogue into a file, as one line of JSON"),
    ("/quit", "leave, like Ctrl+D"),
    ("//text", "a message that begins with a /"),
    ("Alt+Enter", "a new line within a message"),
    ("↑ ↓", "earlier messages"),
)
_LISTED = 10
_STREAMING = ("greedy", "sample")


class View(Protocol):
    """Where a conversation takes place; `terminal.TerminalView` is the real one."""

    def ask(self) -> str | None:
        """Return what the user typed, None to leave; KeyboardInterrupt for Ctrl+C."""

    def busy(self, text: str) -> AbstractContextManager[None]:
        """Show that something is going on."""

    def replying(self) -> AbstractContextManager[None]:
        """Frame a reply."""

    def write(self, piece: str) -> None:
        """Append to the reply."""

    def note(self, text: str) -> None:
        """Say something about the conversation."""

    def error(self, text: str) -> None:
        """Say what went wrong."""

    def banner(self, title: str, lines: Sequence[str]) -> None:
        """Open the conversation."""

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show names and what belongs to them."""

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table."""


class Conversation:
    """A dialogue in progress: the user's turns and the bot's, in turns.

    Args:
        bot: answers.
        view: shows and asks.
        options: decoding options for every reply.
        seed: makes the conversation repeatable: the n-th drawing uses seed + n.
        about: what to say about the model when the conversation opens, besides its name.
    """

    def __init__(
        self,
        bot: Chatbot,
        view: View,
        options: dict[str, Any],
        seed: int | None = None,
        about: Sequence[str] = (),
    ) -> None:
        self._bot = bot
        self._view = view
        self._options = options
        self._seed = seed
        self._about = about
        self._settled = bot.settle(**options)
        self._turns: list[str] = []
        self._ranked: list[Reply] = []
        self._speed = ""
        self._drawings = 0
        self._is_over = False
        self.commands: dict[str, Callable[[str], None]] = {
            "/help": self._help,
            "/status": self._status,
            "/candidates": self._candidates,
            "/retry": self._retry,
            "/undo": self._undo,
            "/new": self._new,
            "/save": self._save,
            "/quit": self._quit,
        }

    def run(self) -> None:
        """Talk until the user leaves."""
        self._view.banner(
            " · ".join([self._bot.name, *self._about, self._strategy_name()]),
            [
                "It writes what sounds likely; what it says is not fact.",
                "/help lists the commands, Ctrl+C stops a reply, Ctrl+D leaves.",
            ],
        )
        while not self._is_over:
            try:
                line = self._view.ask()
                if line is None:
                    return
                self._take(line.strip())
            except KeyboardInterrupt:
                # At the prompt, or just after a reply was complete.
                self._view.note("Ctrl+D or /quit leaves.")

    def _take(self, line: str) -> None:
        if not line:
            return
        if line.startswith("//"):
            self._say(line[1:])
        elif line.startswith("/"):
            name, _, argument = line.partition(" ")
            self._command(name, argument.strip())
        else:
            self._say(line)

    def _command(self, name: str, argument: str) -> None:
        if name not in self.commands:
            self._view.note("No such command; /help lists them, and // begins a message with a /.")
            return
        self.commands[name](argument)

    def _say(self, message: str) -> None:
        reply = self._answer([*self._turns, message])
        if reply is not None:
            self._turns += [message, reply]

    def _answer(self, turns: list[str]) -> str | None:
        """Draw and show a reply; None if there is none to keep."""
        started = time.perf_counter()
        self._drawings += 1
        try:
            if self._settled.strategy in _STREAMING:
                text, tokens = self._stream(turns)
            else:
                text, tokens = self._rank(turns)
        except DialogueModelError as error:
            self._view.error(str(error))
            return None
        except KeyboardInterrupt:
            self._view.note("Stopped before a reply; the dialogue is as it was.")
            return None
        seconds = time.perf_counter() - started
        self._speed = f"{tokens / seconds:.1f} tokens/s ({tokens} in {seconds:.2f} s)"
        if is_blank(text):
            self._view.note("The model answered with nothing; /retry draws again.")
        return text

    def _stream(self, turns: list[str]) -> tuple[str, int]:
        """Write a reply while it comes; what a Ctrl+C leaves of it stays."""
        reply = self._bot.stream(turns, seed=self._next_seed(), **self._options)
        try:
            with self._view.replying():
                for piece in reply:
                    self._view.write(piece)
        except KeyboardInterrupt:
            if is_blank(reply.text):
                raise
            self._view.note("Stopped; what was written stays.")
        self._ranked = []
        return reply.text, reply.tokens

    def _rank(self, turns: list[str]) -> tuple[str, int]:
        """Search for replies and write the best one."""
        settled = self._settled
        width = settled.num_beams if "beam" in settled.strategy else settled.num_samples
        with self._view.busy(""):
            ranked = self._draw(turns, min(width, _LISTED))
        with self._view.replying():
            self._view.write(ranked[0].text)
        self._ranked = ranked
        return ranked[0].text, ranked[0].tokens

    def _draw(self, turns: list[str], count: int) -> list[Reply]:
        """Search for different replies; where the strategy knows one only, with a beam."""
        options = dict(self._options)
        if self._settled.strategy == "greedy":
            options["strategy"] = "beam"
        if count > _LISTED:
            # A number that was asked for goes before the ones that the options give.
            options.pop("num_samples", None)
            options.pop("num_beams", None)
        replies = self._bot.reply(turns, candidates=count, seed=self._next_seed(), **options)
        if not replies:
            raise InputTextError("The options leave no reply; loosen them.")
        return replies

    def _help(self, _: str) -> None:
        self._view.facts(_HELP)

    def _status(self, _: str) -> None:
        bot = self._bot
        rows = [
            ("model", " · ".join([bot.name, *self._about])),
            ("runs in", f"{bot.precision} on {bot.device}, {bot.parameters:,} parameters"),
            ("strategy", f"{self._strategy_name()} ({self._describe_options()})"),
            ("last reply", self._speed or "none yet"),
            ("dialogue", f"{len(self._turns)} turns{self._describe_visible()}"),
        ]
        self._view.facts(rows)

    def _candidates(self, argument: str) -> None:
        if not self._turns:
            self._view.note("Nothing to answer yet; write a message first.")
            return
        if argument and not (
            argument.isascii() and argument.isdigit() and 0 < int(argument) <= 100
        ):
            self._view.note("How many? /candidates takes a number from 1 to 100.")
            return
        count = int(argument or _LISTED)
        try:
            if len(self._ranked) < count and (argument or not self._ranked):
                with self._view.busy(""):
                    self._ranked = self._draw(self._turns[:-1], count)
        except DialogueModelError as error:
            self._view.error(str(error))
            return
        except KeyboardInterrupt:
            self._view.note("Stopped.")
            return
        rows = [
            (str(place), f"{reply.score:.3f}", str(reply.tokens), reply.text)
            for place, reply in enumerate(self._ranked[:count], start=1)
        ]
        self._view.table(("#", "score", "tokens", "reply"), rows)

    def _retry(self, _: str) -> None:
        if not self._turns:
            self._view.note("Nothing to answer yet; write a message first.")
            return
        if self._settled.strategy not in ("sample", "sample_and_rank"):
            self._view.note(
                f"{self._settled.strategy} always finds the same reply; "
                "/candidates shows others, --strategy sample_and_rank draws."
            )
            return
        reply = self._answer(self._turns[:-1])
        if reply is not None:
            self._turns[-1] = reply

    def _undo(self, _: str) -> None:
        if not self._turns:
            self._view.note("Nothing to take back.")
            return
        del self._turns[-2:]
        self._ranked = []
        left = len(self._turns)
        self._view.note(f"Taken back; {left} turns are left." if left else "Taken back.")

    def _new(self, _: str) -> None:
        self._turns = []
        self._ranked = []
        self._view.note("A new dialogue; the model has forgotten the last one.")

    def _save(self, argument: str) -> None:
        if not argument or not self._turns:
            self._view.note(
                "/save FILE writes the dialogue; name a file."
                if self._turns
                else "Nothing to save yet."
            )
            return
        turns = tuple(Turn(("user", "bot")[i % 2], text) for i, text in enumerate(self._turns))
        meta = {"model": self._bot.name, "strategy": self._strategy_name()}
        path = Path(os.path.expanduser(argument))  # unlike Path.expanduser it never raises
        try:
            save_dialogue(Dialogue(turns, meta=meta), path)
        except DialogueModelError as error:
            self._view.error(str(error))
            return
        self._view.note(f"Saved {len(turns)} turns to {path}.")

    def _quit(self, _: str) -> None:
        self._is_over = True

    def _next_seed(self) -> int | None:
        return None if self._seed is None else (self._seed + self._drawings) % 2**63

    def _strategy_name(self) -> str:
        return str(self._options.get("strategy", self._settled.strategy))

    def _describe_options(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in _telling(self._settled))

    def _describe_visible(self) -> str:
        if not self._turns:
            return ""
        visible = self._bot.count_visible(self._turns, **self._options)
        if visible >= len(self._turns):
            return ""
        return f"; the model reads the newest {visible}"


def _telling(settled: DecodingConfig) -> Iterator[tuple[str, Any]]:
    """Yield the options that matter: a strategy's own, and any other that is not as usual."""
    usual = PRESETS[settled.strategy]
    own = {
        "sample": ("temperature",),
        "sample_and_rank": ("num_samples", "temperature"),
        "beam": ("num_beams",),
        "diverse_beam": ("num_beams", "num_beam_groups"),
    }.get(settled.strategy, ())
    for name in DecodingConfig.model_fields:
        value = getattr(settled, name)
        if name in own or name == "max_tokens" or value != getattr(usual, name):
            yield name, value
