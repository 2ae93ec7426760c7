"""Which dialogues stay, how long, and on which side: copies, held-out rooms and copies of what is held out.

`key_part` reduces each part to numbers; `select` decides on those of all parts at once, in their order, and so
needs no text and little memory.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .dedup import NO_KEY, hash_key, surplus, text_key
from .filters import repeat_key
from .lettering import identify
from .privacy.scrub import is_imported_id
from .shards import write_array
from .split import choose_rooms, exchange_keys, is_held_out
from .steps import Job, read_clean, read_json, write_json

_SELVES = ("회원님", "나", "You", "you")  # how apps call whoever exports

Array = npt.NDArray[Any]


@dataclass
class _Keys:
    """What is known of the dialogues of all parts, one after the other."""

    dialogue: Array
    """Key of each dialogue."""
    turn: Array
    """Key of each turn as a reply."""
    exchange: Array
    """Key of each turn together with the one before."""
    n_turns: Array
    source: Array
    is_chosen: Array
    """Whether the hash of its id holds a dialogue out."""
    room: Array
    speaker: Array
    """Of each turn."""

    @property
    def starts(self) -> Array:
        """First turn of each dialogue."""
        return np.cumsum(self.n_turns) - self.n_turns


_FIELDS = ("dialogue", "turn", "exchange", "n_turns", "source", "is_chosen", "room", "speaker")


def key_part(job: Job, rank: int) -> None:
    """Write the keys of a part's dialogues."""
    short = job.config.dedup.short_characters
    columns: dict[str, list[int]] = {name: [] for name in _FIELDS}
    rooms: dict[str, int] = {}
    people: dict[str, int] = {}
    for source, dialogue in read_clean(job, rank):
        texts = [text_key(turn.text) for turn in dialogue.turns]
        columns["dialogue"].append(hash_key("\n".join(texts)))
        columns["turn"] += [repeat_key(turn.text, short) for turn in dialogue.turns]
        pairs = exchange_keys(dialogue, job.config.shared_letters)
        columns["exchange"] += [hash_key(pair) if pair else 0 for pair in pairs]
        columns["n_turns"].append(len(texts))
        columns["source"].append(source)
        held_out = is_held_out(dialogue, job.config.validation_percent)
        columns["is_chosen"].append(held_out)
        room = dialogue.meta.get("room")
        columns["room"].append(0 if room is None else rooms.setdefault(room, len(rooms) + 1))
        names = dialogue.meta.get("speakers", {})
        columns["speaker"] += [
            people.setdefault(names[turn.speaker], len(people) + 1) if turn.speaker in names else 0
            for turn in dialogue.turns
        ]
    for name, values in columns.items():
        write_array(_file(job, rank, name), np.array(values, dtype=np.uint64))
    write_json(job.file("keys", f"{rank:05d}.json"), {"rooms": [*rooms], "speakers": [*people]})


def select(job: Job, rank: int) -> None:
    """Decide which dialogues stay and which are held out, and which replies are there too often to learn."""
    keys, sizes, rooms, speakers = _load(job)
    dedup = job.config.dedup
    is_text = np.isin(keys.source, [s.number for s in job.sources if s.kind == "texts"])
    is_copy = np.where(
        is_text,
        surplus(keys.dialogue, dedup.keep_texts),
        surplus(keys.dialogue, dedup.keep_dialogues),
    )
    is_talk = ~is_copy & ~is_text
    is_reply = np.repeat(is_talk, keys.n_turns)
    is_reply[keys.starts] = False  # openings are no replies
    is_surplus = surplus(np.where(is_reply, keys.turn, NO_KEY), dedup.keep_replies)
    is_valid, split = _hold_out(job, keys, is_talk, rooms, speakers)
    is_leak = _shares_exchange(keys, is_talk, is_valid)
    report = {
        "copied_dialogues": _by_source(job, keys.source, is_copy),
        "copied_replies": _by_source(job, np.repeat(keys.source, keys.n_turns), is_surplus),
        "copies_of_held_out": _by_source(job, keys.source, is_leak),
        "split": split,
    }
    edges = np.cumsum([0, *sizes])
    starts = np.cumsum([0, *keys.n_turns])
    for part in range(job.parts):
        here = slice(edges[part], edges[part + 1])
        turns = slice(starts[edges[part]], starts[edges[part + 1]])
        arrays = {
            "stays": ~(is_copy | is_leak)[here],
            "is_valid": is_valid[here],
            "is_surplus": is_surplus[turns],
            "room": keys.room[here],
            "speaker": keys.speaker[turns],
        }
        for name, array in arrays.items():
            write_array(job.file("select", f"{part:05d}.{name}.npy"), array)
    told = [
        room if is_imported_id(room) else identify(room, job.key).replace("speaker", "room")
        for room in rooms
    ]
    write_json(job.file("select", "people.json"), {"rooms": told, "speakers": speakers})
    write_json(job.file("select", "report.json"), report)


def _hold_out(
    job: Job, keys: _Keys, is_talk: Array, rooms: list[str], speakers: list[str]
) -> tuple[Array, dict[str, Any]]:
    """Hold out whole rooms where that can be, and single dialogues elsewhere."""
    config = job.config
    in_room = (keys.room > 0) & is_talk
    is_valid = (keys.is_chosen > 0) & is_talk
    report: dict[str, Any] = {"rooms": len(rooms), "speakers": len(speakers), "rooms_by": "none"}
    if not in_room.any():
        return is_valid, report
    mine = {identify(name, job.key) for name in (*_SELVES, *config.sessions.me)}
    own = {number for number, name in enumerate(speakers, 1) if name in mine}
    places = np.flatnonzero(in_room).tolist()
    starts = keys.starts
    spoken = [
        (
            str(keys.room[p]),
            set(keys.speaker[starts[p] : starts[p] + keys.n_turns[p]].tolist()) - {0},
        )
        for p in places
    ]
    for name, ignored in (("speakers", set[int]()), ("speakers but the owner", own)):
        chosen = choose_rooms(
            [(room, frozenset(map(str, who - ignored))) for room, who in spoken],
            config.validation_percent,
            config.most_held_out_percent,
        )
        if chosen is not None:
            held = [
                place for place, (room, _) in zip(places, spoken, strict=True) if room in chosen
            ]
            is_valid[in_room] = False
            is_valid[held] = True
            return is_valid, report | {"rooms_by": name, "rooms_held_out": len(chosen)}
    return is_valid, report | {"rooms_by": "dialogues"}


def _shares_exchange(keys: _Keys, is_talk: Array, is_valid: Array) -> Array:
    """Mark dialogues that would be learnt from though they share an exchange with a held-out one."""
    held = np.repeat(is_valid, keys.n_turns)
    known = np.unique(keys.exchange[held & (keys.exchange != NO_KEY)])
    shares = np.isin(keys.exchange, known) & np.repeat(is_talk & ~is_valid, keys.n_turns)
    owner = np.repeat(np.arange(len(keys.n_turns)), keys.n_turns)
    marks: Array = np.bincount(owner[shares], minlength=len(keys.n_turns)) > 0
    return marks


def _load(job: Job) -> tuple[_Keys, list[int], list[str], list[str]]:
    """Read the keys of all parts; near-copies get one key, rooms and speakers their final numbers."""
    columns: dict[str, list[Array]] = {name: [] for name in _FIELDS}
    sizes: list[int] = []
    rooms: dict[str, int] = {}
    speakers: dict[str, int] = {}
    for part in range(job.parts):
        arrays = {name: np.load(_file(job, part, name), allow_pickle=False) for name in _FIELDS}
        names = read_json(job.file("keys", f"{part:05d}.json"))
        arrays["room"] = _renumber(arrays["room"], names["rooms"], rooms)
        arrays["speaker"] = _renumber(arrays["speaker"], names["speakers"], speakers)
        if job.config.dedup.near:
            near = job.work / "near"
            _join_near(arrays["dialogue"], near / "dialogues" / "clusters" / f"{part:06d}.clusters")
            _join_near(arrays["turn"], near / "replies" / "clusters" / f"{part:06d}.clusters")
        sizes.append(len(arrays["n_turns"]))
        for name, array in arrays.items():
            columns[name].append(array)
    joined = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    for name in ("n_turns", "source"):
        joined[name] = joined[name].astype(np.int64)
    return _Keys(**joined), sizes, [*rooms], [*speakers]


def _join_near(keys: Array, path: Path) -> None:
    """Give the members of each cluster one key: its number, which is no hash but for a chance of 2**-40."""
    if path.is_file():
        pairs = np.fromfile(path, dtype="<u4").reshape(-1, 2)  # place, cluster
        keys[pairs[:, 0]] = pairs[:, 1].astype(np.uint64) + 1


def _renumber(numbers: Array, names: list[str], known: dict[str, int]) -> Array:
    table = [0, *(known.setdefault(name, len(known) + 1) for name in names)]
    return np.array(table, dtype=np.uint64)[numbers]


def _by_source(job: Job, sources: Array, marks: Array) -> dict[str, int]:
    counts = Counter(sources[marks].tolist())
    return {str(source.number): counts[source.number] for source in job.sources}


def _file(job: Job, part: int, name: str) -> Path:
    return job.file("keys", f"{part:05d}.{name}.npy")
