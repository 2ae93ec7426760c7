"""Held-out dialogues: whole rooms, or chosen by a hash of their id; and kept out of training even as copies."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from ..dialogue import Dialogue

_PARTS = 10_000
_LEAST_LETTERS = 30


def is_held_out(dialogue: Dialogue, percent: float) -> bool:
    """Say whether a dialogue belongs to the validation part; the same on every machine and run.

    A dialogue without an id is known by its texts, or all of them would go one way.
    """
    name = dialogue.id or "\n".join(turn.text for turn in dialogue.turns)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % _PARTS < percent * _PARTS / 100


def without_copies(
    dialogues: Iterable[Dialogue], held_out: Iterable[Dialogue]
) -> Iterator[Dialogue]:
    """Leave out dialogues that share an exchange, a turn and its reply, with a held-out one.

    Letter case, width and spacing do not count; greetings that everybody exchanges do not either,
    which are exchanges of fewer than thirty letters in all: shorter ones are shared by half of the
    dialogues of strangers who get to know each other.
    """
    known = {exchange for dialogue in held_out for exchange in _exchanges(dialogue)}
    for dialogue in dialogues:
        if known.isdisjoint(_exchanges(dialogue)):
            yield dialogue


def choose_rooms(
    rooms: Sequence[tuple[str, frozenset[str]]], percent: float, most_percent: float
) -> set[str] | None:
    """Choose rooms to hold out so that nobody speaks on both sides.

    Rooms that share a speaker go together. They are taken in the order of a hash while they bring no more
    than half as much again as asked for; failing that, the smallest.

    Args:
        rooms: of each dialogue its room, and who speaks in it.
        percent: of the dialogues, to hold out.
        most_percent: the most that the smallest may be.

    Returns:
        The rooms; None if all that go together are larger than `most_percent`.
    """
    groups = _groups(rooms)
    sizes = Counter(groups[room] for room, _ in rooms)
    wanted = len(rooms) * percent / 100
    chosen: set[str] = set()
    held = 0
    for group in sorted(sizes, key=_digest):
        if held < wanted and held + sizes[group] <= 1.5 * wanted:
            chosen.add(group)
            held += sizes[group]
    if not chosen and sizes:
        smallest = min(sizes, key=lambda group: (sizes[group], _digest(group)))
        if sizes[smallest] <= len(rooms) * most_percent / 100:
            chosen.add(smallest)
    return {room for room, group in groups.items() if group in chosen} or None


def _groups(rooms: Iterable[tuple[str, frozenset[str]]]) -> dict[str, str]:
    """Name for each room the first of those that it shares speakers with, also by way of others."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for room, speakers in rooms:
        for speaker in speakers:
            one, other = sorted((top(f"room {room}"), top(f"speaker {speaker}")))
            above[other] = one
    return {room: top(f"room {room}") for room, _ in rooms}


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


def exchange_keys(dialogue: Dialogue, least_letters: int) -> list[str]:
    """Return for each turn what a copy of it and the turn before it shares; empty for fewer letters in all."""
    texts = [_key(turn.text) for turn in dialogue.turns]
    pairs = (f"{a}\n{b}" if len(a) + len(b) >= least_letters else "" for a, b in pairwise(texts))
    return ["", *pairs]


def _exchanges(dialogue: Dialogue) -> Iterator[str]:
    return filter(None, exchange_keys(dialogue, _LEAST_LETTERS))


def _key(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in folded if letter.isalnum())
