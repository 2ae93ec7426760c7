"""Training speed: this loop beside transformers.Trainer, and two processes beside one.

    python benchmarks/train.py --sizes mini base --json train.json
    python benchmarks/train.py --dialogues komuchat.jsonl.zst --json train-dialogues.json
    python benchmarks/train.py --scaling --json scaling.json

Both sides train a pre-norm GPT of the same sizes from random weights on the same packed rows with AdamW, in the
same precision, on the same device and threads, without dropout. They take turns in one process, `--repeats`
times, after steps that warm up; a figure is the median of learnt tokens a second, and the ratio that of the
pairs. Rows of random ids hold one text each and every place is learnt, which leaves nothing to save.

`--dialogues` takes real dialogues as users of each side do, with the tokenizer of gpt-mini-ko: here packed into
rows, for Trainer one a row, filled up to the longest of its batch. Both learn the same tokens: the replies.

`--scaling` trains GPT mini with two processes of one core each (DDP) and with one on one core, by turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from dialogue_generation_models.checkpoint.folder import find_folder, load_folder
from dialogue_generation_models.config.model import GPTConfig
from dialogue_generation_models.config.training import Recipe
from dialogue_generation_models.data.dataset import (
    IGNORED,
    Batch,
    Batches,
    PackedRows,
    Sample,
    dialogue_samples,
    tokenize_dialogues,
)
from dialogue_generation_models.data.importers.jsonl import read_dialogues
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.blocks import compile_blocks
from dialogue_generation_models.training.checkpointing import Progress
from dialogue_generation_models.training.corpus import max_turn_tokens
from dialogue_generation_models.training.loop import Stage, train_step
from dialogue_generation_models.training.optimizer import build_optimizers
from dialogue_generation_models.training.prefetch import prefetched
from dialogue_generation_models.training.processes import start_processes

SIZES = {  # vocabulary, context, width, layers, heads
    "mini": (8192, 256, 384, 6, 6),
    "base": (32_000, 1024, 768, 12, 12),
    "large": (32_000, 1024, 1280, 36, 20),
}
WARM_UP = 2


@dataclass(frozen=True)
class Material:
    """What both sides learn."""

    batches: Batches
    """As this loop takes them."""
    samples: Sequence[Sample]
    """As Trainer takes them, one a row."""
    batch_size: int
    """Of Trainer's rows."""


class RandomRows:
    """Rows of random ids, every place learnt; the same for all who ask."""

    batches_per_epoch = 64

    def __init__(self, shape: GPTConfig, rows: int) -> None:
        size = (self.batches_per_epoch, rows, shape.n_ctx + 1)
        self.ids = np.random.default_rng(0).integers(5, shape.vocab_size, size, dtype=np.int64)

    def batch(self, number: int) -> Batch:
        ids = self.ids[number % self.batches_per_epoch]
        return Batch({"input_ids": ids[:, :-1].copy()}, ids[:, 1:].copy())

    def samples(self) -> list[Sample]:
        rows = self.ids.reshape(-1, self.ids.shape[-1]).tolist()
        return [Sample(row[:-1], row[1:]) for row in rows]


def make_material(recipe: Recipe, options: argparse.Namespace) -> Material:
    """Give random rows, or the dialogues of a file."""
    rows = recipe.stages[0].batch_size
    if not options.dialogues:
        random_rows = RandomRows(recipe.model, rows)
        return Material(random_rows, random_rows.samples(), rows)
    tokenizer = load_folder(find_folder("gpt-mini-ko")).tokenizer
    tokenized = tokenize_dialogues(
        read_dialogues(options.dialogues),
        tokenizer,
        max_turn_tokens=max_turn_tokens(recipe.model),
    )
    samples = list(dialogue_samples(tokenized, recipe.model))
    order = np.random.default_rng(0).permutation(len(samples))
    packed = PackedRows(samples, recipe.model, rows, seed=0)
    mean = sum(len(sample.input_ids) for sample in samples) / len(samples)
    as_many = max(1, round(rows * recipe.model.n_ctx / mean))
    return Material(packed, [samples[place] for place in order], as_many)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["mini", "base"])
    parser.add_argument("--rows", type=int, default=0, help="rows a step (default 8; base 2)")
    parser.add_argument("--steps", type=int, default=5, help="timed together (default 5)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="on both sides")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--dialogues", type=Path, help="a file of dialogues to learn, Korean")
    parser.add_argument("--scaling", action="store_true", help="two processes beside one instead")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.worker:
        work(options)
        return
    rows = []
    for row in scale(options) if options.scaling else (compare(s, options) for s in options.sizes):
        rows.append(row)
        print(json.dumps(row), flush=True)
        # After each row, so that a long run that is cut off leaves what it has.
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def compare(size: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time both sides by turns."""
    recipe = make_recipe(size, options)
    material = make_material(recipe, options)
    sides = {
        "ours": ours(recipe, material, options),
        "transformers": theirs(recipe, material, options),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, run in sides.items():
            speeds[name].append(run())
    pairs = [a / b for a, b in zip(speeds["ours"], speeds["transformers"], strict=True)]
    parameters = sum(p.numel() for p in build_model(recipe.model).parameters())
    return {
        "size": size,
        "parameters": parameters,
        "learns": options.dialogues.name if options.dialogues else "random ids",
        "rows": {"ours": recipe.stages[0].batch_size, "transformers": material.batch_size},
        "precision": options.precision,
        "compile": options.compile,
        "machine": machine(options),
        "tokens_per_second": {name: round(statistics.median(v), 1) for name, v in speeds.items()},
        "spread": {name: [round(min(v), 1), round(max(v), 1)] for name, v in speeds.items()},
        "ratio": round(statistics.median(pairs), 3),
        "ratios": [round(pair, 3) for pair in pairs],
    }


def make_recipe(size: str, options: argparse.Namespace) -> Recipe:
    """Make the recipe of a size; its data are made here."""
    vocab_size, n_ctx, n_embd, n_layer, n_head = SIZES[size]
    model = {
        "kind": "gpt",
        "norm": "pre",
        "vocab_size": vocab_size,
        "n_ctx": n_ctx,
        "n_embd": n_embd,
        "n_layer": n_layer,
        "n_head": n_head,
        "n_inner": 4 * n_embd,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    stage = {
        "name": "random",
        "objective": "dialogue",
        "steps": 10_000,
        "batch_size": options.rows or (8 if size == "mini" else 2),
        "learning_rate": 1e-4,
        "sources": [{"path": "none.jsonl", "license": "none"}],
    }
    return Recipe(
        name="benchmark",
        language="en",
        license="none",
        data_root=".",
        precision=options.precision,
        compile=options.compile,
        model=model,
        stages=[stage],
    )


def ours(recipe: Recipe, material: Material, options: argparse.Namespace) -> Callable[[], float]:
    """Give what trains `--steps` steps and returns learnt tokens a second."""
    torch.manual_seed(0)
    model = build_model(recipe.model).to(options.device)
    if recipe.compile:
        compile_blocks(model)
    optimizers = build_optimizers(model, recipe)
    progress = Progress()

    def learn(steps: int) -> float:
        with prefetched(material.batches) as batches:
            stage = Stage(recipe.stages[0], batches)
            started = time.perf_counter()
            steps_done = [
                train_step(model, optimizers, stage, recipe, progress) for _ in range(steps)
            ]
            synchronize(options.device)
        return sum(step.tokens for step in steps_done) / (time.perf_counter() - started)

    learn(WARM_UP)
    return lambda: learn(options.steps)


def theirs(recipe: Recipe, material: Material, options: argparse.Namespace) -> Callable[[], float]:
    """Give the same for transformers.Trainer with GPT2LMHeadModel."""
    from torch.utils.data import SequentialSampler
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    shape = recipe.model
    size = material.batch_size
    samples = material.samples

    def collate(rows: list[Sample]) -> dict[str, torch.Tensor]:
        """Fill up to the longest row."""
        ids = [torch.tensor(row.input_ids) for row in rows]
        labels = pad_sequence(
            [torch.tensor(row.labels) for row in rows], batch_first=True, padding_value=IGNORED
        )
        return {
            "input_ids": pad_sequence(ids, batch_first=True),
            "attention_mask": pad_sequence([torch.ones_like(i) for i in ids], batch_first=True),
            "labels": labels,
            "shift_labels": labels,  # they are the next tokens already
        }

    class InOrder(Trainer):
        """So that what is learnt in the timed steps is known."""

        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(samples)

    class Clock(TrainerCallback):
        """Trainer's own preparation is not timed."""

        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == WARM_UP:
                synchronize(options.device)
                self.started = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            synchronize(options.device)
            self.seconds = time.perf_counter() - self.started

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape.vocab_size,
            n_positions=shape.n_ctx,
            n_embd=shape.n_embd,
            n_layer=shape.n_layer,
            n_head=shape.n_head,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            bos_token_id=2,
            eos_token_id=3,
        )
    )

    def learn() -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=WARM_UP + options.steps,
                per_device_train_batch_size=size,
                learning_rate=1e-4,
                weight_decay=0.1,
                adam_beta2=0.98,
                optim="adamw_torch_fused",
                bf16=options.precision == "bfloat16",
                torch_compile=options.compile,
                use_cpu=options.device == "cpu",
                logging_strategy="no",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=options.device != "cpu",
                remove_unused_columns=False,
            )
            InOrder(
                model,
                arguments,
                data_collator=collate,
                train_dataset=samples,
                callbacks=[clock],
            ).train()
        timed = samples[WARM_UP * size : (WARM_UP + options.steps) * size]
        learnt = sum(label != IGNORED for sample in timed for label in sample.labels)
        return learnt / clock.seconds

    learn()
    return learn


def scale(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time one process on one core and two on two, by turns, each pinned to cores of its own."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    speeds: dict[int, list[float]] = {1: [], 2: []}
    losses: dict[int, list[float]] = {}
    for _ in range(options.repeats):
        for count in speeds:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out.json"
                launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
                head = [sys.executable, *(launcher if count == 2 else []), __file__]
                more = ["--worker", str(out), "--steps", str(options.steps)]
                more += ["--precision", options.precision, "--rows", str(options.rows)]
                environment = os.environ | {
                    "OMP_NUM_THREADS": "1",
                    "DGM_CORES": ",".join(map(str, cores[:count])),
                }
                subprocess.run([*head, *more], env=environment, check=True)
                result = json.loads(out.read_text(encoding="utf-8"))
            speeds[count].append(result["tokens_per_second"])
            losses[count] = result["losses"]
    pairs = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    furthest = max(abs(a - b) for a, b in zip(losses[1], losses[2], strict=True))
    return [
        {
            "scaling": "2 processes on 2 cores, to 1 process on 1 core",
            "machine": machine(options),
            "precision": options.precision,
            "tokens_per_second": {
                str(n): round(statistics.median(v), 1) for n, v in speeds.items()
            },
            "ratio": round(statistics.median(pairs), 3),
            "ratios": [round(pair, 3) for pair in pairs],
            "largest_difference_of_losses": furthest,
        }
    ]


def work(options: argparse.Namespace) -> None:
    """Train as one of `scale`'s processes, on a core of its own; the first writes the result."""
    cores = os.environ["DGM_CORES"].split(",")
    os.sched_setaffinity(0, {int(cores[int(os.environ.get("LOCAL_RANK", 0))])})
    torch.set_num_threads(1)
    recipe = make_recipe("mini", options)
    rows = RandomRows(recipe.model, recipe.stages[0].batch_size)
    with start_processes(torch.device("cpu")) as processes, prefetched(rows) as batches:
        torch.manual_seed(0)
        model = build_model(recipe.model)
        learner = processes.prepare(model)
        optimizers = build_optimizers(model, recipe)
        stage, progress = Stage(recipe.stages[0], batches), Progress()
        losses = []
        for step in range(WARM_UP + options.steps):
            if step == WARM_UP:
                processes.wait()
                started = time.perf_counter()
            report = train_step(learner, optimizers, stage, recipe, progress, processes)
            losses.append(report.loss)
        seconds = time.perf_counter() - started
        if processes.is_main:
            speed = options.steps * rows.batch(0).tokens / seconds
            result = {"tokens_per_second": speed, "losses": losses}
            options.worker.write_text(json.dumps(result), encoding="utf-8")


def machine(options: argparse.Namespace) -> str:
    """Name the device."""
    if options.device != "cpu":
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def synchronize(device: str) -> None:
    """Let a GPU finish."""
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
