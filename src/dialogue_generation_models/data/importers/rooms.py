"""Several exports of one room: parts that follow each other, and copies that overlap.

Exports of one title are taken for one room if nearly all of the messages that one of them begins with stand in
the other, word for word and at the same time; a title alone proves nothing. They are then merged minute by
minute: what both hold is written once, however often it was said in that minute, and what only one of them
holds stays. Memory is bounded by the messages of a minute.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from ..chats import Message

MOST_MESSAGES = 5000
"""Messages of a chat line."""
SILENCE = timedelta(minutes=30)
"""A chat line that is half full ends at a silence as long as this."""
_HEAD = 50
"""Messages by which an export is looked for in another."""
_SHARE = 0.9
"""How many of them must stand there: some may have been deleted in between."""


def find_copies(exports: Sequence[Callable[[], Iterator[Message]]]) -> list[list[int]]:
    """Group exports of one title by the room that they are of; reads each of them twice.

    Args:
        exports: each begins to read an export's messages anew.
    """
    heads = [[m for m in itertools.islice(read(), _HEAD) if m.at] for read in exports]
    wanted = {message for head in heads for message in head}
    groups: list[list[int]] = []
    holdings = [wanted.intersection(read()) for read in exports]
    for place, head in enumerate(heads):
        same = [
            group
            for group in groups
            if any(
                _holds(holdings[place], heads[other]) or _holds(holdings[other], head)
                for other in group
            )
        ]
        groups = [group for group in groups if group not in same]
        groups.append(sorted([place, *itertools.chain.from_iterable(same)]))
    return sorted(groups)


def _holds(messages: set[Message], head: list[Message]) -> bool:
    return bool(head) and sum(m in messages for m in head) >= _SHARE * len(head)


def merge(
    first: Iterator[Message], second: Iterator[Message], count: Callable[[int], object]
) -> Iterator[Message]:
    """Yield the messages of two exports of one room, oldest first; those of both once.

    Args:
        first: the messages of one export.
        second: those of the other.
        count: is given the numbers of messages of `second` that `first` holds too.
    """
    left, right = _by_time(first), _by_time(second)
    a, b = next(left, None), next(right, None)
    while a and b:
        if a[0] < b[0]:
            yield from a[1]
            a = next(left, None)
        elif b[0] < a[0]:
            yield from b[1]
            b = next(right, None)
        else:
            new = _without(b[1], a[1])
            count(len(b[1]) - len(new))
            yield from a[1]
            yield from new
            a, b = next(left, None), next(right, None)
    for rest, stream in ((a, left), (b, right)):
        if rest:
            yield from rest[1]
        for _, messages in stream:
            yield from messages


def _by_time(messages: Iterator[Message]) -> Iterator[tuple[str, list[Message]]]:
    """Yield messages of one time together; those without a time belong to the time before."""
    group: list[Message] = []
    at = ""
    for message in messages:
        if group and ((message.at and message.at != at) or len(group) == MOST_MESSAGES):
            yield at, group
            group = []
        at = message.at or at
        group.append(message)
    if group:
        yield at, group


def _without(messages: list[Message], others: list[Message]) -> list[Message]:
    """Return the messages that `others` does not hold, or not as often."""
    left = Counter(others)
    left.subtract(messages)
    new = []
    for message in reversed(messages):
        if left[message] < 0:
            left[message] += 1
            new.append(message)
    return new[::-1]


def cut(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Cut a room into the messages of its chat lines."""
    messages = iter(messages)
    half = MOST_MESSAGES // 2
    line = list(itertools.islice(messages, half))
    for message in messages:
        if len(line) >= MOST_MESSAGES or _is_silence(line[-1].at, message.at):
            yield line
            line = [message, *itertools.islice(messages, half - 1)]
        else:
            line.append(message)
    if line:
        yield line


def _is_silence(before: str | None, after: str | None) -> bool:
    if before is None or after is None or before == after:
        return False
    return datetime.fromisoformat(after) - datetime.fromisoformat(before) >= SILENCE


def name_room(source: str, title: str, messages: list[Message], seen: set[str]) -> str:
    """Make an id of the content, so that it tells no name and stays the same in every run."""
    content = json.dumps([source, title, messages[:100]], ensure_ascii=False)
    name = f"{source}-{hashlib.sha256(content.encode(errors='replace')).hexdigest()[:16]}"
    numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    unused = next(candidate for candidate in numbered if candidate not in seen)
    seen.add(unused)
    return unused
