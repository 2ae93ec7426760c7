"""Where it is worth looking: the stretches around what a rule cannot do without."""

from __future__ import annotations

from collections.abc import Iterator
from re import Match, Pattern


def windows(
    text: str, anchor: Pattern[str], reach: int, after: int | None = None
) -> Iterator[tuple[int, int]]:
    """Yield the stretches of `reach` letters around each anchor, joined where they touch.

    Args:
        text: where to look.
        anchor: what a rule cannot do without.
        reach: letters before an anchor, and after it.
        after: letters after it, if others.
    """
    after = reach if after is None else after
    first = last = -1
    for match in anchor.finditer(text):
        if last < 0 or match.start() - reach > last:
            if last >= 0:
                yield first, last
            first = max(0, match.start() - reach)
        last = match.end() + after
    if last >= 0:
        yield first, last


def matches_near(
    text: str, anchor: Pattern[str], reach: int, pattern: Pattern[str], after: int | None = None
) -> Iterator[Match[str]]:
    """Yield the matches of a pattern in the stretches around what it cannot do without."""
    for first, last in windows(text, anchor, reach, after):
        yield from pattern.finditer(text, first, last)
