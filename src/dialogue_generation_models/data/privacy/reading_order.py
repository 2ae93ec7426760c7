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

_NOD = (
    r"(?:응+|웅+|ㅇ+|ㅇㅋ|어+|[네넵넹예]+|오키|오케이|오케|그래|[그다]*음은?|잠[시깐]?만|ㄱㄱ"
    r"|적는 ?중|받아 ?적는 ?중"
    r"|うん|うんうん|はい|はいはい|おけ|オッケー|メモした|メモ中|次は?|それで|(?i:ok|yes))"
    r"[ .,!?~ㅋㅎ。、！？〜]{0,4}"
)
_FIGURE = "[0-9공영일이삼사오육륙칠팔구〇零一二三四五六七八九]"
NOD_BETWEEN_FIGURES = re.compile(rf"\n(?<={_FIGURE}\n){_NOD}(?=\n ?{_FIGURE}{{2}})")
"""What the other one says while a number is told."""
_ONLY_NOD = re.compile(_NOD)


def is_nod(text: str) -> bool:
    """Whether a message only tells that another one was heard."""
    return _ONLY_NOD.fullmatch(text) is not None


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
