"""What an evaluation looks at: exchanges from files, and the training dialogues beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path

from ..config.training import Recipe
from ..data.importers.jsonl import read_dialogues
from ..data.split import is_held_out, without_copies
from ..data.stored import PreparedDataset, decode_dialogues, is_prepared
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
    """Read what is evaluated from files.

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
    learnt: list[tuple[Dialogue, str | None]] | None = None
    if train:
        learnt = [(dialogue, None) for file in _files(train) for dialogue in read_dialogues(file)]
    elif held_out is not None:
        learnt = [(dialogue, None) for dialogue in dialogues if not is_held_out(dialogue, held_out)]
        dialogues = [dialogue for dialogue in dialogues if is_held_out(dialogue, held_out)]
    items = [item for dialogue in dialogues for item in exchanges(dialogue, speaker)]
    if not items:
        raise DataError("The data holds no reply to evaluate; give dialogues of two turns or more.")
    return Material(
        names=tuple(file.name for file in files),
        items=items,
        trigram_items=None if learnt is None else _learnt_exchanges(learnt, dialogues),
        contexts=_read_contexts(contexts) if contexts else (),
    )


def recipe_material(recipe: Recipe) -> Material:
    """Read what a training by this recipe held out, and what its dialogue stages learnt from.

    A source's `limit` and `reply_speaker` hold here too; its `repeat` does not.

    Raises:
        DataError: a source cannot be read, or no reply is held out.
    """
    held_out: list[Dialogue] = []
    learnt: list[tuple[Dialogue, str | None]] = []
    items: list[Exchange] = []
    stored: list[Iterator[Exchange]] = []
    sources = recipe.dialogue_sources
    for source in sources:
        path = Path(recipe.data_root) / source.path
        if is_prepared(path):
            dataset = PreparedDataset(path)
            items += stored_exchanges(dataset, "valid")
            stored.append(stored_exchanges(dataset, "train"))
            continue
        for dialogue in islice(read_dialogues(path), source.limit):
            if is_held_out(dialogue, recipe.validation_percent):
                held_out.append(dialogue)
                items += exchanges(dialogue, source.reply_speaker)
            else:
                learnt.append((dialogue, source.reply_speaker))
    if not items:
        raise DataError("The recipe holds out no reply; raise validation_percent.")
    return Material(
        names=tuple(Path(source.path).name for source in sources),
        items=items,
        trigram_items=chain(*stored, _learnt_exchanges(learnt, held_out)),
        contexts=[tuple(context) for context in recipe.sample_contexts],
    )


def stored_exchanges(dataset: PreparedDataset, split: str) -> Iterator[Exchange]:
    """Give the replies of a data set's `train` or `valid` part: of one person alone if it was prepared so."""
    for texts, is_reply in decode_dialogues(dataset, split):
        for place, text in enumerate(texts):
            if is_reply[place]:
                yield Exchange(texts[:place], text)


def _learnt_exchanges(
    dialogues: Iterable[tuple[Dialogue, str | None]], held_out: Sequence[Dialogue]
) -> Iterator[Exchange]:
    """Give the exchanges of dialogues that are no copies, each with the speaker who replies."""
    for speaker, group in groupby(dialogues, key=itemgetter(1)):
        for dialogue in without_copies((dialogue for dialogue, _ in group), held_out):
            yield from exchanges(dialogue, speaker)


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
