"""How a model learns from new dialogues: what `dgm finetune` reads from its `--set` options."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..errors import DialogueModelError, OptionError
from .model import Size
from .schema import Config
from .training import LoRAConfig, PrivacyConfig

Positive = Annotated[float, Field(gt=0.0)]


class FinetuningConfig(Config):
    """Options of a fine-tuning. An illegal value raises `OptionError` and is named."""

    error: ClassVar[type[DialogueModelError]] = OptionError

    epochs: Positive = 6.0
    """How many times it reads the data; the weights that validated best are kept, whenever that was."""
    max_steps: Size = 5000
    """Most optimizer steps, however much data there is."""
    batch_size: Size | None = None
    """Packed rows (GPT), pairs (encoder-decoders) or dialogues (with privacy) in a step; by default by the
    size of the data."""
    learning_rate: Positive | None = None
    """Highest rate; by default 5e-4 for all weights, 2e-3 for adapters."""
    lora: LoRAConfig | None = None
    """Train low-rank adapters alone; all weights by default."""
    privacy: PrivacyConfig | None = None
    """Train with differential privacy, by dialogue; without by default."""
    warmup_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Part of the steps over which the rate grows."""
    validations: Size = 12
    """How often the held-out replies are looked at."""
    patience: Size = 4
    """End after so many of them without a new best."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the hardware computes it."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides the order of the data and dropout."""
