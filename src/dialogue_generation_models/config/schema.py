"""The base of all configuration records: frozen, strict, with one-sentence errors."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from ..errors import ConfigError, DialogueModelError


class Config(BaseModel):
    """A frozen record that refuses unknown fields, wrong types, NaN and infinity.

    The docstring under each field is its description, and so the `--help` text of its option.

    Raises:
        ConfigError: (or the subclass's `error`) naming the first field that is wrong.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
    error: ClassVar[type[DialogueModelError]] = ConfigError

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self.error(describe(error, list(type(self).model_fields))) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated like a new one."""
        return type(self)(**{**self.model_dump(), **changes})


def describe(error: ValidationError, known: Sequence[str]) -> str:
    """Say in one sentence which field is wrong and what it must be.

    Args:
        error: what is wrong; its first part is told.
        known: fields of the record; those that may be meant are named beside an unknown one.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        if len(first["loc"]) > 1:  # of a record inside this one
            return f"Unknown field '{name}'; remove it or correct its spelling."
        meant = get_close_matches(name, known) or known
        return f"Unknown field '{name}'; remove it, or choose from {', '.join(meant)}."
    if first["type"] == "missing":
        return f"The field '{name}' is missing; add it."
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not name:
        # A sentence of our own; it may begin with the name of a field, which is not capitalised.
        return f"{reason}." if "_" in reason.split()[0] else f"{reason[:1].upper()}{reason[1:]}."
    return f"Illegal value for '{name}': {reason[:1].lower()}{reason[1:]}."
