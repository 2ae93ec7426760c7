"""A recipe's `[preparation]`: its sources are filtered, scrubbed and freed of copies before they are learnt.

The data set lies in the run's folder, `RUN/data/`, as `dgm prepare` writes it; `dgm data forget` works on it.
"""

from __future__ import annotations

from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..config.preparation import ExecutorConfig, PreparationConfig, SourceStatement
from ..config.training import Recipe
from ..data.preparation import Order, leave_no_texts, prepare
from ..data.stored import PreparedDataset, is_prepared, read_uses
from ..errors import DataError, TrainingError
from .corpus import max_turn_tokens, source_paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..data.pipeline import Watch

DATASET = "data"
"""In the run's folder."""


def own_dataset(recipe: Recipe, run: Path) -> PreparedDataset | None:
    """Open the data set of a run whose recipe has a preparation; None for other recipes.

    Raises:
        DataError: it is damaged, or was not made yet.
    """
    return PreparedDataset(run / DATASET) if recipe.preparation is not None else None


def prepare_sources(recipe: Recipe, run: Path, tokenizer: Path, watch: Watch | None) -> None:
    """Make the data set of a recipe with a preparation, unless the run has it; go on where it was cut off.

    Args:
        recipe: whose `preparation` is given.
        run: the run's folder.
        tokenizer: the run's `.model` file.
        watch: shows the steps; None for silence.

    Raises:
        DataError: a source is of a kind that a recipe does not prepare, nothing is left to learn, or the
            data set is damaged.
        TrainingError: the data set changed since the run began, as by `dgm data forget`.
        MissingExtraError: the extra `data` is not installed.
    """
    from .. import __version__

    assert recipe.preparation is not None, "the caller asks for recipes with a preparation"
    inputs = source_paths(recipe)
    for path in inputs:
        if is_prepared(path):
            raise DataError(f"{path.name} is a data set already; remove [preparation].")
        if path.name.endswith(".txt"):
            raise DataError(f"[preparation] reads .jsonl and .tsv, which {path.name} is not.")
    order = Order(
        inputs=inputs,
        output=run / DATASET,
        tokenizer=tokenizer,
        tool=f"dialogue-generation-models {__version__}",
        executor=ExecutorConfig(workers=torch.get_num_threads()),
    )
    if not is_prepared(order.output):
        prepare(order, _settings(recipe, recipe.preparation), watch or _silently)
    leave_no_texts(order)  # an earlier call may have been stopped while it was tidying up
    dataset = PreparedDataset(order.output)
    dataset.verify()
    uses = [use for use in read_uses(dataset.folder) if use["run"] == str(run.resolve())]
    if uses and uses[0]["manifest_sha256"] != dataset.sha256:
        raise TrainingError(
            f"The data set {dataset.folder} changed since the run began; "
            "put it back, or train anew in another folder with -o."
        )


def describe_preparation(recipe: Recipe, run: Path) -> str:
    """Say for a card what the preparation left of the sources; empty for recipes without one."""
    dataset = own_dataset(recipe, run)
    if dataset is None:
        return ""
    sources = dataset.manifest["sources"]
    given = sum(source["read"]["dialogues"] for source in sources)
    kept = sum(row["dialogues"] for row in dataset.manifest["counts"].values())
    touched = sum(source["scrub"]["touched"] for source in sources)
    return (
        f"Before they were learnt, the data went through the filters (profile "
        f"{dataset.manifest['settings']['profile']}), the scrub of personal data and the removal of copies "
        f"of dgm prepare: of {given:,} dialogues and texts {kept:,} stayed; messages in which personal data "
        f"was replaced: {touched:,}."
    )


def _settings(recipe: Recipe, asked: PreparationConfig) -> PreparationConfig:
    """Complete a recipe's settings by what the recipe itself says."""
    root = Path(recipe.data_root)
    said = {source.path: source for stage in recipe.stages for source in stage.sources}
    statements = [
        SourceStatement(
            path=escape((root / source.path).as_posix()),
            license=source.license,
            reply_speaker=source.reply_speaker,
            limit=source.limit,
        )
        for source in said.values()
    ]
    return asked.replace(
        sources=[statement.model_dump() for statement in statements],
        validation_percent=recipe.validation_percent,
        max_turn_tokens=max_turn_tokens(recipe.model),
    )


@contextmanager
def _silently(stages: Any, logs: Path) -> Iterator[Any]:
    yield lambda stage: None
