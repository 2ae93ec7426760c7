"""Checkpoints in other formats become model folders, each with a model card that says where it is from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..config.decoding import PRESETS
from ..config.io import read_model_config
from ..tokenizer.tokenizer import Tokenizer
from .folder import check_replaceable, save_folder
from .huggingface import load_huggingface_folder
from .original import load_original

if TYPE_CHECKING:
    from ..config.registry import Language
    from ..models import Model

_CAUTION = """\
- The model was only pretrained. Fine-tune it for your purpose before real use.
- What it says is a prediction from its training material. It is not fact and nobody's opinion.
"""
_CAUTION_RELEASED = """\
- The publisher withdrew these weights in 2021, after personal data was found in its training
  material. The model may repeat such data: do not offer it to the public as it is.
"""


def convert_original(
    weights: Path,
    config_file: Path,
    tokenizer_file: Path | None,
    folder: Path,
    *,
    language: Language = "ko",
) -> Model:
    """Turn a released `.pth`, its configuration and its tokenizer into a model folder.

    The folder answers with the original demo's top-p settings, one reply at a time.

    Args:
        weights: the `.pth` file.
        config_file: its JSON, with the released keys or with ours.
        tokenizer_file: its SentencePiece model; without it the model speaks ids only.
        folder: where the model folder is written; see `save_folder`.
        language: what the model speaks, for the model card.

    Raises:
        ConfigError, CheckpointError, TokenizerError: a file is wrong; nothing is written.
    """
    check_replaceable(folder)
    config = read_model_config(config_file)
    tokenizer = _read_tokenizer(tokenizer_file)
    model = load_original(weights, config)
    source = f"the released file `{weights.name}`"
    card = _card(weights.stem, source, model, language, "apache-2.0", _CAUTION + _CAUTION_RELEASED)
    decoding = PRESETS["demo_top_p"].replace(num_return=1)
    save_folder(folder, model, tokenizer, decoding, card=card)
    return model


def convert_huggingface(
    source: Path, tokenizer_file: Path | None, folder: Path, *, language: Language = "en"
) -> Model:
    """Turn a GPT-2 folder in the layout of `transformers` into a model folder.

    Its own tokenizer (byte BPE) is not read; without a SentencePiece model it speaks ids only.

    Args:
        source: a folder with `config.json` and `model.safetensors`.
        tokenizer_file: a SentencePiece model whose ids the checkpoint was trained with.
        folder: where the model folder is written; see `save_folder`.
        language: what the model speaks, for the model card.

    Raises:
        CheckpointError, TokenizerError: a file is wrong; nothing is written.
    """
    check_replaceable(folder)
    tokenizer = _read_tokenizer(tokenizer_file)
    model = load_huggingface_folder(source)
    name = source.resolve().name
    card = _card(name, f"the GPT-2 checkpoint `{name}`", model, language, "other", _CAUTION)
    save_folder(folder, model, tokenizer, PRESETS["top_p"], card=card)
    return model


def _read_tokenizer(path: Path | None) -> Tokenizer | None:
    return None if path is None else Tokenizer.from_file(path)


def _card(
    name: str, source: str, model: Model, language: str, license_id: str, caution: str
) -> str:
    count = sum(parameter.numel() for parameter in model.parameters())
    return f"""---
license: {license_id}
language: {language}
library_name: dialogue-generation-models
pipeline_tag: text-generation
---

# {name}

Converted from {source} by `dgm convert`: {count:,} parameters, architecture `{model.config.kind}`.

## Caution

{caution}"""
