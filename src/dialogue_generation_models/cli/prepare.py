"""`dgm prepare`: a data set to train on, from exports, chat lines and corpora."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DataError
from .options import ConsentOption, MeOption, PreparationOption
from .progress import show_stages

app = typer.Typer(add_completion=False)


@app.command()
def prepare(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Exports of messengers, chat lines, and corpora of dialogue or text lines; or folders.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DATASET", help="The folder to write.")
    ],
    tokenizer: Annotated[
        str,
        typer.Option(
            "--tokenizer", metavar="MODEL", help="A model's name or folder, or a tokenizer.model."
        ),
    ],
    config: PreparationOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. dedup.near=false."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="NAME", help="filtered or unfiltered.  [default: filtered]"
        ),
    ] = None,
    me: MeOption = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes; the result is the same.  [default: 1]"),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option("--executor", metavar="NAME", help="local, slurm or ray.  [default: local]"),
    ] = None,
    review: Annotated[
        int | None,
        typer.Option("--review", min=1, help="Messages to put aside in DATASET-review.csv."),
    ] = None,
    has_consent: ConsentOption = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an older data set.")
    ] = False,
    is_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Turn chats and corpora into a data set: cut, filtered, scrubbed, without copies, tokenised.

    The same command goes on where it was stopped. DATASET/report.html shows what became of the data.
    """
    from .. import __version__
    from ..config.io import apply_overrides, configure, read_config_file, set_field
    from ..config.preparation import preparation_settings
    from ..data.preparation import Order, prepare

    options = {
        "profile": profile,
        "sessions.me": me,
        "review": review,
        "executor.kind": executor,
        "executor.workers": workers,
    }

    def change(table: dict[str, Any]) -> dict[str, Any]:
        changed = apply_overrides(table, overrides or [])
        for name, value in options.items():
            if value is not None:
                set_field(changed, name, value)
        return changed

    table = read_config_file(config) if config else {}
    settings, machine = configure(preparation_settings, table, change)
    order = Order(
        inputs=inputs,
        output=output,
        tokenizer=_tokenizer(tokenizer),
        tool=f"dialogue-generation-models {__version__}",
        has_consent=has_consent,
        overwrite=overwrite,
        executor=machine,
    )
    try:
        manifest = prepare(order, settings, show_stages)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it stopped.", file=sys.stderr)
        raise
    if manifest is None:
        print(f"Submitted to Slurm; the last job puts the data set in {output}.")
    elif is_json:
        print(json.dumps(manifest, ensure_ascii=False))
    else:
        _show(manifest, output)
    if manifest is not None:
        _check_read(manifest)


def _tokenizer(name: str) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    from ..checkpoint.folder import TOKENIZER, find_folder

    return find_folder(name) / TOKENIZER


def _show(manifest: dict[str, Any], output: Path) -> None:
    from ..data.report import describe_split

    counts = manifest["counts"]
    for split, row in counts.items():
        print(f"{split:<6}" + "  ".join(f"{n:>12,} {name}" for name, n in row.items()))
    print(describe_split(manifest))
    print(f"Wrote {output}; look at {output / 'report.html'}.")


def _check_read(manifest: dict[str, Any]) -> None:
    """Tell which files and lines could not be read, and of which sources no message was."""
    from ..data.manifest import describe_reading, unread_files

    unread = unread_files(manifest)
    for line in (*unread, *describe_reading(manifest)):
        print(line, file=sys.stderr)
    if unread:
        raise DataError(f"Files that could not be read: {len(unread)}; the rest is prepared.")
