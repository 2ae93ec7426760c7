"""LINE exports in Japanese, English or Chinese: a phone's (tabs) and the desktop's (columns of spaces).

- A body of several lines stands in quotes, with `""` for a quote; other versions write it bare. A quote that
  opens a body and never closes is an ordinary character.
- Dates such as `Tue, 06/01/2026` are read by their weekday.
- The desktop writes no header, and names with spaces run into the bodies. Which words are a name, the first
  lines tell: a word that follows a name's first word each time belongs to it, and so does a given name after a
  family name (山田 花子), however little they wrote.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from datetime import date

from ..chats import Message
from ..privacy.full_names import is_full_name
from .account import Assembler, LineClass, Record
from .encodings import peek
from .stamps import CLOCK, parse_clock, parse_day

_TIME = re.compile(CLOCK)
_RECORD = re.compile(rf"{CLOCK}\t")
_DESKTOP_RECORD = re.compile(rf"({CLOCK}) (.+)", re.DOTALL)
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
_DESKTOP_PLACEHOLDERS = frozenset(("Photos", "Videos", "Stickers", "Audio"))
_PLACES = ("[位置情報] ", "[Location] ", "[位置訊息] ", "[null] https://")
"""Beginnings of a shared place, which is an address and no words."""
_UNSENT = ("メッセージの送信を取り消しました", "unsent a message.", "已收回訊息")
_DESKTOP_NOTICE = re.compile(
    r"[^ ]{1,100}(?: [^ ]{1,100}){0,3}が.{0,200}(?:参加|招待|退出|退会|削除|変更)しました。"
    r"|.{1,100} (?:joined the (?:chat|group)|left the (?:chat|group)|unsent a message)\."
    r"|(?:Message unsent\.|メッセージの送信を取り消しました。?)"
)
_LOOKAHEAD = 500
"""Lines that may stand in one quoted body."""
_NAMES_LOOKAHEAD = 5000
"""Lines of the desktop's save that tell its names."""
_LONGEST_NAME = 200


def matches(lines: list[str]) -> bool:
    """Whether these first lines of a file are a LINE export's."""
    if any(line.startswith("[LINE]") or _SAVED.match(line) for line in lines[:3]):
        return any(_RECORD.match(line) or _is_day(line) for line in lines) or len(lines) < 5
    if not any(map(_is_day, lines)):
        return False
    return any(map(_RECORD.match, lines)) or any(map(_DESKTOP_RECORD.match, lines))


def read_line(lines: Iterator[str], out: Assembler) -> Iterator[Message]:
    """Yield the messages of an export's lines and count every line; the room's title goes into `out.title`."""
    yield from _Reader(lines, out).read()


class _Reader:
    def __init__(self, lines: Iterator[str], out: Assembler) -> None:
        self._lines = lines
        self._ahead = deque(peek(lines, _NAMES_LOOKAHEAD))
        """Lines that were looked at and are still to be taken."""
        self._out = out
        self._day = ""
        self._is_month_first: bool | None = None
        self._has_begun = False
        self._clocks: dict[str, str | None] = {}
        """Times that were parsed: most lines repeat that of the line before."""
        self._names: _Names | None = None
        if not any(map(_RECORD.match, self._ahead)):
            found = filter(None, map(_DESKTOP_RECORD.match, self._ahead))
            said = [record[2] for record in found if not _DESKTOP_NOTICE.fullmatch(record[2])]
            self._names = _Names(said)

    def read(self) -> Iterator[Message]:
        parse = self._parse if self._names is None else self._parse_desktop
        return self._out.read(self._feed(), parse, self._name, _classify)

    def _feed(self) -> Iterator[str]:
        ahead, lines = self._ahead, self._lines
        while (line := ahead.popleft() if ahead else next(lines, None)) is not None:
            yield line

    def _next(self) -> str | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _name(self, line: str) -> LineClass | None:
        if day := self._read_day(line):
            self._day, self._has_begun = day, True
            return "date"
        if self._has_begun or not line.strip():
            return None
        if _SAVED.match(line):
            return "header"
        if self._out.title:
            return None
        found = next(filter(None, (form.fullmatch(line.strip()) for form in _TITLES)), None)
        self._out.title = found[1] if found else line.strip()
        return "header"

    def _parse(self, line: str) -> Record | None:
        clock, *columns = line.split("\t", 2)
        if not columns or not (clock in self._clocks or self._is_clock(clock)):
            return None
        if len(columns) == 1 or len(columns[0]) > _LONGEST_NAME:
            return self._on_day(clock), "", line[len(clock) + 1 :], True
        speaker, body = columns
        if body.startswith('"'):
            body = self._take_quoted(body)
        return self._on_day(clock), speaker, body, not speaker or body.endswith(_UNSENT)

    def _parse_desktop(self, line: str) -> Record | None:
        found = _DESKTOP_RECORD.match(line)
        if not found or not self._is_clock(found[1]):
            return None
        at, rest = self._on_day(found[1]), found[2]
        assert self._names is not None
        speaker, body = self._names.split(rest)
        if not body or (speaker not in self._names.known and _DESKTOP_NOTICE.fullmatch(rest)):
            return at, "", rest, True
        if body in _DESKTOP_PLACEHOLDERS:
            body = ""
        if body.startswith('"'):
            body = self._take_quoted(body)
        return at, speaker, body, body.endswith(_UNSENT) or body == "Message unsent."

    def _is_clock(self, text: str) -> bool:
        if text not in self._clocks:
            if not _TIME.fullmatch(text):
                return False
            self._clocks[text] = parse_clock(text)
        return True

    def _on_day(self, clock: str) -> str | None:
        self._has_begun = True
        time = self._clocks[clock]
        return f"{self._day}T{time}" if self._day and time else None

    def _take_quoted(self, body: str) -> str:
        """Return a body with the lines up to its closing quote; as it is if the quote is the writer's own."""
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
            self._out.account.add("continuation", len(taken))
            return "\n".join(parts)[:-1].replace('""', '"')
        self._ahead.extendleft(reversed(taken))
        return body

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


class _Names:
    """Tells name and body apart by the names that the first records show."""

    _ENOUGH = 5
    """Records in which a word must follow a name's words to be one of them."""
    _SAME = 3
    """Records in which always the same word follows, if no other one ever does."""
    _MOST_WORDS = 4

    def __init__(self, records: list[str]) -> None:
        self.known: set[str] = set()
        self._learn([], [record[:_LONGEST_NAME].split(" ") for record in records])
        self._most = max((name.count(" ") + 1 for name in self.known), default=1)

    def _learn(self, name: list[str], records: list[list[str]]) -> None:
        """Go on with a name as long as every record does so with a word that comes again and again."""
        following: dict[str, list[list[str]]] = {}
        for record in records:
            # The last word is the body, or its beginning.
            following.setdefault(
                record[len(name)] if len(record) > len(name) + 1 else "", []
            ).append(record)
        counts = [len(same) for word, same in following.items() if word]
        is_name = "" not in following and (
            min(counts, default=0) >= self._ENOUGH
            or (len(counts) == 1 and counts[0] >= self._SAME)
            or (len(name) == 1 and all(is_full_name(name[0], word) for word in following))
        )
        if name and (len(name) == self._MOST_WORDS or not is_name):
            if len(records) >= self._ENOUGH or len(name) > 1:
                self.known.add(" ".join(name))
            return
        for word, same in following.items():
            if word and word not in _PLACEHOLDERS:
                self._learn([*name, word], same)

    def split(self, record: str) -> tuple[str, str]:
        """Return name and body of a record; a name that is not known is one word."""
        words = record.split(" ", self._most)
        for size in range(min(self._most, len(words) - 1), 0, -1):
            name = " ".join(words[:size])
            if size == 1 or name in self.known:
                return name, record[len(name) + 1 :]
        return record, ""


def _is_day(line: str) -> bool:
    return bool(_DAY.fullmatch(line) or _ENGLISH_DAY.fullmatch(line))


def _classify(text: str) -> LineClass:
    if not text or text in _PLACEHOLDERS or text.startswith(_PLACES):
        return "placeholder"
    return "notice" if text.startswith(("☎ ", "ⓘ ")) else "message"
