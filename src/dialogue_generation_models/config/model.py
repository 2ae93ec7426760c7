"""The shapes of the models, in one vocabulary.

Sizes have the same names everywhere (`n_layer`, `n_head`, `n_embd`, `n_inner`, `n_ctx`); the keys of
released configuration files are mapped in `config/io.py` and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import Field, model_validator
from typing_extensions import Self

from .schema import Config

Size: TypeAlias = Annotated[int, Field(ge=1)]
Id: TypeAlias = Annotated[int, Field(ge=0)]
Rate: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]
_C = TypeVar("_C", bound="ModelConfig")


class ModelConfig(Config):
    """What every architecture has."""

    vocab_size: Size
    """Number of tokens in the vocabulary."""
    n_embd: Size
    """Width of the embeddings and of the residual stream."""
    dropout: Rate = 0.0
    """Dropout rate of sublayers and embeddings while training; none when answering."""
    attention_dropout: Rate = 0.0
    """Dropout rate of attention weights while training; it keeps torch from its fast attention."""
    pad_id: Id = 0
    """Fills short rows; never attended to."""
    unk_id: Id = 1
    """A piece of text that the vocabulary lacks."""
    bos_id: Id = 2
    """Opens a GPT prompt and a Meena reply."""
    eos_id: Id = 3
    """Ends a reply."""
    sept_id: Id = 4
    """Separates turns; never appears inside a reply."""

    @model_validator(mode="after")
    def _ids_are_in_the_vocabulary(self) -> Self:
        ids = (self.pad_id, self.unk_id, self.bos_id, self.eos_id, self.sept_id)
        if max(ids) >= self.vocab_size:
            raise ValueError(f"special ids {ids} must lie below vocab_size {self.vocab_size}")
        return self

    @property
    def never_in_reply_ids(self) -> list[int]:
        """Special ids that a reply must not contain: all but the end token."""
        ids = {self.pad_id, self.unk_id, self.bos_id, self.sept_id}
        return sorted(ids - {self.eos_id})


class GPTConfig(ModelConfig):
    """A decoder-only model: the published GPT (`norm="post"`) or the paper's GPT-2 (`norm="pre"`)."""

    kind: Literal["gpt"] = "gpt"
    """Marks the architecture in `config.json`."""
    n_ctx: Size = 256
    """Number of positions: prompt and reply together."""
    n_layer: Size
    """Number of blocks."""
    n_head: Size
    """Number of attention heads."""
    n_inner: Size
    """Inner width of the feed-forward layers."""
    norm: Literal["post", "pre"] = "post"
    """post: the published models, embeddings scaled, no final norm. pre: GPT-2 as in the paper."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        return _check_heads(self, self.n_head)

    def describe(self) -> str:
        """Say in a line what it is."""
        form = "post-norm, as published in 2020" if self.norm == "post" else "pre-norm, GPT-2"
        sizes = f"{self.n_layer} layers, width {self.n_embd}, {self.n_head} heads"
        return f"GPT ({form}): {sizes}, {self.n_ctx} positions"


class EncoderDecoderConfig(ModelConfig):
    """What the sequence-to-sequence architectures have."""

    title: ClassVar[str]
    n_ctx: Size = 256
    """Number of positions: context and reply together."""
    n_encoder_ctx: Size = 128
    """Positions of the context; the reply has the rest."""
    n_encoder_layer: Size
    """Number of encoder layers (cells of the Evolved Transformer)."""
    n_decoder_layer: Size
    """Number of decoder layers (cells of the Evolved Transformer)."""

    @model_validator(mode="after")
    def _both_sides_have_room(self) -> Self:
        if self.n_encoder_ctx >= self.n_ctx:
            raise ValueError(
                "the context's n_encoder_ctx must be smaller than n_ctx, which counts both sides"
            )
        return self

    def describe(self) -> str:
        """Say in a line what it is."""
        layers = f"{self.n_encoder_layer} encoder and {self.n_decoder_layer} decoder layers"
        positions = f"{self.n_encoder_ctx} + {self.n_ctx - self.n_encoder_ctx} positions"
        return f"{self.title}: {layers}, width {self.n_embd}, {positions}"


class MeenaConfig(EncoderDecoderConfig):
    """The published Meena: a plain post-norm Transformer encoder-decoder."""

    title: ClassVar[str] = "Meena, as published in 2020"
    kind: Literal["meena"] = "meena"
    """Marks the architecture in `config.json`."""
    n_encoder_head: Size
    """Number of attention heads in the encoder."""
    n_encoder_inner: Size
    """Inner width of the encoder's feed-forward layers."""
    n_decoder_head: Size
    """Number of attention heads in the decoder."""
    n_decoder_inner: Size
    """Inner width of the decoder's feed-forward layers."""

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        return _check_heads(self, self.n_encoder_head, self.n_decoder_head)


class EvolvedTransformerConfig(EncoderDecoderConfig):
    """The paper's Meena: an Evolved Transformer encoder-decoder (So et al. 2019)."""

    title: ClassVar[str] = "Meena, as in the paper (Evolved Transformer)"
    kind: Literal["evolved_transformer"] = "evolved_transformer"
    """Marks the architecture in `config.json`."""
    n_head: Size
    """Number of attention heads; a decoder cell's first self-attention has twice as many, up to 16."""
    n_inner: Size
    """Inner width of the feed-forward layers."""

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        if self.n_embd % 2:
            raise ValueError(
                "the width n_embd must be even, because the narrow branches have half of it"
            )
        return _check_heads(self, self.n_head, self.n_first_head)

    @property
    def n_first_head(self) -> int:
        """Heads of a decoder cell's first self-attention: doubled up to 16, as in tensor2tensor."""
        return max(min(2 * self.n_head, 16), self.n_head)


AnyModelConfig: TypeAlias = Annotated[
    GPTConfig | MeenaConfig | EvolvedTransformerConfig, Field(discriminator="kind")
]


def _check_heads(config: _C, *head_counts: int) -> _C:
    for n_head in head_counts:
        if config.n_embd % n_head:
            raise ValueError(
                f"the width n_embd {config.n_embd} must be a multiple of {n_head} heads"
            )
    return config
