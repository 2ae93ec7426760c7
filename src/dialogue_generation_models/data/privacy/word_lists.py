"""The lists of names and words in `lists/`, read when they are first asked for."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources


def lines(name: str) -> list[str]:
    """Return the lines of a list that are not empty."""
    file = resources.files(__package__).joinpath(f"lists/{name}.txt")
    return file.read_text(encoding="utf-8").split("\n")[:-1]


@lru_cache(maxsize=32)
def words(name: str) -> frozenset[str]:
    """Return the words of a list."""
    return frozenset(word for line in lines(name) for word in line.split())
