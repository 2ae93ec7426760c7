"""What an evaluation looks at: exchanges from files, and the training dialogues beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.importers.jsonl import read_dialogues
from ..data.split import is_held_out, without_copies
from ..dialogue import Dialogue
from ..errors import DataError, UsageError
from .exchanges import Exchange, exchanges

_SUFFIXES = (".jsonl", ".jsonl.zst")


@dataclass(frozen=True)
class Material:
    """Exchanges to score, and what else the measures need."""

    names: tuple[str, ...]
    """Names of the files, for the record."""
    items: Sequence[Exchange]
    trigram_items: Iterable[Exchange] | None = None
    """Training exchanges for the trigram model; none for no trigram figures."""
    contexts: Sequence[tuple[str, ...]] = ()
    """Contexts of the sample replies."""


def read_material(
    data: Sequence[Path],
    *,
    train: Sequence[Path] = (),
    held_out: float | None = None,
    speaker: str | None = None,
    contexts: Path | None = None,
) -> Material:
    """Read what is evaluated.

    Args:
        data: files, or folders of files, of dialogues.
        train: dialogues for the trigram model.
        held_out: keep only the dialogues that a training with this `validation_percent` held out;
            the others train the trigram model.
        speaker: evaluate only this speaker's turns.
        contexts: dialogues whose turns are the contexts of sample replies.

    Raises:
        DataError: a file cannot be read, or there is no reply in any.
        UsageError: both `train` and `held_out` say what trains the trigram model.
    """
    if train and held_out is not None:
        raise UsageError("Give either --train or --held-out, not both; they say the same thing.")
    files = list(_files(data))
    dialogues = [dialogue for file in files for dialogue in read_dialogues(file)]
    learnt: Iterable[Dialogue] | None = None
    if train:
        learnt = [dialogue for file in _files(train) for dialogue in read_dialogues(file)]
    elif held_out is not None:
        learnt = [dialogue for dialogue in dialogues if not is_held_out(dialogue, held_out)]
        dialogues = [dialogue for dialogue in dialogues if is_held_out(dialogue, held_out)]
    items = [item for dialogue in dialogues for item in exchanges(dialogue, speaker)]
    if not items:
        raise DataError("The data holds no reply to evaluate; give dialogues of two turns or more.")
    return Material(
        names=tuple(file.name for file in files),
        items=items,
        trigram_items=None if learnt is None else _all_exchanges(without_copies(learnt, dialogues)),
        contexts=_read_contexts(contexts) if contexts else (),
    )


def _all_exchanges(dialogues: Iterable[Dialogue]) -> Iterator[Exchange]:
    for dialogue in dialogues:
        yield from exchanges(dialogue)


def _read_contexts(path: Path) -> list[tuple[str, ...]]:
    return [tuple(turn.text for turn in dialogue.turns) for dialogue in read_dialogues(path)]


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        files = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
        if not files:
            raise DataError(f"The folder {path} holds no .jsonl or .jsonl.zst file; give another.")
        yield from files
