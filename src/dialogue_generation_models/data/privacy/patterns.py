"""Patterns made of tables of words."""

from __future__ import annotations

import re
from re import Pattern

SEPARATORS = r"[ \-.()/\n]{0,3}"
"""What stands between the groups of a number, messages included."""


def words(table: str) -> tuple[str, ...]:
    """Return the words of a table."""
    return tuple(table.split())


def any_of(table: str) -> str:
    """Return a pattern of any word of a table, the longest first."""
    return "(?:{})".format("|".join(sorted(table.split(), key=len, reverse=True)))


def not_after(table: str) -> str:
    """Return a pattern of a place before which no word of a table ends."""
    return "".join(f"(?<!{word})" for word in table.split())


def bounded(body: str) -> Pattern[str]:
    """Return a pattern that begins after no figure and ends before none."""
    return re.compile(f"(?<![0-9])(?:{body})(?![0-9])")
