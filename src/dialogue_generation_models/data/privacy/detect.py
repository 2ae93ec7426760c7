"""All rules at once: what no name model is needed for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .addresses import detect_addresses
from .contacts import detect_contacts
from .finding import Finding, merge_findings
from .normalize import Conversation
from .numbers import detect_numbers

_FIGURE = re.compile(r"[0-9]+")
_REACH = 40
"""How far from a digit the rest of a number or an address, or its cue, may stand."""


def find_personal_data(conversation: Conversation) -> list[Finding]:
    """Find numbers, contact data, addresses and schools; ordered, no two overlap."""
    windows = list(_around_figures(conversation.folded))
    return merge_findings(
        [
            *detect_numbers(conversation, windows),
            *detect_contacts(conversation),
            *detect_addresses(conversation),
        ]
    )


def _around_figures(text: str) -> Iterator[tuple[int, int]]:
    """The stretches around digits, joined where they touch."""
    first = last = -1
    for match in _FIGURE.finditer(text):
        if last < 0 or match.start() - _REACH > last:
            if last >= 0:
                yield first, last
            first = max(0, match.start() - _REACH)
        last = match.end() + _REACH
    if last >= 0:
        yield first, last
