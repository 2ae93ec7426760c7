"""Where it is worth looking: the stretches around what a rule cannot do without."""

from __future__ import annotations

from collections.abc import Iterator
from re import Pattern


def windows(text: str, anchor: Pattern[str], reach: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of `reach` letters around each anchor, joined where they touch."""
    first = last = -1
    for match in anchor.finditer(text):
        if last < 0 or match.start() - reach > last:
            if last >= 0:
                yield first, last
            first = max(0, match.start() - reach)
        last = match.end() + reach
    if last >= 0:
        yield first, last
