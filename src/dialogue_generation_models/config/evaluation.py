"""How much a model's evaluation looks at."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from pydantic import Field

from ..errors import DialogueModelError, OptionError
from .schema import Config

Count: TypeAlias = Annotated[int, Field(ge=0)]


class EvaluationConfig(Config):
    """Options of an evaluation. An illegal value raises `OptionError` and is named."""

    error: ClassVar[type[DialogueModelError]] = OptionError

    limit: Count = 2000
    """Most exchanges that are scored, drawn at random; 0 for all."""
    ranked: Count = 500
    """Most exchanges in which the true reply is ranked among 19 random ones; 0 for none."""
    generated: Count = 200
    """Most exchanges to which a reply is generated, to measure diversity; 0 for none."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides which exchanges are drawn, the random replies and the generated ones."""
