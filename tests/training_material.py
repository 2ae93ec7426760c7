"""What tests of training share: tiny shapes, recipes, batches that are learnt at once, views that remember."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dialogue_generation_models.config.training import Recipe
from dialogue_generation_models.data.dataset import (
    IGNORED,
    PackedRows,
    ReplyPairs,
    Sample,
    TokenizedDialogue,
)
from dialogue_generation_models.models import build_model
from dialogue_generation_models.training.checkpointing import Checkpoints, Progress
from dialogue_generation_models.training.loop import Stage, StepReport, train
from dialogue_generation_models.training.processes import OneProcess, Processes

GPT = {
    "kind": "gpt",
    "vocab_size": 40,
    "n_ctx": 16,
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "n_inner": 32,
    "dropout": 0.1,
}
MEENA = {
    "kind": "meena",
    "vocab_size": 40,
    "n_ctx": 24,
    "n_encoder_ctx": 12,
    "n_embd": 16,
    "n_encoder_layer": 1,
    "n_encoder_head": 2,
    "n_encoder_inner": 32,
    "n_decoder_layer": 1,
    "n_decoder_head": 2,
    "n_decoder_inner": 32,
    "dropout": 0.1,
}


def make_recipe(
    model: dict[str, Any] = GPT, steps: tuple[int, ...] = (30,), **fields: Any
) -> Recipe:
    """Make a recipe with a stage for each number of steps."""
    stages = [
        {
            "name": f"part-{i}",
            "objective": "dialogue",
            "steps": n,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "warmup_steps": 3,
            "sources": [{"path": "talk.jsonl", "license": "CC0-1.0"}],
        }
        for i, n in enumerate(steps)
    ]
    defaults = {
        "name": "tiny",
        "language": "ko",
        "license": "CC0-1.0",
        "data_root": ".",
        "precision": "float32",
        "validation_every": 10,
        "tokenizer": {"sources": ["talk.jsonl"]},
    }
    return Recipe(**{**defaults, "model": model, "stages": stages, **fields})


def make_batches(recipe: Recipe) -> PackedRows | ReplyPairs:
    """Replies that repeat what was said: learnable at once."""
    dialogues = [
        TokenizedDialogue(([10 + i % 20], [10 + i % 20], [30]), (False, True, True))
        for i in range(40)
    ]
    if recipe.model.kind == "gpt":
        samples = [
            Sample([2, d.turns[0][0], 4, d.turns[1][0]], [IGNORED, IGNORED, d.turns[1][0], 3])
            for d in dialogues
        ]
        return PackedRows(samples, recipe.model, 4, seed=0)
    return ReplyPairs(dialogues, recipe.model, 4, seed=0)


class Recorder:
    """A view that remembers, and can stop the run like a power cut."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: list[float] = []
        self.validations: list[tuple[int, float, bool]] = []
        self._stop_after = stop_after

    def step(self, report: StepReport) -> None:
        self.losses.append(report.loss)
        if report.progress.total_steps == self._stop_after:
            raise KeyboardInterrupt

    def validation(self, progress: Progress, loss: float, is_best: bool) -> None:
        self.validations.append((progress.total_steps, loss, is_best))


def run_loop(
    recipe: Recipe,
    folder: Path,
    view: Recorder,
    is_stopping: Callable[[], bool] = lambda: False,
    processes: Processes | None = None,
) -> nn.Module:
    """Train a fresh model on `make_batches`, or go on in the folder."""
    processes = processes or OneProcess()
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model)
    batches = make_batches(recipe)
    train(
        model,
        [Stage(stage, batches) for stage in recipe.stages],
        [batches.batch(0)],
        recipe,
        checkpoints=Checkpoints(folder, keep=recipe.keep_checkpoints, processes=processes),
        view=view,
        is_stopping=is_stopping,
        processes=processes,
    )
    return model


def write_talk(folder: Path) -> Path:
    """Write 120 small dialogues to `talk.jsonl` in a new folder."""
    folder.mkdir()
    texts = [
        "안녕하세요 반갑습니다",
        "오늘 저녁에 뭐 먹을까?",
        "나는 김밥이랑 라면 먹을래",
        "주말에 같이 영화 볼래?",
        "그래 좋아, 몇 시에 만날까?",
        "요즘 회사 일이 너무 힘들어 ㅠㅠ",
    ]
    lines = []
    for i in range(120):
        turns = [
            {"speaker": "AB"[t % 2], "text": f"{texts[(i + t) % 6]} {i % 10}"} for t in range(4)
        ]
        lines.append(json.dumps({"id": f"talk-{i}", "turns": turns}, ensure_ascii=False))
    (folder / "talk.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def run_recipe(talk: Path, model: dict[str, Any]) -> Recipe:
    """Make a recipe that learns from `write_talk` for twelve steps."""
    shape = {
        **model,
        "vocab_size": 326,
        "n_ctx": 64,
        **({"n_encoder_ctx": 32} if model is MEENA else {}),
    }
    return make_recipe(
        shape,
        (12,),
        data_root=str(talk),
        validation_percent=20.0,
        sample_contexts=[["안녕"]],
        decoding={"strategy": "greedy", "max_tokens": 8},
    )
