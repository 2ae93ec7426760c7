"""`dgm evaluate`: figures of a model on dialogues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config.evaluation import EvaluationConfig
from ..errors import UsageError
from .options import DeviceOption, ModelOption
from .progress import show_progress

if TYPE_CHECKING:
    from ..evaluation.report import Evaluation

app = typer.Typer(add_completion=False)
_DEFAULT = EvaluationConfig()


def _option(field: str) -> Any:
    return typer.Option(min=0, help=EvaluationConfig.model_fields[field].description)


@app.command()
def evaluate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that gets evaluation.json.")
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", help="Dialogues, .jsonl or .jsonl.zst: a file or a folder; may be repeated."
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Instead of --data: what a training by this recipe held out."),
    ] = None,
    model: ModelOption = "gpt-mini-ko",
    train: Annotated[
        list[Path] | None,
        typer.Option(help="Dialogues that train the trigram model; may be repeated."),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=50.0,
            help="Evaluate only the dialogues that training with this validation_percent "
            "held out; the others train the trigram model.",
        ),
    ] = None,
    speaker: Annotated[
        str | None, typer.Option(help="Evaluate only replies of this speaker.  [default: all]")
    ] = None,
    contexts: Annotated[
        Path | None, typer.Option(help="Dialogues to which sample replies are written.")
    ] = None,
    limit: Annotated[int, _option("limit")] = _DEFAULT.limit,
    ranked: Annotated[int, _option("ranked")] = _DEFAULT.ranked,
    generated: Annotated[int, _option("generated")] = _DEFAULT.generated,
    seed: Annotated[int, _option("seed")] = _DEFAULT.seed,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print evaluation.json.")] = False,
) -> None:
    """Measure a model on dialogues: perplexity, recall@1 of 20, diversity; and a trigram beside it."""
    options = EvaluationConfig(limit=limit, ranked=ranked, generated=generated, seed=seed)
    from ..evaluation.material import read_material, recipe_material
    from ..evaluation.measure import Subject
    from ..evaluation.measure import evaluate as measure

    if recipe and not (data or train or speaker or contexts) and held_out is None:
        material = recipe_material(_read_recipe(recipe))
    elif data and not recipe:
        material = read_material(
            data, train=train or [], held_out=held_out, speaker=speaker, contexts=contexts
        )
    else:
        raise UsageError(
            "Give either --recipe alone, or --data, which goes with --train, --held-out, --speaker "
            "and --contexts."
        )
    subject = Subject.load(model, device=device)
    _make_folder(output)
    with show_progress() as track:
        result = measure(subject, material, options, track)
    result.write(output / "evaluation.json")
    if as_json:
        print(result.to_json(), end="")
    else:
        _print_table(result)


def _read_recipe(path: Path) -> Any:
    from ..config.io import read_config_file
    from ..config.training import Recipe

    return Recipe(**read_config_file(path))


def _make_folder(folder: Path) -> None:
    """Make the folder before the long work, so that a wrong path costs nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make the folder {folder}: {error.strerror}.") from None


def _print_table(result: Evaluation) -> None:
    from ..evaluation.report import figures

    rows: Sequence[tuple[str, str]] = figures(result)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
