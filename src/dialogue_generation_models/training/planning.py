"""From a base model and a data set to the recipe of a fine-tuning: how long, how fast, in which steps."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ..checkpoint.folder import CARD
from ..config.decoding import DecodingConfig
from ..config.finetuning import FinetuningConfig
from ..config.model import EncoderDecoderConfig
from ..config.training import Recipe, SourceConfig, StageConfig
from ..data.consent import describe_statement
from ..data.sources import PRIVATE
from ..data.stored import PreparedDataset
from ..errors import DataError
from ..tokenizer.tokenizer import Tokenizer
from .corpus import Corpus

if TYPE_CHECKING:
    from ..models import Model

LEAST_LEARNT, LEAST_HELD_OUT = 100, 5
"""Replies below which a fine-tuning is refused: it would learn them by heart, and nobody could tell."""

_STEPS_AN_EPOCH = 60  # aimed at; fewer steps of more rows learn less from as much
_PRIVATE_STEPS_AN_EPOCH = (
    8  # noise is added once a step, so more dialogues in each drown less in it
)
_ROWS = (2, 16)  # packed rows in a step, at least and at most
_PAIRS = (8, 128)  # pairs in a step
_RATE = 5e-4
_LORA_RATE = 2e-3


@dataclass(frozen=True)
class Base:
    """The model that learns on."""

    name: str
    """As the user calls it, or its folder's name."""
    folder: Path
    sha256: str
    """Of its weights, by which it is known."""
    model: Model
    tokenizer: Tokenizer
    decoding: DecodingConfig


def plan(
    base: Base, dataset: PreparedDataset, config: FinetuningConfig, *, name: str, device: str
) -> Recipe:
    """Choose steps, batches and rates by the size of the data.

    Args:
        base: what learns on.
        dataset: what it learns; its tokenizer is the base's.
        config: what the user says of it.
        name: of the model that comes of it; what a recipe's name must not hold becomes a hyphen.
        device: where it will run.

    Raises:
        DataError: the data set holds too little, or no dialogue.
    """
    check_size(dataset)
    once = StageConfig(
        name="finetune",
        objective="dialogue",
        sources=[
            SourceConfig(
                path=dataset.folder.name,
                license=describe_licences(dataset.manifest["sources"]),
            )
        ],
        steps=1,
        batch_size=1,
        learning_rate=config.learning_rate or (_LORA_RATE if config.lora else _RATE),
    )
    draft = Recipe(
        name=re.sub(r"[^\w.-]+", "-", name).lstrip(".-") or "model",
        language=_language(base.tokenizer),
        license=_base_licence(base.folder),
        data_root=str(dataset.folder.parent),
        seed=config.seed,
        start_from=str(base.folder),
        lora=config.lora,
        privacy=config.privacy,
        keep_checkpoints=1,
        patience=config.patience,
        precision=_precision(config, device),
        weight_decay=0.01,
        decoding=base.decoding,
        model=base.model.config,
        stages=[once],
    )
    rows = Corpus(draft).stage(once, base.tokenizer, []).batches.batches_per_epoch
    batch_size = config.batch_size or _batch_size(draft, rows)
    steps = min(config.max_steps, math.ceil(config.epochs * math.ceil(rows / batch_size)))
    stage = once.replace(
        steps=steps,
        batch_size=batch_size,
        warmup_steps=int(config.warmup_share * steps),
        final_rate=0.05,
    )
    every = max(1, round(steps / config.validations))
    return draft.replace(stages=[stage.model_dump()], validation_every=every)


def _batch_size(draft: Recipe, rows: int) -> int:
    """Choose how many of an epoch's rows, pairs or private dialogues a step learns."""
    if draft.privacy is not None:
        return min(rows, max(16, rows // _PRIVATE_STEPS_AN_EPOCH))
    is_paired = isinstance(draft.model, EncoderDecoderConfig)
    least, most = _PAIRS if is_paired else _ROWS
    return min(most, max(least, rows // _STEPS_AN_EPOCH))


def check_size(dataset: PreparedDataset) -> None:
    """Refuse a data set that is too small to learn from, or to tell whether it was learnt.

    Raises:
        DataError: with what it holds and what is needed.
    """
    counts = dataset.manifest["counts"]
    learnt, held_out = (counts.get(split, {}).get("replies", 0) for split in ("train", "valid"))
    if learnt < LEAST_LEARNT or held_out < LEAST_HELD_OUT:
        raise DataError(
            f"There are {learnt} replies to learn and {held_out} held out, and a fine-tuning needs "
            f"{LEAST_LEARNT} and {LEAST_HELD_OUT}; give longer chats, or a larger validation_percent."
        )


def _precision(config: FinetuningConfig, device: str) -> Literal["float32", "bfloat16"]:
    if config.precision != "auto":
        return config.precision
    if config.privacy is not None:
        return "float32"
    if device.startswith("cuda"):
        return "bfloat16"
    # Processors without these instructions compute bfloat16 several times slower than float32.
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def _base_licence(folder: Path) -> str:
    """Read the licence of a base's weights off its card; what is learnt from them stays under it."""
    with suppress(OSError, UnicodeDecodeError):
        head = (folder / CARD).read_text(encoding="utf-8").partition("\n---\n")[0]
        if found := re.search(r"^license: *[\"']?([\w.+-]+)", head, re.MULTILINE):
            return found.group(1)
    return "other"


def describe_licences(sources: Iterable[Mapping[str, Any]]) -> str:
    """Say by whose leave sources of a data set were learnt from, as its manifest tells of them."""
    said = (
        describe_statement(file, is_private=source["kind"] in PRIVATE)
        for source in sources
        for file in source["files"]
    )
    return "; ".join(dict.fromkeys(said))


def _language(tokenizer: Tokenizer) -> Literal["ko", "ja", "en"]:
    """Tell the language of a model by the script of its pieces."""
    scripts = Counter(map(_script, _letters(tokenizer)))
    return max(("ko", "ja", "en"), key=lambda language: scripts[language])


def _letters(tokenizer: Tokenizer) -> Iterable[str]:
    return (letter for i in range(tokenizer.vocab_size) for letter in tokenizer.decode([i]))


def _script(letter: str) -> str:
    if "\uac00" <= letter <= "\ud7a3":
        return "ko"
    if "\u3040" <= letter <= "\u30ff":
        return "ja"
    return "en" if letter.isascii() and letter.isalpha() else ""
