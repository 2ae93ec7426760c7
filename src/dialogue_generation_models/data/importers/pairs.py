"""Contexts and responses in tables: TSV (`context<TAB>response`) and CSV of questions and answers.

A first line that names the columns is a header; a CSV's header says which columns are meant, so others, such
as a label, may stand beside them. Nothing else tells a header from a pair.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable

from ...dialogue import Dialogue

_QUESTIONS = ("context", "question", "q", "질문", "質問")
_ANSWERS = ("response", "answer", "a", "답변", "回答")


def parse_tsv(line: str) -> Dialogue | None:
    """Make a dialogue of two turns of a TSV line; None if it has not two columns with text."""
    texts = line.split("\t", 2)
    if len(texts) != 2 or not all(text.strip() for text in texts):
        return None
    return Dialogue.from_texts(texts)


def is_tsv_header(line: str) -> bool:
    """Whether a file's first line names its columns."""
    names = [name.strip().lower() for name in line.split("\t", 2)]
    return len(names) == 2 and names[0] in _QUESTIONS and names[1] in _ANSWERS


def find_columns(line: str) -> tuple[int, int] | None:
    """Return the places of question and answer in a CSV's header; None if it is none."""
    if len(line) > 1000:
        return None
    names = [name.strip().lower() for name in split_csv(line) or []]
    question, answer = _find(names, _QUESTIONS), _find(names, _ANSWERS)
    return None if question is None or answer is None else (question, answer)


def split_csv(record: str) -> list[str] | None:
    """Return the fields of one CSV record, which may hold line ends; None if it is none."""
    if len(record) > csv.field_size_limit():
        return None
    try:
        rows = list(csv.reader([record], strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _find(names: Iterable[str], wanted: tuple[str, ...]) -> int | None:
    return next((place for place, name in enumerate(names) if name in wanted), None)
