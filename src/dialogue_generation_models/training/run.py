"""A run: a recipe, its folder, and what is in the folder while and after it is trained.

RUN/recipe.json          the recipe as it was run
RUN/data.json            sources with licences and hashes
RUN/tokenizer.model      trained first
RUN/data/                the sources as they are learnt, if the recipe prepares them
RUN/checkpoint-N.safetensors  the state after step N, the newest few
RUN/best.safetensors     the weights with the lowest validation loss
RUN/log.jsonl            loss, rate, speed and validation losses by step
RUN/report.html          the log in curves, at the end
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from ..config.io import read_config_file
from ..config.training import PrivacyConfig, Recipe
from ..errors import (
    ConfigError,
    DataError,
    MissingExtraError,
    OptionError,
    TokenizerError,
    TrainingError,
)
from ..files import write_whole
from ..tokenizer.tokenizer import Tokenizer
from .checkpointing import Checkpoints, Progress
from .corpus import Corpus, told_path
from .interruption import only_trainer, stop_after_step
from .loop import train
from .preparing import own_dataset, prepare_sources
from .processes import Processes
from .report import write_report
from .starting import base_hash, starting_model
from .view import RunView, SilentView, Tracker

if TYPE_CHECKING:
    from ..data.pipeline import Watch

RECIPE = "recipe.json"
DATA = "data.json"
TOKENIZER = "tokenizer.model"
LOG = "log.jsonl"
REPORT = "report.html"

# Fields that decide nothing of what is learnt; sources are known by their hashes, not their place.
_FREE = {
    "data_root",
    "license",
    "decoding",
    "sample_contexts",
    "training_note",
    "weaknesses",
    "accumulate",
    "activation_checkpointing",
    "compile",
    "keep_checkpoints",
    "patience",
    "tensorboard",
}


def run(
    recipe: Recipe,
    folder: Path,
    *,
    processes: Processes,
    console: Console,
    watch: Watch | None = None,
    is_held: bool = False,
) -> Progress:
    """Train what the recipe describes, going on where an earlier run in the folder stopped.

    Ctrl+C, or the signal that ends jobs, ends it after the step it is in, with a checkpoint.

    Args:
        recipe: what to train.
        folder: of the run; all processes see it.
        processes: that train together; the main one writes and speaks.
        console: where progress is shown.
        watch: shows the steps of a preparation; None for silence.
        is_held: whether the caller is the folder's only trainer already.

    Raises:
        OptionError: the optimizer cannot step a sharded model, or several processes are to train privately.
        DataError: a source is missing or empty.
        TrainingError: the folder belongs to another recipe or is being trained in, the loss is no
            longer finite, or the disk refuses.
        KeyboardInterrupt: the run was stopped.
    """
    if processes.is_sharded and recipe.optimizer == "adafactor":
        raise OptionError(
            "Adafactor cannot step a sharded model; choose adamw or muon, or no FSDP."
        )
    check_private(recipe.privacy, processes)
    corpus = Corpus(recipe)
    if not processes.is_main:
        processes.wait()
        return _train(recipe, folder, processes, SilentView())
    folder.mkdir(parents=True, exist_ok=True)
    with nullcontext() if is_held else only_trainer(folder):
        _claim(folder, recipe)
        _make_tokenizer(corpus, folder, console)
        _check_data(folder, corpus)
        if recipe.preparation is not None:
            console.print("Preparing the data ...")
            prepare_sources(recipe, folder, folder / TOKENIZER, watch)
        Corpus(recipe, own_dataset(recipe, folder)).note_use(folder)
        processes.wait()
        console.print("Tokenising the data ...")
        done = Checkpoints(folder).progress()
        tracker = _open_tracker(folder, done) if recipe.tensorboard else None
        with RunView(recipe, folder / LOG, console, done, tracker) as view:
            view.start(
                hardware=_hardware(processes.device),
                threads=torch.get_num_threads(),
                processes=processes.count,
            )
            progress = _train(recipe, folder, processes, view)
        _report(recipe, folder, console)
        return progress


def check_private(privacy: PrivacyConfig | None, processes: Processes) -> None:
    """Refuse a private training by several processes.

    Raises:
        OptionError: it is one.
    """
    if privacy is not None and processes.count > 1:
        raise OptionError("A private training runs in one process; start it without a launcher.")


def _open_tracker(folder: Path, done: Progress) -> Tracker:
    from .accelerated import TensorBoard

    return TensorBoard(folder / "tensorboard", done.total_steps + 1)


def _report(recipe: Recipe, folder: Path, console: Console) -> None:
    try:
        write_report(folder / REPORT, recipe, folder / LOG)
    except (MissingExtraError, DataError) as missing:
        console.print(f"No {REPORT}: {missing}", highlight=False, markup=False)


def _train(
    recipe: Recipe, folder: Path, processes: Processes, view: RunView | SilentView
) -> Progress:
    corpus = Corpus(recipe, own_dataset(recipe, folder))
    tokenizer = Tokenizer.from_file(folder / TOKENIZER)
    held_out = corpus.held_out()
    validation = corpus.validation(tokenizer)
    stages = [corpus.stage(stage, tokenizer, held_out) for stage in recipe.stages]
    view.plan(stages)
    torch.manual_seed(recipe.seed)
    model = starting_model(recipe)
    with stop_after_step() as is_stopping:
        return train(
            model,
            stages,
            validation,
            recipe,
            checkpoints=Checkpoints(folder, keep=recipe.keep_checkpoints, processes=processes),
            view=view,
            is_stopping=is_stopping,
            processes=processes,
        )


def _hardware(device: torch.device) -> str:
    """Name the processor or GPU, as well as this system tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _make_tokenizer(corpus: Corpus, folder: Path, console: Console) -> None:
    path = folder / TOKENIZER
    if not path.exists():
        console.print("Training the tokenizer ...")
        _write(path, corpus.train_tokenizer().to_bytes())
        return
    try:
        Tokenizer.from_file(path)
    except TokenizerError:
        raise TrainingError(
            f"{path} is damaged; remove it, and the same command makes it again."
        ) from None


def _claim(folder: Path, recipe: Recipe) -> None:
    """Write the recipe down, or make sure that the one written is the same."""
    if not (folder / RECIPE).exists():
        _write_json(folder / RECIPE, _recorded(recipe))
    elif changed := changed_fields(folder, recipe):
        raise TrainingError(
            f"{folder} holds a run with another recipe (changed: {', '.join(changed)}); "
            "give a new folder with -o, or put the recipe back."
        )


def changed_fields(folder: Path, recipe: Recipe) -> list[str]:
    """Return the places, like `stages.0.steps`, where a recipe differs from the one that a folder's run has.

    Raises:
        ConfigError: the record of that run is damaged.
    """
    current = _recorded(recipe)
    try:
        before = read_config_file(folder / RECIPE)
    except ConfigError as error:
        reason = str(error).rstrip(".")
        raise ConfigError(f"{reason}; remove it to go on by this recipe.") from None
    # Fields that are newer than the file have their defaults.
    with suppress(ConfigError):
        before = _without_places(Recipe(**before))
    # A base is known by its weights, if they were recorded, and not by its name.
    is_known = before.get("start_from_sha256") is not None
    free = _FREE | {"start_from" if is_known else "start_from_sha256"}
    places = _differences(before, current)
    return sorted(place for place in places if place.partition(".")[0] not in free)


def _recorded(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as a folder holds it, with the hash of the weights that it starts from."""
    return _without_places(recipe) | {"start_from_sha256": base_hash(recipe)}


def _without_places(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as JSON, without whole paths, which tell of people."""
    record: dict[str, Any] = json.loads(recipe.model_dump_json())
    for source in (source for stage in record["stages"] for source in stage["sources"]):
        source["path"] = told_path(source["path"], recipe.data_root)
    if recipe.tokenizer is not None:
        told = [told_path(source, recipe.data_root) for source in recipe.tokenizer.sources]
        record["tokenizer"]["sources"] = told
    for field in ("start_from", "data_root"):
        if record[field] is not None and Path(record[field]).is_absolute():
            record[field] = Path(record[field]).name
    return record


def _differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Yield the places, like `stages.0.steps`, where two trees of JSON differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            yield from _differences(before.get(key), now.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(one, other, f"{place}.{index}")
    elif before != now:
        yield place


def _check_data(folder: Path, corpus: Corpus) -> None:
    """Write down what the run learns from, or make sure that it is what the run began with."""
    path = folder / DATA
    facts = [asdict(facts) for facts in corpus.facts()]
    if not path.exists():
        _write_json(path, facts)
        return
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        before = [fact["sha256"] for fact in records]
    except (ValueError, TypeError, KeyError):
        raise TrainingError(
            f"{path} is damaged; remove it to go on, if the data are those that the run began with."
        ) from None
    pairs = zip_longest(facts, before)  # by place: two files may have the same last name
    changed = [fact["path"] for fact, digest in pairs if fact and fact["sha256"] != digest]
    if changed:
        raise TrainingError(
            f"The data of {folder} changed since the run began ({', '.join(changed)}); "
            "put it back, or give a new folder with -o."
        )


def _write_json(path: Path, value: object) -> None:
    _write(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def _write(path: Path, content: str | bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise TrainingError(f"Cannot write {path}: {error.strerror}.") from None
