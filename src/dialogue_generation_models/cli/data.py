"""`dgm data`: who is in a data set, how to remove a person, and what a review found."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)

DatasetArgument: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DATASET", help="A folder that `dgm prepare` wrote.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def data() -> None:
    """Look into a data set, or remove a person from it."""


@app.command()
def speakers(
    dataset: DatasetArgument,
    room: Annotated[
        str | None, typer.Option("--room", metavar="ROOM", help="Only who speaks in this room.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Only the person whom an export calls by this name."
        ),
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """List who speaks in a data set, by pseudonym: id, turns, dialogues, rooms."""
    from ..data.forget import list_speakers, speaker_id

    found = list_speakers(dataset)
    if name is not None:
        wanted = speaker_id(dataset, name)
        found = [speaker for speaker in found if speaker.id == wanted]
    if room is not None:
        found = [speaker for speaker in found if room in speaker.rooms]
    if is_json:
        print(json.dumps([asdict(speaker) for speaker in found]))
        return
    for speaker in found:
        rooms = " ".join(speaker.rooms)
        print(
            f"{speaker.id}  {speaker.turns:>8,} turns  {speaker.dialogues:>7,} dialogues  {rooms}"
        )
    if not found:
        print("Nobody.")


@app.command()
def forget(
    dataset: DatasetArgument,
    speaker: Annotated[
        str, typer.Option("--speaker", metavar="ID", help="As `dgm data speakers` lists it.")
    ],
    is_json: JsonOption = False,
) -> None:
    """Remove what a person said, and what was said after it in the same dialogues.

    Hashes of what went are written to DATASET/forgotten.jsonl. Models that learnt from it are listed.
    """
    from ..data.forget import forget
    from ..data.review import review_file

    removal = forget(dataset, speaker)
    if (sample := review_file(dataset)).exists():
        print(f"{sample} may still hold what this person said; delete it.", file=sys.stderr)
    if is_json:
        print(json.dumps(asdict(removal)))
        return
    print(f"Removed {removal.turns:,} turns; {removal.dialogues:,} dialogues were cut or went.")
    for model in removal.models:
        print(f"Trained on it, train again: {model['model']} in {model['run']} ({model['at']})")
    if not removal.models:
        print("No training of this data set is on record.")


@app.command()
def review(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.csv", help="The labelled file of `dgm prepare --review`."),
    ],
    is_json: JsonOption = False,
) -> None:
    """Say how many messages of a labelled sample still hold personal data, with the 95 % interval."""
    from ..data.review import read_review

    risk = read_review(file)
    if is_json:
        print(json.dumps(asdict(risk)))
        return
    print(
        f"{risk.personal} of {risk.labelled} messages hold personal data: {100 * risk.rate:.2f} % "
        f"(95 % interval {100 * risk.low:.2f} to {100 * risk.high:.2f} %, Wilson)."
    )
