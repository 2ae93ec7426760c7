"""What is done with the personal data of a chat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .schema import Config

ScrubMode = Literal["pseudonym", "placeholder", "drop"]


class ScrubConfig(Config):
    """How personal data is looked for and what takes its place."""

    mode: ScrubMode = "pseudonym"
    """pseudonym: other names for people, placeholders such as <PHONE> for the rest; placeholder: <NAME> too;
    drop: no message that holds any."""
    name_models: bool = True
    """Whether third persons are also looked for with the name models of the data extra."""
    keep: list[Annotated[str, Field(min_length=1)]] = []
    """Kinds that stay as they are, such as url."""
