"""The named models, as data: what each is, how large, made from what, and where weights come from.

- The nine published models (2020) carry their published names; the stem of the released file is a
  second spelling. Their weights were withdrawn in 2021, so only the shapes and facts are here.
- The minis are trained by this project; the GPT-2 sizes and the paper's Meena are shapes to train
  or to convert into.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from ..errors import ModelNotFoundError
from .model import EvolvedTransformerConfig, GPTConfig, MeenaConfig, ModelConfig

Language: TypeAlias = Literal["ko", "ja", "en"]
Weights: TypeAlias = Literal["bundled", "train", "convert", "withdrawn"]


@dataclass(frozen=True)
class ModelEntry:
    """What is known about one named model."""

    name: str
    """The name to load it by; upper and lower case are the same."""
    language: Language
    """What it speaks."""
    size: str
    """Size class in words."""
    parameters: int
    """Number of parameters, tied ones counted once."""
    corpus: str
    """What it was, or is to be, trained on."""
    licence: str
    """SPDX name of the licence of its weights."""
    weights: Weights
    """bundled: in this package. train: with the recipe. convert: from a checkpoint that you have.
    withdrawn: no longer published; convert a copy that you hold, or train."""
    config: ModelConfig
    """The shape."""
    file: str | None = None
    """Name of the released weight file."""
    recipe: str | None = None
    """The training recipe that makes such a model."""

    @property
    def spellings(self) -> list[str]:
        """All names that mean this model, in lower case."""
        names = [self.name, *([self.file.removesuffix(".pth")] if self.file else [])]
        return [name.lower() for name in names]


def list_models() -> list[ModelEntry]:
    """Return all named models: those that can be used at once first, the published ones next."""
    return list(_entries())


def get_entry(name: str) -> ModelEntry:
    """Find a model by its name or the stem of its released file, in any case.

    Raises:
        ModelNotFoundError: no model has this name; the message suggests near ones.
    """
    wanted = name.strip().lower().removesuffix(".pth")
    by_spelling = {spelling: entry for entry in _entries() for spelling in entry.spellings}
    if wanted in by_spelling:
        return by_spelling[wanted]
    near = difflib.get_close_matches(wanted, by_spelling, n=3, cutoff=0.6)
    names = list(dict.fromkeys(by_spelling[spelling].name for spelling in near))
    hint = f"did you mean {' or '.join(names)}?" if names else "`dgm models list` shows them."
    raise ModelNotFoundError(f"No model is named {name[:80]!r}; {hint}")


_TALK = "Korean messenger dialogue"
_WIKI = "Korean messenger dialogue, Wikipedia and Namuwiki"
_JAPANESE = "Japanese messenger dialogue, about 500 million messages"
_OPEN = "openly licensed text, utterances and dialogue"
_WEB = "web pages (OpenAI's WebText)"

# Published name → (stem of the released file, corpus). Family, size and language stand in the name.
_PUBLISHED = {
    "GPT-base-trained-on-dialogue-data-only-KR": ("base_gpt_trained_on_dialogue_data_kr", _TALK),
    "GPT-large-trained-on-dialogue-data-only-KR": ("large_gpt_trained_on_dialogue_data_kr", _TALK),
    "GPT-base-trained-on-dialogue-and-wiki-KR": (
        "base_gpt_trained_on_wiki_and_dialogue_data_kr",
        _WIKI,
    ),
    "GPT-large-trained-on-dialogue-and-wiki-KR": (
        "large_gpt_trained_on_wiki_and_dialogue_data_kr",
        _WIKI,
    ),
    "Meena-base-trained-on-filtered-dialogue-data-KR": (
        "base_meena_trained_on_filtered_data_kr",
        f"{_TALK}, filtered",
    ),
    "Meena-large-trained-on-filtered-dialogue-data-KR": (
        "large_meena_trained_on_filtered_data_kr",
        f"{_TALK}, filtered",
    ),
    "Meena-base-trained-on-no-filtered-dialogue-data-KR": (
        "base_meena_trained_on_non_filtered_data_kr",
        f"{_TALK}, not filtered",
    ),
    "Meena-large-trained-on-no-filtered-dialogue-data-KR": (
        "large_meena_trained_on_non_filtered_data_kr",
        f"{_TALK}, not filtered",
    ),
    "Meena-base-trained-on-dialogue-data-JP": (
        "base_meena_trained_on_filtered_data_jp",
        _JAPANESE,
    ),
}
# Family and size → layers (of the decoder), width, heads, parameters.
_PUBLISHED_SHAPES = {
    ("GPT", "base"): (12, 768, 12, 109_827_072),
    ("GPT", "large"): (24, 1024, 16, 335_339_520),
    ("Meena", "base"): (12, 768, 12, 152_369_664),
    ("Meena", "large"): (24, 1024, 16, 461_342_720),
}
# Name → size, layers, width, heads, parameters (Radford et al. 2019, table 2).
_GPT2 = {
    "gpt2": ("small", 12, 768, 12, 124_439_808),
    "gpt2-medium": ("medium", 24, 1024, 16, 354_823_168),
    "gpt2-large": ("large", 36, 1280, 20, 774_030_080),
    "gpt2-xl": ("extra large", 48, 1600, 25, 1_557_611_200),
}
_MINIS = ("gpt-mini-ko", "meena-mini-ko", "gpt-mini-ja", "meena-mini-ja")


@cache
def _entries() -> tuple[ModelEntry, ...]:
    return (
        *map(_mini, _MINIS),
        *map(_published, _PUBLISHED),
        *map(_gpt2, _GPT2),
        ModelEntry(
            name="meena-paper",
            language="en",
            size="2.6 B",
            parameters=2_593_434_880,
            corpus="public social media, 40 billion words (arXiv 2001.09977)",
            licence="none: never published",
            weights="train",
            config=EvolvedTransformerConfig(
                vocab_size=8192,
                n_embd=2560,
                n_encoder_layer=1,
                n_decoder_layer=13,
                n_head=32,
                n_inner=10240,
            ),
        ),
    )


def _mini(name: str) -> ModelEntry:
    language: Language = "ja" if name.endswith("ja") else "ko"
    is_gpt = name.startswith("gpt")
    config = (
        GPTConfig(vocab_size=8192, n_embd=384, n_layer=6, n_head=6, n_inner=1536)
        if is_gpt
        else _meena(vocab_size=8192, n_embd=384, n_decoder_layer=4, n_head=6)
    )
    return ModelEntry(
        name=name,
        language=language,
        size="mini",
        parameters=13_890_816 if is_gpt else 16_259_328,
        corpus=_OPEN,
        licence="Apache-2.0",
        weights="bundled",
        config=config,
        recipe=f"recipes/{name}.toml",
    )


def _published(name: str) -> ModelEntry:
    stem, corpus = _PUBLISHED[name]
    family, size = name.split("-")[:2]
    n_layer, n_embd, n_head, parameters = _PUBLISHED_SHAPES[family, size]
    config = (
        GPTConfig(
            vocab_size=32_000, n_embd=n_embd, n_layer=n_layer, n_head=n_head, n_inner=4 * n_embd
        )
        if family == "GPT"
        else _meena(vocab_size=32_000, n_embd=n_embd, n_decoder_layer=n_layer, n_head=n_head)
    )
    language: Language = "ja" if name.endswith("JP") else "ko"
    return ModelEntry(
        name=name,
        language=language,
        size=size,
        parameters=parameters,
        corpus=corpus,
        licence="Apache-2.0",
        weights="withdrawn",
        config=config,
        file=f"{stem}.pth",
        recipe=f"recipes/{name}.toml",
    )


def _gpt2(name: str) -> ModelEntry:
    size, n_layer, n_embd, n_head, parameters = _GPT2[name]
    end_of_text = 50_256
    return ModelEntry(
        name=name,
        language="en",
        size=size,
        parameters=parameters,
        corpus=_WEB,
        licence="MIT",
        weights="convert",
        config=GPTConfig(
            vocab_size=50_257,
            n_ctx=1024,
            n_embd=n_embd,
            n_layer=n_layer,
            n_head=n_head,
            n_inner=4 * n_embd,
            norm="pre",
            # GPT-2 has one special token, which does everything.
            pad_id=end_of_text,
            unk_id=end_of_text,
            bos_id=end_of_text,
            eos_id=end_of_text,
            sept_id=end_of_text,
        ),
    )


def _meena(vocab_size: int, n_embd: int, n_decoder_layer: int, n_head: int) -> MeenaConfig:
    """All Meenas of the published kind have 2 encoder layers and an inner width of 4 x width."""
    return MeenaConfig(
        vocab_size=vocab_size,
        n_embd=n_embd,
        n_encoder_layer=2,
        n_encoder_head=n_head,
        n_encoder_inner=4 * n_embd,
        n_decoder_layer=n_decoder_layer,
        n_decoder_head=n_head,
        n_decoder_inner=4 * n_embd,
    )
