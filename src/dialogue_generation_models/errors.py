"""Every error that a user can cause: one sentence that says what is wrong and what to do next.

The command line prints the sentence alone and leaves with the class's exit code:
1 for bad input (a file, a model folder, a text), 2 for bad usage (an option, an argument).
No message ever quotes chat text.
"""

from __future__ import annotations

from typing import ClassVar


class DialogueModelError(Exception):
    """The base of everything this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(DialogueModelError):
    """The command or the call is wrong; no file needs to change."""

    exit_code: ClassVar[int] = 2


class OptionError(UsageError):
    """An option has an illegal value; the message names the option."""


class MissingExtraError(UsageError):
    """An optional package is needed; the message names the extra that brings it, or the package itself."""

    def __init__(self, package: str, extra: str | None) -> None:
        what = package if extra is None else f'"dialogue-generation-models[{extra}]"'
        super().__init__(f"This needs the package '{package}'; install it with: pip install {what}")
        self._given = (package, extra)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str | None]]:
        return type(self), self._given


class ConfigError(DialogueModelError):
    """A configuration file has an unknown field, a missing field or an illegal value."""


class ModelNotFoundError(DialogueModelError):
    """No model of this name is known, and no model folder lies at this path."""


class WithdrawnModelError(ModelNotFoundError):
    """The weights of a published model were withdrawn in 2021 and cannot be downloaded."""


class CheckpointError(DialogueModelError):
    """A weight file is damaged, incomplete or belongs to another architecture."""


class TokenizerError(DialogueModelError):
    """A tokenizer file is missing or unusable."""


class InputTextError(DialogueModelError):
    """A text that was to be answered is empty, too long or not valid Unicode."""


class BusyError(DialogueModelError):
    """More requests wait than may; the same one may be taken later."""


class DataError(DialogueModelError):
    """A data file is missing, malformed or empty."""


class TrainingError(DialogueModelError):
    """A training run cannot go on; the last checkpoint is intact."""
