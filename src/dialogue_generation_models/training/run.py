"""A run: a recipe, its folder, and what is in the folder while and after it is trained.

RUN/recipe.json          the recipe as it was run
RUN/data.json            sources with licences and hashes
RUN/tokenizer.model      trained first
RUN/checkpoint.safetensors  the newest state, replaced at every validation
RUN/best.safetensors     the weights with the lowest validation loss
RUN/log.jsonl            loss, rate, speed and validation losses by step
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from ..config.training import Recipe
from ..errors import TrainingError
from ..models import build_model
from ..tokenizer.tokenizer import Tokenizer
from .checkpointing import Progress, write_tensors
from .corpus import Corpus
from .loop import train
from .report import RunView

if TYPE_CHECKING:
    from ..models import Model


def run(recipe: Recipe, folder: Path, *, device: str, console: Console) -> Progress:
    """Train what the recipe describes, going on where an earlier run in the folder stopped.

    Raises:
        DataError: a source is missing or empty.
        TrainingError: the folder belongs to another recipe, or the loss is no longer finite.
    """
    corpus = Corpus(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, recipe)
    tokenizer = _tokenizer(corpus, folder, console)
    write_json(folder / "data.json", [asdict(facts) for facts in corpus.facts()])
    console.print("Tokenising the data ...")
    held_out = corpus.held_out()
    validation = corpus.validation(tokenizer, held_out)
    stages = [corpus.stage(stage, tokenizer, held_out) for stage in recipe.stages]
    for stage in stages:
        epochs = stage.config.steps / stage.batches.batches_per_epoch
        console.print(f"{stage.config.name}: {stage.config.steps} steps, {epochs:.2f} epochs")
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model).to(device)
    with RunView(recipe, folder / "log.jsonl", console) as view:
        return train(
            model,
            stages,
            validation,
            recipe,
            checkpoint=folder / "checkpoint.safetensors",
            on_best=lambda progress: _save_best(folder, model, progress),
            view=view,
        )


def _save_best(folder: Path, model: Model, progress: Progress) -> None:
    metadata = {"progress": json.dumps(asdict(progress))}
    write_tensors(folder / "best.safetensors", dict(model.state_dict()), metadata)


def _tokenizer(corpus: Corpus, folder: Path, console: Console) -> Tokenizer:
    path = folder / "tokenizer.model"
    if not path.exists():
        console.print("Training the tokenizer ...")
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(corpus.train_tokenizer().to_bytes())
        partial.replace(path)
    return Tokenizer.from_file(path)


def _claim(folder: Path, recipe: Recipe) -> None:
    """Write the recipe down, or make sure that the one written is the same."""
    path = folder / "recipe.json"
    current = json.loads(recipe.model_dump_json())
    if not path.exists():
        write_json(path, current)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = sorted(
        key for key in current.keys() | before.keys() if before.get(key) != current.get(key)
    )
    # Where the sources lie decides nothing; they are known by their hashes.
    if changed not in ([], ["data_root"]):
        raise TrainingError(
            f"{folder} holds a run with another recipe (changed: {', '.join(changed)}); "
            "give a new folder with -o, or put the recipe back."
        )


def write_json(path: Path, value: object) -> None:
    """Write a JSON file in one piece."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
