"""AdamW against Muon: the first steps of a recipe's stage, from the same weights, on the same batches.

    python benchmarks/optimizers.py recipes/gpt-mini-ko.toml --stage 1 adamw:1e-3 muon:1e-3 muon:2e-3

Each run is `optimizer:learning rate`, with 30 steps of warm-up and a cosine to the stage's final rate. Reports
the validation loss in nats a token after the last step, and the time of a step.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from dialogue_generation_models.config.io import apply_overrides, read_config_file
from dialogue_generation_models.config.training import Recipe
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.checkpointing import Progress
from dialogue_generation_models.training.corpus import Corpus
from dialogue_generation_models.training.loop import Stage, train_step, validate
from dialogue_generation_models.training.optimizer import build_optimizers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("runs", nargs="+", metavar="OPTIMIZER:RATE")
    parser.add_argument("--stage", type=int, default=0, help="index of the stage")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--validation-batches", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(**apply_overrides(read_config_file(options.recipe), []))
    schedule = recipe.stages[options.stage].replace(
        batch_size=options.batch_size, steps=options.steps, schedule_steps=None, warmup_steps=30
    )
    corpus = Corpus(recipe)
    tokenizer = corpus.train_tokenizer()
    validation = corpus.validation(tokenizer)[: options.validation_batches]
    stage = corpus.stage(schedule, tokenizer, corpus.held_out())
    results = []
    for run in options.runs:
        name, _, rate = run.partition(":")
        config = schedule.replace(learning_rate=float(rate))
        chosen = recipe.replace(optimizer=name)
        torch.manual_seed(recipe.seed)
        model = build_model(recipe.model)
        optimizers = build_optimizers(model, chosen)
        progress, started = Progress(), time.perf_counter()
        for _ in range(options.steps):
            train_step(model, optimizers, Stage(config, stage.batches), chosen, progress)
        seconds = (time.perf_counter() - started) / options.steps
        loss = validate(model, validation, chosen)
        results.append({"run": run, "validation_loss": loss, "seconds_a_step": seconds})
        print(f"{run:12} {loss:.4f} nats a token, {seconds:.2f} s a step", flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
