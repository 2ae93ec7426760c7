"""The architectures, one file each, and the one place that picks among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ..config.model import EvolvedTransformerConfig, GPTConfig, MeenaConfig, ModelConfig

if TYPE_CHECKING:
    from .evolved_transformer import EvolvedTransformer
    from .gpt import GPT
    from .meena import Meena

    EncoderDecoder: TypeAlias = Meena | EvolvedTransformer
    Model: TypeAlias = GPT | EncoderDecoder


def build_model(config: ModelConfig) -> Model:
    """Make a model with fresh random weights."""
    if isinstance(config, GPTConfig):
        from .gpt import GPT

        return GPT(config)
    if isinstance(config, MeenaConfig):
        from .meena import Meena

        return Meena(config)
    if isinstance(config, EvolvedTransformerConfig):
        from .evolved_transformer import EvolvedTransformer

        return EvolvedTransformer(config)
    raise TypeError(f"no model is made from a {type(config).__name__}")
