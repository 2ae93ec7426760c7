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
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from ..config.io import read_config_file
from ..config.training import Recipe
from ..errors import TrainingError
from ..models import build_model
from ..tokenizer.tokenizer import Tokenizer
from .checkpointing import Progress, write_tensors
from .corpus import Corpus
from .interruption import only_trainer, stop_after_step
from .loop import train
from .report import RunView

if TYPE_CHECKING:
    from ..models import Model

RECIPE = "recipe.json"
DATA = "data.json"
TOKENIZER = "tokenizer.model"
CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
LOG = "log.jsonl"

# Fields that decide nothing of the weights; sources are known by their hashes, not their place.
_DESCRIPTIVE = {
    "data_root",
    "license",
    "decoding",
    "sample_contexts",
    "training_note",
    "weaknesses",
}


def run(recipe: Recipe, folder: Path, *, device: str, console: Console) -> Progress:
    """Train what the recipe describes, going on where an earlier run in the folder stopped.

    Ctrl+C ends it after the step it is in, with a checkpoint.

    Raises:
        DataError: a source is missing or empty.
        TrainingError: the folder belongs to another recipe or is being trained in, or the loss is no
            longer finite.
        KeyboardInterrupt: the run was stopped.
    """
    corpus = Corpus(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    with only_trainer(folder):
        return _run(recipe, corpus, folder, device=device, console=console)


def _run(
    recipe: Recipe, corpus: Corpus, folder: Path, *, device: str, console: Console
) -> Progress:
    _claim(folder, recipe)
    tokenizer = _tokenizer(corpus, folder, console)
    _check_data(folder, corpus)
    corpus.note_use(folder)
    console.print("Tokenising the data ...")
    held_out = corpus.held_out()
    validation = corpus.validation(tokenizer)
    stages = [corpus.stage(stage, tokenizer, held_out) for stage in recipe.stages]
    for stage in stages:
        epochs = stage.config.steps / stage.batches.batches_per_epoch
        console.print(f"{stage.config.name}: {stage.config.steps} steps, {epochs:.2f} epochs")
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model).to(device)
    with RunView(recipe, folder / LOG, console) as view, stop_after_step() as is_stopping:
        view.start(hardware=_hardware(device), threads=torch.get_num_threads())
        return train(
            model,
            stages,
            validation,
            recipe,
            checkpoint=folder / CHECKPOINT,
            on_best=lambda progress: _save_best(folder, model, progress),
            view=view,
            is_stopping=is_stopping,
        )


def _hardware(device: str) -> str:
    """Name the processor or GPU, as well as this system tells."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _save_best(folder: Path, model: Model, progress: Progress) -> None:
    metadata = {"progress": json.dumps(asdict(progress))}
    write_tensors(folder / BEST, dict(model.state_dict()), metadata)


def _tokenizer(corpus: Corpus, folder: Path, console: Console) -> Tokenizer:
    path = folder / TOKENIZER
    if not path.exists():
        console.print("Training the tokenizer ...")
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(corpus.train_tokenizer().to_bytes())
        partial.replace(path)
    return Tokenizer.from_file(path)


def _claim(folder: Path, recipe: Recipe) -> None:
    """Write the recipe down, or make sure that the one written is the same."""
    path = folder / RECIPE
    current = json.loads(recipe.model_dump_json())
    if not path.exists():
        write_json(path, current)
        return
    before = read_config_file(path)
    fields = (current.keys() | before.keys()) - _DESCRIPTIVE
    changed = sorted(field for field in fields if before.get(field) != current.get(field))
    if changed:
        raise TrainingError(
            f"{folder} holds a run with another recipe (changed: {', '.join(changed)}); "
            "give a new folder with -o, or put the recipe back."
        )


def _check_data(folder: Path, corpus: Corpus) -> None:
    """Write down what the run learns from, or make sure that it is what the run began with."""
    path = folder / DATA
    facts = [asdict(facts) for facts in corpus.facts()]
    if not path.exists():
        write_json(path, facts)
        return
    before = {fact["path"]: fact["sha256"] for fact in json.loads(path.read_text(encoding="utf-8"))}
    changed = [fact["path"] for fact in facts if before.get(fact["path"]) != fact["sha256"]]
    if changed:
        raise TrainingError(
            f"The data of {folder} changed since the run began ({', '.join(changed)}); "
            "put it back, or give a new folder with -o."
        )


def write_json(path: Path, value: object) -> None:
    """Write a JSON file in one piece."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
