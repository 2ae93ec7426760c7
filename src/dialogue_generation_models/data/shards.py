"""Shards: tokenised dialogues as plain numpy arrays that are mapped into memory, not read.

A shard is a set of files `NAME.FIELD.npy`, all loaded without pickle:
- `input_ids`      ids of all turns, one after the other, without special ids; uint16, or int32 if they need it
- `turn_lengths`   ids of each turn
- `loss_mask`      turns that are learnt as replies
- `speakers`       number of each turn's speaker in `speakers.json`, 0 where nobody is known
- `dialogue_turns` turns of each dialogue
- `rooms`          number of each dialogue's room, 0 for none
- `sources`        number of each dialogue's source in the manifest

Special ids and the layout of rows belong to a model and are added on reading, so one data set serves all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..files import replacing

Array: TypeAlias = npt.NDArray[Any]
_SMALL_VOCABULARY = 1 << 16


@dataclass(frozen=True)
class StoredDialogue:
    """A dialogue on its way into a shard."""

    turns: Sequence[Sequence[int]]
    is_reply: Sequence[bool]
    speakers: Sequence[int]
    room: int
    source: int


@dataclass(frozen=True)
class Shard:
    """The arrays of a shard, each a file."""

    input_ids: Array
    turn_lengths: Array
    loss_mask: Array
    speakers: Array
    dialogue_turns: Array
    rooms: Array
    sources: Array

    @property
    def dialogue_ends(self) -> npt.NDArray[np.int64]:
        """Where each dialogue ends, in turns; 0 before the first."""
        return np.concatenate(([0], np.cumsum(self.dialogue_turns, dtype=np.int64)))

    @property
    def turn_ends(self) -> npt.NDArray[np.int64]:
        """Where each turn ends, in ids; 0 before the first."""
        return np.concatenate(([0], np.cumsum(self.turn_lengths, dtype=np.int64)))


FIELDS = tuple(field.name for field in fields(Shard))


def make_shard(dialogues: Iterable[StoredDialogue], vocab_size: int) -> Shard:
    """Lay dialogues out in arrays."""
    ids: list[Array] = []
    lengths: list[int] = []
    mask: list[bool] = []
    speakers: list[int] = []
    turns: list[int] = []
    rooms: list[int] = []
    sources: list[int] = []
    id_type = np.uint16 if vocab_size <= _SMALL_VOCABULARY else np.int32
    for dialogue in dialogues:
        ids += [np.asarray(turn, dtype=id_type) for turn in dialogue.turns]
        lengths += map(len, dialogue.turns)
        mask += dialogue.is_reply
        speakers += dialogue.speakers
        turns.append(len(dialogue.turns))
        rooms.append(dialogue.room)
        sources.append(dialogue.source)
    return Shard(
        input_ids=np.concatenate([np.zeros(0, dtype=id_type), *ids]),
        turn_lengths=np.array(lengths, dtype=np.uint32),
        loss_mask=np.array(mask, dtype=bool),
        speakers=np.array(speakers, dtype=np.uint32),
        dialogue_turns=np.array(turns, dtype=np.uint32),
        rooms=np.array(rooms, dtype=np.uint32),
        sources=np.array(sources, dtype=np.uint16),
    )


def write_shard(shard: Shard, folder: Path, name: str) -> None:
    """Write a shard's files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for field in FIELDS:
        write_array(folder / f"{name}.{field}.npy", getattr(shard, field))


def write_array(path: Path, array: Array) -> None:
    """Write a `.npy` file beside its place and put it there."""
    with replacing(path, is_contested=True) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def open_shard(folder: Path, name: str) -> Shard:
    """Map a shard's files into memory.

    Raises:
        DataError: a file is missing, damaged, or does not go with the others.
    """
    arrays: dict[str, Array] = {}
    for field in FIELDS:
        path = folder / f"{name}.{field}.npy"
        try:
            # An empty array cannot be mapped.
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise DataError(
                f"The shard file {path} is missing or damaged; prepare the data set again."
            ) from None
        arrays[field] = array
    shard = Shard(**arrays)
    turns, dialogues = len(shard.turn_lengths), len(shard.dialogue_turns)
    is_sound = (
        all(array.ndim == 1 for array in arrays.values())
        and shard.input_ids.dtype.kind in "ui"
        and len(shard.loss_mask) == len(shard.speakers) == turns
        and len(shard.rooms) == len(shard.sources) == dialogues
        and int(shard.turn_lengths.sum(dtype=np.int64)) == len(shard.input_ids)
        and int(shard.dialogue_turns.sum(dtype=np.int64)) == turns
    )
    if not is_sound:
        raise DataError(
            f"The files of shard {name} in {folder} do not go together; prepare the data set again."
        )
    return shard


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {(error.strerror or 'damaged').lower()}.") from None
    return digest.hexdigest()
