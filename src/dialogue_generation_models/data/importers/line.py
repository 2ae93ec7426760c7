"""LINE exports from a phone: tab-separated, in Japanese, English or Chinese.

A body of several lines stands in quotes, with `""` for a quote; other versions write it bare. A quote that
opens a body and never closes is an ordinary character. Dates such as `Tue, 06/01/2026` are read by their
weekday. The desktop's save (columns of spaces) is not read: names and bodies cannot be told apart in it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from datetime import date

from ..chats import Message
from .account import Assembler, LineClass
from .stamps import CLOCK, parse_clock, parse_day

_RECORD = re.compile(rf"({CLOCK})\t(?:([^\t]{{0,200}})\t)?(.*)", re.DOTALL)
_DAY = re.compile(
    r"\d{4}(?:[/.]\d{1,2}[/.]\d{1,2}|年\d{1,2}月\d{1,2}日) ?"
    r"(?:[(（].{1,3}[)）]|週.|星期.|.曜日|[A-Z][a-z]{2,8})"
)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ENGLISH_DAY = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{1,2})/(\d{1,2})/(\d{4})")
_SAVED = re.compile(r"(?:保存日時|Saved on|儲存日期|保存日期|儲存時間) ?[：:]")
_TITLES = (
    re.compile(r"(?:\[LINE\] ?)?Chat history (?:with|in) (.{0,1000})"),
    re.compile(r"\[LINE\] ?(.{0,1000}?)(?:との|の)(?:トーク履歴|トーク)"),
    re.compile(r"\[LINE\] ?與?(.{0,1000}?)的聊天[記紀]錄"),
    re.compile(r"\[LINE\] ?(.{0,1000})"),
)
_WORDS = (
    *(
        "写真",
        "動画",
        "スタンプ",
        "ファイル",
        "連絡先",
        "ノート",
        "アルバム",
        "投票",
        "音声メッセージ",
        "ボイスメッセージ",
        "位置情報",
        "ギフト",
    ),
    *(
        "Photo",
        "Video",
        "Sticker",
        "File",
        "Location",
        "Contact",
        "GIF",
        "Gift",
        "Poll",
        "Note",
        "Album",
        "Voice message",
    ),
    *(
        "照片",
        "圖片",
        "影片",
        "貼圖",
        "檔案",
        "聯絡資訊",
        "記事本",
        "相簿",
        "語音訊息",
        "位置訊息",
        "禮物",
    ),
)
_PLACEHOLDERS = frozenset(f"[{word}]" for word in _WORDS) | {"(emoji)"}
_PLACES = ("[位置情報] ", "[Location] ", "[位置訊息] ", "[null] https://")
"""Beginnings of a shared place, which is an address and no words."""
_UNSENT = ("メッセージの送信を取り消しました", "unsent a message.", "已收回訊息")
_LOOKAHEAD = 500
"""Lines that may stand in one quoted body."""


def matches(lines: list[str]) -> bool:
    """Whether these first lines of a file are a LINE export's."""
    if any(line.startswith("[LINE]") or _SAVED.match(line) for line in lines[:3]):
        return any(_RECORD.match(line) or _is_day(line) for line in lines) or len(lines) < 5
    return any(map(_is_day, lines)) and any(map(_RECORD.match, lines))


def read_line(lines: Iterator[str], out: Assembler) -> Iterator[Message]:
    """Yield the messages of an export's lines and count every line; the room's title goes into `out.title`."""
    yield from _Reader(lines, out).read()


class _Reader:
    def __init__(self, lines: Iterator[str], out: Assembler) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        """Lines that were looked at and are still to be taken."""
        self._out = out
        self._day = ""
        self._is_month_first: bool | None = None
        self._has_begun = False
        self._is_notice = False

    def read(self) -> Iterator[Message]:
        out = self._out
        while (line := self._next()) is not None:
            if found := _RECORD.match(line):
                if message := self._close():
                    yield message
                self._open(found)
            elif day := self._read_day(line):
                if message := self._close():
                    yield message
                self._day, self._has_begun = day, True
                out.account.add("date")
            elif self._has_begun or not line.strip():
                out.extend(line)
            else:
                out.close("blank")
                self._take_header(line)
        if message := self._close():
            yield message

    def _next(self) -> str | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _open(self, found: re.Match[str]) -> None:
        out, speaker, body = self._out, found[2] or "", found[3]
        time = parse_clock(found[1])
        self._has_begun = True
        self._is_notice = not speaker or body.endswith(_UNSENT)
        out.open(f"{self._day}T{time}" if self._day and time else None, speaker, body)
        if body.startswith('"'):
            self._take_quoted(body)

    def _take_quoted(self, body: str) -> None:
        """Take the lines up to the closing quote; none if the quote turns out to be the writer's own."""
        parts = [body[1:]]
        taken: list[str] = []
        while '"' not in parts[-1].replace('""', ""):
            line = self._next() if len(taken) < _LOOKAHEAD else None
            if line is None:
                break
            taken.append(line)
            parts.append(line)
        end = parts[-1].replace('""', "")
        if taken and end.count('"') == 1 and end.endswith('"'):
            parts[-1] = parts[-1][:-1]
            self._out.replace([part.replace('""', '"') for part in parts])
        else:
            self._ahead.extendleft(reversed(taken))

    def _read_day(self, line: str) -> str | None:
        """Return the day of a date line; one that is past is a line of a body that was copied."""
        if found := _ENGLISH_DAY.fullmatch(line):
            day = self._tell_order(found)
        else:
            day = parse_day(line) if _DAY.fullmatch(line) else None
        return day if day and day >= self._day else None

    def _tell_order(self, found: re.Match[str]) -> str | None:
        first, second, year = int(found[2]), int(found[3]), int(found[4])
        days = {}
        for is_month_first, month, day in ((True, first, second), (False, second, first)):
            try:
                days[is_month_first] = date(year, month, day)
            except ValueError:
                continue
        fitting = [order for order, day in days.items() if _WEEKDAYS[day.weekday()] == found[1]]
        if len(fitting) == 1:
            self._is_month_first = fitting[0]
        order = self._is_month_first if self._is_month_first in days else next(iter(days), None)
        return None if order is None else days[order].isoformat()

    def _take_header(self, line: str) -> None:
        out = self._out
        out.account.add("header")
        if not out.title and not _SAVED.match(line):
            found = next(filter(None, (form.fullmatch(line.strip()) for form in _TITLES)), None)
            out.title = found[1] if found else line.strip()

    def _close(self) -> Message | None:
        out = self._out
        if not out.lines:
            out.close("blank")
            return None
        message = Message(out.at, out.speaker, "\n".join(out.lines))
        line_class = "notice" if self._is_notice else _classify(message.text)
        out.close(line_class)
        return message if line_class == "message" else None


def _is_day(line: str) -> bool:
    return bool(_DAY.fullmatch(line) or _ENGLISH_DAY.fullmatch(line))


def _classify(text: str) -> LineClass:
    if not text or text in _PLACEHOLDERS or text.startswith(_PLACES):
        return "placeholder"
    return "notice" if text.startswith(("☎ ", "ⓘ ")) else "message"
