"""From a finished fine-tuning to a model folder whose card names the base and what was gained."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from ..checkpoint.folder import save_folder
from ..checkpoint.tensors import read_tensors
from ..config.evaluation import EvaluationConfig
from ..config.training import Recipe
from ..data.stored import PreparedDataset
from ..errors import DataError, TrainingError
from ..evaluation.card import BaseFacts, CardFacts, DataSource, model_card
from ..evaluation.material import Material, stored_exchanges
from ..evaluation.measure import Subject, Track, evaluate
from ..evaluation.report import Evaluation
from .checkpointing import BEST
from .export import training_facts
from .lora import save_adapter
from .planning import Base, describe_licences
from .private import describe_privacy
from .run import LOG
from .starting import adapted_model, trained_model
from .view import read_log

EVALUATION = "evaluation.json"
"""In the run's folder: the figures of the finished model."""
ADAPTER = "adapter"

_OPTIONS = EvaluationConfig(limit=2000, ranked=0, generated=0)
_NO_SAMPLES = (
    "It shows no sample replies: they could repeat what people wrote. It may say such things to whoever "
    "talks with it, so give it to nobody who may not read the dialogues that it learnt."
)


def measure_base(base: Base, dataset: PreparedDataset, run: Path, track: Track) -> Evaluation:
    """Measure the base on the held-out replies, or read what an earlier call measured."""
    path = run / "base-evaluation.json"
    with suppress(DataError):  # there is none yet, or it is damaged
        return Evaluation.read(path)
    subject = Subject(base.name, base.model, base.tokenizer, base.decoding)
    found = evaluate(subject, _material(dataset), _OPTIONS, track)
    found.write(path)
    return found


def save_finetuned(
    base: Base,
    before: Evaluation,
    recipe: Recipe,
    place: tuple[Path, Path],
    *,
    command: str,
    track: Track,
) -> Evaluation:
    """Write the model folder with the weights that validated best, in bfloat16, and its card.

    Args:
        base: what it began with.
        before: the base's figures.
        recipe: what was run.
        place: the run's folder, and the model's.
        command: what trains it again.
        track: shows the progress of the measures.

    Returns:
        The figures of the folder as it is written.

    Raises:
        TrainingError: the run has no best weights.
        CheckpointError: the folder cannot be written.
    """
    run, folder = place
    best = run / BEST
    if not best.exists():
        raise TrainingError(f"{run} has no best weights; remove it, and start again.")
    model = trained_model(recipe, read_tensors(best), str(best))
    dataset = PreparedDataset(Path(recipe.data_root) / recipe.stages[0].sources[0].path)
    training = training_facts(recipe, run, command)
    notes = [_NO_SAMPLES]
    if recipe.privacy is not None:
        notes.append(_note_privacy(recipe, run, dataset, training.steps))
    training = replace(training, note="\n\n".join(notes))
    facts = CardFacts(
        name=recipe.name,
        language=recipe.language,
        licence=recipe.license,
        architecture=recipe.model.describe(),
        parameters=sum(p.numel() for p in model.parameters()),
        vocab_size=base.tokenizer.vocab_size,
        data=_data(dataset),
        training=training,
        evaluated_on="replies that were held out of the fine-tuning",
        base=BaseFacts(base.name, before),
    )
    shipped = model.to(torch.bfloat16).to(torch.float32)  # what will be read from the folder
    subject = Subject(recipe.name, shipped, base.tokenizer, recipe.decoding)
    after = evaluate(subject, _material(dataset), _OPTIONS, track)
    card = model_card(replace(facts, evaluation=after))
    save_folder(folder, shipped, base.tokenizer, recipe.decoding, card=card, dtype=torch.bfloat16)
    after.write(run / EVALUATION)  # last, because it says that the run is finished
    return after


def _note_privacy(recipe: Recipe, run: Path, dataset: PreparedDataset, steps: int) -> str:
    """Reckon what a private training spent, write it into the log, and say it in a sentence."""
    assert recipe.privacy is not None, "the caller has looked"
    dialogues = dataset.manifest["counts"]["train"]["dialogues"]
    epsilon, sentence = describe_privacy(recipe, dialogues, steps)
    record = {"epsilon": epsilon, "delta": recipe.privacy.delta, "unit": "dialogue", "after": steps}
    with (run / LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(record) + "\n")
    return sentence


def read_epsilon(run: Path) -> float | None:
    """Return the ε that the log of a finished run tells; None if it was not private."""
    found = [record["epsilon"] for record in read_log(run / LOG) if "epsilon" in record]
    return found[-1] if found else None


def keep_adapter(base: Base, recipe: Recipe, run: Path) -> None:
    """Write the adapters that validated best into the run's folder, where weights go away in the end."""
    if recipe.lora is not None:
        model = adapted_model(recipe, read_tensors(run / BEST), str(run / BEST))
        save_adapter(model, recipe.lora, run / ADAPTER, base.name)


def _material(dataset: PreparedDataset) -> Material:
    return Material((dataset.folder.name,), list(stored_exchanges(dataset, "valid")))


def _data(dataset: PreparedDataset) -> tuple[DataSource, ...]:
    """Describe a data set's sources; of private chats it tells no file name."""
    return tuple(
        DataSource(
            source["name"],
            describe_licences([source]),
            "fine-tuning",
            source["kept"].get("train", {}).get("dialogues", 0),
        )
        for source in dataset.manifest["sources"]
    )
