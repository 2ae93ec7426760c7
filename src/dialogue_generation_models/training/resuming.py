"""Whether a fine-tuning goes on with what an earlier call left in the run's folder, or begins anew.

The same command always goes on, also one with `--overwrite` that was cut off.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ..config.finetuning import FinetuningConfig
from ..config.training import Recipe
from ..errors import UsageError
from ..files import write_whole
from .finetuned import EVALUATION
from .run import RECIPE, changed_fields

OPTIONS = "options.json"
"""In the run's folder: what the training was begun with, by the names of the command line."""

_OVERWRITE = "--overwrite"
_NAMES = {"lora": "--lora", "privacy": "--dp-epsilon"}


def describe_options(
    config: FinetuningConfig, *, model: str, data: str, overwrite: bool
) -> dict[str, Any]:
    """Return what decides the result of a call beside its exports.

    Args:
        config: how it learns.
        model: hash of the base's weights.
        data: hash of a data set that was given; else empty.
        overwrite: whether an older model may be replaced.
    """
    learning = config.model_dump(mode="json", exclude={"patience"})  # which a run may change
    named = {_NAMES.get(name, f"--set {name}"): value for name, value in learning.items()}
    return {"--model": model, "--data": data, _OVERWRITE: overwrite, **named}


def clear_older(run: Path, options: dict[str, Any]) -> None:
    """With `--overwrite`, empty the folder of a run that is finished, or that another command began."""
    if not (options[_OVERWRITE] and (run / RECIPE).is_file()):
        return
    if (run / EVALUATION).is_file() or _read_options(run) != options:
        empty(run)


def empty(run: Path) -> None:
    """Remove everything from the folder of a run that this process holds."""
    # The recipe goes last: by it a folder is known that was emptied half.
    for path in sorted(run.iterdir(), key=lambda path: path.name == RECIPE):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def claim(run: Path, recipe: Recipe, options: dict[str, Any]) -> None:
    """Write down what a training begins with, or make sure that the one to go on with began so.

    Raises:
        UsageError: it began otherwise; what changed is named.
    """
    if not (run / RECIPE).is_file():
        write_whole(run / OPTIONS, json.dumps(options, ensure_ascii=False, indent=1) + "\n")
        return
    before = _read_options(run)
    changed = [
        name
        for name, value in options.items()
        if name != _OVERWRITE and before.get(name, value) != value
    ]
    # Plans also change with the device, and with the version of this package.
    if changed := changed or changed_fields(run, recipe):
        raise UsageError(
            f"{run} holds a fine-tuning that was begun with other options (changed: "
            f"{', '.join(changed)}); give the same to go on, or add {_OVERWRITE} to begin anew."
        )


def _read_options(run: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((run / OPTIONS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
