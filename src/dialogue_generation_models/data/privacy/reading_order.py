"""Which messages are read together, and in which order: what is said in parts is found only as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

CONTEXT = 6
"""Messages of the neighbouring lines that are read along, and those between the parts of one thing said."""
_MAY_GO_ON = re.compile(
    r"[0-9０-９①-⑨⓪@＠]|골뱅이|[공영일이삼사오육륙칠팔구ㅇ〇零一二三四五六七八九 ]{3}|[ァ-ヶ]{2}"
)
"""Figures, or spelt-out ones that are no words."""


def neighbours(changed: Iterable[int], total: int) -> Iterator[int]:
    """The messages beside changed ones, -1 between groups that are not neighbours."""
    last = -2
    near = {n + d for n in changed for d in (-1, 0, 1) if 0 <= n + d < total}
    for number in sorted(near):
        if last >= 0 and number > last + 1:
            yield -1
        yield number
        last = number


def of_one_speaker(
    texts: Sequence[str | None], speakers: Sequence[str], wanted: set[int]
) -> list[int]:
    """Messages that may go on with what their speaker said before others spoke; -1 parts the groups."""
    order: list[int] = []
    latest: dict[str, list[int]] = {}
    for number in range(min(wanted, default=0) - CONTEXT, max(wanted, default=-1) + 1):
        text = texts[number] if number >= 0 else None
        if text is None:
            continue
        mine = latest.setdefault(speakers[number], [])
        if mine and 1 < number - mine[-1] <= CONTEXT and number in wanted and _may_go_on(text):
            order += [*mine[-2:], number, -1]
        mine.append(number)
        del mine[:-2]
    return order


def _may_go_on(text: str) -> bool:
    return len(text) <= 40 and bool(_MAY_GO_ON.search(text))
