"""Dates and times as messengers write them in Korean, Japanese, Chinese and English.

An export repeats each minute's stamp for every message, so the readers keep the last ones they parsed.
Noon and midnight: 오전 12:05 is 00:05 and 오후 12:23 is 12:23, in every language.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
SPACE = "[ \u00a0\u202f]"
CLOCK = (
    rf"(?:(?:오전|오후|午前|午後|上午|下午){SPACE}?)?\d{{1,2}}:\d{{2}}(?:{SPACE}?[AaPp]\.?[Mm]\.?)?"
)
"""A time of day with or without its half."""

_CLOCK = re.compile(r"(오전|오후|午前|午後|上午|下午)?\s?(\d{1,2}):(\d{2})\s?([AaPp])?")
_NUMBERS = re.compile(r"(\d{4})\D{1,3}(\d{1,2})\D{1,3}(\d{1,2})")
_ENGLISH = re.compile(rf"({MONTH}) (\d{{1,2}}), (\d{{4}})")
_AFTERNOON = {"오후", "午後", "下午", "p", "P"}


@lru_cache(maxsize=4096)
def parse_clock(text: str) -> str | None:
    """Return `HH:MM:SS` of the first time of day in a text; None where there is none."""
    found = _CLOCK.search(text)
    if not found:
        return None
    half = found[1] or found[4]
    hour, minute = int(found[2]), int(found[3])
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half in _AFTERNOON else 0)
    return f"{hour:02}:{minute:02}:00" if hour < 24 and minute < 60 else None


@lru_cache(maxsize=4096)
def parse_day(text: str) -> str | None:
    """Return `YYYY-MM-DD` of the first date in a text, year first or English; None where there is none."""
    if found := _ENGLISH.search(text):
        numbers = int(found[3]), MONTHS.index(found[1][:3]) + 1, int(found[2])
    elif found := _NUMBERS.search(text):
        numbers = int(found[1]), int(found[2]), int(found[3])
    else:
        return None
    try:
        return date(*numbers).isoformat()
    except ValueError:
        return None
