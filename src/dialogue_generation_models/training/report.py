"""`report.html`: a run's log in curves. Numbers alone: no text of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.training import Recipe, StageConfig
from ..data.pictures import (
    ACCENT,
    ALERT,
    SOFT,
    check_report_packages,
    new_figure,
    picture,
    render_page,
    report_style,
)
from ..errors import DataError, TrainingError
from ..files import write_whole
from .view import read_log

_SMOOTHED_OVER = 30  # records that the bold line is averaged over, at most


@dataclass(frozen=True)
class _Curves:
    steps: list[dict[str, Any]]
    validations: list[dict[str, Any]]
    machine: dict[str, Any]


def write_report(path: Path, recipe: Recipe, log: Path) -> None:
    """Draw a run's log as one HTML page without anything to load.

    Args:
        path: the page.
        recipe: what was run.
        log: its `log.jsonl`.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        DataError: the log has no step.
        TrainingError: the disk refuses.
    """
    check_report_packages("train")
    curves = _read(log)
    with report_style():
        pictures = _pictures(recipe, curves)
    page = render_page(
        __package__ or "",
        title=f"Training of {recipe.name}",
        model=recipe.model.describe(),
        machine=describe_machine(curves.machine),
        seed=recipe.seed,
        optimizer=recipe.optimizer,
        precision=recipe.precision,
        numbers=_numbers(curves),
        pictures=pictures,
        stages=[_row(stage) for stage in recipe.stages],
    )
    try:
        write_whole(path, page)
    except OSError as error:
        raise TrainingError(f"Cannot write {path}: {error.strerror}.") from None


def describe_machine(record: dict[str, Any]) -> str:
    """Say on what a run ran, by its log's first kind of record."""
    count = record.get("processes", 1)
    each = f"{record['hardware']}, {record['threads']} thread(s)"
    return each if count == 1 else f"{count} × {each}"


def _read(log: Path) -> _Curves:
    records = list(read_log(log))
    steps = [record for record in records if "loss" in record]
    machines = [record for record in records if "hardware" in record]
    if not steps or not machines:
        raise DataError(f"{log} has no step to report.")
    return _Curves(steps, [r for r in records if "validation_loss" in r], machines[-1])


def _numbers(curves: _Curves) -> list[tuple[str, str]]:
    last = curves.steps[-1]
    numbers = [
        (f"{last['step']:,}", "steps"),
        (f"{last['tokens']:,}", "tokens learnt"),
        (f"{last['seconds'] / 3600:.2f}", "hours of steps"),
        (f"{last['tokens'] / max(last['seconds'], 1e-9):,.0f}", "tokens a second"),
    ]
    best = [record for record in curves.validations if record["is_best"]]
    if best:
        perplexity = math.exp(min(best[-1]["validation_loss"], 50.0))
        numbers.append(
            (f"{perplexity:.2f}", f"best validation perplexity, step {best[-1]['step']:,}")
        )
    return numbers


def _pictures(recipe: Recipe, curves: _Curves) -> list[dict[str, Any]]:
    def column(name: str) -> list[float]:
        return [record[name] for record in curves.steps]

    def draw(title: str, values: Sequence[float], caption: str, *, smooth: bool) -> dict[str, Any]:
        figure, axes = _axes(title, recipe)
        axes.plot(column("step"), values, color=SOFT if smooth else ACCENT, linewidth=1)
        if smooth:
            axes.plot(column("step"), _smooth(values), color=ACCENT, linewidth=2)
        return picture(figure, caption)

    smoothed = f"Bold: the mean of up to {_SMOOTHED_OVER} records."
    return [
        draw("Loss, nats a token", column("loss"), smoothed, smooth=True),
        _validations(recipe, curves),
        draw("Learning rate", column("learning_rate"), "As the recipe's stages say.", smooth=False),
        draw("Tokens a second", column("tokens_per_second"), "Labelled tokens.", smooth=False),
        draw("Length of the gradient", column("gradient_norm"), smoothed, smooth=True),
    ]


def _validations(recipe: Recipe, curves: _Curves) -> dict[str, Any]:
    figure, axes = _axes("Validation loss, nats a token", recipe)
    seen = curves.validations
    steps, losses = ([r[name] for r in seen] for name in ("step", "validation_loss"))
    axes.plot(steps, losses, color=ACCENT, marker="o", markersize=3)
    best = [record for record in seen if record["is_best"]]
    if best:
        axes.plot(best[-1]["step"], best[-1]["validation_loss"], "o", color=ALERT, markersize=7)
    return picture(
        figure, "Held-out replies; the dot is the best of the last stage, whose weights are kept."
    )


def _axes(title: str, recipe: Recipe) -> tuple[Any, Any]:
    """Make axes over the steps, with a line where a stage begins."""
    figure, axes = new_figure(title)
    axes.set_xlabel("step")
    axes.grid(axis="y", color="#e7ecf1")
    axes.set_axisbelow(True)
    start = 0
    for stage in recipe.stages[:-1]:
        start += stage.steps
        axes.axvline(start, color=SOFT, linestyle=":", linewidth=1)
    return figure, axes


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and those shortly before it."""
    ends = range(1, len(values) + 1)
    parts = [values[max(0, end - _SMOOTHED_OVER) : end] for end in ends]
    return [sum(part) / len(part) for part in parts]


def _row(stage: StageConfig) -> dict[str, str]:
    return {
        "name": stage.name,
        "objective": stage.objective,
        "steps": f"{stage.steps:,}",
        "batch": f"{stage.batch_size:,}",
        "rate": f"{stage.learning_rate:g}",
        "schedule": f"{stage.warmup_steps:,} steps of warm-up, {stage.schedule}",
    }
