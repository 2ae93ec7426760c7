"""From a finished run to a model folder whose card says what it is and how good it is."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from ..checkpoint.folder import load_folder, save_folder
from ..checkpoint.tensors import read_tensors
from ..config.evaluation import EvaluationConfig
from ..config.training import Recipe
from ..errors import TrainingError
from ..evaluation.card import CardFacts, DataSource, TrainingFacts, model_card
from ..evaluation.material import recipe_material
from ..evaluation.measure import Subject, Track, evaluate
from ..tokenizer.tokenizer import Tokenizer
from .checkpointing import BEST, Checkpoints
from .interruption import only_trainer
from .preparing import describe_preparation
from .report import describe_machine
from .run import DATA, LOG, TOKENIZER
from .starting import trained_model
from .view import read_log

EVALUATION = EvaluationConfig(limit=0, ranked=400, generated=200)


def export(recipe: Recipe, run: Path, *, command: str, track: Track) -> Path:
    """Write `RUN/NAME`, the model folder with the run's best weights in bfloat16 and its card.

    The figures on the card are those of the folder as it is shipped.

    Args:
        recipe: what was run.
        run: the run's folder.
        command: what trains it again.
        track: shows the progress of the measures.

    Raises:
        TrainingError: the run has no best weights yet, or another process trains in its folder.
    """
    with only_trainer(run):
        return _export(recipe, run, command, track)


def _export(recipe: Recipe, run: Path, command: str, track: Track) -> Path:
    best = run / BEST
    if not best.exists():
        raise TrainingError(
            f"{run} has no best weights yet; let the last stage reach a validation."
        )
    model = trained_model(recipe, read_tensors(best), str(best))
    tokenizer = Tokenizer.from_file(run / TOKENIZER)
    facts = CardFacts(
        name=recipe.name,
        language=recipe.language,
        licence=recipe.license,
        architecture=recipe.model.describe(),
        parameters=sum(p.numel() for p in model.parameters()),
        vocab_size=tokenizer.vocab_size,
        data=_data(recipe, run),
        training=training_facts(recipe, run, command),
        evaluated_on=f"{recipe.validation_percent:g} % of the dialogues, held out by a hash of their "
        "id, without copies in training",
        weaknesses=tuple(recipe.weaknesses),
    )
    path = run / recipe.name
    save = partial(save_folder, path, model, tokenizer, recipe.decoding, dtype=torch.bfloat16)
    save(card=model_card(facts))
    shipped = load_folder(path)
    subject = Subject(recipe.name, shipped.model, tokenizer, recipe.decoding)
    evaluation = evaluate(subject, recipe_material(recipe), EVALUATION, track)
    evaluation.write(run / "evaluation.json")
    save(card=model_card(replace(facts, evaluation=evaluation)))
    return path


def _data(recipe: Recipe, run: Path) -> tuple[DataSource, ...]:
    facts = json.loads((run / DATA).read_text("utf-8"))  # in the order of the recipe
    uses: dict[str, list[str]] = {}
    for stage in recipe.stages:
        for source in stage.sources:
            times = f" ({source.repeat} times an epoch)" if source.repeat > 1 else ""
            uses.setdefault(source.path, []).append(stage.name + times)
    licences = {s.path: s.license for stage in recipe.stages for s in stage.sources}
    limits = {s.path: s.limit for stage in recipe.stages for s in stage.sources}
    return tuple(
        DataSource(
            Path(path).name.split(".")[0],
            licences[path],
            ", ".join(use),
            min(fact["lines"], limits[path] or fact["lines"]),
        )
        for (path, use), fact in zip(uses.items(), facts, strict=True)
    )


def training_facts(recipe: Recipe, run: Path, command: str) -> TrainingFacts:
    """Read from a run's newest checkpoint and its log how its model came to be."""
    done = Checkpoints(run).progress()
    machines = [record for record in read_log(run / LOG) if "hardware" in record]
    return TrainingFacts(
        steps=done.total_steps,
        tokens=done.tokens,
        hours=done.seconds / 3600,
        hardware=describe_machine(machines[-1]) if machines else "not recorded",
        seed=recipe.seed,
        command=command,
        note=" ".join(filter(None, (recipe.training_note, describe_preparation(recipe, run)))),
    )
