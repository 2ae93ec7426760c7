"""Removes a person from a prepared data set, and lists who speaks in one.

What a person said goes, and with it everything said after it in the same dialogue, which was built on it.
Hashes of what went, with a salt of their own, prove later that it was removed. Models that learnt from the data
still know it: they are listed, to be trained again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import put_in_place, recover
from .lettering import identify
from .manifest import KEY, MANIFEST, REPORT, SPEAKERS, add_up, read_manifest, write_manifest
from .shards import Shard, StoredDialogue, hash_file, make_shard, open_shard, write_shard
from .stored import read_uses
from .tokenising import SPLITS

FORGOTTEN = "forgotten.jsonl"


@dataclass(frozen=True)
class Speaker:
    """Somebody in a data set, by pseudonym."""

    id: str
    rooms: tuple[str, ...]
    dialogues: int
    turns: int


@dataclass(frozen=True)
class Removal:
    """What a removal took away."""

    speaker: str
    turns: int
    dialogues: int
    """Dialogues that were cut or went."""
    hashes: tuple[str, ...]
    """Of the removed turns."""
    models: tuple[dict[str, str], ...]
    """Trainings that learnt from the data before."""


def list_speakers(folder: Path) -> list[Speaker]:
    """Return who speaks in a data set.

    Raises:
        DataError: the folder is no data set, or damaged.
    """
    read_manifest(folder)
    people = _read_people(folder)
    turns: Counter[int] = Counter()
    dialogues: Counter[int] = Counter()
    rooms: dict[int, set[int]] = {}
    for _, _, shard in _shards(folder):
        owner = np.repeat(np.arange(len(shard.dialogue_turns)), shard.dialogue_turns)
        turns.update(shard.speakers.tolist())
        pairs = np.unique(np.column_stack([shard.speakers, owner]), axis=0)
        for speaker, dialogue in pairs.tolist():
            dialogues[speaker] += 1
            rooms.setdefault(speaker, set()).add(int(shard.rooms[dialogue]))
    return [
        Speaker(
            name,
            tuple(people["rooms"][room - 1] for room in sorted(rooms[number]) if room),
            dialogues[number],
            turns[number],
        )
        for number, name in enumerate(people["speakers"], start=1)
        if turns[number]
    ]


def speaker_id(folder: Path, name: str) -> str:
    """Return the pseudonym that a person's name has in a data set.

    Raises:
        DataError: the data set's key is gone, so that nobody can tell.
    """
    try:
        key = bytes.fromhex((folder / KEY).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        raise DataError(
            f"{folder / KEY} is missing or damaged; without it no name leads to an id."
        ) from None
    return identify(name, key)


def forget(folder: Path, speaker: str) -> Removal:
    """Remove a speaker's turns, and what was built on them; the folder changes whole or not at all.

    Raises:
        DataError: the folder is no data set, or nobody there has this id.
    """
    recover(folder.resolve())
    manifest = read_manifest(folder)
    people = _read_people(folder)
    if speaker not in people["speakers"]:
        raise DataError(f"Nobody in {folder} has this id; `dgm data speakers` lists them.")
    number = people["speakers"].index(speaker) + 1
    place = folder.resolve()
    copy = place.with_name(f".{place.name}.forget")
    shutil.rmtree(copy, ignore_errors=True)
    salt = secrets.token_bytes(16)
    hashes: list[str] = []
    touched = 0
    try:
        shutil.copytree(place, copy, copy_function=_link)
        for split, name, shard in _shards(place):
            ends = _ends_before(shard, number)
            is_cut = ends < shard.dialogue_turns
            if not is_cut.any():
                continue
            touched += int(is_cut.sum())
            hashes += _hash_removed(shard, ends, salt)
            for old in (copy / split).glob(f"{name}.*"):
                old.unlink()
            vocabulary = 1 if shard.input_ids.dtype == np.uint16 else 1 << 30
            write_shard(make_shard(_cut(shard, ends), vocabulary), copy / split, name)
        names = [("" if name == speaker else name) for name in people["speakers"]]
        note = {
            "speaker": speaker,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "manifest_before": hash_file(folder / MANIFEST),
            "turns": len(hashes),
            "dialogues": touched,
        }
        with _own(copy / FORGOTTEN).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**note, "salt": salt.hex(), "hashes": hashes}) + "\n")
        for written in (MANIFEST, REPORT, SPEAKERS):
            (copy / written).unlink()
        changed = {**manifest, "forgotten": [*manifest.get("forgotten", []), note]}
        write_manifest(copy, _recount(copy, changed), {**people, "speakers": names})
        put_in_place(copy, place)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    # An unfinished preparation would bring the person back.
    shutil.rmtree(place.with_name(f".{place.name}.work"), ignore_errors=True)
    return Removal(speaker, len(hashes), touched, tuple(hashes), tuple(read_uses(folder)))


def _ends_before(shard: Shard, speaker: int) -> Any:
    """Return how many turns of each dialogue stand before the speaker's first."""
    starts = shard.dialogue_ends[:-1]
    ends = shard.dialogue_turns.astype(np.int64)
    places = np.flatnonzero(shard.speakers == speaker)
    owners = np.searchsorted(starts, places, side="right") - 1
    np.minimum.at(ends, owners, places - starts[owners])
    return ends


def _cut(shard: Shard, ends: Any) -> Iterator[StoredDialogue]:
    """Yield the dialogues with their new ends; those without a reply to learn go."""
    turn_ends = shard.turn_ends
    for dialogue, (first, end) in enumerate(
        zip(shard.dialogue_ends.tolist(), ends.tolist(), strict=False)
    ):
        turns = slice(first, first + end)
        if not shard.loss_mask[turns].any():
            continue
        yield StoredDialogue(
            turns=[_ids(shard, turn_ends, turn) for turn in range(turns.start, turns.stop)],
            is_reply=shard.loss_mask[turns].tolist(),
            speakers=shard.speakers[turns].tolist(),
            room=int(shard.rooms[dialogue]),
            source=int(shard.sources[dialogue]),
        )


def _hash_removed(shard: Shard, ends: Any, salt: bytes) -> list[str]:
    turn_ends = shard.turn_ends
    removed = [
        turn
        for start, stop, end in zip(
            shard.dialogue_ends[:-1].tolist(),
            shard.dialogue_ends[1:].tolist(),
            ends.tolist(),
            strict=True,
        )
        for turn in range(start + end, stop)
    ]
    contents = (np.asarray(_ids(shard, turn_ends, turn), dtype="<u4").tobytes() for turn in removed)
    return [hashlib.blake2b(content, key=salt, digest_size=16).hexdigest() for content in contents]


def _ids(shard: Shard, ends: Any, turn: int) -> list[int]:
    ids: list[int] = shard.input_ids[ends[turn] : ends[turn + 1]].tolist()
    return ids


def _recount(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Count again what stays, by source."""
    kept: dict[int, dict[str, Counter[str]]] = {}
    lengths: Counter[int] = Counter()
    for split, _, shard in _shards(folder):
        owner = np.repeat(shard.sources, shard.dialogue_turns)
        for number in np.unique(shard.sources).tolist():
            row = kept.setdefault(number, {}).setdefault(split, Counter())
            of_turn = owner == number
            row["dialogues"] += int((shard.sources == number).sum())
            row["turns"] += int(of_turn.sum())
            row["replies"] += int(shard.loss_mask[of_turn].sum())
            row["tokens"] += int(shard.turn_lengths[of_turn].sum())
        if split != "text":
            lengths.update(shard.dialogue_turns.tolist())
    sources = [{**source, "kept": kept.get(source["number"], {})} for source in manifest["sources"]]
    most = max((int(turns) for turns in manifest["turns_per_dialogue"]), default=0)
    turns = Counter({str(min(n, most)): 0 for n in lengths})
    for n, count in sorted(lengths.items()):
        turns[str(min(n, most))] += count
    counts = add_up(source["kept"] for source in sources)
    return {**manifest, "sources": sources, "counts": counts, "turns_per_dialogue": dict(turns)}


def _shards(folder: Path) -> Iterator[tuple[str, str, Shard]]:
    for split in SPLITS:
        for path in sorted((folder / split).glob("*.dialogue_turns.npy")):
            name = path.name.partition(".")[0]
            yield split, name, open_shard(folder / split, name)


def _read_people(folder: Path) -> dict[str, list[str]]:
    try:
        people = json.loads((folder / SPEAKERS).read_text(encoding="utf-8"))
        return {"rooms": list(people["rooms"]), "speakers": list(people["speakers"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder / SPEAKERS} is missing or damaged.") from None


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _own(path: Path) -> Path:
    """Make a linked file one of its own, before it is written to."""
    if path.exists():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    return path
