"""What is to stand in place of parts of a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Change(NamedTuple):
    """What stands at [start, end) of a message from now on."""

    start: int
    end: int
    text: str
    kind: str
    is_first: bool


def apply_changes(text: str, changes: Sequence[Change]) -> str:
    """Return a text with changes applied, which are in order and do not overlap."""
    parts, done = [], 0
    for change in changes:
        parts += [text[done : change.start], change.text]
        done = change.end
    return "".join(parts) + text[done:]


def without_overlaps(changes: list[Change]) -> list[Change]:
    """In order; of overlapping changes the longer one."""
    kept: list[Change] = []
    for change in sorted(changes, key=lambda c: (c.start, -c.end)):
        if kept and change.start < kept[-1].end:
            if change.end > kept[-1].end:
                kept[-1] = max(kept[-1], change, key=lambda c: c.end - c.start)._replace(
                    start=kept[-1].start, end=change.end
                )
        else:
            kept.append(change)
    return kept
